// One conversation: its messages by day, what is unread, what was seen, and the form for the next message.

import { Composer } from "./composer.js";
import { announce, h, setChildren } from "./dom.js";
import { dayText, errorText, timeText } from "./words.js";

const NEAR_PX = 80; // so far from the end, a new message scrolls into view
const LOAD_PX = 400; // so far from the beginning, older messages load

export class ConversationView {
  #messenger;
  #groupUuid;
  #composer;
  #title = h("h1", { dir: "auto", tabindex: "-1" });
  #log = h("div", { class: "log", role: "log", "aria-label": "Messages", tabindex: "0" });
  #typing = h("p", { class: "typing", "aria-live": "polite" });
  #jump = h("button", { type: "button", class: "jump", hidden: true, onclick: () => this.#jumpToUnread() });
  #elements = new Map(); // elements by key
  #firstUnreadSeq = null; // when the conversation was opened
  #announced = null;
  #isLoading = false;

  constructor(config, messenger, groupUuid) {
    this.#messenger = messenger;
    this.#groupUuid = groupUuid;
    this.#composer = new Composer(config, {
      onSend: (text) => messenger.send({ message_group_uuid: groupUuid }, text),
      onTyping: () => messenger.typing(groupUuid),
    });
    const markUnread = async () => {
      await messenger.markUnread(groupUuid);
      location.hash = "#/";
    };
    const header = h(
      "div",
      { class: "conversation-header" },
      h("a", { href: "#/", class: "back", "aria-label": "Back to the conversations" }, "‹"),
      this.#title,
      h("button", { type: "button", onclick: markUnread }, "Mark unread"),
    );
    this.element = h(
      "section",
      { class: "conversation" },
      header,
      this.#jump,
      this.#log,
      this.#typing,
      this.#composer.element,
    );
    this.#log.addEventListener("scroll", () => this.#loadOlder());
  }

  async start() {
    const row = this.#messenger.rows.get(this.#groupUuid);
    if (row?.unread_count) this.#firstUnreadSeq = row.seq - row.unread_count + 1;
    try {
      await this.#messenger.open(this.#groupUuid);
    } catch (error) {
      setChildren(this.#log, [h("p", { class: "error", role: "alert" }, errorText(error.codes?.[0] ?? "storage_unavailable"))]);
      return;
    }
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#composer.focus();
  }

  refresh() {
    const conversation = this.#conversation;
    const row = this.#messenger.rows.get(this.#groupUuid);
    if (row) this.#title.textContent = row.display_name;
    if (!conversation) return;
    const isNearEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < NEAR_PX;
    const fromEnd = this.#log.scrollHeight - this.#log.scrollTop;
    const first = this.#log.firstChild;
    setChildren(this.#log, this.#children(conversation));
    if (isNearEnd) this.#log.scrollTop = this.#log.scrollHeight;
    else if (this.#log.firstChild !== first) this.#log.scrollTop = this.#log.scrollHeight - fromEnd;
    this.#typing.textContent = conversation.typingUntil > Date.now() ? `${row?.display_name ?? "Somebody"} is typing…` : "";
    this.#announceLast(conversation.last);
    this.#updateJump(conversation);
  }

  get #conversation() {
    return this.#messenger.conversations.get(this.#groupUuid);
  }

  #children(conversation) {
    const children = [];
    let day = null;
    if (!conversation.older) children.push(this.#keyed("beginning", "", () => h("p", { class: "day" }, "The beginning")));
    for (const message of conversation.messages) {
      const date = new Date(message.created_at);
      const text = dayText(date);
      if (text !== day) children.push(this.#keyed(`day ${message.created_at.slice(0, 10)}`, text, () => h("h2", { class: "day" }, text)));
      day = text;
      if (message.seq === this.#firstUnreadSeq) {
        children.push(this.#keyed("unread", "", () => h("p", { class: "unread-line" }, "New messages")));
      }
      children.push(this.#keyed(message.uuid, "", () => this.#message(message, date)));
    }
    const seen = this.#seenMessage(conversation);
    if (seen) children.splice(children.indexOf(this.#elements.get(seen.uuid).element) + 1, 0, this.#keyed("seen", "", () => h("p", { class: "seen" }, "Seen")));
    const pending = this.#messenger.pending.filter((entry) => entry.to.message_group_uuid === this.#groupUuid);
    children.push(...pending.map((entry) => this.#keyed(entry.key, entry.error ?? "", () => this.#pending(entry))));
    return children;
  }

  #keyed(key, state, make) {
    const known = this.#elements.get(key);
    if (known?.state === state) return known.element;
    const element = make();
    this.#elements.set(key, { state, element });
    return element;
  }

  #message(message, date) {
    const isMine = message.user_uuid === this.#messenger.myUuid;
    return h(
      "article",
      { class: isMine ? "message mine" : "message", "data-uuid": message.uuid },
      h("span", { class: "visually-hidden" }, isMine ? "You:" : `${message.display_name}:`),
      h("p", { dir: "auto" }, message.message),
      h("time", { datetime: message.created_at }, timeText(date)),
    );
  }

  #pending(entry) {
    const state = entry.error
      ? h(
          "span",
          { class: "error" },
          errorText(entry.error),
          h("button", { type: "button", onclick: () => this.#messenger.retry(entry) }, "Try again"),
          h("button", { type: "button", onclick: () => this.#messenger.discard(entry) }, "Delete"),
        )
      : h("span", {}, "Sending…");
    return h("article", { class: "message mine pending" }, h("p", { dir: "auto" }, entry.text), state);
  }

  /** My last message that the other has read. */
  #seenMessage(conversation) {
    const other = conversation.members.find((member) => member.uuid !== this.#messenger.myUuid);
    if (!other) return null;
    return conversation.messages.findLast(
      (message) => message.user_uuid === this.#messenger.myUuid && message.seq <= other.read_seq,
    );
  }

  #announceLast(message) {
    if (!message || message.uuid === this.#announced) return;
    if (this.#announced && message.user_uuid !== this.#messenger.myUuid) announce(`${message.display_name}: ${message.message}`);
    this.#announced = message.uuid;
  }

  #updateJump(conversation) {
    const isHere = conversation.messages.some((message) => message.seq === this.#firstUnreadSeq);
    const line = this.#elements.get("unread")?.element;
    const isAbove = isHere ? line?.offsetTop < this.#log.scrollTop : this.#firstUnreadSeq !== null;
    this.#jump.hidden = !isAbove;
    this.#jump.textContent = "Jump to the first unread message";
  }

  async #jumpToUnread() {
    while (this.#conversation.older && this.#conversation.messages[0]?.seq > this.#firstUnreadSeq) {
      await this.#messenger.loadOlder(this.#groupUuid);
    }
    this.#elements.get("unread")?.element.scrollIntoView({ block: "center" });
    this.#jump.hidden = true;
  }

  async #loadOlder() {
    if (this.#isLoading || this.#log.scrollTop > LOAD_PX || !this.#conversation?.older) return;
    this.#isLoading = true;
    try {
      await this.#messenger.loadOlder(this.#groupUuid);
    } catch {
      announce("Older messages could not be loaded.");
    } finally {
      this.#isLoading = false;
    }
  }
}
