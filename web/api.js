// The calls of the API. Each method is one request (openapi.yaml has all of them).

const RETRIES = 3;

/** The API refused a request. `codes` are the stable codes of the response, `status` is the HTTP status. */
export class ApiError extends Error {
  constructor(status, codes) {
    super(codes.join(", "));
    this.status = status;
    this.codes = codes;
  }
}

/** No response came, so the request may or may not have reached the server. */
export class Offline extends Error {}

export class Api {
  #session;

  constructor(session) {
    this.#session = session;
  }

  /** The inbox: conversations, newest first, and the cursor from which GET /api/events goes on. */
  async inbox({ url = "/api/message_groups?limit=100" } = {}) {
    const { data, headers } = await this.#get(url);
    return { rows: data, next: nextPage(headers), feedCursor: headers.get("Feed-Cursor") };
  }

  /** A page of messages, newest first. `after` is a `created_at`: the page has the messages that follow. */
  async messages(groupUuid, { after, url } = {}) {
    const query = after ? `&after=${encodeURIComponent(after)}` : "";
    const { data, headers } = await this.#get(url ?? `/api/messages/${groupUuid}?limit=50&order=desc${query}`);
    return { messages: data, next: nextPage(headers) };
  }

  /** The state of a conversation: both members with their read positions. */
  async conversation(groupUuid) {
    return (await this.#get(`/api/message_groups/${groupUuid}`)).data;
  }

  async profile(handle) {
    return (await this.#get(`/api/users/@${encodeURIComponent(handle)}/short`)).data;
  }

  /** Send a message: `{ message, message_group_uuid }` or `{ message, handle }`. A repeat with the same key sends once. */
  async send(body, idempotencyKey) {
    return (await this.#request("POST", "/api/messages", { body, headers: { "Idempotency-Key": idempotencyKey } })).data;
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

  /** The response of GET /api/events, whose body is a stream. */
  async events(lastEventId, signal) {
    const headers = { Accept: "text/event-stream", "Last-Event-ID": lastEventId };
    return this.#fetch("GET", "/api/events", { headers, signal });
  }

  /** A GET, tried again if the server is busy or away. */
  async #get(url) {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#request("GET", url);
      } catch (error) {
        const isTemporary = error instanceof Offline || [429, 503].includes(error.status);
        if (!isTemporary || attempt === RETRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt * (0.5 + Math.random())));
      }
    }
  }

  async #request(method, url, { body, headers = {} } = {}) {
    const options = body ? { body: JSON.stringify(body), headers: { ...headers, "Content-Type": "application/json" } } : { headers };
    const response = await this.#fetch(method, url, options);
    const text = await read(response);
    return { data: text ? JSON.parse(text) : null, headers: response.headers };
  }

  async #fetch(method, url, { headers, ...options }) {
    for (let renew = false; ; renew = true) {
      const Authorization = `Bearer ${await this.#session.accessToken({ renew })}`;
      let response;
      try {
        response = await fetch(url, { method, headers: { ...headers, Authorization }, cache: "no-cache", ...options });
      } catch (error) {
        throw error.name === "AbortError" ? error : new Offline(error.message);
      }
      if (response.ok) return response;
      const codes = await response.json().catch(() => ["bad_gateway"]);
      if (response.status !== 401 || renew) throw new ApiError(response.status, codes);
    }
  }
}

async function read(response) {
  try {
    return await response.text();
  } catch (error) {
    throw new Offline(error.message);
  }
}

/** The URL of `Link: <…>; rel="next"`, on this page's origin; null on the last page. */
function nextPage(headers) {
  const link = /<([^>]+)>; rel="next"/.exec(headers.get("Link") ?? "");
  if (!link) return null;
  const { pathname, search } = new URL(link[1]);
  return pathname + search;
}
