// The state of the page: inbox, conversations, outbox, and how live updates change them. It knows no DOM.
// The views listen to its "change" event.

import { ApiError, Offline } from "./api.js";
import { LiveUpdates } from "./live.js";
import { Outbox } from "./outbox.js";

const TYPING_MS = 5_000; // how long a typing sign stays
const TYPING_PAUSE_MS = 3_000; // between two that this client sends
const RETRY_MS = 5_000;

/** One conversation that the page has opened. */
class Conversation {
  messages = []; // oldest first, each once
  older = null; // URL of the next older page; null: all are loaded
  members = []; // with read positions
  typingUntil = 0;

  /** Add messages in any order. */
  merge(messages) {
    const byUuid = new Map([...this.messages, ...messages].map((message) => [message.uuid, message]));
    this.messages = [...byUuid.values()].sort((a, b) => (a.created_at < b.created_at ? -1 : 1));
  }

  get last() {
    return this.messages.at(-1);
  }

  readSeq(userUuid) {
    return this.members.find((member) => member.uuid === userUuid)?.read_seq ?? 0;
  }
}

export class Messenger extends EventTarget {
  rows = new Map(); // inbox rows by the uuid of the conversation
  conversations = new Map(); // the opened ones
  pending = []; // the outbox
  isConnected = false;
  myUuid = null;
  #api;
  #live = null;
  #outbox = null;
  #openUuid = null;
  #sending = false;
  #typedAt = 0;

  constructor(api) {
    super();
    this.#api = api;
  }

  /** Load the inbox and follow it. Rejects when the user is signed out. */
  async start() {
    const feedCursor = await this.#loadInbox();
    this.#live = new LiveUpdates(this.#api, feedCursor, {
      onEvent: (name, data) => this.#apply(name, data),
      onState: (isConnected) => this.#setConnected(isConnected),
    });
    addEventListener("online", this.#flush);
    await this.#live.run();
  }

  stop() {
    removeEventListener("online", this.#flush);
    this.#live?.stop();
  }

  /** The inbox rows, the newest first. */
  get inbox() {
    return [...this.rows.values()].sort((a, b) => (a.created_at > b.created_at ? -1 : 1));
  }

  get unreadCount() {
    return this.inbox.reduce((count, row) => count + row.unread_count, 0);
  }

  /** Show a conversation: load its newest messages unless they are here, and mark them as read. */
  async open(groupUuid) {
    this.#openUuid = groupUuid;
    if (!this.conversations.has(groupUuid)) {
      const conversation = new Conversation();
      const [page, state] = await Promise.all([this.#api.messages(groupUuid), this.#api.conversation(groupUuid)]);
      conversation.merge(page.messages);
      conversation.older = page.next;
      conversation.members = state.members;
      this.conversations.set(groupUuid, conversation);
    }
    this.#changed();
    await this.markRead(groupUuid);
    return this.conversations.get(groupUuid);
  }

  close() {
    this.#openUuid = null;
  }

  async loadOlder(groupUuid) {
    const conversation = this.conversations.get(groupUuid);
    if (!conversation?.older) return;
    const url = conversation.older;
    const page = await this.#api.messages(groupUuid, { url });
    if (conversation.older !== url) return; // another call was faster
    conversation.merge(page.messages);
    conversation.older = page.next;
    this.#changed();
  }

  async markRead(groupUuid) {
    const row = this.rows.get(groupUuid);
    if (!row?.unread_count || document.visibilityState !== "visible") return;
    await this.#api.markRead(groupUuid, row.seq);
    row.unread_count = 0;
    this.#changed();
  }

  async markUnread(groupUuid) {
    const { unread_count: unreadCount } = await this.#api.markUnread(groupUuid);
    this.rows.get(groupUuid).unread_count = unreadCount;
    this.#openUuid = null;
    this.#changed();
  }

  async profile(handle) {
    return await this.#api.profile(handle);
  }

  /** Tell the other member that this user types. */
  async typing(groupUuid) {
    if (Date.now() < this.#typedAt + TYPING_PAUSE_MS) return;
    this.#typedAt = Date.now();
    await this.#api.typing(groupUuid).catch(() => {}); // a lost sign does no harm
  }

  /** Send a message to `{ message_group_uuid }` or `{ handle }`: now, or when the server is back. Returns its entry in the outbox. */
  async send(to, text) {
    const entry = await this.#outbox.add(to, text);
    this.pending.push(entry);
    this.#changed();
    this.#flush();
    return entry;
  }

  async retry(entry) {
    entry.error = null;
    await this.#outbox.update(entry);
    await this.#flush();
  }

  async discard(entry) {
    await this.#outbox.remove(entry.key);
    this.pending = this.pending.filter((other) => other !== entry);
    this.#changed();
  }

  async #loadInbox() {
    const { rows, next, feedCursor } = await this.#api.inbox();
    let url = next;
    while (url) {
      const page = await this.#api.inbox({ url });
      rows.push(...page.rows);
      url = page.next;
    }
    this.rows = new Map(rows.map((row) => [row.uuid, row]));
    this.#changed();
    return feedCursor;
  }

  /** Apply a live event. Returns the feed cursor of a reload. */
  async #apply(name, data) {
    if (name === "hello") await this.#begin(data.user_uuid);
    else if (name === "message_group") await this.#applyRow(data);
    else if (name === "read") this.#applyRead(data);
    else if (name === "typing") this.#applyTyping(data);
    else if (name === "reload") return await this.#reload();
    this.#changed();
  }

  async #begin(userUuid) {
    if (this.myUuid) return;
    this.#outbox = await Outbox.open(userUuid);
    this.pending = await this.#outbox.entries();
    this.myUuid = userUuid;
    this.dispatchEvent(new Event("ready"));
  }

  async #applyRow(row) {
    this.rows.set(row.uuid, row);
    const conversation = this.conversations.get(row.uuid);
    if (!conversation) return;
    if (row.sender_uuid !== this.myUuid) conversation.typingUntil = 0;
    if (row.message_uuid && row.seq === (conversation.last?.seq ?? 0) + 1) conversation.merge([toMessage(row, this)]);
    else if (conversation.last?.uuid !== row.message_uuid) await this.#catchUp(row.uuid, conversation);
    if (row.uuid === this.#openUuid) await this.markRead(row.uuid);
  }

  #applyRead({ uuid, user_uuid: userUuid, read_seq: readSeq }) {
    const member = this.conversations.get(uuid)?.members.find((other) => other.uuid === userUuid);
    if (member) member.read_seq = readSeq;
    const row = this.rows.get(uuid);
    if (row && userUuid === this.myUuid) row.unread_count = Math.max(0, row.seq - readSeq);
  }

  #applyTyping({ uuid }) {
    const conversation = this.conversations.get(uuid);
    if (!conversation) return;
    conversation.typingUntil = Date.now() + TYPING_MS;
    setTimeout(() => this.#changed(), TYPING_MS);
  }

  /** Load the messages after the last one that the page has. */
  async #catchUp(groupUuid, conversation) {
    let url;
    do {
      const page = await this.#api.messages(groupUuid, { after: conversation.last?.created_at, url });
      conversation.merge(page.messages);
      url = page.next;
    } while (url && conversation.last);
  }

  async #reload() {
    const feedCursor = await this.#loadInbox();
    const open = this.#openUuid;
    this.conversations.clear();
    if (open) await this.open(open);
    return feedCursor;
  }

  #setConnected(isConnected) {
    this.isConnected = isConnected;
    if (isConnected) this.#flush();
    this.#changed();
  }

  /** Send what waits, one message after the other, so that their order stays. */
  #flush = async () => {
    if (this.#sending || !this.#outbox) return;
    this.#sending = true;
    try {
      for (const entry of this.pending.filter((other) => !other.error)) {
        if (!(await this.#sendEntry(entry))) break;
      }
    } finally {
      this.#sending = false;
      this.#changed();
    }
  };

  /** Returns whether the next message may follow. */
  async #sendEntry(entry) {
    try {
      const message = await this.#api.send({ message: entry.text, ...entry.to }, entry.key);
      this.conversations.get(message.message_group_uuid)?.merge([message]);
      await this.discard(entry);
      this.dispatchEvent(new CustomEvent("sent", { detail: { entry, message } }));
      return true;
    } catch (error) {
      if (error instanceof Offline || [401, 429, 503].includes(error.status)) {
        setTimeout(this.#flush, RETRY_MS);
        return false;
      }
      if (!(error instanceof ApiError)) throw error;
      entry.error = error.codes[0];
      await this.#outbox.update(entry);
      return true;
    }
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
