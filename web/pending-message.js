// A message that the server has not confirmed, with its problem if the server refused it.

import { h } from "./dom.js";
import { codeText } from "./errors.js";

export function pendingMessage(outbox, entry) {
  const state = entry.error
    ? h(
        "span",
        { class: "error", role: "alert" },
        codeText(entry.error),
        h("button", { type: "button", onclick: () => outbox.retry(entry) }, "Try again"),
        h("button", { type: "button", onclick: () => outbox.discard(entry) }, "Delete"),
      )
    : h("span", {}, "Sending…");
  const receiver = entry.to.handle ? h("span", {}, `To @${entry.to.handle}`) : null;
  return h("article", { class: "message mine pending" }, receiver, h("p", { dir: "auto" }, entry.text), state);
}
