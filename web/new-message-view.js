// A message to somebody by handle. Shows who has the handle before the message goes out, and what waits for any handle.

import { Composer } from "./composer.js";
import { h, setChildren } from "./dom.js";
import { codeText, errorText, isTemporary } from "./errors.js";
import { pendingMessage } from "./pending-message.js";

const PAUSE_MS = 300; // after the last key, before the look-up

export class NewMessageView {
  handle = null; // of the person that the page has found
  hasFailed = false; // whether the look-up can succeed later
  #messenger;
  #input;
  #composer;
  #addressHandle; // of the address, which leads to the conversation if there is one
  #profile = h("p", { class: "profile", "aria-live": "polite" });
  #pendingList = h("div", { class: "log" });
  #timer = null;

  constructor(config, messenger, handle) {
    this.#messenger = messenger;
    this.#addressHandle = handle;
    this.#composer = new Composer(config, messenger.drafts, {
      place: "new",
      onSend: (text) => messenger.outbox.add({ handle: this.handle }, text),
    });
    this.#composer.element.hidden = true;
    this.#input = h("input", { id: "handle", autocapitalize: "none", autocomplete: "off", spellcheck: "false" });
    this.#input.value = handle;
    this.#input.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#lookUp(), PAUSE_MS);
    });
    this.#input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // or the key would begin a line in the text
      this.#composer.focus();
    });
    this.element = h(
      "section",
      { class: "new-message", "aria-label": "New message" },
      h("a", { href: "#/", class: "back", "aria-label": "Back to the conversations" }, "‹"),
      h("h1", {}, "New message"),
      h("label", { for: "handle" }, "To (handle)"),
      this.#input,
      this.#profile,
      this.#pendingList,
      this.#composer.element,
    );
  }

  async start() {
    this.#input.focus();
    if (this.#input.value) await this.#lookUp();
  }

  stop() {
    clearTimeout(this.#timer);
  }

  refresh() {
    const entries = this.#messenger.outbox.entries.filter(({ to }) => to.handle);
    setChildren(
      this.#pendingList,
      entries.map((entry) => pendingMessage(this.#messenger.outbox, entry)),
    );
  }

  async #lookUp() {
    const handle = this.#typedHandle;
    let profile = null;
    let row = null;
    let problem = "";
    this.hasFailed = false;
    try {
      if (handle) ({ profile, row } = await this.#messenger.find(handle));
      if (profile?.uuid === this.#messenger.myUuid) problem = codeText("receiver_is_sender");
    } catch (error) {
      problem = errorText(error);
      this.hasFailed = isTemporary(error);
      if (error.retryAfter && handle === this.#typedHandle && this.element.isConnected) {
        this.#timer = setTimeout(() => this.#lookUp(), 1000 * error.retryAfter);
      }
    }
    if (handle !== this.#typedHandle) return; // the person types on
    if (row && handle === this.#addressHandle && this.element.isConnected) return location.replace(`#/c/${row.uuid}`);
    this.handle = profile && !problem ? profile.handle : null;
    this.#composer.element.hidden = !this.handle;
    this.#profile.replaceChildren(...(problem ? [problem] : this.#describe(profile, row)));
    this.refresh();
  }

  #describe(profile, row) {
    if (!profile) return [];
    const link = row && h("a", { href: `#/c/${row.uuid}` }, "Show the conversation");
    return [h("strong", { dir: "auto" }, profile.display_name), ` @${profile.handle} `, ...(link ? [link] : [])];
  }

  get #typedHandle() {
    return this.#input.value.trim().replace(/^@/, "");
  }
}
