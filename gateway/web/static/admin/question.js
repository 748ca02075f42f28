// Asking before something is done that cannot be undone.

import { $ } from "../view.js";

// Whether the answer is yes; Escape and the first button are a no.
export function confirmed(title, text, yes) {
  const dialog = $("question");
  if (dialog.open) return Promise.resolve(false);
  $("question-title").textContent = title;
  $("question-text").textContent = text;
  $("question-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  $("question-no").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

$("question-no").addEventListener("click", () => $("question").close("no"));
$("question-yes").addEventListener("click", () => $("question").close("yes"));
