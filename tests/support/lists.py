"""Lists as a client reads them: their texts, their links and their feed cursors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from werkzeug.test import TestResponse

from tests.support.api import JSON, Api, Person, ok

INBOX = "/api/message_groups"


def links(response: TestResponse) -> dict[str, str]:
    """The paths in the Link header by relation."""
    link_values = re.findall(r'<http://localhost:4567(/api/[^<>]+)>; rel="(\w+)"', response.headers.get("Link", ""))
    return {relation: path for path, relation in link_values}


def visit(person: Person, path: str) -> TestResponse:
    """GET this path, without a change to its query; assert that the response is a 200."""
    response = person.client.get(path, headers=person.headers)
    assert response.status_code == 200, response.get_data(as_text=True)
    return response


def walk(person: Person, path: str, relation: str = "next") -> Iterator[TestResponse]:
    """The response at this path, then those at the links with this relation, to the last one."""
    while True:
        response = visit(person, path)
        yield response
        if relation not in links(response):
            return
        path = links(response)[relation]


def texts(response: TestResponse) -> list[str]:
    return [row["message"] for row in ok(response)]


def moved(person: Person, since: str, **query: object) -> TestResponse:
    response = person.get(INBOX, since=since, **query)
    assert response.status_code == 200, response.get_data(as_text=True)
    return response


def feed_cursor(person: Person, path: str = INBOX, **query: object) -> str:
    return str(person.get(path, **query).headers["Feed-Cursor"])


def conversation(api: Api, count: int) -> tuple[Person, str, list[JSON]]:
    """A member of a new conversation, the path of its messages, and the JSON of each send."""
    anna, bert = api.couple()
    sent = [(anna, bert)[number % 2].write(f"{number}", to=(bert, anna)[number % 2]) for number in range(count)]
    return anna, f"/api/messages/{sent[0]['message_group_uuid']}", sent
