// The sign-in form, with one button for each seeded user of a local stack.

import { h } from "./dom.js";

export class SignInView {
  #signIn;
  #error;
  #username = h("input", { name: "username", autocomplete: "username", required: true, id: "username" });
  #password = h("input", {
    name: "password",
    type: "password",
    autocomplete: "current-password",
    required: true,
    id: "password",
  });

  /** `signIn(username, password)` resolves to an error in words, which is empty if it succeeds. */
  constructor(config, reason, signIn) {
    this.#signIn = signIn;
    this.#error = h("p", { class: "error", role: "alert" }, reason);
    const submit = (event) => {
      event.preventDefault();
      this.#submit(this.#username.value, this.#password.value);
    };
    const form = h(
      "form",
      { onsubmit: submit },
      h("label", { for: "username" }, "E-mail or handle"),
      this.#username,
      h("label", { for: "password" }, "Password"),
      this.#password,
      h("button", { class: "primary" }, "Sign in"),
    );
    const demoButtons = config.demo_users.map(({ username, password }) =>
      h("button", { type: "button", onclick: () => this.#submit(username, password) }, `Sign in as ${username}`),
    );
    this.element = h(
      "main",
      { class: "sign-in" },
      h(
        "div",
        { class: "card" },
        h("h1", {}, "Cruddur messages"),
        this.#error,
        form,
        demoButtons.length ? h("div", { class: "demo" }, h("p", {}, "or as a demo user"), ...demoButtons) : null,
      ),
    );
  }

  focus() {
    this.#username.focus();
  }

  async #submit(username, password) {
    const focusOwner = /** @type {HTMLElement} */ (document.activeElement); // an inert element loses the focus
    this.element.inert = true;
    this.#error.textContent = "";
    this.#error.textContent = await this.#signIn(username, password);
    this.element.inert = false;
    focusOwner.focus();
  }
}
