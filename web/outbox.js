// Messages that the server has not confirmed. They stay in IndexedDB, so a reload or an outage loses none.
// Each has one Idempotency-Key for all tries, so the server stores it once.

const STORE = "messages";

export class Outbox {
  #database;
  #userUuid;

  /** The outbox of one user: several people may use one browser. */
  static async open(userUuid) {
    const outbox = new Outbox();
    outbox.#userUuid = userUuid;
    outbox.#database = await toPromise(
      Object.assign(indexedDB.open("cruddur-outbox", 1), {
        onupgradeneeded: (event) => event.target.result.createObjectStore(STORE, { keyPath: "key" }),
      }),
    );
    return outbox;
  }

  /** Add a message for `to`: `{ message_group_uuid }` or `{ handle }`. Returns the entry. */
  async add(to, text) {
    const entry = { key: crypto.randomUUID(), userUuid: this.#userUuid, to, text, addedAt: Date.now(), error: null };
    await this.update(entry);
    return entry;
  }

  async update(entry) {
    await toPromise(this.#store("readwrite").put(entry));
  }

  async remove(key) {
    await toPromise(this.#store("readwrite").delete(key));
  }

  /** The entries of this user, the oldest first. */
  async entries() {
    const all = await toPromise(this.#store("readonly").getAll());
    return all.filter((entry) => entry.userUuid === this.#userUuid).sort((a, b) => a.addedAt - b.addedAt);
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
