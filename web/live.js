// The stream of live updates: GET /api/events, read with fetch, because EventSource sends no Authorization header.
// After an interruption it goes on from the last event's id, so that nothing is missed and nothing comes twice.

import { ApiError } from "./errors.js";

const RETRY_MS = 1_000; // until the server names another time
const LONGEST_PAUSE_MS = 8_000;
const SILENCE_MS = 40_000; // the server sends something every 15 seconds

export class LiveUpdates {
  #api;
  #lastEventId;
  #listener;
  #retryMs = RETRY_MS;
  #failures = 0; // since the last `hello`
  #receivedAt = 0; // when the last bytes came
  #isStopped = false;
  #controller = new AbortController();
  #wake = () => {};

  /**
   * Begin after the feed cursor of the inbox. `listener` has `apply(name, data)` for each event, `reload({ anew })`,
   * which loads the inbox again and returns its feed cursor, and `setConnected(isConnected, error)`.
   */
  constructor(api, feedCursor, listener) {
    this.#api = api;
    this.#lastEventId = feedCursor;
    this.#listener = listener;
    addEventListener("online", this.#retryNow);
    addEventListener("offline", this.#retryNow);
    document.addEventListener("visibilitychange", this.#retryNow);
  }

  stop() {
    this.#isStopped = true;
    removeEventListener("online", this.#retryNow);
    removeEventListener("offline", this.#retryNow);
    document.removeEventListener("visibilitychange", this.#retryNow);
    this.#controller.abort();
    this.#wake();
  }

  /** Follow the stream until `stop`, and connect again whenever it ends. */
  async run() {
    while (!this.#isStopped) {
      const error = await this.#follow().catch((failure) => failure);
      if (this.#isStopped) return;
      this.#listener.setConnected(false, error);
      const pause = Math.min(this.#retryMs * 2 ** this.#failures++, LONGEST_PAUSE_MS);
      await this.#sleep(1000 * (error?.retryAfter ?? 0) + pause * (0.5 + Math.random() / 2));
    }
  }

  /** One connection. Returns when the stream ends, as it does when the server stops or the token expires. */
  async #follow() {
    const controller = (this.#controller = new AbortController());
    let watchdog;
    const onBytes = () => {
      this.#receivedAt = Date.now();
      clearTimeout(watchdog);
      watchdog = setTimeout(() => controller.abort(), SILENCE_MS);
    };
    onBytes();
    try {
      const response = await this.#api.events(this.#lastEventId, controller.signal);
      for await (const event of parseEvents(response.body, onBytes)) await this.#handle(event);
    } catch (error) {
      // The server cannot go on from this cursor. After a 422, it may have another table.
      if (!(error instanceof ApiError) || ![410, 422].includes(error.status)) throw error;
      this.#lastEventId = await this.#listener.reload({ anew: error.status === 422 });
    } finally {
      clearTimeout(watchdog);
      controller.abort();
    }
  }

  async #handle({ name, data, id, retryMs }) {
    this.#retryMs = retryMs ?? this.#retryMs;
    if (name === "reload") await this.#listener.reload({ anew: false });
    else await this.#listener.apply(name, data);
    if (id) this.#lastEventId = id; // only now: what fails above comes again
    if (name === "hello") {
      this.#failures = 0;
      this.#listener.setConnected(true);
    }
  }

  #retryNow = () => {
    const isSilent = Date.now() > this.#receivedAt + SILENCE_MS; // the timers stood still while the computer slept
    if (!navigator.onLine || isSilent) this.#controller.abort();
    if (navigator.onLine && document.visibilityState === "visible") this.#wake();
  };

  async #sleep(ms) {
    await new Promise((resolve) => {
      this.#wake = () => resolve(null);
      setTimeout(this.#wake, ms);
    });
  }
}

/** The events of a stream: `{ name, data, id, retryMs }`. Calls `onBytes` when anything comes, even a heartbeat. */
export async function* parseEvents(body, onBytes) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onBytes();
      const blocks = (buffer + value).split("\n\n");
      buffer = blocks.pop();
      for (const block of blocks) {
        const event = parseEvent(block);
        if (event.name) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** A comment has no name. */
function parseEvent(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
  return {
    name: fields.event,
    data: fields.data && JSON.parse(fields.data),
    id: fields.id,
    retryMs: fields.retry && Number(fields.retry),
  };
}
