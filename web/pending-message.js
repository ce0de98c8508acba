// A message that the server has not confirmed, with its problem if the server refused it.

import { h } from "./dom.js";
import { codeText } from "./errors.js";
import { momentText, waitText } from "./words.js";

export function pendingMessage(outbox, entry) {
  const text = pendingText(outbox, entry);
  const state = entry.error
    ? h(
        "span",
        { class: "error", role: "alert" },
        text,
        h("button", { type: "button", onclick: () => outbox.retry(entry) }, "Try again"),
        h("button", { type: "button", onclick: () => outbox.discard(entry) }, "Delete"),
      )
    : h("span", { role: "status" }, text);
  const receiver = entry.to.handle ? h("span", {}, `To @${entry.to.handle}`) : null;
  return h("article", { class: "message mine pending" }, receiver, h("p", { dir: "auto" }, entry.text), state);
}

/** The state of the message, in words. */
export function pendingText(outbox, { error, retryAt }) {
  if (error === "rate_limited") {
    return `${codeText(error)} You can send this message at ${momentText(new Date(retryAt))}.`;
  }
  if (error) return codeText(error);
  if (!outbox.isWaiting) return "Sending…";
  return `${codeText("rate_limited")} The page waits for ${waitText(outbox.wait.seconds)} and then tries again.`;
}
