// One conversation that the page has opened: its messages, oldest first, and how far its members have read.

export class Conversation {
  uuid;
  messages = []; // each once
  older = null; // the URL of the next older page; null: the first message is here
  members = [];
  isBlocked = false; // whether the user blocks the other member
  typingUntil = 0; // when the sign that the other member types goes
  version = 0; // another one after each change of the messages, and in each object
  loaded; // resolves when the newest page is here
  static #versions = 0;
  #api;
  #byUuid = new Map();
  #seq = 0; // from the oldest message up to this number, none is missing

  constructor(api, uuid) {
    this.#api = api;
    this.uuid = uuid;
    this.loaded = this.#load();
  }

  /** The member who is not `userUuid`. */
  other(userUuid) {
    return this.members.find((member) => member.user_uuid !== userUuid);
  }

  /** The number of the last message that a member has read. */
  readSeq(userUuid) {
    return this.members.find((member) => member.user_uuid === userUuid)?.read_seq ?? 0;
  }

  setReadSeq(userUuid, readSeq) {
    const member = this.members.find((other) => other.user_uuid === userUuid);
    if (member) member.read_seq = readSeq;
  }

  /** The number of the last message that the page has. */
  get seq() {
    return this.#seq;
  }

  indexOf(messageUuid) {
    return this.messages.findIndex((message) => message.uuid === messageUuid);
  }

  async refreshMembers() {
    const { members, blocked = false } = await this.#api.conversation(this.uuid);
    this.members = members;
    this.isBlocked = blocked;
  }

  async loadOlder() {
    const url = this.older;
    if (!url) return;
    const { messages, next } = await this.#api.messages(this.uuid, { url });
    if (this.older !== url) return; // another call was faster
    this.older = next;
    this.#merge(messages);
  }

  /** Take the last message from an inbox row. Rows of fast messages are combined, so some before it may be missing. */
  async apply(row) {
    await this.loaded;
    // The sender has read all messages up to this one. The response to the send may have come before the row.
    this.setReadSeq(row.sender_uuid, Math.max(this.readSeq(row.sender_uuid), row.seq));
    if (row.seq <= this.#seq) return;
    // A late message has an earlier time than the last one: it raises `seq`, and the row still shows the last one.
    const isNext = row.seq === this.#seq + 1 && row.message_uuid && !this.#byUuid.get(row.message_uuid)?.seq;
    if (isNext) this.addSent(toMessage(row, this.members));
    else await this.catchUp(row.seq);
  }

  /** Take a message that this user has sent. In stream mode its `seq` is null; its row has the number later. */
  addSent(message) {
    if (this.#byUuid.get(message.uuid)?.seq) return; // the row came before the response
    this.#merge([message]);
    if (message.seq === this.#seq + 1) this.#seq = message.seq;
  }

  /** Load the newest page, and older ones until no message up to the number `seq` is missing. */
  async catchUp(seq) {
    const before = this.#seq;
    let url = null;
    do {
      const page = await this.#api.messages(this.uuid, { url });
      this.#merge(page.messages);
      url = page.next;
    } while (url && this.#count(before, seq) < seq - before);
    this.#seq = Math.max(this.#seq, seq);
  }

  async #load() {
    const [page] = await Promise.all([this.#api.messages(this.uuid), this.refreshMembers()]);
    this.older = page.next;
    this.#merge(page.messages);
    this.#seq = this.messages.findLast((message) => message.seq !== null)?.seq ?? 0;
  }

  /** How many messages have a number above `before` and up to `seq`. */
  #count(before, seq) {
    return this.messages.filter((message) => before < message.seq && message.seq <= seq).length;
  }

  #merge(messages) {
    for (const message of messages) this.#byUuid.set(message.uuid, message);
    this.messages = [...this.#byUuid.values()].sort((a, b) => (a.created_at < b.created_at ? -1 : 1));
    this.version = ++Conversation.#versions;
  }
}

/** The last message of an inbox row, as GET /api/messages returns it. */
function toMessage(row, members) {
  const sender = members.find((member) => member.user_uuid === row.sender_uuid);
  return {
    uuid: row.message_uuid,
    user_uuid: row.sender_uuid,
    display_name: sender?.display_name ?? row.display_name,
    handle: sender?.handle ?? row.handle,
    message: row.message,
    created_at: row.created_at,
    seq: row.seq,
  };
}
