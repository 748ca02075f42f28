// What is on the screen. Everything that came from outside is set with textContent: it is text.

const MESSAGES_MAX = 500;
const EVENTS_MAX = 200;

export const $ = (id) => document.getElementById(id);

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function showEntrance(isShown) {
  $("entrance").hidden = !isShown;
  $("room").hidden = isShown;
  $("me").hidden = isShown;
  $("connection").hidden = isShown;
}

export function showNotice(text) {
  $("notice").textContent = text;
  $("notice").hidden = text === "";
}

export function showConnection(state, text) {
  $("connection").className = state;
  $("connection-text").textContent = text;
}

export function showEvent(kind, text) {
  const now = new Date();
  const time = element("time", "", now.toLocaleTimeString("en-GB"));
  time.dateTime = now.toISOString();
  const line = element("li");
  line.append(time, element("span", kind, text));
  $("events").prepend(line);
  while ($("events").childElementCount > EVENTS_MAX) $("events").lastElementChild.remove();
}

export function showChannels(channels, chosen, { choose, leave }) {
  const lines = channels.map((channel) => {
    const isChosen = channel === chosen;
    const button = element("button", `choose ${dotOf(channel.state)}`);
    button.type = "button";
    button.setAttribute("aria-pressed", String(isChosen));
    const dot = element("span", "dot");
    dot.setAttribute("aria-hidden", "true");
    button.append(dot, element("span", "name", channel.name));
    if (channel.unread && !isChosen) {
      const unread = element("span", "unread", String(channel.unread));
      unread.setAttribute("aria-label", `${channel.unread} new`);
      button.append(unread);
    }
    button.addEventListener("click", () => choose(channel));
    const end = element("button", "leave", "×");
    end.type = "button";
    end.setAttribute("aria-label", `Stop listening to ${channel.name}`);
    end.addEventListener("click", () => leave(channel));
    const line = element("li");
    line.append(button, end);
    return line;
  });
  replaceKeepingFocus($("channels"), lines);
}

const dotOf = (state) =>
  ({ subscribed: "connected", subscribing: "connecting" })[state] ?? "disconnected";

// A new list would take the focus away from who goes through it with the keyboard.
function replaceKeepingFocus(list, lines) {
  const buttons = [...list.querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  list.replaceChildren(...lines);
  if (at >= 0) list.querySelectorAll("button")[at]?.focus();
}

export function showFacts(channel) {
  $("channel-title").textContent = channel?.name ?? "No channel";
  $("channel-state").textContent = channel
    ? [channel.state, channel.detail].filter(Boolean).join(": ")
    : "";
  $("publish").hidden = $("publish-state").hidden = !channel;
  $("fact-offset").textContent = channel?.offset ?? "–";
  $("fact-epoch").textContent = channel?.epoch || "–";
  for (const name of ["recovered", "missed", "doubled"]) {
    const count = channel?.[name] ?? 0;
    $("fact-" + name).textContent = count;
    $("fact-" + name).classList.toggle("wrong", count > 0 && name !== "recovered");
  }
  const people = [...(channel?.people ?? [])].sort(([a], [b]) => a.localeCompare(b));
  $("people-count").textContent = people.length || "";
  const lines = people.map(([user, count]) =>
    element("li", "", count > 1 ? `${user} × ${count}` : user));
  $("people").replaceChildren(...(lines.length ? lines : [element("li", "empty", "Nobody that we know of.")]));
}

export function showMessages(channel) {
  $("messages").replaceChildren(...(channel?.messages ?? []).map(messageLine));
  if (channel && channel.messages.length === 0) {
    $("messages").append(element("li", "break empty", "Nothing yet. What is published from now on comes here."));
  }
  $("messages").scrollTop = $("messages").scrollHeight;
}

export function showMessage(message) {
  const list = $("messages");
  // Who has scrolled up reads, and is not to be pulled down.
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.querySelector(".empty")?.remove();
  list.append(messageLine(message));
  while (list.childElementCount > MESSAGES_MAX) list.firstElementChild.remove();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

function messageLine({ note, offset, user, data, isRecovered }) {
  if (note !== undefined) return element("li", "break", note);
  const line = element("li", isRecovered ? "recovered" : "");
  if (isRecovered) line.title = "recovered after a reconnect";
  const isText = typeof data === "string";
  line.append(
    element("span", "offset", offset ?? ""),
    element("span", "who", user || "–"),
    element("span", isText ? "data" : "data json", isText ? data : JSON.stringify(data)),
  );
  return line;
}
