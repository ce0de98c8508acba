// Runs messages.ts, the code of docs/front-end.md. Arguments: the API's URL, the tokens of two users, the handle of the
// second, and the URL of a server that never responds.
import * as messages from "./messages.js";
import type { LiveEvent } from "./messages.js";

const { ApiError, applyRow, connect, errorText, findConversation, follow, loadBlocks, loadInbox, loadMe } = messages;
const { loadMessages, markRead, readEvents, saveMe, send, setBlocked } = messages;

declare const process: { argv: string[] };
const [baseUrl, annaToken, bertToken, bertHandle, silentUrl] = process.argv.slice(2) as [string, string, string, string, string];
const anna = connect(baseUrl, async () => annaToken);
const bert = connect(baseUrl, async () => bertToken);

function expect<Value>(actual: Value, expected: Value): void {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (left !== right) throw new Error(`${left} is not ${right}`);
}

async function until(condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !condition(); await new Promise((resolve) => setTimeout(resolve, 10))) {
    if (Date.now() > end) throw new Error(`not within ten seconds: ${condition}`);
  }
}

/** The events of Anna's stream until `stop`; `reloads` counts how often it asked for the inbox. */
function listen(since: string) {
  const controller = new AbortController();
  const state = { events: [] as LiveEvent[], reloads: 0, last: since };
  const done = follow(anna, since, {
    signal: controller.signal,
    async reload() {
      state.reloads++;
      return (await loadInbox(anna)).feedCursor;
    },
    apply(event) {
      state.events.push(event);
      state.last = event.id ?? state.last;
    },
  });
  const texts = () => state.events.flatMap((event) => (event.name === "message_group" ? [event.data.message] : []));
  const named = (name: LiveEvent["name"]) => state.events.find((event) => event.name === name);
  return { state, texts, named, stop: async () => (controller.abort(), await done) };
}

// Sending, with a retry of the same message
const first = await send(anna, { handle: bertHandle }, "1", "the key");
expect((await send(anna, { handle: bertHandle }, "1", "the key")).uuid, first.uuid);
const group = { message_group_uuid: first.message_group_uuid };
for (const message of ["2", "3", "4", "5"]) await send(anna, group, message);

// Pages
const texts: string[] = [];
for (let query: Parameters<typeof loadMessages>[2] | null = { limit: 2 }; query; ) {
  const page = await loadMessages(anna, group.message_group_uuid, query);
  texts.push(...page.messages.map((message) => message.message));
  query = page.next;
}
expect(texts, ["5", "4", "3", "2", "1"]);
const after = await loadMessages(anna, group.message_group_uuid, { after: first.created_at });
expect(after.messages.length, 4);

// Live updates
const { rows, feedCursor } = await loadInbox(anna);
expect(rows.map((row) => row.message), ["5"]);

// A row in an open conversation, and how many requests it takes
const [row] = rows as [(typeof rows)[0]];
const { fetch } = globalThis;
let requests = 0;
globalThis.fetch = (...request) => (requests++, fetch(...request));
async function applied(seq: number, shown: { uuid: string; seq: number | null }[], message_uuid = row.message_uuid) {
  const message = { user_uuid: first.user_uuid, message: "", created_at: first.created_at };
  const conversation = { seq, messages: new Map(shown.map((known) => [known.uuid, { ...message, ...known }])) };
  requests = 0;
  await applyRow(anna, conversation, { ...row, message_uuid });
  return [requests, conversation.seq, ...[...conversation.messages.values()].map((known) => known.seq).sort()];
}
const newest = { uuid: row.message_uuid! };
const fourth = { uuid: after.messages[1]!.uuid, seq: 4 };
expect(await applied(5, [{ ...newest, seq: 5 }]), [0, 5, 5]);
expect(await applied(6, []), [0, 6]);
expect(await applied(4, [fourth]), [0, 5, 4, 5]);
expect(await applied(4, [fourth], fourth.uuid), [1, 5, 1, 2, 3, 4, 5]); // stream mode: an earlier message came late
expect(await applied(4, [fourth, { ...newest, seq: 5 }]), [0, 5, 4, 5]); // an own message
expect(await applied(4, [{ ...newest, seq: null }]), [1, 5, 1, 2, 3, 4, 5]); // the same in stream mode
expect(await applied(1, [first]), [1, 5, 1, 2, 3, 4, 5]);
globalThis.fetch = fetch;

// Events
const live = listen(feedCursor);
await until(() => live.named("hello") !== undefined);
await bert.POST("/api/message_groups/{message_group_uuid}/typing", { params: { path: group } });
await until(() => live.named("typing") !== undefined);
expect((await markRead(bert, group.message_group_uuid, 5)).read_seq, 5);
await until(() => live.named("read") !== undefined);
await send(bert, group, "from Bert\n\nevent: none");
await until(() => live.texts().length === 1);
expect(live.texts(), ["from Bert\n\nevent: none"]);
await live.stop();

// Resuming: what came in the meantime comes once
await send(bert, group, "missed");
const resumed = listen(live.state.last);
await until(() => resumed.texts().length === 1);
await send(bert, group, "live");
await until(() => resumed.texts().length === 2);
expect(resumed.texts(), ["missed", "live"]);
await resumed.stop();
expect([live.state.reloads, resumed.state.reloads], [0, 0]);

// A cursor that the server does not know
const lost = listen("unknown");
await until(() => lost.state.reloads === 1 && lost.named("hello") !== undefined);
await lost.stop();

// A client whose first attempt to load the inbox again fails
const unlucky = new AbortController();
let reloads = 0;
await follow(anna, "unknown", {
  signal: unlucky.signal,
  async reload() {
    if (++reloads === 1) throw new TypeError("fetch failed");
    return feedCursor;
  },
  apply: () => unlucky.abort(), // the stream is open
});
expect(reloads, 2);

// An event that cannot be applied leaves no stream open; a user has at most ten
const { signal } = new AbortController();
for (let failures = 0; failures < 12; failures++) {
  const failing = async () => {
    for await (const event of readEvents(anna, feedCursor, signal)) throw new Error(`cannot apply ${event.name}`);
  };
  await failing().catch(() => {});
}
const reopened = listen(feedCursor);
await until(() => reopened.named("hello") !== undefined);
await reopened.stop();

// A server that accepts the request and never responds
const realSetTimeout = setTimeout;
globalThis.setTimeout = ((callback: () => void) => realSetTimeout(callback, 500)) as typeof setTimeout;
const hanging = readEvents(connect(silentUrl, async () => annaToken), feedCursor, signal);
expect(await hanging.next().catch((error: Error) => error.name), "AbortError");
globalThis.setTimeout = realSetTimeout;

// The caller's own profile
const { me, etag } = await loadMe(anna);
expect(me.uuid, first.user_uuid);
expect((await saveMe(anna, { display_name: "Anna Neu" }, etag)).display_name, "Anna Neu");
const outdated = await saveMe(anna, { display_name: "Anna" }, etag).catch((error: unknown) => error);
expect(outdated instanceof ApiError && [outdated.status, outdated.codes], [412, ["precondition_failed"]]);

// Blocks
expect((await findConversation(bert, me.handle))?.display_name, "Anna Neu");
expect(await findConversation(anna, me.handle), undefined);
await setBlocked(anna, bertHandle, true);
expect((await loadBlocks(anna)).map((user) => user.handle), [bertHandle]);
expect((await findConversation(anna, bertHandle))?.blocked, true);
for (const [sender, code] of [[anna, "receiver_blocked"], [bert, "receiver_unavailable"]] as const) {
  const refusal = await send(sender, group, "blocked").catch((error: unknown) => error);
  expect(refusal instanceof ApiError && [refusal.status, refusal.codes], [403, [code]]);
}
await setBlocked(anna, bertHandle, false);
expect(await loadBlocks(anna), []);

// Limits
const { fetch: realFetch } = globalThis;
const limits: number[] = [];
globalThis.fetch = async (...request) => {
  const seconds = limits.shift();
  const init = { status: 429, headers: { "Retry-After": `${seconds}`, "Content-Type": "application/json" } };
  return seconds === undefined ? await realFetch(...request) : new Response('["rate_limited"]', init);
};
limits.push(2);
const startedAt = Date.now();
expect((await send(bert, group, "again")).message, "again");
expect(Date.now() - startedAt >= 2000, true);
limits.push(3600);
const limited = await send(bert, group, "too many").catch((error: unknown) => error);
expect(limited instanceof ApiError && [limited.status, limited.codes, limited.retryAfter], [429, ["rate_limited"], 3600]);
globalThis.fetch = realFetch;

// Errors
const refusal = await send(anna, group, " ").catch((error: unknown) => error);
if (!(refusal instanceof ApiError)) throw new Error("the server accepted a blank message");
expect([refusal.status, refusal.codes, errorText(refusal.codes)], [422, ["message_blank"], "The message is empty."]);

// A load balancer between the client and the server
const pages: Response[] = [];
const page = (status: number) => pages.push(new Response("<html>", { status }));
globalThis.fetch = async (...request) => pages.shift() ?? (await fetch(...request));
for (const status of [408, 429, 502, 503, 504]) {
  page(status);
  expect((await send(anna, group, "1", `the key after a ${status}`)).message, "1");
}
page(502);
const broken = await loadInbox(anna).catch((error: unknown) => error);
expect(broken instanceof ApiError && [broken.name, broken.status, errorText(broken.codes)], [
  "ApiError",
  502,
  "Something went wrong (no code).",
]);

// A token that the server refuses
const renewing = connect(baseUrl, async (renew) => (renew ? annaToken : "no token"));
expect((await send(renewing, group, "1", "the key of a repeat")).message, "1");
const renewals: boolean[] = [];
const stranger = connect(baseUrl, async (renew) => (renewals.push(renew), "no token"));
const denied = await follow(stranger, "", { signal: new AbortController().signal, apply() {}, reload: async () => "" }).catch(
  (error: unknown) => error,
);
expect(denied instanceof ApiError && denied.status, 401);
expect(renewals, [false, true]);

// A user who was signed out
renewals.length = 0;
globalThis.fetch = async () => new Response('["token_revoked"]', { status: 401, headers: { "Content-Type": "application/json" } });
const revoked = await loadInbox(stranger).catch((error: unknown) => error);
expect(revoked instanceof ApiError && revoked.codes, ["token_revoked"]);
expect(renewals, [false]); // a new token would undo the sign-out
