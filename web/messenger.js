// The state of the page: the inbox, the opened conversations, the outbox, and how live updates change them.
// It makes no elements. The views listen to its events: "change", "ready" (the user is known), "arrived", "sent" and
// "refused".

import { Conversation } from "./conversation.js";
import { Drafts } from "./drafts.js";
import { errorText, isTemporary } from "./errors.js";
import { LiveUpdates } from "./live.js";
import { Outbox } from "./outbox.js";

const TYPING_SHOWN_MS = 5_000; // after the last sign
const TYPING_PAUSE_MS = 3_500; // the server passes on one sign in 3 seconds

export class Messenger extends EventTarget {
  rows = new Map(); // inbox rows by the uuid of the conversation
  next = null; // the URL of the next page of the inbox; null: all rows are here
  conversations = new Map(); // the opened ones by uuid
  problem = "Connecting…"; // why there are no live updates, in words; empty while there are
  me = null; // the user's profile; null until it is loaded
  // These three are null until "ready".
  myUuid = null;
  drafts = null;
  outbox = null;
  #api;
  #session;
  #live = null;
  #openUuid = null;
  #isStopped = false;
  #wasInterrupted = false; // since the last `hello`
  #typedAt = new Map(); // by the uuid of the conversation

  constructor(api, session) {
    super();
    this.#api = api;
    this.#session = session;
  }

  /** Load the inbox and follow it until `stop`. */
  async start() {
    if (this.#session.userUuid) await this.#begin(this.#session.userUuid); // after a reload
    const [feedCursor] = await Promise.all([
      this.#untilLoaded(() => this.#loadInbox()),
      this.#untilLoaded(() => this.#meet()),
    ]);
    if (this.#isStopped) return;
    this.#live = new LiveUpdates(this.#api, feedCursor, {
      apply: (name, data) => this.#apply(name, data),
      reload: (options) => this.#reload(options),
      setConnected: (isConnected, error) => this.#setConnected(isConnected, error),
    });
    await this.#live.run();
  }

  stop() {
    this.#isStopped = true;
    this.#live?.stop();
    this.outbox?.close();
  }

  signOut() {
    this.drafts?.clear();
    this.#session.signOut();
  }

  /** The inbox rows, newest first. */
  get inbox() {
    return [...this.rows.values()].sort((a, b) => (a.created_at > b.created_at ? -1 : 1));
  }

  /** In the loaded conversations. A conversation with a new message is always among them. */
  get unreadCount() {
    return this.inbox.reduce((count, row) => count + (this.isMarkedUnread(row) ? 1 : row.unread_count), 0);
  }

  /** Whether the user has marked a conversation as unread after an own message: then the count has own messages. */
  isMarkedUnread(row) {
    return row.unread_count > 0 && row.sender_uuid === this.myUuid;
  }

  async loadMore() {
    const { rows, next } = await this.#api.inbox({ url: this.next });
    this.next = next;
    this.#addRows(rows);
  }

  /** Show a conversation: load it unless it is here, and mark it as read. Returns the first unread `seq`, or null. */
  async open(groupUuid) {
    this.#openUuid = groupUuid;
    const existing = this.conversations.get(groupUuid);
    const conversation = existing ?? new Conversation(this.#api, groupUuid);
    this.conversations.set(groupUuid, conversation);
    try {
      await (existing ? existing.loaded.then(() => existing.refreshMembers()) : conversation.loaded);
    } catch (error) {
      if (!existing) this.conversations.delete(groupUuid);
      throw error;
    }
    const readSeq = conversation.readSeq(this.myUuid);
    this.#updateRow(conversation);
    this.#changed();
    this.markRead();
    return readSeq < conversation.seq ? readSeq + 1 : null;
  }

  /** The other member of a conversation, as in an inbox row: names, `deleted`, `blocked`. */
  person(groupUuid) {
    const conversation = this.conversations.get(groupUuid);
    return this.rows.get(groupUuid) ?? (conversation?.members.length ? this.#other(conversation) : null);
  }

  /** The conversation was loaded after the inbox, so show its other member in the inbox, too. */
  #updateRow(conversation) {
    const row = this.rows.get(conversation.uuid);
    if (row) this.rows.set(row.uuid, { ...row, ...this.#other(conversation) });
  }

  #other(conversation) {
    const { user_uuid, handle, display_name, deleted } = conversation.other(this.myUuid);
    return { user_uuid, handle, display_name, deleted, blocked: conversation.isBlocked };
  }

  close() {
    this.#openUuid = null;
  }

  async loadOlder(groupUuid) {
    await this.conversations.get(groupUuid).loadOlder();
    this.#changed();
  }

  /** Mark the open conversation as read, if the person can see it. A failure does no harm: the next call repairs it. */
  async markRead() {
    const conversation = this.conversations.get(this.#openUuid);
    if (!conversation || document.visibilityState !== "visible") return;
    const { uuid, seq } = conversation;
    if (conversation.readSeq(this.myUuid) >= seq && !this.rows.get(uuid)?.unread_count) return;
    const position = await this.#api.markRead(uuid, seq).catch(() => null);
    if (position) this.#applyRead({ uuid, user_uuid: this.myUuid, read_seq: position.read_seq });
    this.#changed();
  }

  async markUnread(groupUuid) {
    this.#openUuid = null; // so that the next event does not mark it as read again
    const { read_seq: readSeq } = await this.#api.markUnread(groupUuid);
    this.#applyRead({ uuid: groupUuid, user_uuid: this.myUuid, read_seq: readSeq });
    this.#changed();
  }

  /** Load the user's profile. Returns its version, for `saveMe`. */
  async loadMe() {
    return this.#setMe(await this.#api.me());
  }

  /** Change `display_name` and `accepts_messages_from`. Returns the new version. */
  async saveMe(changes, etag) {
    return this.#setMe(await this.#api.saveMe(changes, etag));
  }

  #setMe({ me, etag }) {
    this.me = me;
    this.#changed();
    return etag;
  }

  /** A page of the people whom the user blocks: the first one, or the one at `url`. */
  async blocks(url) {
    return await this.#api.blocks({ url });
  }

  async block({ handle }) {
    await this.#api.block(handle);
    await this.#refreshWith(handle);
  }

  async unblock({ handle }) {
    await this.#api.unblock(handle);
    await this.#refreshWith(handle);
  }

  async #refreshMembers(conversation) {
    await conversation.refreshMembers();
    this.#updateRow(conversation);
    this.#changed();
  }

  async #refreshWith(handle) {
    const [row] = await this.#api.inboxWith(handle);
    if (this.rows.has(row?.uuid)) this.#addRows([row]);
    await this.conversations.get(row?.uuid)?.refreshMembers();
    this.#changed();
  }

  async report(groupUuid, reason) {
    await this.#api.report(groupUuid, reason);
  }

  /** A person by handle, and the inbox row of the conversation with them, or undefined if there is none. */
  async find(handle) {
    const [profile, [row]] = await Promise.all([this.#api.profile(handle), this.#api.inboxWith(handle)]);
    return { profile, row };
  }

  /** Tell the other member that this user types. A lost sign does no harm. */
  async typing(groupUuid) {
    if (Date.now() < (this.#typedAt.get(groupUuid) ?? 0) + TYPING_PAUSE_MS) return;
    this.#typedAt.set(groupUuid, Date.now());
    await this.#api.typing(groupUuid).catch(() => {});
  }

  /** Load the user's profile. After a reload, the page knows the user's uuid and does not need the server for it. */
  async #meet() {
    try {
      await this.loadMe();
    } catch (error) {
      if (!this.myUuid || !isTemporary(error)) throw error;
    }
    if (!this.myUuid) await this.#begin(this.me.uuid);
  }

  async #loadInbox() {
    const { rows, next, feedCursor } = await this.#api.inbox();
    this.rows = new Map();
    this.next = next;
    this.#addRows(rows);
    return feedCursor;
  }

  /** Responses may come in another order than the requests: the row with the greater `seq` is newer. */
  #addRows(rows) {
    for (const row of rows) {
      if (row.seq >= (this.rows.get(row.uuid)?.seq ?? 0)) this.rows.set(row.uuid, row);
    }
    this.#changed();
  }

  async #untilLoaded(load) {
    while (!this.#isStopped) {
      try {
        return await load();
      } catch (error) {
        if (!isTemporary(error)) throw error;
        this.#setConnected(false, error);
        await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter ?? 0)));
      }
    }
    return null;
  }

  async #apply(name, data) {
    if (name === "hello") await this.#greet();
    else if (name === "message_group") await this.#applyRow(data);
    else if (name === "read") this.#applyRead(data);
    else if (name === "typing") this.#applyTyping(data);
    // After `expired`, the stream ends. The next one gets a new token.
    this.#changed();
  }

  /** A stream begins. Read positions that changed in an interruption are not repeated, so load them again. */
  async #greet() {
    if (!this.#wasInterrupted) return;
    this.#addRows((await this.#api.inbox()).rows);
    await this.conversations.get(this.#openUuid)?.refreshMembers();
    this.markRead();
  }

  async #begin(userUuid) {
    this.#session.userUuid = userUuid;
    this.drafts = new Drafts(userUuid);
    this.outbox = await Outbox.open(this.#api, userUuid, {
      changed: () => this.#changed(),
      sent: (entry, message) => this.#noteSent(entry, message),
      refused: (entry) => this.#noteRefused(entry),
    });
    this.myUuid = userUuid;
    this.dispatchEvent(new Event("ready"));
    this.outbox.flush(); // a message may wait since before a reload
  }

  async #applyRow(row) {
    const isNew = row.seq > (this.rows.get(row.uuid)?.seq ?? 0);
    this.#addRows([row]);
    const conversation = this.conversations.get(row.uuid);
    await conversation?.apply(row);
    if (isNew && row.sender_uuid !== this.myUuid) {
      if (conversation) conversation.typingUntil = 0;
      this.dispatchEvent(new CustomEvent("arrived", { detail: row }));
    }
    if (row.uuid === this.#openUuid) this.markRead();
  }

  #applyRead({ uuid, user_uuid: userUuid, read_seq: readSeq }) {
    this.conversations.get(uuid)?.setReadSeq(userUuid, readSeq);
    const row = this.rows.get(uuid);
    if (row && userUuid === this.myUuid) row.unread_count = row.blocked ? 0 : Math.max(0, row.seq - readSeq);
  }

  #applyTyping({ uuid }) {
    const conversation = this.conversations.get(uuid);
    if (!conversation) return;
    conversation.typingUntil = Date.now() + TYPING_SHOWN_MS;
    setTimeout(() => this.#changed(), TYPING_SHOWN_MS + 1);
  }

  /**
   * The server cannot tell what changed: load all again. Returns the feed cursor. With `anew`, the server may have
   * another table, restored to an earlier time, so that messages are gone and their numbers are used again.
   */
  async #reload({ anew }) {
    const feedCursor = await this.#loadInbox();
    for (const uuid of this.conversations.keys()) {
      if (anew || uuid !== this.#openUuid) this.conversations.delete(uuid);
    }
    const openConversation = this.conversations.get(this.#openUuid);
    await openConversation?.catchUp(this.rows.get(openConversation.uuid)?.seq ?? 0);
    await openConversation?.refreshMembers();
    if (anew && this.#openUuid) await this.#openAgain(this.#openUuid);
    return feedCursor;
  }

  async #openAgain(groupUuid) {
    try {
      await this.open(groupUuid);
    } catch (error) {
      if (error.status !== 404) throw error; // the conversation may be gone, too
    }
  }

  #setConnected(isConnected, error) {
    if (isConnected) this.problem = "";
    else if (!navigator.onLine) this.problem = "Offline";
    else this.problem = error?.codes && !isQuiet(error) ? errorText(error) : "Connecting…";
    this.#wasInterrupted = !isConnected;
    if (isConnected) this.outbox.flush();
    this.#changed();
  }

  #noteSent(entry, message) {
    this.conversations.get(message.message_group_uuid)?.addSent(message);
    this.dispatchEvent(new CustomEvent("sent", { detail: { entry, message } }));
    this.#changed();
  }

  /** The open conversation shows a refused message itself. Another window may have blocked the receiver. */
  #noteRefused(entry) {
    const conversation = this.conversations.get(entry.to.message_group_uuid);
    if (conversation && entry.error === "receiver_blocked") this.#refreshMembers(conversation).catch(() => {});
    if (entry.to.message_group_uuid === this.#openUuid) return;
    this.dispatchEvent(new CustomEvent("refused", { detail: entry }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** The page repairs these by itself within seconds. */
function isQuiet(error) {
  return [401, 410, 422].includes(error.status) || error.codes.includes("server_busy");
}
