// The wiring of the page for administrators: look every two seconds, show it, and do what is asked.

import { Account } from "./account.js";
import { Chart } from "./admin/chart.js";
import { confirmed } from "./admin/question.js";
import { ChannelRates, ReplicaRates } from "./admin/rates.js";
import { noteDrain, showChannels, showFacts, showMissing, showReplicas } from "./admin/tables.js";
import { Tail } from "./admin/tail.js";
import { showConnected, showUser } from "./admin/user.js";
import { count, perSecond, seconds } from "./admin/words.js";
import { Refused, call } from "./call.js";
import { dataOf, onSubmit } from "./forms.js";
import { $, showConnection, showEntrance, showEvent, showNotice } from "./view.js";

const { Centrifuge } = globalThis;
const LOOK_MILLISECONDS = 2000;

const charts = [
  ["fan-out", new Chart($("fan-out"), ["deliveries"], perSecond)],
  ["latency", new Chart($("latency"), ["p99", "median"], seconds)],
];

let account = null;
let refreshing = null;
let tail = null;
let timer = 0;
let lastLook = 0;
let replicaRates, channelRates;

// Signing in and out.

function enter(newAccount) {
  account = newAccount;
  replicaRates = new ReplicaRates();
  channelRates = new ChannelRates();
  tail = new Tail(account.token, tokenForTail);
  $("me-name").textContent = account.name;
  $("events").replaceChildren();
  showNotice("");
  showEntrance(false);
  // Nothing of the cluster is shown before the gateway has said that this is an administrator.
  $("room").hidden = $("refusal").hidden = true;
  showConnection("connecting", "Looking");
  look();
}

function leave(notice = "") {
  clearTimeout(timer);
  lastLook += 1;
  tail?.stop();
  account?.forget();
  [account, tail] = [null, null];
  showReplicas([], new Map(), { drain });
  showChannels([], new Map(), { follow });
  $("user").hidden = $("connected").hidden = $("refusal").hidden = true;
  $("tail").replaceChildren();
  $("question").close("no");
  showEntrance(true);
  showNotice(notice);
}

// Once for all who need it at the same time: a refresh token works once.
function refreshed(of) {
  refreshing ??= of.refresh().finally(() => (refreshing = null));
  return refreshing;
}

async function ask(method, path, body, headers = {}) {
  const asking = account;
  try {
    return await call(method, path, { body, headers, token: asking.token });
  } catch (error) {
    if (!(error instanceof Refused && error.status === 401 && asking.canRefresh)) throw error;
    const token = await refreshed(asking);
    return await call(method, path, { body, headers, token });
  }
}

async function tokenForTail() {
  if (!account?.canRefresh) throw new Centrifuge.UnauthorizedError("the token has ended");
  return refreshed(account);
}

// Looking.

async function look() {
  clearTimeout(timer);
  if (account === null || document.hidden) return;
  const number = (lastLook += 1); // of looks that cross each other the newest counts
  try {
    const query = new URLSearchParams({ pattern: $("pattern").value || "*" });
    const [overview, channels] = await Promise.all([
      ask("GET", "admin/overview"), ask("GET", `admin/channels?${query}`),
    ]);
    if (number === lastLook) show(overview, channels);
  } catch (error) {
    if (number === lastLook) lookFailed(error);
  }
  // The next look waits for this one: a gateway in trouble gets no crowd of questions.
  if (number === lastLook) timer = setTimeout(look, LOOK_MILLISECONDS);
}

function show(overview, channels) {
  const now = performance.now() / 1000;
  const rates = replicaRates.take(overview.replicas, now);
  const point = replicaRates.points.at(-1);
  $("room").hidden = false;
  $("refusal").hidden = true;
  showConnection("connected", `Seen at ${new Date().toLocaleTimeString("en-GB")}`);
  showMissing(overview.missing || channels.missing);
  showReplicas(overview.replicas, rates, { drain });
  showChannels(channels.channels, channelRates.take(channels.channels, now), { follow });
  showFacts(overview.replicas, point);
  for (const [, chart] of charts) chart.draw(replicaRates.points, now);
  $("fan-out-text").textContent = `Now ${perSecond(point.deliveries)} a second.`;
  $("latency-text").textContent =
    `Now ${seconds(point.median)} for half of them (thin), ${seconds(point.p99)} for 99 of 100.`;
}

function lookFailed(error) {
  if (error instanceof Refused && error.status === 401) {
    leave(`You are signed out: ${error.message}`);
  } else if (error instanceof Refused && error.status === 403) {
    $("room").hidden = true;
    $("refusal").hidden = false;
    $("refusal-text").textContent =
      `${account.name} may not see it: ${error.message}. Log out, and sign in as an administrator.`;
    showConnection("disconnected", "Refused");
  } else {
    showConnection("disconnected", "No answer");
    showMissing(`The gateway does not answer: ${error.message}. What you see is of before.`);
  }
}

document.addEventListener("visibilitychange", look);
$("pattern").addEventListener("input", look);

// Doing. Each says what happened, also where it was refused.

async function doing(what, work) {
  try {
    showEvent("good", await work());
    showNotice("");
  } catch (error) {
    showEvent("bad", `${what}: ${error.message}`);
    showNotice(`${what}: ${error.message}`);
  }
}

async function drain({ replica, line }) {
  const text = `Its ${count(line.sockets, "socket")} will be closed and come back elsewhere. ` +
    "Then its process ends; it is for whatever watches over it to start it again.";
  if (!(await confirmed(`Drain ${replica}?`, text, "Drain it"))) return;
  await doing(`${replica} was not drained`, async () => {
    const done = await ask("POST", `drain?${new URLSearchParams({ replica })}`);
    noteDrain(replica);
    return `${replica} drains ${count(done.sockets, "socket")}, ` +
      `and ends within ${done.ends_within_seconds} s`;
  });
}

function follow({ channel }) {
  $("tail-form").elements.channel.value = $("publish").elements.channel.value = channel;
  tail.follow(channel);
}

async function publish({ channel, text }) {
  const path = `publish/${encodeURIComponent(channel)}?receipt=1`;
  const { offset, receipt } = await ask("POST", path, { data: dataOf(text) });
  $("publish-state").textContent = `Published to ${channel} at offset ${offset}: handed to ` +
    `${count(receipt.sockets, "socket")} on ${count(receipt.replicas, "replica")}.`;
  $("publish").elements.text.value = "";
  return false; // the channel stays for the next one
}

async function find(name) {
  const user = await ask("GET", `admin/users/${encodeURIComponent(name)}`);
  showNotice("");
  showUser(user, { disconnect: (client) => disconnect(user.user, client) });
  $("disconnect").onclick = () => disconnect(user.user);
  $("log-out-everywhere").onclick = () => logOutEverywhere(user.user);
}

async function disconnect(user, client = "") {
  const what = client ? "This connection" : "All connections";
  const text = `${what} of ${user} will be closed, on every replica. Nothing keeps the user from ` +
    "coming back.";
  if (!(await confirmed(`Disconnect ${user}?`, text, "Disconnect"))) return;
  await doing(`${user} was not disconnected`, async () => {
    const body = client ? { user, client } : { user };
    await ask("POST", "api/disconnect", body, { "X-Centrifugo-Error-Mode": "transport" });
    return `${what} of ${user} were told to go`;
  });
  await doing(`${user} cannot be looked at`, () => lookAgain(user));
}

async function logOutEverywhere(user) {
  const text = `Every login, token and connection of ${user} ends now, on every replica. ` +
    "The user may log in again.";
  if (!(await confirmed(`Log ${user} out everywhere?`, text, "Log out"))) return;
  await doing(`${user} was not logged out`, async () => {
    const done = await ask("POST", `users/${encodeURIComponent(user)}/logout`);
    const later = done.everywhere ? "" : "; replicas that cannot be reached learn of it later";
    return `${user} is logged out everywhere${later}`;
  });
  await doing(`${user} cannot be looked at`, () => lookAgain(user));
}

async function lookAgain(user) {
  await find(user);
  return `${user} as it is now`;
}

onSubmit("log-in", async ({ username, password }) =>
  enter(await Account.logIn(username, password)));
onSubmit("use-token", async ({ token }) => enter(new Account(token.trim())));
onSubmit("tail-form", ({ channel }) => {
  follow({ channel });
  return false;
});
onSubmit("publish", publish);
onSubmit("find", async ({ user }) => {
  await find(user);
  return false;
});
$("tail-stop").addEventListener("click", () => tail.stop());
$("who").addEventListener("click", () =>
  doing("Who is connected is not known", async () => {
    const { count: all, users } = await ask("GET", "users/connected");
    showConnected(users, { choose: (name) => doing(`${name} was not found`, () => lookAgain(name)) });
    return `${count(all, "user")} connected`;
  }));
$("log-out").addEventListener("click", async () => {
  const leaving = account;
  leave();
  try {
    await leaving.logOut();
  } catch (error) {
    showNotice(`Forgotten here, but the gateway did not hear it: ${error.message}`);
  }
});

const remembered = Account.remembered();
if (remembered) enter(remembered);
else showEntrance(true);
