// What happened between two looks. The gateway keeps no history: it counts, and counts become rates
// here.

const POINTS_MAX = 150; // five minutes of looks
const FORGET_SECONDS = 300;
const RATE_SECONDS = 10; // of a channel, whose offsets come without a time
const LEAP = 1e8; // nobody published so much: offsets leap behind a restart of Redis

export class ReplicaRates {
  points = []; // {time, published, deliveries, median, p99}; null where nothing is known
  #before = new Map(); // replica → {line, time} of the last look that it was in

  // The rates of each replica, by name; null for one that is new or has begun anew.
  take(lines, time) {
    const rates = new Map();
    for (const line of lines) {
      const before = this.#before.get(line.replica);
      rates.set(line.replica, before ? between(before.line, line) : null);
      this.#before.set(line.replica, { line, time });
    }
    for (const [name, { time: seen }] of this.#before) {
      if (time - seen > FORGET_SECONDS) this.#before.delete(name);
    }
    this.points.push({ time, ...together([...rates.values()].filter(Boolean)) });
    if (this.points.length > POINTS_MAX) this.points.shift();
    return rates;
  }
}

function between(before, now) {
  // Each by its own clock: answers are under way for longer or shorter.
  const seconds = now.uptime_seconds - before.uptime_seconds;
  if (seconds <= 0) return null;
  const bounds = now.latency.bounds_seconds;
  const counts = now.latency.counts.map((count, n) => count - before.latency.counts[n]);
  return {
    published: (now.published - before.published) / seconds,
    deliveries: (now.deliveries - before.deliveries) / seconds,
    bounds,
    counts,
    p99: quantile(0.99, bounds, counts),
  };
}

function together(rates) {
  if (rates.length === 0) return { published: null, deliveries: null, median: null, p99: null };
  const sum = (name) => rates.reduce((total, rate) => total + rate[name], 0);
  const [{ bounds }] = rates;
  const alike = rates.filter((rate) => rate.bounds.length === bounds.length); // of one version
  const counts = bounds.concat(Infinity).map((_, n) =>
    alike.reduce((total, rate) => total + rate.counts[n], 0));
  return {
    published: sum("published"),
    deliveries: sum("deliveries"),
    median: quantile(0.5, bounds, counts),
    p99: quantile(0.99, bounds, counts),
  };
}

// As Prometheus reckons: evenly spread within a bucket; null where there is nothing.
export function quantile(part, bounds, counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total <= 0) return null;
  let below = 0;
  for (const [n, bound] of bounds.entries()) {
    const count = counts[n];
    if (count > 0 && below + count >= part * total) {
      const lower = n === 0 ? 0 : bounds[n - 1];
      return lower + (bound - lower) * ((part * total - below) / count);
    }
    below += count;
  }
  return bounds.at(-1);
}

export class ChannelRates {
  #seen = new Map(); // channel → looks of the last seconds: {time, epoch, offset}

  // Messages a second of each channel, by name; null where that is not known yet.
  take(channels, time) {
    const seen = new Map();
    const rates = new Map();
    for (const { channel, epoch, offset } of channels) {
      const looks = (this.#seen.get(channel) ?? []).filter(
        (look) => time - look.time <= RATE_SECONDS && isContinued(look, epoch, offset));
      const [first] = looks;
      rates.set(channel, first ? (offset - first.offset) / (time - first.time) : null);
      seen.set(channel, [...looks, { time, epoch, offset }]);
    }
    this.#seen = seen;
    return rates;
  }
}

// A channel in which nothing was ever published has no epoch, and its first message makes one.
function isContinued(look, epoch, offset) {
  const isSame = look.epoch === epoch || look.epoch === "";
  return isSame && offset >= look.offset && offset - look.offset < LEAP;
}
