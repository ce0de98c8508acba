// Messages that the server has not confirmed. They stay in IndexedDB, so a reload or an outage loses none.
// Each has one Idempotency-Key for all tries, so the server writes it once, whatever became of the first response.

import { isTemporary, SignInError } from "./errors.js";

const STORE = "messages";
const RETRY_MS = 4_000;
const LONG_WAIT_S = 90; // a limit of a minute asks for less, a limit of a day for more
const KEY_MS = 23 * 3_600_000; // the server knows a key for 24 hours

export class Outbox {
  entries = []; // oldest first: { key, userUuid, to, text, addedAt, triedAt, error, retryAt }
  wait = { seconds: 0, until: 0 }; // the wait that the server asks for if the person sends too fast
  #api;
  #userUuid;
  #database;
  #channel = new BroadcastChannel("cruddur-outbox"); // to the other windows of this browser
  #listener;
  #timer;

  /**
   * The outbox of one user: several people may use one browser. `listener` has `changed()`, `sent(entry, message)`, and
   * `refused(entry)` for a message that waits for a decision of the person.
   */
  static async open(api, userUuid, listener) {
    const outbox = new Outbox();
    outbox.#api = api;
    outbox.#userUuid = userUuid;
    outbox.#listener = listener;
    const request = indexedDB.open("cruddur-outbox", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
    outbox.#database = await toPromise(request);
    outbox.#channel.onmessage = () => outbox.#load();
    await outbox.#load();
    addEventListener("online", outbox.flush);
    return outbox;
  }

  close() {
    removeEventListener("online", this.flush);
    clearTimeout(this.#timer);
    this.#channel.close();
  }

  /** The messages for a conversation, also those that were addressed to the other member's handle. */
  pending({ groupUuid, handle }) {
    return this.entries.filter(({ to }) => to.message_group_uuid === groupUuid || to.handle === handle);
  }

  /** Add a message for `to`, which is `{ message_group_uuid }` or `{ handle }`, and send it. Returns the entry. */
  async add(to, text) {
    const entry = { key: crypto.randomUUID(), userUuid: this.#userUuid, to, text, addedAt: Date.now(), error: null };
    await this.#put(entry);
    this.flush();
    return entry;
  }

  /** Whether the messages wait because the person sends too fast. */
  get isWaiting() {
    return Date.now() < this.wait.until;
  }

  async retry(entry) {
    await this.#put({ ...entry, error: null, triedAt: undefined });
    await this.flush();
  }

  async discard(entry) {
    await toPromise(this.#store("readwrite").delete(entry.key));
    await this.#noteChange();
  }

  /** Send what waits, one message after the other and from one window at a time, so that the order stays. */
  flush = async () => {
    clearTimeout(this.#timer);
    if (this.isWaiting) {
      this.#timer = setTimeout(this.flush, this.wait.until - Date.now());
      return;
    }
    await navigator.locks.request(`cruddur-outbox ${this.#userUuid}`, async () => {
      await this.#load();
      for (const entry of this.entries.filter((other) => !other.error)) {
        if (!(await this.#send(entry))) return;
      }
    });
  };

  /** Returns whether the next message may follow. */
  async #send(entry) {
    if (Date.now() > entry.triedAt + KEY_MS) {
      await this.#refuse(entry, "uncertain");
      return true;
    }
    if (!entry.triedAt) await this.#put({ ...entry, triedAt: Date.now() });
    let message;
    try {
      message = await this.#api.send({ message: entry.text, ...entry.to }, entry.key);
    } catch (error) {
      if (error instanceof SignInError || error.status === 401) return false; // until the next sign-in
      const seconds = error.retryAfter ?? 0;
      if (isTemporary(error) && seconds <= LONG_WAIT_S) {
        if (error.status === 429) this.wait = { seconds, until: Date.now() + 1000 * seconds };
        this.#timer = setTimeout(this.flush, Math.max(RETRY_MS * (0.5 + Math.random()), 1000 * seconds));
        this.#listener.changed();
        return false;
      }
      await this.#refuse({ ...entry, retryAt: Date.now() + 1000 * seconds }, error.codes?.[0] ?? error.message);
      return true;
    }
    this.entries = this.entries.filter((other) => other.key !== entry.key);
    this.#listener.sent(entry, message);
    await this.discard(entry);
    return true;
  }

  async #refuse(entry, error) {
    const refused = { ...entry, error };
    await this.#put(refused);
    this.#listener.refused(refused);
  }

  async #put(entry) {
    await toPromise(this.#store("readwrite").put(entry));
    await this.#noteChange();
  }

  async #noteChange() {
    this.#channel.postMessage(null);
    await this.#load();
  }

  async #load() {
    const storedEntries = await toPromise(this.#store("readonly").getAll());
    this.entries = storedEntries
      .filter((entry) => entry.userUuid === this.#userUuid)
      .sort((a, b) => a.addedAt - b.addedAt);
    this.#listener.changed();
  }

  #store(mode) {
    return this.#database.transaction(STORE, mode).objectStore(STORE);
  }
}

function toPromise(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
