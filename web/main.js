// Starts the page: the settings, the sign-in, then the messenger until the session ends.
// The addresses are `#/` (the inbox), `#/c/<uuid>` (a conversation), `#/new` and `#/@<handle>` (a message to somebody),
// and `#/me` (the person's own profile).

import { Api } from "./api.js";
import { h, setChildren } from "./dom.js";
import { errorText } from "./errors.js";
import { Messenger } from "./messenger.js";
import { MessengerView } from "./messenger-view.js";
import { Session } from "./session.js";
import { SignInView } from "./sign-in-view.js";

const app = document.getElementById("app");

async function main() {
  const response = await fetch("/api/client-config");
  const config = await response.json();
  let session = Session.restore(config.cognito);
  let reason = "";
  for (;;) {
    session ??= await signIn(config, reason);
    reason = await useMessenger(config, session);
    if (!reason) location.hash = "#/"; // after a sign-out, the next person begins with the inbox
    session = null;
  }
}

async function signIn(config, reason) {
  return await new Promise((resolve) => {
    const view = new SignInView(config, reason, async (username, password) => {
      try {
        resolve(await Session.signIn(config.cognito, username, password));
        return "";
      } catch (error) {
        return errorText(error);
      }
    });
    setChildren(app, [view.element]);
    view.focus();
  });
}

/** Show the messenger until the session ends. Returns the reason in words, which is empty after a sign-out. */
async function useMessenger(config, session) {
  const messenger = new Messenger(new Api(session), session);
  const view = new MessengerView(config, messenger, session.username);
  setChildren(app, [view.element]);
  try {
    return await Promise.race([session.ended, messenger.start().then(() => session.ended)]);
  } finally {
    messenger.stop();
    view.stop();
  }
}

main().catch((error) => {
  console.error(error);
  const button = h("button", { type: "button", onclick: () => location.reload() }, "Reload");
  setChildren(app, [
    h(
      "main",
      { class: "fatal" },
      h("h1", {}, "Cruddur messages"),
      h("p", { role: "alert" }, "The server is not available."),
      button,
    ),
  ]);
});
