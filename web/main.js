// Starts the page: settings, sign-in, then inbox and conversation. Addresses: `#/` the inbox, `#/c/<uuid>` a
// conversation, `#/@<handle>` a message to somebody.

import { Api, ApiError } from "./api.js";
import { h, setChildren } from "./dom.js";
import { Messenger } from "./messenger.js";
import { Session, SignInError } from "./session.js";
import { SignInView } from "./sign-in-view.js";
import { MessengerView } from "./messenger-view.js";
import { errorText } from "./words.js";

const app = document.getElementById("app");

async function main() {
  const response = await fetch("/api/client-config");
  const config = await response.json();
  let session = Session.restore(config.cognito);
  let reason = "";
  for (;;) {
    session ??= await signIn(config, reason);
    reason = await useMessenger(config, session);
    session.signOut();
    session = null;
  }
}

async function signIn(config, reason) {
  return await new Promise((resolve) => {
    const view = new SignInView(config, reason, async (username, password) => {
      try {
        resolve(await Session.signIn(config.cognito, username, password));
        return null;
      } catch (error) {
        return error instanceof SignInError ? error.message : "The sign-in service is not available.";
      }
    });
    setChildren(app, [view.element]);
    view.focus();
  });
}

/** Show the messenger until the user signs out or is signed out; returns the reason. */
async function useMessenger(config, session) {
  const messenger = new Messenger(new Api(session));
  const view = new MessengerView(config, messenger);
  setChildren(app, [view.element]);
  try {
    await Promise.race([messenger.start(), view.signedOut]);
    return "";
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return errorText(error.codes[0]);
    if (error instanceof SignInError) return errorText("token_expired");
    throw error;
  } finally {
    messenger.stop();
    view.stop();
  }
}

main().catch((error) => {
  console.error(error);
  setChildren(app, [h("p", { class: "fatal", role: "alert" }, "The server is not available. Please reload the page.")]);
});
