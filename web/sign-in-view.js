// The sign-in form, with one button for each seeded user of a local stack.

import { h } from "./dom.js";

export class SignInView {
  #error = h("p", { class: "error", role: "alert" });
  #username = h("input", { name: "username", autocomplete: "username", required: true, id: "username" });
  #password = h("input", {
    name: "password",
    type: "password",
    autocomplete: "current-password",
    required: true,
    id: "password",
  });
  #signIn;

  /** `signIn(username, password)` resolves to an error in words, or to null. */
  constructor(config, reason, signIn) {
    this.#signIn = signIn;
    this.#error.textContent = reason;
    const form = h(
      "form",
      { class: "card", onsubmit: (event) => this.#submit(event, this.#username.value, this.#password.value) },
      h("h1", {}, "Cruddur messages"),
      h("label", { for: "username" }, "E-mail or handle"),
      this.#username,
      h("label", { for: "password" }, "Password"),
      this.#password,
      h("button", { class: "primary" }, "Sign in"),
      this.#error,
    );
    if (config.demo_users.length) {
      const buttons = config.demo_users.map((user) =>
        h(
          "button",
          { type: "button", onclick: (event) => this.#submit(event, user.username, user.password) },
          `Sign in as ${user.handle}`,
        ),
      );
      form.append(h("div", { class: "demo", role: "group", "aria-label": "Seeded users" }, ...buttons));
    }
    this.element = h("main", { class: "sign-in" }, form);
  }

  focus() {
    this.#username.focus();
  }

  async #submit(event, username, password) {
    event.preventDefault();
    this.element.inert = true;
    this.#error.textContent = (await this.#signIn(username, password)) ?? "";
    this.element.inert = false;
  }
}
