// One conversation: its messages by day, what is unread, what was seen, and the form for the next message.

import { Composer } from "./composer.js";
import { ConversationMenu } from "./conversation-menu.js";
import { announce, h, setChildren } from "./dom.js";
import { errorText, isTemporary } from "./errors.js";
import { pendingMessage, pendingText } from "./pending-message.js";
import { dayText, nameText, timeText } from "./words.js";

const NEAR_PX = 80; // so near the end, a new message scrolls into view
const LOAD_PX = 1_000; // so near the first or the last message of the list, more appear
const BATCH = 100; // messages that the list shows at first, and that appear at once
const MAX_SHOWN = 600; // messages; with thousands of elements, scrolling is not smooth

export class ConversationView {
  hasFailed = false; // whether the conversation can be loaded later
  #messenger;
  #groupUuid;
  #composer;
  #title = h("h1", { tabindex: "-1" }, "Conversation");
  // The role has an implicit live region, which would read older messages out, too.
  #log = h("div", { class: "log", role: "log", "aria-label": "Messages", "aria-live": "off", tabindex: "0" });
  #menu;
  #personState = null; // what the title, the menu and the notice show
  #notice = h("p", { class: "notice", hidden: true }); // in the place of the composer: why nobody can write here
  #typingSign = h("p", { class: "typing", "aria-live": "polite" });
  #unreadButton = h(
    "button",
    { type: "button", hidden: true, onclick: () => this.#jumpToUnread() },
    "↑ First unread",
  );
  #endButton = h(
    "button",
    { type: "button", hidden: true, onclick: () => this.#jumpToEnd() },
    "↓ Newest",
  );
  #elements = new Map(); // by the uuid of a message, the key of an entry, a day or a name
  #renderedState = null; // what the list shows, to leave it alone while nothing changes
  #firstUnread = null; // the `seq` of the first message that was unread when the conversation was opened
  #hasSeenUnread = false;
  #startUuid = null; // the oldest message that the list shows
  #hasLast = true; // whether the list shows the last message
  #isAtEnd = true;
  #olderRequest = null; // the request for older messages that is under way
  #resize = new ResizeObserver(() => this.#isAtEnd && this.#scrollToEnd());

  constructor(config, messenger, groupUuid) {
    this.#messenger = messenger;
    this.#groupUuid = groupUuid;
    this.#menu = new ConversationMenu(messenger, groupUuid);
    this.#composer = new Composer(config, messenger.drafts, {
      place: groupUuid,
      onSend: (text) => this.#send(text),
      onTyping: () => messenger.typing(groupUuid),
    });
    this.element = h(
      "section",
      { class: "conversation", "aria-label": "Conversation" },
      h(
        "div",
        { class: "conversation-header" },
        h("a", { href: "#/", class: "back", "aria-label": "Back to the conversations" }, "‹"),
        this.#title,
        this.#menu.element,
      ),
      this.#log,
      h("div", { class: "jumps" }, this.#unreadButton, this.#endButton),
      this.#typingSign,
      this.#composer.element,
      this.#notice,
    );
    this.#log.addEventListener("scroll", () => this.#scrolled());
    this.#log.addEventListener("keydown", (event) => event.key === "End" && this.#jumpToEnd());
    this.#resize.observe(this.#log);
  }

  async start() {
    this.hasFailed = false;
    this.#title.focus();
    if (!this.#renderedState) setChildren(this.#log, [h("p", { class: "empty" }, "Loading…")]);
    try {
      this.#firstUnread = await this.#messenger.open(this.#groupUuid);
    } catch (error) {
      this.#showProblem(error);
      return;
    }
    this.element.classList.remove("is-missing");
    this.#renderedState = null;
    this.refresh();
    this.#scrollToEnd();
    // The person may have gone on. On a touch screen, the focus would open the keyboard over the messages.
    if (document.activeElement === this.#title && matchMedia("(pointer: fine)").matches) this.#composer.focus();
  }

  stop() {
    this.#resize.disconnect();
  }

  refresh() {
    const conversation = this.#conversation;
    const person = this.#messenger.person(this.#groupUuid);
    if (!person) return; // the inbox and the members come later
    this.#showPerson(person);
    if (!conversation?.messages.length) return;
    const isTyping = conversation.typingUntil > Date.now();
    if (isTyping !== this.#typingSign.hasChildNodes()) {
      this.#typingSign.replaceChildren(...(isTyping ? [h("bdi", {}, nameText(person)), " is typing…"] : []));
    }
    this.#showMessages(conversation, person);
  }

  #showPerson(person) {
    const state = JSON.stringify([nameText(person), person.deleted, person.blocked]);
    if (this.#personState === state) return;
    this.#personState = state;
    this.#title.replaceChildren(h("bdi", {}, nameText(person)));
    this.#menu.refresh(person);
    const notice = this.#noticeAbout(person);
    if (notice.length && this.#composer.element.contains(document.activeElement)) this.#title.focus();
    this.#notice.replaceChildren(...notice);
    this.#notice.hidden = notice.length === 0;
    this.#composer.element.hidden = !this.#notice.hidden;
  }

  #noticeAbout(person) {
    if (person.deleted) return ["This account was deleted. You cannot write to it any more."];
    if (!person.blocked) return [];
    const name = h("bdi", {}, nameText(person));
    const button = h("button", { type: "button", onclick: () => this.#unblock(person) }, "Unblock");
    return [h("span", {}, "You have blocked ", name, "."), button];
  }

  async #unblock(person) {
    try {
      await this.#messenger.unblock(person);
      this.refresh();
      this.#composer.focus();
    } catch (error) {
      announce(errorText(error));
    }
  }

  #showProblem(error) {
    this.element.classList.add("is-missing");
    this.#log.replaceChildren(h("p", { class: "empty", role: "alert" }, errorText(error)));
    this.hasFailed = isTemporary(error);
    if (this.hasFailed) {
      this.#log.append(h("button", { type: "button", onclick: () => this.start() }, "Try again"));
    }
  }

  #showMessages(conversation, person) {
    const pending = this.#messenger.outbox.pending({ groupUuid: this.#groupUuid, handle: person.handle });
    const lastSeen = this.#lastSeen(conversation);
    const today = new Date().toDateString();
    const hasStart = !this.#isAtEnd && conversation.indexOf(this.#startUuid) >= 0;
    if (!hasStart) this.#startUuid = (conversation.messages.at(-BATCH) ?? conversation.messages[0]).uuid;
    const entries = pending.map((entry) => entry.key + pendingText(this.#messenger.outbox, entry));
    const state = [conversation.version, this.#startUuid, entries, lastSeen?.uuid, this.#firstUnread, today];
    if (JSON.stringify(state) === this.#renderedState) return;
    this.#renderedState = JSON.stringify(state);
    const anchor = this.#isAtEnd ? null : this.#firstVisible();
    const top = anchor?.offsetTop;
    setChildren(this.#log, this.#children(conversation, lastSeen, pending));
    if (this.#isAtEnd) this.#scrollToEnd();
    else if (anchor) this.#log.scrollTop += anchor.offsetTop - top; // so that older messages move nothing
    this.#scrolled();
  }

  #children(conversation, lastSeen, pending) {
    const children = [];
    const start = conversation.indexOf(this.#startUuid);
    this.#hasLast = start + MAX_SHOWN >= conversation.messages.length;
    if (start === 0 && !conversation.older) {
      children.push(this.#keyed("beginning", "", () => h("p", { class: "day" }, "The beginning")));
    }
    let day = null;
    for (const message of conversation.messages.slice(start, start + MAX_SHOWN)) {
      const { element, messageDay } = this.#message(message);
      if (messageDay !== day) {
        const text = dayText(new Date(message.created_at));
        children.push(this.#keyed(messageDay, text, () => h("h2", { class: "day" }, text)));
      }
      day = messageDay;
      if (message.seq !== null && message.seq === this.#firstUnread) {
        children.push(this.#keyed("unread", "", () => h("p", { class: "unread-line" }, "New messages")));
      }
      children.push(element);
      if (message === lastSeen) children.push(this.#keyed("seen", "", () => h("p", { class: "seen" }, "Seen")));
    }
    const { outbox } = this.#messenger;
    for (const entry of this.#hasLast ? pending : []) {
      children.push(this.#keyed(entry.key, pendingText(outbox, entry), () => pendingMessage(outbox, entry)));
    }
    return children;
  }

  /** An element, made once as long as its state stays. */
  #keyed(key, state, make) {
    const existing = this.#elements.get(key);
    if (existing?.state === state) return existing.element;
    const element = make();
    this.#elements.set(key, { state, element });
    return element;
  }

  /** The element of a message, made once, and the day of the message. */
  #message(message) {
    const existing = this.#elements.get(message.uuid);
    if (existing) return existing;
    const date = new Date(message.created_at);
    const isMine = message.user_uuid === this.#messenger.myUuid;
    const element = h(
      "article",
      { class: isMine ? "message mine" : "message" },
      h("span", { class: "visually-hidden" }, isMine ? "You:" : `${nameText(message)}:`),
      h("p", { dir: "auto" }, message.message),
      h("time", { datetime: message.created_at }, timeText(date)),
    );
    const entry = { element, messageDay: date.toDateString() };
    this.#elements.set(message.uuid, entry);
    return entry;
  }

  /** My last message that the other member has read. */
  #lastSeen(conversation) {
    const { myUuid } = this.#messenger;
    const readSeq = conversation.other(myUuid)?.read_seq ?? 0;
    return conversation.messages.findLast(
      (message) => message.user_uuid === myUuid && message.seq !== null && message.seq <= readSeq,
    );
  }

  async #send(text) {
    this.#isAtEnd = true;
    await this.#messenger.outbox.add({ message_group_uuid: this.#groupUuid }, text);
  }

  #scrollToEnd() {
    this.#isAtEnd = true;
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.#log;
    const distance = scrollHeight - scrollTop - clientHeight;
    this.#isAtEnd = this.#hasLast && distance < NEAR_PX;
    this.#endButton.hidden = this.#hasLast && distance < clientHeight;
    this.#unreadButton.hidden = !this.#isUnreadAbove(scrollTop);
    if (scrollTop < LOAD_PX && !this.#isAtEnd) this.#showOlder();
    else if (distance < LOAD_PX && !this.#hasLast) this.#moveStart(BATCH);
  }

  /** Whether the first unread message is above, and has not been in view yet. */
  #isUnreadAbove(scrollTop) {
    const line = this.#elements.get("unread")?.element;
    this.#hasSeenUnread ||= this.#firstUnread === null || line?.offsetTop >= scrollTop;
    return !this.#hasSeenUnread;
  }

  /** The first message in view. A day's heading would not do, because older messages of the day come below it. */
  #firstVisible() {
    const { scrollTop, children } = this.#log;
    return [...children].find((child) => child.matches(".message") && child.offsetTop + child.offsetHeight > scrollTop);
  }

  #jumpToEnd() {
    this.#isAtEnd = true;
    this.refresh();
    this.#scrollToEnd();
    this.#log.focus({ preventScroll: true }); // the button hides
  }

  async #jumpToUnread() {
    const conversation = this.#conversation;
    const isUnread = (message) => message.seq === this.#firstUnread;
    while (!conversation.messages.some(isUnread) && (await this.#loadOlder(conversation)));
    const index = conversation.messages.findIndex(isUnread);
    if (index < 0) return;
    this.#isAtEnd = false; // so that the list keeps its start
    this.#startUuid = conversation.messages[Math.max(0, index - BATCH / 2)].uuid;
    this.refresh();
    this.#log.scrollTop = this.#elements.get("unread").element.offsetTop - this.#log.clientHeight / 3;
    this.#log.focus({ preventScroll: true });
  }

  async #showOlder() {
    const conversation = this.#conversation;
    if (conversation.indexOf(this.#startUuid) === 0 && !(await this.#loadOlder(conversation))) return;
    this.#moveStart(-BATCH);
  }

  #moveStart(count) {
    const { messages } = this.#conversation;
    const index = this.#conversation.indexOf(this.#startUuid) + count;
    this.#startUuid = messages[Math.max(0, index)].uuid;
    this.refresh();
  }

  /** Returns whether there was a page to load. */
  async #loadOlder(conversation) {
    if (!conversation.older) return false;
    this.#olderRequest ??= this.#messenger.loadOlder(this.#groupUuid).finally(() => (this.#olderRequest = null));
    try {
      await this.#olderRequest;
      return true;
    } catch (error) {
      announce(errorText(error));
      return false;
    }
  }

  get #conversation() {
    return this.#messenger.conversations.get(this.#groupUuid);
  }
}
