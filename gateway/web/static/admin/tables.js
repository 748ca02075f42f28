// The replicas and the channels, as of the last look.

import { $ } from "../view.js";
import { Rows } from "./rows.js";
import { UNKNOWN, perSecond, seconds, span } from "./words.js";

const REMEMBERED_MILLISECONDS = 300_000;

const known = new Map(); // replica → {line, rate, drains, seen, isHere}; a lost one is shown

const replicas = new Rows(
  $("replicas").tBodies[0],
  [
    { text: ({ replica }) => replica },
    { text: stateOf, kind: "state" },
    { text: ({ line, isHere }) => (isHere ? redisOf(line.redis) : UNKNOWN) },
    { text: ({ line, isHere }) => (isHere ? line.sockets.toLocaleString("en") : UNKNOWN), kind: "number" },
    { text: ({ line, isHere }) => (isHere ? line.channels.toLocaleString("en") : UNKNOWN), kind: "number" },
    { text: ({ rate }) => perSecond(rate?.deliveries), kind: "number" },
    { text: ({ rate }) => seconds(rate?.p99), kind: "number" },
    { text: ({ line, isHere }) => (isHere ? seconds(line.loop_lag_max_seconds) : UNKNOWN), kind: "number" },
    { text: ({ line, isHere }) => (isHere ? span(line.uptime_seconds) : UNKNOWN), kind: "number" },
    { text: ({ line }) => line.version },
  ],
  {
    label: "Drain",
    name: ({ replica }) => `Drain ${replica}`,
    isOff: ({ drains, isHere }) => !isHere || drains,
    act: (item) => actions.drain(item),
  },
);

const channels = new Rows(
  $("channels-table").tBodies[0],
  [
    { text: ({ channel }) => channel },
    { text: ({ listeners }) => listeners.toLocaleString("en"), kind: "number" },
    { text: ({ rate }) => perSecond(rate), kind: "number" },
    { text: ({ offset }) => String(offset), kind: "number" },
  ],
  {
    label: "Tail",
    name: ({ channel }) => `Tail ${channel}`,
    isOff: () => false,
    act: (item) => actions.follow(item),
  },
);

const actions = {};

export function showReplicas(lines, rates, { drain }) {
  actions.drain = drain;
  if (lines.length === 0) known.clear();
  const now = Date.now();
  for (const entry of known.values()) entry.isHere = false;
  for (const line of lines) {
    const rate = rates.get(line.replica);
    const before = known.get(line.replica);
    const isAnother = !before || line.uptime_seconds < before.line.uptime_seconds;
    const drains = line.draining || (!isAnother && before.drains);
    known.set(line.replica, { replica: line.replica, line, rate, drains, seen: now, isHere: true });
  }
  for (const [name, entry] of known) {
    if (now - entry.seen > REMEMBERED_MILLISECONDS) known.delete(name);
    if (!entry.isHere) entry.rate = null;
    entry.kind = kindOf(entry);
  }
  replicas.show(new Map([...known].sort(([a], [b]) => a.localeCompare(b))));
}

// One with few sockets is gone before the next look could see it drain.
export function noteDrain(replica) {
  const entry = known.get(replica);
  if (entry) entry.drains = true;
}

export function showChannels(found, rates, { follow }) {
  actions.follow = follow;
  $("channels-empty").hidden = found.length > 0;
  channels.show(new Map(found.map((one) =>
    [one.channel, { ...one, rate: rates.get(one.channel) }])));
}

export function showFacts(lines, { published, deliveries, median, p99 }) {
  const facts = {
    replicas: lines.length,
    sockets: lines.reduce((sum, line) => sum + line.sockets, 0).toLocaleString("en"),
    published: `${perSecond(published)}/s`,
    deliveries: `${perSecond(deliveries)}/s`,
    median: seconds(median),
    p99: seconds(p99),
  };
  for (const [name, text] of Object.entries(facts)) $("fact-" + name).textContent = text;
}

export function showMissing(text) {
  if ($("missing").textContent !== text) $("missing").textContent = text;
  $("missing").hidden = text === "";
}

function stateOf({ line, drains, seen, isHere }) {
  const last = new Date(seen).toLocaleTimeString("en-GB");
  if (!isHere) return drains ? `left after its drain, ${last}` : `not heard since ${last}`;
  return line.trouble || "ready";
}

function kindOf({ line, drains, isHere }) {
  if (!isHere) return drains ? "left" : "lost";
  if (drains) return "draining";
  return line.trouble ? "troubled" : "";
}

function redisOf({ used, troubles, proof_age_seconds: age, reconnects }) {
  if (!used) return "not used";
  if (troubles.length) return troubles.join("; ");
  const lost = reconnects ? `, lost ${reconnects} times` : "";
  return `proved ${seconds(age)} ago${lost}`;
}
