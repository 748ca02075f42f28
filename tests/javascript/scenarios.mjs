// What an application does with the public client, step by step.
//
// node scenarios.mjs NAME '{"ws": …, "http": …, "tokens": […], …}'
// Prints one JSON line per step; tests/integration/centrifuge/test_javascript.py reads them.

import { Centrifuge as InJson } from "centrifuge";
import { Centrifuge as InProtobuf } from "centrifuge/build/protobuf";
import EventSource from "eventsource";
import WebSocket from "ws";

const [name, given] = process.argv.slice(2);
const options = JSON.parse(given);

const tell = (step, fields = {}) => console.log(JSON.stringify({ step, ...fields }));

const Centrifuge = options.protobuf ? InProtobuf : InJson;

// In Protobuf an application gives and gets bytes.
const written = (data) =>
  options.protobuf ? new TextEncoder().encode(JSON.stringify(data)) : data;
const read = (data) =>
  data instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(data)) : data;

function client(more = {}) {
  const { http, transport } = options;
  const endpoints = [{ transport, endpoint: `${http}/connection/${transport}` }];
  const emulated = { emulationEndpoint: `${http}/emulation`, eventsource: EventSource };
  const made = new Centrifuge(transport ? endpoints : options.ws + "/connection/websocket", {
    ...(transport ? emulated : { websocket: WebSocket }),
    token: options.tokens[0],
    minReconnectDelay: 50,
    maxReconnectDelay: 300,
    ...more,
  });
  for (const event of ["connected", "connecting", "disconnected"]) {
    made.on(event, ({ code, reason }) => tell(event, { code, reason }));
  }
  made.on("error", ({ type, error }) => tell("error", { type, code: error.code }));
  return made;
}

function watched(sub) {
  sub.on("subscribed", ({ wasRecovering, recovered }) =>
    tell("subscribed", { wasRecovering, recovered }));
  sub.on("unsubscribed", ({ code }) => tell("unsubscribed", { code }));
  sub.on("subscribing", ({ code }) => tell("subscribing", { code }));
  sub.on("publication", ({ data, offset }) => tell("publication", { data: read(data), offset }));
  return sub;
}

const happens = (emitter, event) => new Promise((done) => emitter.once(event, done));

async function publish(channel, data) {
  const answer = await fetch(`${options.http}/publish/${encodeURIComponent(channel)}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${options.publisher}`, "Content-Type": "application/json" },
    body: JSON.stringify({ data }),
  });
  if (!answer.ok) throw new Error(`publish: ${answer.status}`);
}

// A token for each time that one is asked for; the last one is good for ever.
function tokens(list, what) {
  const left = [...list];
  return async () => {
    tell("getToken", { what });
    return left.length > 1 ? left.shift() : left[0];
  };
}

const scenarios = {
  async basics() {
    const c = client();
    const failed = c.rpc("method", written({})).catch((error) => error.code); // waits for the connection
    c.connect();
    await c.ready(5000);
    tell("rpc", { code: await failed });
    const sub = watched(c.newSubscription(options.channel));
    const received = happens(sub, "publication");
    sub.subscribe();
    await sub.ready(5000);
    await sub.publish(written({ my: "data" }));
    await received;
    const { publications, epoch, offset } = await sub.history({ limit: 10 });
    const data = publications.map((each) => read(each.data));
    tell("history", { data, offset, epoch: !!epoch });
    const { clients } = await sub.presence();
    tell("presence", { users: Object.values(clients).map((each) => each.user) });
    tell("presenceStats", await sub.presenceStats());
    sub.unsubscribe();
    c.disconnect();
  },

  async recovery() {
    const c = client();
    const sub = watched(c.newSubscription(options.channel));
    sub.subscribe();
    c.connect();
    await sub.ready(5000);
    const first = happens(sub, "publication");
    await publish(options.channel, 1);
    await first;
    c.disconnect();
    for (const data of [2, 3, 4]) await publish(options.channel, data);
    const again = happens(sub, "subscribed");
    c.connect();
    await again;
    const live = happens(sub, "publication");
    await publish(options.channel, 5);
    await live;
    sub.unsubscribe();
    await publish(options.channel, 6);
    sub.subscribe();
    await sub.ready(5000);
    c.disconnect();
  },

  // The newest message is all there is to know.
  async cache() {
    const c = client();
    for (const data of [1, 2]) await publish(options.channel, data);
    const since = { offset: 0, epoch: "" };
    const sub = watched(c.newSubscription(options.channel, { since }));
    const hears = (wanted) =>
      new Promise((done) => sub.on("publication", ({ data }) => data === wanted && done()));
    const first = hears(2);
    sub.subscribe();
    c.connect();
    await first;
    c.disconnect();
    for (const data of [3, 4]) await publish(options.channel, data);
    const newest = hears(4);
    c.connect();
    await newest;
    const live = hears(5);
    await publish(options.channel, 5);
    await live;
    const again = happens(sub, "unsubscribed");
    sub.unsubscribe();
    await again;
    const subscribed = happens(sub, "subscribed");
    sub.subscribe();
    await subscribed;
    c.disconnect();
  },

  // One that hears differences, and one that joins in the middle.
  async deltas() {
    const [c, other] = [client(), client({ token: options.tokens[1] })];
    const price = (n) => ({ n, text: "¿qué precio? ".repeat(20), prices: [...Array(50).keys()] });
    const subscribe = (to) => {
      const sub = watched(to.newSubscription(options.channel, { delta: "fossil" }));
      const heard = (n) =>
        new Promise((done) => sub.on("publication", ({ data }) => read(data).n === n && done()));
      sub.subscribe();
      to.connect();
      return { sub, heard };
    };
    const first = subscribe(c);
    await first.sub.ready(5000);
    for (const n of [1, 2]) {
      const heard = first.heard(n);
      await publish(options.channel, price(n));
      await heard;
    }
    const second = subscribe(other);
    await second.sub.ready(5000);
    for (const n of [3, 4]) {
      const heard = [first.heard(n), second.heard(n)];
      await publish(options.channel, price(n));
      await Promise.all(heard);
    }
    other.disconnect();
    for (const n of [5, 6]) {
      const heard = first.heard(n);
      await publish(options.channel, price(n));
      await heard;
    }
    const recovered = second.heard(6);
    other.connect();
    await recovered;
    const heard = [first.heard(7), second.heard(7)];
    await publish(options.channel, price(7));
    await Promise.all(heard);
    for (const { sub } of [first, second]) tell("deltas", { count: sub._deltaNumDelta });
    c.disconnect();
    other.disconnect();
  },

  // The test stops and starts the server, and publishes meanwhile.
  async restart() {
    const c = client();
    const sub = watched(c.newSubscription(options.channel));
    sub.subscribe();
    c.connect();
    await new Promise((done) => sub.on("publication", ({ data }) => read(data) === "last" && done()));
    c.disconnect();
  },

  async refresh() {
    const c = client({ token: "", getToken: tokens(options.tokens, "connection") });
    c.connect();
    await new Promise((done) => setTimeout(done, options.milliseconds));
    tell("state", { state: c.state });
    c.disconnect();
  },

  async private() {
    const c = client();
    const getToken = tokens(options.subscriptionTokens, "subscription");
    const sub = watched(c.newSubscription(options.channel, { getToken }));
    sub.subscribe();
    c.connect();
    await sub.ready(5000);
    await new Promise((done) => setTimeout(done, options.milliseconds));
    tell("state", { state: sub.state });
    c.disconnect();
  },

  async ended() {
    const c = client();
    c.connect();
    await happens(c, "disconnected");
  },

  async denied() {
    const c = client();
    const sub = watched(c.newSubscription(options.channel));
    sub.subscribe();
    c.connect();
    await happens(sub, "unsubscribed");
    c.disconnect();
  },

  async neighbours() {
    const [c, other] = [client(), client({ token: options.tokens[1] })];
    const sub = watched(c.newSubscription(options.channel));
    sub.on("join", ({ info }) => tell("join", { user: info.user, info: read(info.connInfo) }));
    sub.on("leave", ({ info }) => tell("leave", { user: info.user }));
    sub.subscribe();
    c.connect();
    await sub.ready(5000);
    const otherSub = other.newSubscription(options.channel);
    otherSub.subscribe();
    other.connect();
    await otherSub.ready(5000);
    const left = happens(sub, "leave");
    otherSub.unsubscribe();
    await left;
    other.disconnect();
    c.disconnect();
  },

  async serverSide() {
    const c = client();
    c.on("subscribed", ({ channel, recovered }) => tell("server", { channel, recovered }));
    c.on("publication", ({ channel, data }) => tell("publication", { channel, data: read(data) }));
    c.connect();
    await c.ready(5000);
    const first = happens(c, "publication");
    await publish(options.channel, 1);
    await first;
    c.disconnect();
    await publish(options.channel, 2);
    const second = happens(c, "publication");
    c.connect();
    await second;
    c.disconnect();
  },

  async many() {
    const c = client();
    c.connect();
    const channels = [...Array(100).keys()].map((n) => `${options.channel}-${n}`);
    const subs = channels.map((channel) => c.newSubscription(channel));
    subs.forEach((sub) => sub.subscribe());
    await Promise.all(subs.map((sub) => sub.ready(5000)));
    subs.forEach((sub) => sub.unsubscribe());
    subs.forEach((sub) => sub.subscribe());
    await Promise.all(subs.map((sub) => sub.ready(5000)));
    tell("state", { state: c.state });
    c.disconnect();
  },
};

await scenarios[name]();
tell("done");
