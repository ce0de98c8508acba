// The stream of live updates: GET /api/events, read with fetch, because EventSource sends no Authorization header.
// After an interruption it goes on from the last event's id, so that nothing is missed and nothing comes twice.

import { ApiError } from "./api.js";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const SILENCE_MS = 40_000; // the server sends a heartbeat every 15 seconds

export class LiveUpdates {
  #api;
  #lastEventId;
  #onEvent;
  #onState;
  #isStopped = false;
  #controller = null;
  #wake = () => {};

  /** `onEvent(name, data)` gets each event, `onState(isConnected)` each change. Begins after the feed cursor. */
  constructor(api, feedCursor, { onEvent, onState }) {
    this.#api = api;
    this.#lastEventId = feedCursor;
    this.#onEvent = onEvent;
    this.#onState = onState;
    addEventListener("online", this.#retryNow);
    document.addEventListener("visibilitychange", this.#retryNow);
  }

  stop() {
    this.#isStopped = true;
    removeEventListener("online", this.#retryNow);
    document.removeEventListener("visibilitychange", this.#retryNow);
    this.#controller?.abort();
    this.#wake();
  }

  /** Runs until `stop`, or until the user is signed out: then it throws the ApiError. */
  async run() {
    let pause = FIRST_PAUSE_MS;
    while (!this.#isStopped) {
      try {
        await this.#follow(() => (pause = FIRST_PAUSE_MS));
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) throw error;
        // The server can no longer go on from this cursor.
        if (error instanceof ApiError && [410, 422].includes(error.status)) this.#lastEventId = await this.#reload();
      }
      if (this.#isStopped) return;
      this.#onState(false);
      await this.#sleep(pause * (0.5 + Math.random() / 2));
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    }
  }

  async #follow(onHello) {
    this.#controller = new AbortController();
    const response = await this.#api.events(this.#lastEventId, this.#controller.signal);
    let watchdog;
    try {
      for await (const event of parseEvents(response.body, () => {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => this.#controller.abort(), SILENCE_MS);
      })) {
        if (event.name === "hello") {
          onHello();
          await this.#onEvent("hello", event.data);
          this.#onState(true);
        } else if (event.name === "reload") {
          await this.#reload();
        } else if (event.name !== "expired") {
          await this.#onEvent(event.name, event.data);
        }
        // Only now: what fails above comes again.
        this.#lastEventId = event.id ?? this.#lastEventId;
      }
    } finally {
      clearTimeout(watchdog);
      this.#controller.abort();
    }
  }

  async #reload() {
    return await this.#onEvent("reload", {});
  }

  #retryNow = () => {
    if (navigator.onLine && document.visibilityState === "visible") this.#wake();
  };

  async #sleep(ms) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** The events of a stream: `{ name, data, id }`. Calls `onBytes` whenever something arrives, even a heartbeat. */
export async function* parseEvents(body, onBytes = () => {}) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onBytes();
      buffer += value;
      let end;
      while ((end = buffer.indexOf("\n\n")) >= 0) {
        const event = parseEvent(buffer.slice(0, end));
        buffer = buffer.slice(end + 2);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parseEvent(text) {
  const fields = {};
  for (const line of text.split("\n")) {
    const [, name, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (name) fields[name] = value;
  }
  return fields.event ? { name: fields.event, id: fields.id, data: JSON.parse(fields.data) } : null;
}
