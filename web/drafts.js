// Texts that a person has typed and not sent. They survive a reload and a new sign-in. A sign-out removes them.
// They stay in this window's sessionStorage, under the user's uuid: another user of this window does not see them.

const PREFIX = "cruddur-draft";

export class Drafts {
  #userUuid;

  constructor(userUuid) {
    this.#userUuid = userUuid;
  }

  /** The text for a place, such as the uuid of a conversation. */
  get(place) {
    return sessionStorage.getItem(this.#key(place)) ?? "";
  }

  set(place, text) {
    if (text) sessionStorage.setItem(this.#key(place), text);
    else sessionStorage.removeItem(this.#key(place));
  }

  clear() {
    for (const key of Object.keys(sessionStorage)) {
      if (key.startsWith(this.#key(""))) sessionStorage.removeItem(key);
    }
  }

  #key(place) {
    return `${PREFIX} ${this.#userUuid} ${place}`;
  }
}
