// npm test, with GATEWAY=http://… and TOKEN of a user who may publish.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Centrifuge } from "centrifuge";
import { Window } from "happy-dom";
import { act, createElement, StrictMode } from "react";
import WebSocket from "ws";

const window = new Window();
for (const name of ["document", "navigator"]) {
  Object.defineProperty(globalThis, name, { value: window[name], configurable: true });
}
Object.assign(globalThis, { window, IS_REACT_ACT_ENVIRONMENT: true });
const { createRoot } = await import("react-dom/client");
const { Channel } = await import("./Channel.js");

const { GATEWAY, TOKEN } = process.env;
const client = new Centrifuge(GATEWAY.replace("http", "ws") + "/connection/websocket", {
  token: TOKEN,
  websocket: WebSocket,
  minReconnectDelay: 50,
});
client.connect();
after(() => client.disconnect());

// What comes of it may be shown before the answer is here, so that React is told to expect it.
const publish = (channel, data) => act(async () => {
  const answer = await fetch(`${GATEWAY}/publish/${channel}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json" },
    body: JSON.stringify({ data }),
  });
  assert.equal(answer.status, 200);
});

async function until(isTrue, what) {
  const end = Date.now() + 10_000;
  while (!isTrue()) {
    assert.ok(Date.now() < end, what);
    await act(() => new Promise((done) => setTimeout(done, 10)));
  }
}

// StrictMode mounts everything twice, as a page in development does.
async function mount(name) {
  const place = document.body.appendChild(document.createElement("main"));
  const root = createRoot(place);
  const show = (shown) =>
    act(() => root.render(createElement(StrictMode, null, createElement(Channel, { client, name: shown }))));
  await show(name);
  const texts = () => [...place.querySelectorAll("li")].map((line) => line.textContent);
  const isReady = () => place.querySelector("section").dataset.state === "subscribed";
  await until(isReady, "subscribed");
  return { show, texts, isReady, unmount: () => act(() => root.unmount()) };
}

test("messages are shown once each, in their order", async () => {
  const shown = await mount("react-order");
  for (const data of ["one", "two", "three"]) await publish("react-order", data);
  await until(() => shown.texts().length >= 3, "three messages");
  assert.deepEqual(shown.texts(), ["one", "two", "three"]);
  await shown.unmount();
  assert.deepEqual(client.subscriptions(), {});
});

test("what was published while the connection was away is shown as well", async () => {
  const shown = await mount("react-away");
  await publish("react-away", "before");
  await until(() => shown.texts().length === 1, "before");
  await act(() => client.disconnect());
  await publish("react-away", "meanwhile");
  await act(() => client.connect());
  await until(() => shown.texts().length >= 2, "meanwhile");
  await publish("react-away", "after");
  await until(() => shown.texts().length >= 3, "after");
  assert.deepEqual(shown.texts(), ["before", "meanwhile", "after"]);
  await shown.unmount();
});

test("another channel takes the place of the first one", async () => {
  const shown = await mount("react-first");
  await publish("react-first", "first");
  await until(() => shown.texts().length === 1, "first");
  await shown.show("react-second");
  await until(() => shown.isReady() && shown.texts().length === 0, "the other channel");
  await publish("react-first", "not for us");
  await publish("react-second", "second");
  await until(() => shown.texts().length >= 1, "second");
  assert.deepEqual(shown.texts(), ["second"]);
  await shown.unmount();
});
