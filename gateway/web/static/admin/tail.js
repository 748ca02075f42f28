// What is published to one channel, as it comes in: a usual subscription with the token of whoever
// looks.

import { $, element } from "../view.js";

const { Centrifuge } = globalThis;
const SHOWN_MAX = 200;
const DRAW_MILLISECONDS = 250; // a thousand messages a second are drawn four times

export class Tail {
  #client = null;
  #subscription = null;
  #waiting = [];
  #skipped = 0;
  #timer = 0;

  // `nextToken` gives the next one when the token ends.
  constructor(token, nextToken) {
    const url = new URL("connection/websocket", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    this.#client = new Centrifuge(url.href, {
      token,
      getToken: nextToken,
      minReconnectDelay: 200,
      maxReconnectDelay: 5000,
    });
    this.#client.on("connecting", ({ code, reason }) => {
      if (code !== 0) this.#say(`connection lost: ${reason} (${code}), coming back`);
    });
    this.#client.on("disconnected", ({ code, reason }) => {
      if (code !== 0) this.#say(`the gateway ended the connection: ${reason} (${code})`);
    });
  }

  follow(channel) {
    this.stop();
    $("tail").replaceChildren();
    const subscription = (this.#subscription = this.#client.newSubscription(channel));
    subscription.on("subscribing", () => this.#say(`${channel}: joining`));
    subscription.on("subscribed", () => this.#say(`${channel}: live`));
    subscription.on("unsubscribed", ({ code, reason }) =>
      this.#say(`${channel}: not listening: ${reason} (${code})`));
    subscription.on("publication", (publication) => this.#take(publication));
    subscription.subscribe();
    this.#client.connect();
    $("tail-stop").disabled = false;
  }

  // What was shown stays, for whoever stopped it to read.
  stop() {
    if (this.#subscription === null) return;
    this.#subscription.removeAllListeners();
    this.#client.removeSubscription(this.#subscription);
    this.#client.disconnect();
    this.#subscription = null;
    this.#say("stopped");
    $("tail-stop").disabled = true;
  }

  #say(text) {
    $("tail-state").textContent = text;
  }

  #take(publication) {
    this.#waiting.push(publication);
    if (this.#waiting.length > SHOWN_MAX) {
      this.#waiting.shift();
      this.#skipped += 1;
    }
    this.#timer ||= setTimeout(() => this.#draw(), DRAW_MILLISECONDS);
  }

  #draw() {
    this.#timer = 0;
    const list = $("tail");
    // Who has scrolled up reads, and is not to be pulled down.
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    if (this.#skipped) list.append(element("li", "break", `${this.#skipped} more were not shown`));
    list.append(...this.#waiting.map(lineOf));
    [this.#waiting, this.#skipped] = [[], 0];
    while (list.childElementCount > SHOWN_MAX) list.firstElementChild.remove();
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  }
}

function lineOf({ offset, data, info }) {
  const isText = typeof data === "string";
  const line = element("li");
  line.append(
    element("span", "offset", offset ?? ""),
    element("span", "who", info?.user || "–"),
    element("span", isText ? "data" : "data json", isText ? data : JSON.stringify(data)),
  );
  return line;
}
