"""The API does what openapi.yaml says: schemathesis generates valid and invalid requests from the document, and checks
each response with all of its checks. The requests are the same in every run.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import Phase, settings
from schemathesis import Case
from schemathesis.core.parameters import ParameterLocation

from lib.postgres.database import Database
from lib.users.names import display_name
from tests.support.api import Api, Person, run_api
from tests.support.openapi import DOCUMENT, Node
from tools.seed.conversation import CONVERSATION_UUID, seed_conversation, seed_users

CONFIG: dict[str, Any] = {
    "seed": 4,
    "generation": {"deterministic": True, "database": "none", "max-examples": 25},
    # Values from responses and from the sources would change from run to run.
    "phases": {phase: {"extra-data-sources": {"responses": False}} for phase in ("coverage", "fuzzing")},
    "analysis": {"constants": {"enabled": False}},
}
BOUNDED = settings(
    max_examples=12, stateful_step_count=8, phases=[Phase.generate], derandomize=True, database=None, deadline=None
)
GROUP, GROUPS = "/api/message_groups/{message_group_uuid}", "/api/message_groups"
MESSAGES = "/api/messages/{message_group_uuid}"
CONVERSATION = MESSAGES.format(message_group_uuid=CONVERSATION_UUID)
PLACES = ("cursor", "since", "before", "after", "around", "with")
A_TIME = "2025-12-29T18:20:33.226127+00:00"  # of a message in the middle of the seeded conversation


class Served:
    """The application under test. Pytest generates the tests before the application exists."""

    app: Flask

    def __call__(self, environ: Any, start_response: Any) -> Any:
        environ.pop("HTTP_ACCEPT_ENCODING", None)  # schemathesis decompresses no response
        return self.app(environ, start_response)


def load(openapi: Node, *, tokens: bool = False) -> Any:
    """Load a copy of the document, to generate requests with invalid tokens or without any."""
    generation = {**CONFIG["generation"], "with-security-parameters": tokens}
    config = schemathesis.Config.from_dict({**CONFIG, "generation": generation})
    loaded = schemathesis.openapi.from_dict(deepcopy(openapi), config=config)
    loaded.app = served
    return loaded


served = Served()
contract = load(DOCUMENT)
without_streams = contract.exclude(path="/api/events")  # only the real server has them: test_events.py
api = pytest.fixture(scope="module")(run_api)
unused = pytest.fixture(run_api)


@dataclass(frozen=True)
class Caller:
    """The headers of a user, and their valid cursors: of lists, by path, and of the feed."""

    headers: dict[str, str]
    cursors: dict[str, str]
    since: str


@pytest.fixture(scope="module")
def member(api: Api) -> Caller:
    """Augustsz in the seeded system, as in the document's examples."""
    served.app = api.app
    augustsz, londo = seed(api, "Augustsz", "londo")
    augustsz.write("Hello Londo!", to=londo)
    return caller(augustsz, GROUPS, CONVERSATION)


@pytest.fixture(scope="module")
def stranger(api: Api, member: Caller) -> Caller:
    """A user with conversations. The user is not a member of the seeded one."""
    carl = api.sign_up("carl")
    for name in ("dora", "erik"):
        carl.write("Hello!", to=api.sign_up(name))
    return caller(carl, GROUPS)


@pytest.fixture(scope="module")
def statuses() -> Iterator[dict[str, set[int]]]:
    """The statuses of the member's responses by operation. Each operation must have had every documented success."""
    statuses: dict[str, set[int]] = defaultdict(set)
    yield statuses
    for label, actual in statuses.items():
        documented = {int(status) for status in contract.find_operation_by_label(label).responses.status_codes}
        assert actual >= documented & {200, 304}, label


def test_every_check_is_on() -> None:
    checks = {check.__name__ for check in schemathesis.checks.CHECKS.get_all()}
    assert checks >= {"not_a_server_error", "response_schema_conformance", "positive_data_acceptance", "ignored_auth"}
    config = contract.config.checks_config_for()
    assert [name for name in checks if not config.get_by_name(name=name).enabled] == []


@without_streams.parametrize()
def test_responses_to_a_member_are_documented(member: Caller, statuses: dict[str, set[int]], case: Case) -> None:
    aim(case, member)
    response = case.call_and_validate(headers=member.headers)
    statuses[case.operation.label].add(response.status_code)


@without_streams.parametrize()
def test_refusals_of_a_stranger_are_documented(stranger: Caller, case: Case) -> None:
    aim(case, stranger)
    response = case.call_and_validate(headers=stranger.headers)
    if "{message_group_uuid}" in case.path and case.method != "OPTIONS":
        assert response.status_code >= 400


@load(DOCUMENT, tokens=True).parametrize()
def test_refusals_without_a_token_are_documented(member: Caller, case: Case) -> None:
    aim(case, member)
    case.call_and_validate()


def test_responses_to_linked_requests_are_documented(member: Caller) -> None:
    class Client(contract.as_state_machine()):  # type: ignore[misc]
        def before_call(self, case: Case) -> None:
            follow_rules(case, member)

        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"headers": member.headers}

        def validate_response(self, response: Any, case: Case, **options: Any) -> None:
            case.validate_response(response, headers=member.headers, transport_kwargs=options, recorder=self.recorder)

    Client.run(settings=BOUNDED)


def test_seeded_system_returns_the_examples(unused: Api) -> None:
    (augustsz,) = seed(unused, "Augustsz")
    schemas, headers = DOCUMENT["components"]["schemas"], DOCUMENT["components"]["headers"]
    newest = augustsz.get(CONVERSATION, limit=1)
    assert newest.json == [schemas["Message"]["example"]]
    link = headers["Link"]["example"].replace("https://api.example.com", unused.settings.backend_url)
    assert (newest.headers["Link"], newest.headers["ETag"]) == (link, headers["ETag"]["example"])
    assert augustsz.inbox() == [schemas["MessageGroup"]["example"]]
    for path, name in (
        (GROUP.format(message_group_uuid=CONVERSATION_UUID), "Conversation"),
        ("/api/users/@bayko/short", "ShortProfile"),
        ("/api/health-check", "Health"),
        ("/api/ready", "Readiness"),
    ):
        assert augustsz.get(path).json == schemas[name]["example"]
    sent = augustsz.post({"handle": "londo", "message": "Hello Londo!"})
    generated = {"message_group_uuid", "uuid", "created_at"}
    assert {**schemas["SentMessage"]["example"], **{name: sent.json[name] for name in generated}} == sent.json


def seed(api: Api, *handles: str) -> list[Person]:
    """Seed the system and sign in the users with these handles."""
    adapters = api.app.extensions["dependencies"]
    with Database(api.database_url) as database:
        seed_users(database)
    api.execute("UPDATE users SET cognito_user_id = 'sub-' || uuid")
    seed_conversation(adapters.store._table, adapters.users)
    return [api.sign_in(adapters.users.by_handle(handle)) for handle in handles]


def caller(person: Person, *lists: str) -> Caller:
    pages = {path: person.get(path, limit=1) for path in lists}
    cursors = {path: re.findall(r"cursor=([^>]+)>", page.headers["Link"])[0] for path, page in pages.items()}
    return Caller(person.headers, cursors, pages[lists[0]].headers["Feed-Cursor"])


def follow_rules(case: Case, caller: Caller) -> None:
    """Make a valid request follow the rules that a document cannot express."""
    query = case.query if is_valid(case, ParameterLocation.QUERY) else {}
    for place in [name for name in PLACES if name in query][1:]:  # a request has at most one
        del query[place]
    if query.pop("cursor", None) and case.formatted_path in caller.cursors:
        query["cursor"] = caller.cursors[case.formatted_path]
    if "since" in query:
        query["since"] = caller.since
    if "If-Match" in (case.headers or {}) and is_valid(case, ParameterLocation.HEADER):
        case.headers["If-Match"] = "*"
    body = case.body if is_valid(case, ParameterLocation.BODY) else None
    if isinstance(body, dict) and display_name(str(body.get("display_name"))) is None:
        body["display_name"] = "Augustus"


def aim(case: Case, caller: Caller) -> None:
    """Follow the rules. Put existing uuids, handles and times into half of the requests; others match nothing."""
    existing = {"message_group_uuid": CONVERSATION_UUID, "handle": "bayko", "If-None-Match": "*"}
    existing.update(dict.fromkeys(("before", "after", "around"), A_TIME))
    chosen = sum(f"{case.path_parameters} {case.query} {case.headers} {case.body}".encode(errors="replace")) % 2
    for location in (ParameterLocation.PATH, ParameterLocation.QUERY, ParameterLocation.HEADER, ParameterLocation.BODY):
        values = getattr(case, location.container_name)
        if chosen and is_valid(case, location) and hasattr(values, "keys"):
            values.update(
                {name: existing[name] for name in existing.keys() & values.keys() if values[name] is not None}
            )
    follow_rules(case, caller)


def is_valid(case: Case, location: ParameterLocation) -> bool:
    """Whether this part of a request is valid by the document."""
    assert case.meta is not None
    return not case.meta.is_negative_at(location)
