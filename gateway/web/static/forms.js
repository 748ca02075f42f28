// What people write, and when it is taken.

import { $, showNotice } from "./view.js";

// A form's fields, once at a time: the buttons that send it rest until the work is done.
export function onSubmit(id, work) {
  const form = $(id);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const buttons = [...form.querySelectorAll("button[type=submit]")];
    if (buttons.some((button) => button.disabled)) return;
    const fields = Object.fromEntries(new FormData(form));
    buttons.forEach((button) => (button.disabled = true));
    try {
      if ((await work(fields, event.submitter?.value)) !== false) form.reset();
    } catch (error) {
      showNotice(error.message);
    } finally {
      buttons.forEach((button) => (button.disabled = false));
    }
  });
}

// What is a JSON object is sent as one, and anything else as text.
export function dataOf(text) {
  if (!text.trimStart().startsWith("{")) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
