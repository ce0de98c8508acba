"""The access patterns in SQL, and how DynamoDB differs.

The SQL belongs to a normalized schema: `users` of db/migrations, and three tables that this system does not have:
message_groups (uuid, created_at), members (message_group_uuid, user_uuid) and messages (uuid, message_group_uuid,
user_uuid, message, created_at).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tools.cli.console import one_line


@dataclass(frozen=True, slots=True)
class Explanation:
    """An access pattern for a reader who knows SQL; `sql` has psycopg's placeholders, `%(name)s`."""

    title: str
    question: str
    sql: str
    takeaway: str

    def sql_with(self, values: Mapping[str, str | int]) -> list[str]:
        """The lines of the SQL with these values in place."""
        return re.sub(r"%\((\w+)\)s", lambda match: _literal(values[match[1]]), self.sql).strip().splitlines()


MESSAGES = Explanation(
    title="Pattern A: the messages of a conversation",
    question="What are the newest messages of this conversation, and who wrote them?",
    sql="""
SELECT messages.uuid, users.display_name, users.handle, messages.message, messages.created_at
FROM messages
JOIN users ON users.uuid = messages.user_uuid
WHERE messages.message_group_uuid = %(group)s
ORDER BY messages.created_at DESC
LIMIT %(limit)s;
""",
    takeaway="A conversation is a partition, sorted by time, and each message carries its sender's name. So the Query "
    "reads the rows of the page and no other, however long the conversation is.",
)

INBOX = Explanation(
    title="Pattern B: the conversations of a user",
    question="With whom does this user have conversations, and what is the last message of each?",
    sql="""
SELECT mine.message_group_uuid AS uuid, users.display_name, users.handle,
       last.message, last.created_at
FROM members AS mine
JOIN members AS theirs ON theirs.message_group_uuid = mine.message_group_uuid
                      AND theirs.user_uuid <> mine.user_uuid
JOIN users ON users.uuid = theirs.user_uuid
JOIN LATERAL (
    SELECT message, created_at FROM messages
    WHERE messages.message_group_uuid = mine.message_group_uuid
    ORDER BY created_at DESC
    LIMIT 1
) AS last ON true
WHERE mine.user_uuid = %(user)s
ORDER BY last.created_at DESC
LIMIT %(limit)s;
""",
    takeaway="DynamoDB has no joins. The write of the last message made them in advance: an inbox is a partition with "
    "a row for each conversation, and the row holds the other user's name and the last message.",
)

_INSERT_MESSAGE = """
INSERT INTO messages (uuid, message_group_uuid,
                      user_uuid, created_at,
                      message)
VALUES (%(message)s, %(group)s,
        %(sender)s, %(created_at)s,
        %(text)s);
"""

FIRST_MESSAGE = Explanation(
    title="Pattern C: write the first message of a new conversation",
    question="How do two users start a conversation?",
    sql=f"""
BEGIN;
INSERT INTO message_groups (uuid, created_at)
VALUES (%(group)s, %(created_at)s);
INSERT INTO members (message_group_uuid, user_uuid)
VALUES (%(group)s, %(sender)s),
       (%(group)s, %(receiver)s);{_INSERT_MESSAGE}COMMIT;
""",  # noqa: S608 - nothing runs it, and its values are placeholders
    takeaway="DynamoDB writes all items or none. The pair guard has the effect of UNIQUE: if both users send a first "
    "message at the same instant, DynamoDB refuses one of them, and that message goes to the other's conversation.",
)

NEXT_MESSAGE = Explanation(
    title="Pattern C: write a message into an existing conversation",
    question="How does a message get into an existing conversation? (To see a first message, name two users without "
    "a conversation by --user and --to.)",
    sql=_INSERT_MESSAGE,
    takeaway="In SQL the inbox is a join, so the message is the only row to write. Here the inbox is stored, so its "
    "rows change with each message.",
)

MESSAGE_ALONE = replace(
    NEXT_MESSAGE,
    takeaway="With GROUP_UPDATES=stream the request writes only the message. The message has no seq until the "
    "function on the table's stream runs pattern D.",
)

GROUP_UPDATE = Explanation(
    title="Pattern D: bring the last message into both members' inboxes",
    question="A member sends a message into an existing conversation. What changes in both members' inboxes?",
    sql=_INSERT_MESSAGE,
    takeaway="In SQL the inbox is a join, so the message is the only row to write. Here the inbox is stored: both rows "
    "move to the top. A sort key cannot be updated, so a Delete and a Put move a row, in one transaction.",
)


def _literal(value: str | int) -> str:
    """A value as an SQL literal on one line."""
    if isinstance(value, int):
        return str(value)
    quoted = value.replace("'", "''")
    escaped = one_line(quoted.replace("\\", "\\\\"))
    # Postgres interprets backslashes only in E'…'.
    return f"'{quoted}'" if one_line(quoted) == quoted else f"E'{escaped}'"
