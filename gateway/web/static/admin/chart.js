// Lines over the last minutes, drawn as SVG. Their colours stand in admin.css.

const SVG = "http://www.w3.org/2000/svg";
const SECONDS = 300;
const GAP_SECONDS = 7; // looks that are further apart have something unknown between them
const LEFT = 62;
const [RIGHT, TOP, BOTTOM] = [590, 12, 156];

export class Chart {
  // `lines` are names of numbers in a point, `words` says such a number with its unit.
  constructor(svg, lines, words) {
    this.svg = svg;
    this.lines = lines;
    this.words = words;
  }

  draw(points, now) {
    const visible = points.filter(({ time }) => now - time <= SECONDS);
    const highest = Math.max(0, ...visible.flatMap((point) => this.lines.map((name) => point[name])));
    const top = roundUp(highest);
    const x = (time) => RIGHT - ((now - time) / SECONDS) * (RIGHT - LEFT);
    const y = (value) => BOTTOM - (value / top) * (BOTTOM - TOP);
    const parts = [];
    for (const part of [0, 0.5, 1]) {
      parts.push(shape("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: y(part * top), y2: y(part * top) }));
      parts.push(text(this.words(part * top), LEFT - 6, y(part * top) + 4, "end"));
    }
    for (let minutes = 0; minutes * 60 <= SECONDS; minutes += 1) {
      const anchor = minutes === 0 ? "end" : "middle";
      parts.push(text(minutes === 0 ? "now" : `−${minutes} min`, x(now - minutes * 60), BOTTOM + 18, anchor));
    }
    for (const name of this.lines) {
      const d = pathOf(visible, name, x, y);
      if (d) parts.push(shape("path", { class: `line ${name}`, d }));
    }
    this.svg.replaceChildren(...parts);
  }
}

function pathOf(points, name, x, y) {
  let d = "";
  let before = null;
  for (const point of points) {
    if (point[name] === null) {
      before = null;
      continue;
    }
    const isGoingOn = before !== null && point.time - before <= GAP_SECONDS;
    const at = `${x(point.time).toFixed(1)} ${y(point[name]).toFixed(1)}`;
    // A point alone is a line as well, of no length, which round ends make a dot.
    d += isGoingOn ? `L${at}` : `M${at}h0`;
    before = point.time;
  }
  return d;
}

// 1, 2 or 5 and noughts.
function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= value);
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function text(words, x, y, anchor) {
  const made = shape("text", { x, y, "text-anchor": anchor });
  made.textContent = words;
  return made;
}
