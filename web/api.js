// The calls of the API. Each method is one request; openapi.yaml describes all of them.

import { accountText, ApiError, codeText, isRefusal, isTemporary, Offline } from "./errors.js";

const RETRIES = 3; // of a GET
const TIMEOUT_MS = 20_000;
const PAGE = 100; // rows or messages of a page

export class Api {
  #session;

  constructor(session) {
    this.#session = session;
  }

  /** A page of the inbox, newest first. The first page has the cursor after which GET /api/events goes on. */
  async inbox({ url = `/api/message_groups?limit=${PAGE}` } = {}) {
    const { data, headers } = await this.#get(url);
    return { rows: data, next: nextPage(headers), feedCursor: headers.get("Feed-Cursor") };
  }

  /** The inbox row of the conversation with a person: an array of one, or empty. */
  async inboxWith(handle) {
    return (await this.#get(`/api/message_groups?with=${encodeURIComponent(handle)}`)).data;
  }

  /** A page of messages: the newest ones, or those at `url`. */
  async messages(groupUuid, { url = null } = {}) {
    const { data, headers } = await this.#get(url ?? `/api/messages/${groupUuid}?limit=${PAGE}`);
    return { messages: data, next: nextPage(headers) };
  }

  /** A conversation: both members with their read positions, and whether the user blocks the other one. */
  async conversation(groupUuid) {
    return (await this.#get(`/api/message_groups/${groupUuid}`)).data;
  }

  async profile(handle) {
    return (await this.#get(`/api/users/@${encodeURIComponent(handle)}/short`)).data;
  }

  /** Send `{ message, message_group_uuid }` or `{ message, handle }`. With the same key, a repeat writes nothing. */
  async send(body, idempotencyKey) {
    const headers = { "Idempotency-Key": idempotencyKey };
    return (await this.#request("POST", "/api/messages", { body, headers })).data;
  }

  async markRead(groupUuid, seq) {
    return (await this.#request("POST", `/api/message_groups/${groupUuid}/read`, { body: { seq } })).data;
  }

  async markUnread(groupUuid) {
    return (await this.#request("DELETE", `/api/message_groups/${groupUuid}/read`)).data;
  }

  async typing(groupUuid) {
    await this.#request("POST", `/api/message_groups/${groupUuid}/typing`);
  }

  /** The user's own profile and its version, for `saveMe`. */
  async me() {
    const { data, headers } = await this.#get("/api/users/me");
    return { me: data, etag: headers.get("ETag") };
  }

  /** Change the profile if its version is still `etag`. */
  async saveMe(changes, etag) {
    const options = { body: changes, headers: { "If-Match": etag } };
    const { data, headers } = await this.#request("PATCH", "/api/users/me", options);
    return { me: data, etag: headers.get("ETag") };
  }

  /** A page of the people whom the user blocks. */
  async blocks({ url = `/api/blocks?limit=${PAGE}` } = {}) {
    const { data, headers } = await this.#get(url);
    return { people: data, next: nextPage(headers) };
  }

  async block(handle) {
    await this.#request("PUT", `/api/blocks/@${encodeURIComponent(handle)}`);
  }

  async unblock(handle) {
    await this.#request("DELETE", `/api/blocks/@${encodeURIComponent(handle)}`);
  }

  async report(groupUuid, reason) {
    await this.#request("POST", "/api/reports", { body: { message_group_uuid: groupUuid, reason } });
  }

  /** The response of GET /api/events, whose body is a stream. */
  async events(lastEventId, signal) {
    const headers = { Accept: "text/event-stream", "Last-Event-ID": lastEventId };
    return await this.#fetch("GET", "/api/events", { headers, signal });
  }

  /** A GET, tried again if the server is busy or away. After a 429, the caller decides when to try again. */
  async #get(url) {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#request("GET", url);
      } catch (error) {
        if (!isTemporary(error) || error.status === 429 || attempt === RETRIES) throw error;
        const pause = Math.max(1000 * (error.retryAfter ?? 0), 500 * 2 ** attempt);
        await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random())));
      }
    }
  }

  async #request(method, url, { body = null, headers = {} } = {}) {
    const content = body ? { body: JSON.stringify(body) } : {};
    const type = body ? { "Content-Type": "application/json" } : {};
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await this.#fetch(method, url, { headers: { ...headers, ...type }, signal, ...content });
    try {
      const text = await response.text();
      return { data: text ? JSON.parse(text) : null, headers: response.headers };
    } catch (error) {
      throw new Offline(error.message);
    }
  }

  /** The response, if it is a success. After a 401 the request goes out once more, with a new token, unless the user
   * was signed out. */
  async #fetch(method, url, { headers, ...options }) {
    for (let renew = false; ; renew = true) {
      const Authorization = `Bearer ${await this.#session.accessToken({ renew })}`;
      let response;
      try {
        response = await fetch(url, { method, headers: { ...headers, Authorization }, cache: "no-cache", ...options });
      } catch (error) {
        throw new Offline(error.message);
      }
      if (response.ok) return response;
      const codes = await response.json().catch(() => ["bad_gateway"]);
      if (response.status === 401 && !renew && codes[0] !== "token_revoked") continue;
      if (response.status === 401) this.#session.end(codeText(codes[0]));
      if (response.status === 403 && !isRefusal(codes)) this.#session.end(accountText(codes[0]));
      throw new ApiError(response.status, codes, Number(response.headers.get("Retry-After")) || 0);
    }
  }
}

/** The URL of `Link: <…>; rel="next"`, on this page's origin; null on the last page. */
function nextPage(headers) {
  const link = /<([^>]+)>; rel="next"/.exec(headers.get("Link") ?? "");
  if (!link) return null;
  const { pathname, search } = new URL(link[1]);
  return pathname + search;
}
