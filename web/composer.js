// The form for a message: Enter sends, Shift and Enter begin a new line.

import { announce, h } from "./dom.js";
import { countChars, trimmed } from "./words.js";

export class Composer {
  #maxChars;
  #drafts;
  #place;
  #onSend;
  #onTyping;
  #text = h("textarea", {
    id: "composer",
    rows: "1",
    placeholder: "Message",
    "aria-describedby": "composer-count",
    dir: "auto",
  });
  #count = h("span", { id: "composer-count", class: "count" });
  #button = h("button", { class: "primary" }, "Send");

  /** `place` names the draft: where the text belongs. `onSend(text)` returns a promise. */
  constructor(config, drafts, { place, onSend, onTyping = () => {} }) {
    this.#maxChars = config.message_max_chars;
    this.#drafts = drafts;
    this.#place = place;
    this.#onSend = onSend;
    this.#onTyping = onTyping;
    this.element = h(
      "form",
      { class: "composer", onsubmit: (event) => this.#submit(event) },
      h("label", { for: "composer", class: "visually-hidden" }, "Message"),
      this.#text,
      this.#count,
      this.#button,
    );
    this.#text.addEventListener("input", () => {
      this.#refresh();
      if (this.#text.value) this.#onTyping();
    });
    this.#text.addEventListener("keydown", (event) => {
      const isComposing = event.isComposing || event.keyCode === 229; // 229: Safari, where the composition ends first
      if (event.key === "Enter" && !event.shiftKey && !isComposing) this.#submit(event);
    });
    this.#text.value = drafts.get(place);
    this.#refresh();
  }

  focus() {
    this.#text.focus();
  }

  #refresh() {
    const text = this.#text.value;
    const count = countChars(trimmed(text));
    const isTooLong = count > this.#maxChars;
    this.#count.textContent = count ? `${count} / ${this.#maxChars}` : "";
    this.#count.classList.toggle("error", isTooLong);
    this.#text.setAttribute("aria-invalid", isTooLong);
    this.#button.disabled = isTooLong || !count;
    this.#drafts.set(this.#place, text);
  }

  async #submit(event) {
    event.preventDefault();
    if (this.#button.disabled) return;
    const text = this.#text.value;
    this.#text.value = "";
    this.#refresh();
    try {
      await this.#onSend(trimmed(text));
    } catch {
      this.#text.value = text; // the browser cannot store it, for example on a full disk
      this.#refresh();
      announce("The message could not be stored.");
    }
  }
}
