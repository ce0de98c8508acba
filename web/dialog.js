// A question in front of the page. The rest of the page waits for the answer.

import { h } from "./dom.js";
import { errorText } from "./errors.js";

/**
 * Show a dialog within `parent`. The button `action` calls `act()`; if that fails, the dialog stays and says why.
 * Without `act`, the button only closes the dialog. Resolves at the end: to whether the button did its work.
 */
export async function ask(parent, { title, content, action, act = null }) {
  let isDone = false;
  const problem = h("p", { class: "error", role: "alert" });
  const button = h("button", { class: "primary" }, action);
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await act?.();
      isDone = true;
      dialog.close();
    } catch (error) {
      problem.textContent = errorText(error);
      button.disabled = false;
      button.focus(); // a disabled button has lost the focus
    }
  };
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const dialog = h(
    "dialog",
    { class: "card", "aria-labelledby": "dialog-title" },
    h("h2", { id: "dialog-title" }, title),
    h("form", { onsubmit: submit }, ...content, problem, h("div", { class: "buttons" }, button, act && cancel)),
  );
  parent.append(dialog);
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve));
  dialog.remove();
  return isDone;
}
