// A message to somebody by handle. Shows who has the handle before the message goes out.

import { Composer } from "./composer.js";
import { h, setChildren } from "./dom.js";
import { errorText } from "./words.js";

const PAUSE_MS = 300; // after the last key, before the look-up

export class NewMessageView {
  entryKey = null; // of the outbox, once the message is sent
  #messenger;
  #composer;
  #handle;
  #profile = h("p", { class: "profile", "aria-live": "polite" });
  #status = h("p", { class: "status", role: "status" });
  #found = null;
  #timer = null;

  constructor(config, messenger, handle) {
    this.#messenger = messenger;
    this.#composer = new Composer(config, { onSend: (text) => this.#send(text) });
    this.#composer.element.hidden = true;
    this.#handle = h("input", { id: "handle", value: handle, autocapitalize: "none", spellcheck: "false" });
    this.#handle.addEventListener("input", () => this.#lookUpSoon());
    this.element = h(
      "section",
      { class: "new-message" },
      h("h1", {}, "New message"),
      h("label", { for: "handle" }, "To (handle)"),
      this.#handle,
      this.#profile,
      this.#composer.element,
      this.#status,
    );
  }

  async start() {
    this.#handle.focus();
    if (this.#handle.value) await this.#lookUp();
  }

  refresh() {
    const entry = this.#messenger.pending.find((other) => other.key === this.entryKey);
    if (entry) this.#status.textContent = entry.error ? errorText(entry.error) : "Sending…";
  }

  #lookUpSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lookUp(), PAUSE_MS);
  }

  async #lookUp() {
    const handle = this.#handle.value.trim().replace(/^@/, "");
    this.#found = null;
    try {
      const profile = handle ? await this.#messenger.profile(handle) : null;
      if (handle !== this.#handle.value.trim().replace(/^@/, "")) return; // the person types on
      this.#found = profile;
      setChildren(this.#profile, profile ? [h("strong", { dir: "auto" }, profile.display_name), ` @${profile.handle}`] : []);
    } catch (error) {
      this.#profile.textContent = errorText(error.codes?.[0] ?? "storage_unavailable");
    }
    this.#composer.element.hidden = !this.#found;
  }

  async #send(text) {
    const entry = await this.#messenger.send({ handle: this.#found.handle }, text);
    this.entryKey = entry.key;
    this.refresh();
  }
}
