// A table that is shown again and again.

import { element } from "../view.js";

// Rows stay, and only what is in their cells changes: the focus of whoever goes through a table
// with the keyboard stays where it is, and so does what somebody has marked with the mouse.
export class Rows {
  #rows = new Map();

  // `columns` are {text(item), kind?}; `action` is {label, name(item), isOff(item), act(item)}.
  constructor(body, columns, action) {
    this.body = body;
    this.columns = columns;
    this.action = action;
  }

  // `items` by their keys, in the order in which they are to stand.
  show(items) {
    for (const [key, { row }] of this.#rows) {
      if (items.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    for (const [key, item] of items) {
      if (!this.#rows.has(key)) this.#rows.set(key, this.#make());
      this.#fill(this.#rows.get(key), item);
    }
    const wanted = [...items.keys()].map((key) => this.#rows.get(key).row);
    if (wanted.every((row, n) => row === this.body.children[n])) return;
    const focused = document.activeElement;
    this.body.replaceChildren(...wanted);
    if (this.body.contains(focused)) focused.focus();
  }

  #make() {
    const row = element("tr");
    const cells = this.columns.map(({ kind }, n) => element(n === 0 ? "th" : "td", kind ?? ""));
    cells[0].scope = "row";
    const button = element("button", "small quiet", this.action.label);
    button.type = "button";
    const last = element("td");
    last.append(button);
    row.append(...cells, last);
    const made = { row, cells, button, item: null };
    button.addEventListener("click", () => this.action.act(made.item));
    return made;
  }

  #fill(made, item) {
    made.item = item;
    made.row.className = item.kind ?? "";
    this.columns.forEach(({ text }, n) => setText(made.cells[n], text(item)));
    made.button.disabled = this.action.isOff(item);
    made.button.setAttribute("aria-label", this.action.name(item));
  }
}

function setText(cell, text) {
  if (cell.textContent !== text) cell.textContent = text;
}
