// The inbox: conversations, newest first, with unread badges and a search within what is loaded.

import { announce, h, setChildren } from "./dom.js";
import { errorText } from "./errors.js";
import { nameText, shortText } from "./words.js";

export class InboxView {
  #messenger;
  #selectedUuid = null;
  #entries = new Map(); // elements by the uuid of the conversation
  #heading = h("h1", { tabindex: "-1" }, "Conversations");
  #search = h("input", {
    type: "search",
    placeholder: "Search",
    "aria-label": "Search the conversations",
    oninput: () => this.refresh(),
  });
  #list = h("ul");
  #note = h("p", { class: "empty", role: "status" });
  #moreButton = h(
    "button",
    { type: "button", class: "more", hidden: true, onclick: () => this.#loadMore() },
    "Load more",
  );

  constructor(messenger) {
    this.#messenger = messenger;
    this.element = h(
      "nav",
      { "aria-label": "Conversations", class: "inbox" },
      this.#heading,
      this.#search,
      h("div", { class: "rows" }, this.#list, this.#note, this.#moreButton),
    );
  }

  select(groupUuid) {
    this.#selectedUuid = groupUuid;
  }

  /** Focus a conversation, such as the one that the person has left, or else the heading. */
  focus(groupUuid) {
    (this.#entries.get(groupUuid)?.element.querySelector("a") ?? this.#heading).focus();
  }

  refresh() {
    const words = this.#search.value.toLocaleLowerCase().split(/\s+/);
    const rows = this.#messenger.inbox.filter((row) => {
      const text = `${nameText(row)} @${row.handle} ${row.message}`.toLocaleLowerCase();
      return words.every((word) => text.includes(word));
    });
    const elements = rows.map((row) => this.#entry(row));
    setChildren(this.#list, elements);
    const text = rows.length ? "" : this.#emptyText();
    if (this.#note.textContent !== text) this.#note.textContent = text;
    this.#moreButton.hidden = !this.#messenger.next;
  }

  #emptyText() {
    if (this.#search.value) return "Nothing found.";
    return this.#messenger.problem ? "" : "No conversations yet.";
  }

  #entry(row) {
    const time = shortText(new Date(row.created_at));
    const state = JSON.stringify([row, time, row.uuid === this.#selectedUuid]);
    const existing = this.#entries.get(row.uuid);
    if (existing?.state === state) return existing.element;
    const element = existing?.element ?? h("li");
    const hadFocus = element.contains(document.activeElement);
    const link = this.#link(row, time);
    setChildren(element, [link]);
    if (hadFocus) link.focus();
    this.#entries.set(row.uuid, { state, element });
    return element;
  }

  #link(row, time) {
    const text = this.#messenger.isMarkedUnread(row) ? "•" : String(row.unread_count);
    const label = text === "•" ? "unread" : `${row.unread_count} unread`;
    return h(
      "a",
      { href: `#/c/${row.uuid}`, "aria-current": row.uuid === this.#selectedUuid ? "page" : null },
      h("span", { class: "name", dir: "auto" }, nameText(row)),
      h("time", { datetime: row.created_at }, time),
      h("span", { class: "preview", dir: "auto" }, row.message),
      row.blocked ? h("span", { class: "blocked" }, "Blocked") : null,
      row.unread_count ? h("span", { class: "badge", role: "img", "aria-label": label }, text) : null,
    );
  }

  async #loadMore() {
    const count = this.#list.children.length;
    this.#moreButton.disabled = true;
    try {
      await this.#messenger.loadMore();
      this.refresh();
      this.#list.children[count]?.querySelector("a").focus(); // a disabled button has lost the focus
    } catch (error) {
      announce(errorText(error));
    }
    this.#moreButton.disabled = false;
  }
}
