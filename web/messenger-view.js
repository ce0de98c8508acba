// The frame of the page: the inbox at the left, a conversation or a new message at the right. Follows the address.

import { ConversationView } from "./conversation-view.js";
import { announce, h, setChildren } from "./dom.js";
import { codeText } from "./errors.js";
import { InboxView } from "./inbox-view.js";
import { MeView } from "./me-view.js";
import { NewMessageView } from "./new-message-view.js";
import { nameText } from "./words.js";

const WELCOME = "Choose a conversation, or begin one with “New message”.";
const DAY_CHECK_MS = 30_000; // so that after midnight, “Today” becomes “Yesterday”

export class MessengerView {
  #config;
  #messenger;
  #inbox;
  #main = h("main", { tabindex: "-1" });
  #user;
  #problem = h("p", { class: "connection", role: "status" });
  #currentView = null; // the view in <main>
  #groupUuid = null; // of the conversation in <main>
  #refreshTimer = null;
  #dayTimer = setInterval(() => this.#refreshSoon(), DAY_CHECK_MS);

  constructor(config, messenger, username) {
    this.#config = config;
    this.#messenger = messenger;
    this.#inbox = new InboxView(messenger);
    this.#user = h("bdi", {}, username); // until the server names the user
    this.element = h(
      "div",
      { class: "messenger" },
      h("button", { type: "button", class: "skip", onclick: () => this.#main.focus() }, "Skip the conversations"),
      h(
        "header",
        {},
        h("a", { href: "#/", class: "brand" }, "Cruddur"),
        h("a", { href: "#/me", class: "user" }, "Signed in as ", this.#user),
        h("a", { href: "#/new", class: "button primary" }, "New message"),
        h("button", { type: "button", onclick: () => messenger.signOut() }, "Sign out"),
      ),
      this.#problem,
      this.#inbox.element,
      this.#main,
    );
    addEventListener("hashchange", this.#route);
    document.addEventListener("visibilitychange", this.#markRead);
    messenger.addEventListener("change", this.#refreshSoon);
    messenger.addEventListener("arrived", this.#announce);
    messenger.addEventListener("sent", this.#showSent);
    messenger.addEventListener("refused", this.#announceRefusal);
    messenger.addEventListener("ready", this.#route);
  }

  stop() {
    removeEventListener("hashchange", this.#route);
    document.removeEventListener("visibilitychange", this.#markRead);
    this.#messenger.removeEventListener("change", this.#refreshSoon);
    clearTimeout(this.#refreshTimer);
    clearInterval(this.#dayTimer);
    this.#currentView?.stop();
    document.title = "Cruddur";
  }

  #route = async () => {
    if (!this.#messenger.myUuid) return; // "ready" comes later
    const address = decodeAddress();
    const [, handle] = /^\/@(.+)$/.exec(address) ?? [];
    const row = handle && this.#messenger.inbox.find((other) => other.handle === handle);
    if (row) return location.replace(`#/c/${row.uuid}`);
    const previousUuid = this.#groupUuid;
    const [, groupUuid] = /^\/c\/([0-9a-f-]{36})$/.exec(address) ?? [];
    this.#currentView?.stop();
    this.#messenger.close();
    this.#groupUuid = groupUuid;
    this.#currentView = this.#view(address, groupUuid, handle);
    this.element.classList.toggle("has-main", this.#currentView !== null);
    const text = address === "/" ? WELCOME : codeText("not_found");
    setChildren(this.#main, [this.#currentView?.element ?? h("p", { class: "empty" }, text)]);
    this.#inbox.select(groupUuid);
    this.#refresh();
    if (this.#currentView) await this.#currentView.start();
    else this.#inbox.focus(previousUuid);
  };

  #view(address, groupUuid, handle) {
    if (groupUuid) return new ConversationView(this.#config, this.#messenger, groupUuid);
    if (address === "/me") return new MeView(this.#messenger);
    if (handle || address === "/new") return new NewMessageView(this.#config, this.#messenger, handle ?? "");
    return null;
  }

  /** Many changes in a row are one refresh. A hidden window has no animation frames, but its title counts on. */
  #refreshSoon = () => {
    this.#refreshTimer ??= setTimeout(this.#refresh);
  };

  #refresh = () => {
    clearTimeout(this.#refreshTimer);
    this.#refreshTimer = null;
    const { unreadCount, problem, me } = this.#messenger;
    document.title = unreadCount ? `(${unreadCount}) Cruddur` : "Cruddur";
    const isBack = this.#problem.textContent && !problem;
    if (this.#problem.textContent !== problem) this.#problem.textContent = problem;
    if (me && this.#user.textContent !== me.display_name) this.#user.textContent = me.display_name;
    this.#inbox.refresh();
    this.#currentView?.refresh();
    if (isBack && this.#currentView?.hasFailed) this.#currentView.start();
  };

  #markRead = () => this.#messenger.markRead();

  #announce = ({ detail: row }) => announce(`${nameText(row)}: ${row.message}`);

  #announceRefusal = ({ detail: entry }) => announce(`Your message “${entry.text}”: ${codeText(entry.error)}`);

  /** A first message has made a conversation: show it. */
  #showSent = ({ detail: { entry, message } }) => {
    if (this.#currentView?.handle && this.#currentView.handle === entry.to.handle) {
      location.replace(`#/c/${message.message_group_uuid}`);
    }
  };
}

/** The address after the `#`. Without a valid one, it is the inbox. */
function decodeAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || "/";
  } catch {
    return "/";
  }
}
