"""The access patterns for who knows SQL: each one's question, the SQL that would answer it, and what to learn from it.

The SQL is that of a normalised schema: the users of db/schema.sql, and three tables that this system does not have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tools.cli.console import one_line

TABLES = """
CREATE TABLE message_groups (
    uuid       uuid PRIMARY KEY,
    created_at timestamptz NOT NULL
);
CREATE TABLE members (
    message_group_uuid uuid REFERENCES message_groups,
    user_uuid          uuid REFERENCES users,
    PRIMARY KEY (message_group_uuid, user_uuid)
);
CREATE TABLE messages (
    uuid               uuid PRIMARY KEY,
    message_group_uuid uuid NOT NULL REFERENCES message_groups,
    user_uuid          uuid NOT NULL REFERENCES users,
    message            text NOT NULL,
    created_at         timestamptz NOT NULL
);
"""
"""The tables that the SQL pretends, beside `users`."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One way in which the table is used; `sql` has psycopg's placeholders, `%(name)s`."""

    title: str
    question: str
    sql: str
    moral: str

    def filled_sql(self, values: Mapping[str, str | int]) -> list[str]:
        """The lines of the SQL with these values in place."""
        return re.sub(r"%\((\w+)\)s", lambda found: _literal(values[found[1]]), self.sql).strip().splitlines()


MESSAGES = Lesson(
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
    moral="A conversation is a partition, in the order of its times, and each message carries its sender's name. So "
    "the Query reads the rows that are wanted and no other, however long the conversation is.",
)

INBOX = Lesson(
    title="Pattern B: the conversations of a user",
    question="With whom does this user talk, and what was said last?",
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
    moral="DynamoDB has no joins. They were made when the last message was written: an inbox is a partition with a row "
    "for each conversation, which holds the other user's name and the last message.",
)

FIRST_MESSAGE = Lesson(
    title="Pattern C: write a message, the first in a new conversation",
    question="How do two users begin to talk?",
    sql="""
BEGIN;
INSERT INTO message_groups (uuid, created_at)
VALUES (%(group)s, %(created_at)s);
INSERT INTO members (message_group_uuid, user_uuid)
VALUES (%(group)s, %(sender)s),
       (%(group)s, %(receiver)s);
INSERT INTO messages (uuid, message_group_uuid,
                      user_uuid, created_at,
                      message)
VALUES (%(message)s, %(group)s,
        %(sender)s, %(created_at)s,
        %(text)s);
COMMIT;
""",
    moral="All items or none. The pair guard does what UNIQUE would do: if both write first at the same instant, one "
    "is refused, and their message goes to the conversation of the other.",
)

_APPEND = """
INSERT INTO messages (uuid, message_group_uuid,
                      user_uuid, created_at,
                      message)
VALUES (%(message)s, %(group)s,
        %(sender)s, %(created_at)s,
        %(text)s);
"""

NEXT_MESSAGE = Lesson(
    title="Pattern C: write a message, in a conversation that exists",
    question="How does a message get to a user with whom one talks already?",
    sql=_APPEND,
    moral="In SQL the inbox is a join, so the message is all. Here the inbox lies ready, so its rows change with it.",
)

MESSAGE_ALONE = Lesson(
    title="Pattern C: write a message, in a conversation that exists",
    question="How does a message get to a user with whom one talks already?",
    sql=_APPEND,
    moral="GROUP_UPDATES=stream: the request writes the message alone. It has no seq until the function on the table's "
    "stream does pattern D.",
)

GROUP_UPDATE = Lesson(
    title="Pattern D: bring the last message into both members' inboxes",
    question="A message comes into a conversation that exists. What changes in the lists of conversations?",
    sql=_APPEND,
    moral="In SQL the inbox is a join, so the message is all. Here it lies ready: both rows move to the top of their "
    "inboxes. A sort key cannot be updated, so a row moves by a Delete and a Put, in one transaction.",
)


def _literal(value: str | int) -> str:
    """A value as SQL has it, on one line."""
    if isinstance(value, int):
        return str(value)
    quoted = value.replace("'", "''")
    spelled = one_line(quoted.replace("\\", "\\\\"))
    # Postgres reads backslashes in E'…' alone.
    return f"'{quoted}'" if one_line(quoted) == quoted else f"E'{spelled}'"
