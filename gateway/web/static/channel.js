// One channel that this page listens to: its messages, and an account of its offsets.
//
// Offsets rise by one within an epoch, so whoever counts sees for himself what was lost or came
// twice, whatever the client library and the gateway say about it.

const MESSAGES_MAX = 500;
const EARLIER_MAX = 50;

export class Channel {
  messages = []; // {offset, user, data, isRecovered} or {note}
  people = new Map(); // user → how many clients
  state = "subscribing";
  epoch = "";
  offset = null;
  recovered = 0;
  missed = 0;
  doubled = 0;
  unread = 0;
  #recovering = null; // how many came, while those that were missed come in

  // `arrived(message)` is called for what is new, `rewritten()` when older messages have come before
  // it, `changed()` for everything around them, and `tell(kind, text)` for what happened.
  constructor(client, name, { arrived, rewritten, changed, tell }) {
    this.name = name;
    this.arrived = arrived;
    this.rewritten = rewritten;
    this.changed = changed;
    this.tell = tell;
    const sub = (this.subscription = client.newSubscription(name, { joinLeave: true }));
    sub.on("subscribing", ({ reason }) => this.#enter("subscribing", reason));
    sub.on("subscribed", (context) => this.#subscribed(context));
    sub.on("unsubscribed", ({ code, reason }) => this.#unsubscribed(code, reason));
    sub.on("publication", (publication) => this.#publication(publication));
    sub.on("join", ({ info }) => this.#cameOrWent(info.user, "came"));
    sub.on("leave", ({ info }) => this.#cameOrWent(info.user, "left"));
    sub.on("error", ({ error }) => this.tell("busy", `${name}: ${error.message} (${error.code})`));
    sub.subscribe();
  }

  leave(client) {
    this.subscription.removeAllListeners();
    client.removeSubscription(this.subscription);
  }

  async refreshPeople() {
    if (this.state !== "subscribed") return;
    try {
      const { clients } = await this.subscription.presence();
      this.people = new Map();
      for (const { user } of Object.values(clients)) {
        this.people.set(user, (this.people.get(user) ?? 0) + 1);
      }
    } catch (error) {
      // Not everybody may ask, and after a replica died the others do not know for a while.
      this.people = new Map();
      this.tell("faint", `${this.name}: who is here is not known: ${error.message}`);
    }
    this.changed();
  }

  #enter(state, detail = "") {
    this.state = state;
    this.detail = detail;
    this.changed();
  }

  #subscribed({ wasRecovering, recovered, streamPosition }) {
    const isFirst = this.offset === null;
    const isAnew = this.epoch.length > 1 && streamPosition && this.epoch !== streamPosition.epoch;
    if (wasRecovering && recovered) {
      this.#recovering = 0;
      // What was missed comes from the same call that told us, so it is all here afterwards.
      setTimeout(() => this.#caughtUp(), 0);
    } else if (streamPosition) {
      if (isAnew) {
        this.#break("The channel began anew: what came between is not known.");
        this.tell("bad", `${this.name}: could not recover, its epoch is another one`);
      } else if (!isFirst) {
        this.#skipped(streamPosition.offset - this.offset);
        this.tell("bad", `${this.name}: could not recover everything`);
      }
      this.offset = streamPosition.offset;
    }
    if (streamPosition) this.epoch = streamPosition.epoch;
    if (isFirst) {
      this.tell("good", `${this.name}: listening from offset ${this.offset ?? "–"} on`);
      this.#readEarlier(this.offset);
    }
    this.#enter("subscribed");
    this.refreshPeople();
  }

  #caughtUp() {
    this.tell("good", `${this.name}: recovered true, ${this.#recovering} missed messages came in`);
    this.#recovering = null;
    this.changed();
  }

  #unsubscribed(code, reason) {
    this.tell("bad", `${this.name}: not listening: ${reason} (${code})`);
    this.#enter("unsubscribed", `${reason} (${code})`);
  }

  #publication({ offset, data, info }) {
    const isRecovered = this.#recovering !== null;
    if (isRecovered) {
      this.#recovering += 1;
      this.recovered += 1;
    }
    if (offset && this.offset !== null) {
      if (offset <= this.offset) this.doubled += 1;
      else this.#skipped(offset - this.offset - 1);
      this.offset = Math.max(this.offset, offset);
      if (!this.epoch) this.#readEpoch();
    }
    this.#add({ offset, data, user: info?.user ?? "", isRecovered });
  }

  // A channel in which nothing was ever published has no epoch: its first message makes one.
  async #readEpoch() {
    this.epoch = "…";
    try {
      this.epoch = (await this.subscription.history({ limit: 0 })).epoch;
    } catch {
      this.epoch = ""; // not everybody may ask, and the next message is one more occasion
    }
    this.changed();
  }

  #skipped(count) {
    if (count <= 0) return;
    this.missed += count;
    this.#break(`${count} missed`);
  }

  #break(note) {
    this.#add({ note });
  }

  #add(message) {
    this.messages.push(message);
    if (this.messages.length > MESSAGES_MAX) this.messages.shift();
    this.unread += 1;
    this.arrived(message);
  }

  async #readEarlier(until) {
    if (!until) return;
    try {
      const { publications } = await this.subscription.history({ limit: EARLIER_MAX, reverse: true });
      const earlier = publications
        .filter(({ offset }) => offset <= until)
        .map(({ offset, data, info }) => ({ offset, data, user: info?.user ?? "" }));
      this.messages.unshift(...earlier.reverse());
      this.rewritten();
    } catch (error) {
      this.tell("faint", `${this.name}: no earlier messages: ${error.message}`);
    }
  }

  #cameOrWent(user, what) {
    this.tell("faint", `${this.name}: ${user} ${what}`);
    this.refreshPeople();
  }
}
