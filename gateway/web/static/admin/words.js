// Numbers and times as people read them.

export const UNKNOWN = "–";

export function perSecond(rate) {
  if (rate === null || rate === undefined) return UNKNOWN;
  if (rate > 0 && rate < 10) return rate.toFixed(1);
  return Math.round(rate).toLocaleString("en");
}

export function seconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return "0";
  if (value >= 1) return `${value.toPrecision(2)} s`;
  const milliseconds = value * 1000;
  return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
}

export function span(value) {
  const minutes = Math.floor(value / 60);
  if (minutes < 1) return `${Math.floor(value)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

export function moment(secondsSince1970) {
  return new Date(secondsSince1970 * 1000).toLocaleString("en-GB");
}

export function count(number, one, many = one + "s") {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
