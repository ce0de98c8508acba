// Names and times as people read them, and texts as the server counts them.

const dayFormat = new Intl.DateTimeFormat(undefined, {
  weekday: "long",
  day: "numeric",
  month: "long",
  year: "numeric",
});
const timeFormat = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const dateFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const longDateFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });

/** The name of a member, a sender or the other person of an inbox row. */
export function nameText({ display_name: name, deleted = false }) {
  return deleted ? `${name} (deleted)` : name;
}

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

/** `17:32` today, `17:32 on 30 Nov` on another day. */
export function momentText(date, now = new Date()) {
  const time = timeFormat.format(date);
  return startOfDay(date) === startOfDay(now) ? time : `${time} on ${dateFormat.format(date)}`;
}

/** A wait, rounded up: `1 second`, `60 seconds`, `5 minutes`, `3 hours`. */
export function waitText(seconds) {
  const [count, unit] =
    seconds > 3600 ? [seconds / 3600, "hour"] : seconds > 60 ? [seconds / 60, "minute"] : [seconds, "second"];
  return seconds === 1 ? "1 second" : `${Math.ceil(count)} ${unit}s`;
}

export function dateText(date) {
  return longDateFormat.format(date);
}

function startOfDay(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** A text as the server stores it: no white space at both ends. For the server, a byte order mark is no white space. */
export function trimmed(text) {
  return text.replace(/^[^\S\uFEFF]+|[^\S\uFEFF]+$/g, "");
}

/** The length of a text as the server counts it: code points, not UTF-16 units. */
export function countChars(text) {
  return [...text].length;
}
