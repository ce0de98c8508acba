// What people read: times, and the error codes of the API in words.

const ERRORS = {
  message_blank: "The message is empty.",
  message_exceed_max_chars: "The message is too long.",
  message_invalid: "The message has characters that cannot be sent.",
  receiver_not_found: "There is no such person.",
  receiver_is_sender: "That is you.",
  user_not_found: "There is no such person.",
  user_receiver_handle_invalid: "That is not a handle.",
  message_group_not_found: "There is no such conversation.",
  token_expired: "You were signed out. Please sign in again.",
  token_invalid: "You were signed out. Please sign in again.",
  conversation_busy: "The conversation is busy. Please try again.",
  storage_unavailable: "The server is not available. Please try again later.",
};

/** The sentence for a code of the API. */
export function errorText(code) {
  return ERRORS[code] ?? `Something went wrong (${code}).`;
}

const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const timeFormat = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const dateFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** `Today`, `Yesterday` or `Sunday, 29 November 2026`. */
export function dayText(date, now = new Date()) {
  const days = Math.round((startOfDay(now) - startOfDay(date)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return dayFormat.format(date);
}

export function timeText(date) {
  return timeFormat.format(date);
}

/** For the inbox: the time of today's messages, the date of older ones. */
export function shortText(date, now = new Date()) {
  return startOfDay(date) === startOfDay(now) ? timeFormat.format(date) : dateFormat.format(date);
}

function startOfDay(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}
