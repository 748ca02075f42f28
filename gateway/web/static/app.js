// The wiring: who signed in gets a connection, and each channel a subscription on it.

import { Account } from "./account.js";
import { Refused } from "./call.js";
import { Channel } from "./channel.js";
import { dataOf, onSubmit } from "./forms.js";
import {
  $, showChannels, showConnection, showEntrance, showEvent, showFacts, showMessage, showMessages,
  showNotice,
} from "./view.js";

const { Centrifuge } = globalThis;
const FIRST_CHANNEL = "noticias";
const PEOPLE_MILLISECONDS = 10_000; // for namespaces in which nobody is told who comes and goes

const REFUSED_FROM = 100; // below are the client's own errors, and 100 is a fault in the middle

let account = null;
let client = null;
let channels = [];
let chosen = null;
let attempts = 0;

function enter(newAccount) {
  account = newAccount;
  showNotice("");
  showEntrance(false);
  $("me-name").textContent = account.name;
  $("events").replaceChildren();
  connect();
  listen(FIRST_CHANNEL);
}

function connect() {
  const url = new URL("connection/websocket", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  client = new Centrifuge(url.href, {
    token: account.token,
    getToken: nextToken,
    minReconnectDelay: 200,
    maxReconnectDelay: 5000,
  });
  client.on("connecting", ({ code, reason }) => {
    attempts = 1;
    if (code !== 0) showEvent("busy", `Connection lost: ${reason} (${code})`);
    drawConnection();
  });
  client.on("error", ({ error }) => {
    showEvent("busy", `Attempt ${attempts} failed: ${error.message} (${error.code})`);
    attempts += 1;
    drawConnection();
  });
  client.on("connected", () => {
    showEvent("good", `Connected at attempt ${attempts}`);
    drawConnection();
  });
  client.on("disconnected", ({ code, reason }) => {
    drawConnection();
    if (code !== 0) leaveRoom(`The gateway ended the connection: ${reason} (${code})`);
  });
  client.connect();
}

async function nextToken() {
  // Without a refresh token this is the end: a token that was pasted, or a page that was reloaded.
  if (!account.canRefresh) throw new Centrifuge.UnauthorizedError("the token has ended");
  try {
    return await account.refresh();
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      throw new Centrifuge.UnauthorizedError(error.message);
    }
    throw error; // the client tries once more
  }
}

function leaveRoom(notice = "") {
  account.forget();
  for (const channel of channels) channel.leave(client);
  client.disconnect();
  [account, client, channels, chosen] = [null, null, [], null];
  showEntrance(true);
  showNotice(notice);
}

function listen(name) {
  const there = channels.find((channel) => channel.name === name);
  if (there) return choose(there);
  const ifChosen = (show) => (...given) => {
    if (channel === chosen) show(...given);
    drawAll();
  };
  const channel = new Channel(client, name, {
    arrived: ifChosen(showMessage),
    rewritten: ifChosen(() => showMessages(channel)),
    changed: drawAll,
    tell: showEvent,
  });
  channels.push(channel);
  choose(channel);
}

function choose(channel) {
  chosen = channel;
  showMessages(chosen);
  drawAll();
}

function stopListening(channel) {
  channel.leave(client);
  channels = channels.filter((each) => each !== channel);
  showEvent("faint", `${channel.name}: stopped listening`);
  if (chosen === channel) choose(channels.at(-1) ?? null);
  else drawAll();
}

// Once for all that arrived together: a crowd of messages is drawn in one go.
let isDrawing = false;
function drawAll() {
  if (isDrawing) return;
  isDrawing = true;
  queueMicrotask(() => {
    isDrawing = false;
    if (chosen) chosen.unread = 0;
    showChannels(channels, chosen, { choose, leave: stopListening });
    showFacts(chosen);
  });
}

function drawConnection() {
  const texts = {
    connected: "Connected",
    connecting: attempts > 1 ? `Connecting, attempt ${attempts}` : "Connecting",
    disconnected: "Disconnected",
  };
  if (client) showConnection(client.state, texts[client.state]);
}

async function publish(text) {
  const { name, subscription } = chosen;
  $("publish-state").textContent = "Sending …";
  try {
    await subscription.publish(dataOf(text));
    $("publish-state").textContent = `Published to ${name}.`;
    return true;
  } catch (error) {
    // Without an answer it may have been published, and so it is not sent again by itself.
    const what = error.code > REFUSED_FROM ? "Refused" : "Perhaps published, perhaps not";
    $("publish-state").textContent = `${what}: ${error.message} (${error.code})`;
    return false;
  }
}

onSubmit("log-in", async ({ username, password }, way) =>
  enter(await (way === "register" ? Account.register : Account.logIn)(username, password)));
onSubmit("use-token", async ({ token }) => enter(new Account(token.trim())));
onSubmit("try-demo", async ({ name }) => enter(await Account.comeIn(name)));
onSubmit("join", async ({ channel }) => listen(channel));
onSubmit("publish", ({ text }) => publish(text));

$("log-out").addEventListener("click", async () => {
  const leaving = account;
  leaveRoom();
  try {
    await leaving.logOut();
  } catch (error) {
    showNotice(`Forgotten here, but the gateway did not hear it: ${error.message}`);
  }
});

setInterval(() => {
  if (document.visibilityState === "visible") chosen?.refreshPeople();
}, PEOPLE_MILLISECONDS);

const { demo, registration } = document.documentElement.dataset;
$("try-demo").hidden = demo !== "yes";
$("register").hidden = registration !== "yes";
const remembered = Account.remembered();
if (remembered) enter(remembered);
else showEntrance(true);
