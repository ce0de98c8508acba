// The menu of a conversation: mark it as unread, block the other member, and report the conversation.

import { ask } from "./dialog.js";
import { announce, h } from "./dom.js";
import { errorText } from "./errors.js";
import { nameText } from "./words.js";

export class ConversationMenu {
  #messenger;
  #groupUuid;
  #person = null;
  #summary = h("summary", { class: "button" }, "More");
  #unread = h("button", { type: "button", onclick: () => this.#markUnread() }, "Mark unread");
  #block = h("button", { type: "button", onclick: () => this.#askForBlock() }, "Block…");
  #report = h("button", { type: "button", onclick: () => this.#askForReport() }, "Report…");

  constructor(messenger, groupUuid) {
    this.#messenger = messenger;
    this.#groupUuid = groupUuid;
    const actions = h("div", {}, this.#unread, this.#block, this.#report);
    this.element = h("details", { class: "menu" }, this.#summary, actions);
    this.element.addEventListener("focusout", ({ relatedTarget }) => {
      if (!this.element.contains(/** @type {Node} */ (relatedTarget))) this.element.removeAttribute("open");
    });
    this.element.addEventListener("keydown", ({ key }) => key === "Escape" && this.#close());
  }

  /** `person` is the inbox row, or the other member. */
  refresh(person) {
    this.#person = person;
    this.#unread.hidden = Boolean(person.blocked); // nothing of a blocked person counts as unread
    this.#block.hidden = Boolean(person.blocked || person.deleted);
  }

  /** The focus goes to the menu's name, also after a dialog. */
  #close() {
    this.element.removeAttribute("open");
    this.#summary.focus();
  }

  async #markUnread() {
    this.#close();
    try {
      await this.#messenger.markUnread(this.#groupUuid);
      location.hash = "#/";
    } catch (error) {
      announce(errorText(error));
    }
  }

  async #askForBlock() {
    const person = this.#person;
    this.#close();
    await ask(this.element.parentElement, {
      title: `Block ${nameText(person)}?`,
      content: [
        h("p", {}, "This person cannot write to you any more, and is not told why."),
        h("p", {}, "You keep the conversation and can read it. To write here again, unblock them."),
      ],
      action: "Block",
      act: () => this.#messenger.block(person),
    });
  }

  async #askForReport() {
    this.#close();
    const reason = h("textarea", { id: "reason", rows: "4", required: true, dir: "auto" });
    const view = this.element.parentElement;
    const isSent = await ask(view, {
      title: `Report ${nameText(this.#person)}`,
      content: [h("label", { for: "reason" }, "What is wrong with this conversation?"), reason],
      action: "Report",
      act: () => this.#messenger.report(this.#groupUuid, reason.value),
    });
    if (!isSent) return;
    await ask(view, {
      title: "Thank you",
      content: [h("p", {}, "Your report is now with the people who run this site.")],
      action: "Close",
    });
  }
}
