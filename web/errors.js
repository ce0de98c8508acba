// What can go wrong, and how the page says it. openapi.yaml describes the codes.

import { waitText } from "./words.js";

/** The API refused a request. `codes` are the codes of the response; `retryAfter` is in seconds, 0 if it has none. */
export class ApiError extends Error {
  name = "ApiError";

  constructor(status, codes, retryAfter) {
    super(codes.join(", "));
    this.status = status;
    this.codes = codes;
    this.retryAfter = retryAfter;
  }
}

/** No response came, so the request may or may not have reached the server. */
export class Offline extends Error {}

/** Cognito refused the user name, the password or the session. The message is for people. */
export class SignInError extends Error {}

/** Whether a 403 is about the receiver of a message. Any other one is about the account. */
export function isRefusal(codes) {
  return codes[0].startsWith("receiver_");
}

/** Whether the same request can succeed later. After a send, only with the same Idempotency-Key. */
export function isTemporary(error) {
  return error instanceof Offline || (error instanceof ApiError && [408, 429, 502, 503, 504].includes(error.status));
}

const TEXTS = {
  message_blank: "The message is empty.",
  message_exceed_max_chars: "The message is too long.",
  message_invalid: "The message has characters that cannot be sent.",
  receiver_not_found: "There is no such person.",
  receiver_is_sender: "That is you.",
  user_is_caller: "That is you.",
  display_name_blank: "The display name is empty.",
  display_name_invalid: "The display name has characters that are not allowed, or it is too long.",
  precondition_failed: "The profile was changed in another place. Here is its newest state; please change it again.",
  reason_blank: "Please say what is wrong.",
  reason_exceed_max_chars: "The text is too long.",
  reason_invalid: "The text has characters that cannot be sent.",
  user_not_found: "There is no such person.",
  handle_taken: "Another person has the handle of this account. The account needs another handle.",
  user_receiver_handle_invalid: "That is not a handle.",
  message_group_not_found: "There is no such conversation.",
  not_found: "There is no such page.",
  token_expired: "You were signed out. Please sign in again.",
  token_revoked: "You were signed out. Please sign in again.",
  token_invalid: "You were signed out. Please sign in again.",
  receiver_unavailable: "This message was not accepted.",
  receiver_blocked: "You have blocked this person. Unblock them to write.",
  rate_limited: "You are sending too fast.",
  conversation_busy: "The conversation is busy. Please try again.",
  server_busy: "The server is busy. Please try again.",
  storage_unavailable: "The server is not available. Please try again later.",
  identity_provider_unavailable: "The sign-in service is not available. Please try again later.",
  bad_gateway: "The server is not available. Please try again later.",
  too_many_streams: "This account is open in too many windows. New messages do not appear here by themselves.",
  live_updates_unavailable: "This server sends no live updates. Reload the page to see new messages.",
  uncertain:
    "This message may not have been sent. If the conversation does not show it, try again. Otherwise, delete it.",
};

/** The sentence for an error. */
export function errorText(error) {
  if (error instanceof SignInError) return error.message;
  if (error instanceof Offline) return "The server does not respond. Please check your connection.";
  if (error.retryAfter && error.codes[0] === "rate_limited") {
    return `Too many requests. Please wait ${waitText(error.retryAfter)}.`;
  }
  return codeText(error.codes?.[0] ?? error.message);
}

/** The sentence for a code of the API. */
export function codeText(code) {
  return TEXTS[code] ?? `Something went wrong (${code}).`;
}

/** The sentence for the code of a 403: the server has no user for the account. */
export function accountText(code) {
  if (code !== "user_not_found") return codeText(code); // in a 404, it is about another person
  return "The server cannot use this account. Its handle, its name or its e-mail address is missing or not allowed.";
}
