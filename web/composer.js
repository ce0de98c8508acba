// The form for a message: Enter sends, Shift and Enter begin a new line. It counts characters as the server does.

import { h } from "./dom.js";

const SHOW_BELOW = 200; // characters left

export class Composer {
  #maxChars;
  #onSend;
  #onTyping;
  #text = h("textarea", { id: "composer", rows: "1", "aria-describedby": "composer-count", dir: "auto" });
  #count = h("span", { id: "composer-count", class: "count" });
  #button = h("button", { class: "primary" }, "Send");

  constructor(config, { onSend, onTyping = () => {} }) {
    this.#maxChars = config.message_max_chars;
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
    this.#text.addEventListener("input", () => this.#changed());
    this.#text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.#submit(event);
    });
    this.#changed();
  }

  focus() {
    this.#text.focus();
  }

  #changed() {
    const left = this.#maxChars - [...this.#text.value].length;
    this.#count.textContent = left < SHOW_BELOW ? `${left} left` : "";
    this.#count.classList.toggle("error", left < 0);
    this.#button.disabled = left < 0 || !this.#text.value.trim();
    if (this.#text.value) this.#onTyping();
  }

  #submit(event) {
    event.preventDefault();
    if (this.#button.disabled) return;
    const text = this.#text.value;
    this.#text.value = "";
    this.#changed();
    this.#onSend(text);
  }
}
