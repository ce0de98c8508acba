// The person's own profile: the name, who may write to them, and whom they have blocked.

import { announce, h } from "./dom.js";
import { errorText, isTemporary } from "./errors.js";
import { dateText, nameText } from "./words.js";

const CHOICES = {
  everybody: "Everybody",
  known: "Only people in my conversations",
  nobody: "Nobody",
};

export class MeView {
  hasFailed = false; // whether a later try can load the profile
  #messenger;
  #etag = ""; // of the profile in the form
  #heading = h("h1", { tabindex: "-1" }, "Your profile");
  #facts = h("p", {});
  #name = h("input", { id: "display-name", autocomplete: "nickname", required: true, dir: "auto" });
  #choices = h("fieldset", {}, h("legend", {}, "Who may write to you"), ...Object.entries(CHOICES).map(choice));
  #button = h("button", { class: "primary" }, "Save");
  #state = h("p", { role: "status" });
  #problem = h("p", { class: "error", role: "alert" });
  #form = h(
    "form",
    { hidden: true, onsubmit: (event) => this.#save(event) },
    h("label", { for: "display-name" }, "Display name"),
    this.#name,
    this.#choices,
    h("div", { class: "buttons" }, this.#button, this.#state),
  );
  #blocked = h("ul", { class: "people" });
  #nobody = h("p", { hidden: true }, "You have blocked nobody.");
  #moreButton = h(
    "button",
    { type: "button", hidden: true, onclick: () => this.#loadMore() },
    "Load more",
  );
  #next = null; // the URL of the next page of blocked people

  constructor(messenger) {
    this.#messenger = messenger;
    this.element = h(
      "section",
      { class: "me", "aria-label": "Your profile" },
      h("a", { href: "#/", class: "back", "aria-label": "Back to the conversations" }, "‹"),
      this.#heading,
      this.#facts,
      this.#problem,
      this.#form,
      h("h2", {}, "Blocked people"),
      this.#nobody,
      this.#blocked,
      this.#moreButton,
    );
  }

  async start() {
    this.#heading.focus();
    this.#blocked.replaceChildren();
    await Promise.all([this.#load(), this.#loadBlocked()]);
  }

  stop() {}

  refresh() {}

  async #load() {
    this.hasFailed = false;
    this.#problem.textContent = "";
    try {
      this.#etag = await this.#messenger.loadMe();
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#show();
  }

  #show() {
    const { handle, display_name: name, created_at: createdAt, accepts_messages_from: choice } = this.#messenger.me;
    this.#facts.replaceChildren(h("bdi", {}, `@${handle}`), `, member since ${dateText(new Date(createdAt))}`);
    this.#name.value = name;
    this.#choices.querySelector(`[value=${choice}]`).checked = true;
    this.#form.hidden = false;
  }

  async #save(event) {
    event.preventDefault();
    this.#state.textContent = this.#problem.textContent = "";
    this.#button.disabled = true;
    const changes = {
      display_name: this.#name.value,
      accepts_messages_from: this.#choices.querySelector(":checked").value,
    };
    try {
      this.#etag = await this.#messenger.saveMe(changes, this.#etag);
      this.#show();
      this.#state.textContent = "Saved.";
    } catch (error) {
      if (error.status === 412) await this.#load();
      this.#problem.textContent = errorText(error);
    }
    this.#button.disabled = false;
    this.#button.focus(); // a disabled button has lost the focus
  }

  async #loadBlocked(url = undefined) {
    try {
      const { people, next } = await this.#messenger.blocks(url);
      this.#next = next;
      this.#blocked.append(...people.map((person) => this.#person(person)));
      this.#countBlocked();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #loadMore() {
    const count = this.#blocked.children.length;
    this.#moreButton.disabled = true;
    await this.#loadBlocked(this.#next);
    this.#moreButton.disabled = false;
    this.#blocked.children[count]?.querySelector("button")?.focus(); // a disabled button has lost the focus
  }

  #person(person) {
    const name = h("span", { dir: "auto" }, `${nameText(person)} @${person.handle}`);
    const label = { "aria-label": `Unblock ${nameText(person)}` };
    const button = h("button", { type: "button", ...label, onclick: () => remove() }, "Unblock");
    const element = h("li", {}, name, person.deleted ? null : button); // nobody has the handle of a deleted person
    const remove = async () => {
      this.#problem.textContent = "";
      try {
        await this.#messenger.unblock(person);
      } catch (error) {
        this.#problem.textContent = errorText(error);
        return;
      }
      element.remove();
      this.#countBlocked();
      this.#heading.focus(); // the button is gone
      announce(`${nameText(person)} is not blocked any more.`);
    };
    return element;
  }

  #countBlocked() {
    this.#moreButton.hidden = !this.#next;
    this.#nobody.hidden = Boolean(this.#next) || this.#blocked.hasChildNodes();
  }

  #fail(error) {
    this.#problem.textContent = errorText(error);
    this.hasFailed = isTemporary(error);
  }
}

function choice([value, text]) {
  return h("label", {}, h("input", { type: "radio", name: "accepts-messages-from", value }), text);
}
