// Calls every operation with the types of openapi.yaml. Arguments: the API's URL, a user's token, another user's handle.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];

declare const process: { argv: string[] };
const [, , baseUrl, token, handle] = process.argv;
if (baseUrl === undefined || token === undefined || handle === undefined) throw new Error("three arguments");

const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

interface Outcome<Data> {
  data?: Data;
  error?: Schemas["Code"][];
  response: Response;
}

function ok<Data>({ data, error, response }: Outcome<Data>): Data {
  if (data === undefined) throw new Error(`${response.url}: ${response.status} ${error?.join()}`);
  return data;
}

function expect<Value>(actual: Value, expected: Value): void {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (left !== right) throw new Error(`${left} is not ${right}`);
}

const sent: Schemas["SentMessage"] = ok(
  await client.POST("/api/messages", {
    params: { header: { "Idempotency-Key": "k" } },
    body: { message: "1", handle },
  }),
);
expect(sent.seq, 1);
const path = { message_group_uuid: sent.message_group_uuid };
ok(await client.POST("/api/messages", { body: { message: "2", ...path } }));
// @ts-expect-error: a message needs a receiver
expect((await client.POST("/api/messages", { body: { message: "3" } })).error, ["user_receiver_handle_blank"]);
const blank = await client.POST("/api/messages", { body: { message: " ", handle } });
expect<Schemas["Code"][] | undefined>(blank.error, ["message_blank"]);

const rows: Schemas["MessageGroup"][] = ok(await client.GET("/api/message_groups", { params: { query: { limit: 1 } } }));
expect(rows.map((row) => row.message), ["2"]);
const query = { around: sent.created_at, order: "asc" } as const;
const messages: Schemas["Message"][] = ok(
  await client.GET("/api/messages/{message_group_uuid}", { params: { path, query } }),
);
expect(messages.map((message) => message.message), ["1", "2"]);

const conversation = ok(await client.GET("/api/message_groups/{message_group_uuid}", { params: { path } }));
expect(conversation.members.length, 2);
const body = { seq: 2 };
const read = ok(await client.POST("/api/message_groups/{message_group_uuid}/read", { params: { path }, body }));
expect(read.read_seq, 2);
const unmarked = ok(await client.DELETE("/api/message_groups/{message_group_uuid}/read", { params: { path } }));
expect(unmarked.read_seq, 2);
const typed = await client.POST("/api/message_groups/{message_group_uuid}/typing", { params: { path } });
expect(typed.response.status, 204);
const stream = ok(await client.GET("/api/events", { parseAs: "stream" }))!.pipeThrough(new TextDecoderStream()).getReader();
expect((await stream.read()).value?.startsWith("retry: "), true);
await stream.cancel();
const unread: number | "99+" = ok(await client.GET("/api/unread")).unread_count;
expect(unread, 0);

const profile = ok(await client.GET("/api/users/@{handle}/short", { params: { path: { handle } } }));
expect(profile.handle, handle);
const { uuid: user_uuid } = profile;
expect(ok(await client.GET("/api/users/{user_uuid}", { params: { path: { user_uuid } } })), profile);
const own = await client.GET("/api/users/me");
expect(ok(own).accepts_messages_from, "everybody");
const changes: Schemas["ProfileChanges"] = { display_name: "Somebody", accepts_messages_from: "known" };
const params = { header: { "If-Match": own.response.headers.get("ETag")! } };
const changed: Schemas["OwnProfile"] = ok(await client.PATCH("/api/users/me", { params, body: changes }));
expect([changed.display_name, changed.accepts_messages_from], ["Somebody", "known"]);
expect((await client.PATCH("/api/users/me", { params, body: changes })).error, ["precondition_failed"]);
const between = await client.GET("/api/message_groups", { params: { query: { with: handle } } });
expect(ok(between).map((row) => row.uuid), [sent.message_group_uuid]);

const other = { params: { path: { handle } } };
expect((await client.PUT("/api/blocks/@{handle}", other)).response.status, 204);
expect(ok(await client.GET("/api/blocks")).map((block) => block.user_uuid), [user_uuid]);
expect((await client.POST("/api/messages", { body: { message: "3", handle } })).error, ["receiver_blocked"]);
expect((await client.DELETE("/api/blocks/@{handle}", other)).response.status, 204);
const report = ok(await client.POST("/api/reports", { body: { ...path, reason: "Spam" } }));
expect(report.uuid.length, 36);
const config: Schemas["ClientConfig"] = ok(await client.GET("/api/client-config"));
expect(config.message_max_chars, 1024);
expect(ok(await client.GET("/api/health-check")).success, true);
expect(ok(await client.GET("/api/ready")).success, true);
expect(ok(await client.GET("/api/openapi.json")).openapi, "3.1.0");
expect(ok(await client.GET("/api/docs", { parseAs: "text" })).includes("<html"), true);
