// The inbox: conversations, newest first, with unread badges and a search within what is loaded.

import { h, setChildren } from "./dom.js";
import { shortText } from "./words.js";

export class InboxView {
  #messenger;
  #selected = null;
  #search = h("input", {
    type: "search",
    placeholder: "Search",
    "aria-label": "Search the conversations",
    oninput: () => this.refresh(),
  });
  #list = h("ul");
  #empty = h("p", { class: "empty" });
  #entries = new Map(); // elements by the uuid of the conversation

  constructor(messenger) {
    this.#messenger = messenger;
    this.element = h("nav", { "aria-label": "Conversations", class: "inbox" }, this.#search, this.#list, this.#empty);
  }

  select(groupUuid) {
    this.#selected = groupUuid;
    this.refresh();
  }

  refresh() {
    const words = this.#search.value.toLocaleLowerCase().split(/\s+/);
    const rows = this.#messenger.inbox.filter((row) => {
      const text = `${row.display_name} @${row.handle} ${row.message}`.toLocaleLowerCase();
      return words.every((word) => text.includes(word));
    });
    setChildren(
      this.#list,
      rows.map((row) => this.#entry(row)),
    );
    this.#empty.textContent = rows.length ? "" : this.#search.value ? "Nothing found." : "No conversations yet.";
  }

  #entry(row) {
    const state = JSON.stringify([row, row.uuid === this.#selected]);
    const known = this.#entries.get(row.uuid);
    if (known?.state === state) return known.element;
    const element = known?.element ?? h("li");
    const unread = row.unread_count
      ? h("span", { class: "badge", "aria-label": `${row.unread_count} unread` }, String(row.unread_count))
      : null;
    const link = h(
      "a",
      { href: `#/c/${row.uuid}`, "aria-current": row.uuid === this.#selected ? "page" : null },
      h("span", { class: "name", dir: "auto" }, row.display_name),
      h("time", { datetime: row.created_at }, shortText(new Date(row.created_at))),
      h("span", { class: "preview", dir: "auto" }, row.message),
      unread,
    );
    const hadFocus = element.contains(document.activeElement);
    setChildren(element, [link]);
    if (hadFocus) link.focus();
    this.#entries.set(row.uuid, { state, element });
    return element;
  }
}
