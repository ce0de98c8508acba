// The frame of the page: inbox at the left, a conversation or a new message at the right. Follows the address.

import { ConversationView } from "./conversation-view.js";
import { h, setChildren } from "./dom.js";
import { InboxView } from "./inbox-view.js";
import { NewMessageView } from "./new-message-view.js";

export class MessengerView {
  #config;
  #messenger;
  #inbox;
  #main = h("main", { id: "main", tabindex: "-1" });
  #connection = h("p", { class: "connection", role: "status" });
  #current = null;
  #signOut;

  constructor(config, messenger) {
    this.#config = config;
    this.#messenger = messenger;
    this.#inbox = new InboxView(messenger);
    this.signedOut = new Promise((resolve) => (this.#signOut = resolve));
    const header = h(
      "header",
      {},
      h("a", { href: "#/", class: "brand" }, "Cruddur"),
      this.#connection,
      h("a", { href: "#/new", class: "button" }, "New message"),
      h("button", { type: "button", onclick: () => this.#signOut() }, "Sign out"),
    );
    this.element = h("div", { class: "messenger" }, header, this.#inbox.element, this.#main);
    addEventListener("hashchange", this.#route);
    document.addEventListener("visibilitychange", this.#refresh);
    messenger.addEventListener("change", this.#refresh);
    messenger.addEventListener("sent", this.#showSent);
    messenger.addEventListener("ready", this.#route, { once: true });
  }

  stop() {
    removeEventListener("hashchange", this.#route);
    document.removeEventListener("visibilitychange", this.#refresh);
    document.title = "Cruddur";
  }

  #route = async () => {
    const address = location.hash.slice(1);
    this.#current?.stop?.();
    this.#messenger.close();
    const [, groupUuid] = /^\/c\/([0-9a-f-]{36})$/.exec(address) ?? [];
    const [, handle] = /^\/@(.+)$/.exec(address) ?? [];
    const row = handle && this.#messenger.inbox.find((other) => other.handle === decodeURIComponent(handle));
    if (row) return location.replace(`#/c/${row.uuid}`);
    if (groupUuid) this.#current = new ConversationView(this.#config, this.#messenger, groupUuid);
    else if (handle || address === "/new") {
      this.#current = new NewMessageView(this.#config, this.#messenger, decodeURIComponent(handle ?? ""));
    } else this.#current = null;
    this.element.classList.toggle("has-main", this.#current !== null);
    setChildren(this.#main, [this.#current?.element ?? h("p", { class: "empty" }, "Choose a conversation.")]);
    this.#inbox.select(groupUuid);
    await this.#current?.start();
  };

  #refresh = () => {
    const { unreadCount, isConnected } = this.#messenger;
    document.title = unreadCount ? `(${unreadCount}) Cruddur` : "Cruddur";
    this.#connection.textContent = isConnected ? "" : navigator.onLine ? "Connecting…" : "Offline";
    this.#inbox.refresh();
    this.#current?.refresh();
  };

  /** A first message has made a conversation: show it. */
  #showSent = ({ detail: { entry, message } }) => {
    const isShown = this.#current instanceof NewMessageView && this.#current.entryKey === entry.key;
    if (isShown) location.replace(`#/c/${message.message_group_uuid}`);
  };
}
