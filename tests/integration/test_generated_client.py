"""A Python client that openapi-python-client generates from openapi.yaml calls every operation of the real server."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from types import ModuleType
from typing import Any

import httpx
import pytest

from lib.config import ROOT
from services.errors import Code
from tests.support.api import Api, Person, run_api
from tests.support.api_server import ApiServer
from tests.support.openapi import OPERATIONS
from tools.local_stack.processes import LOOPBACK

PACKAGE = "generated_client"
TAGS = {operation["operationId"]: operation["tags"][0] for operation in OPERATIONS}

api = pytest.fixture(scope="module")(run_api)


class Caller:
    """Calls operations by their ids with a generated client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.called: set[str] = set()

    def call(self, operation_id: str, *path: Any, status: int = 200, **arguments: Any) -> Any:
        """The parsed body of the response, which must have this status."""
        self.called.add(operation_id)
        names = [re.sub(r"\W", "_", TAGS[operation_id]).lower(), re.sub(r"([A-Z])", r"_\1", operation_id).lower()]
        module = importlib.import_module(f"{PACKAGE}.api.{'.'.join(names)}")
        response = module.sync_detailed(*path, client=self._client, **arguments)
        assert response.status_code == status, response.content
        return response.parsed


@contextmanager
def connect(package: ModuleType, url: str, person: Person | None = None, **httpx_args: Any) -> Iterator[Caller]:
    """The generated client of one user, or of nobody."""
    options = {"base_url": url, "raise_on_unexpected_status": True, "httpx_args": httpx_args}
    if person is None:
        client = package.Client(**options)
    else:
        client = package.AuthenticatedClient(**options, token=person.authorization.removeprefix("Bearer "))
    with client:
        yield Caller(client)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The generated package, without one warning of the generator."""
    folder = tmp_path_factory.mktemp("client")
    config = folder / "config.yaml"
    config.write_text("post_hooks: []\n", encoding="utf-8")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta=none", "--fail-on-warning"]
    options = [f"--path={ROOT / 'openapi.yaml'}", f"--output-path={folder / PACKAGE}", f"--config={config}"]
    generated = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert generated.returncode == 0, generated.stdout + generated.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module(PACKAGE)


@pytest.fixture(scope="module")
def url(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real server."""
    with ApiServer(tmp_path_factory.mktemp("server") / "log", **api.server_variables()) as server:
        yield f"http://{LOOPBACK}:{server.port}"


def expiring(api: Api, person: Person) -> Person:
    """The same person with a token of two seconds: their stream ends after that."""
    authorization = api.issuer.authorization(f"sub-{person.user.uuid}", exp=int(time.time()) + 2)
    return replace(person, authorization=authorization)


def test_client_calls_every_operation(api: Api, package: ModuleType, url: str) -> None:
    models = importlib.import_module(f"{PACKAGE}.models")
    anna, bert = api.couple()
    since = anna.get("/api/message_groups").headers["Feed-Cursor"]
    with connect(package, url, anna) as caller:
        call = caller.call
        to_bert = models.MessageToUser(message="1", handle=bert.user.handle)
        first = call("sendMessage", body=to_bert, idempotency_key="k")
        assert (first.message, first.seq, str(first.user_uuid)) == ("1", 1, anna.user.uuid)
        group = first.message_group_uuid
        second = call("sendMessage", body=models.MessageToGroup(message="2", message_group_uuid=group))
        (row,) = call("listMessageGroups", limit=1)
        assert (row.uuid, row.handle, row.message, row.created_at) == (group, bert.user.handle, "2", second.created_at)
        for texts, query in (
            (["1", "2"], {"order": models.ListMessagesOrder.ASC}),
            (["1"], {"before": second.created_at}),
            (["2"], {"after": first.created_at.replace(tzinfo=None)}),
        ):
            assert [message.message for message in call("listMessages", group, **query)] == texts
        assert [member.read_seq for member in call("getMessageGroup", group).members].count(2) == 1
        bert_sent = datetime.fromisoformat(bert.reply("3", group=str(group))["created_at"])
        assert call("countUnread").unread_count == 1
        assert call("markRead", group, body=models.ReadMark(seq=3)).unread_count == 0
        assert call("markUnread", group).read_seq == 2
        assert models.UnreadTotal.from_dict({"unread_count": "99+"}).unread_count == "99+"
        assert str(call("getShortProfile", bert.user.handle).uuid) == bert.user.uuid
        assert str(call("getProfile", bert.user.uuid).handle) == bert.user.handle
        profile = call("getOwnProfile")
        changes = models.ProfileChanges(display_name="Anna Neu", accepts_messages_from=models.Senders.KNOWN)
        assert call("changeOwnProfile", body=changes).created_at == profile.created_at
        assert call("getOwnProfile").display_name == "Anna Neu"
        assert call("checkHealth").success
        assert call("checkReadiness").success
        assert call("getOpenapi").openapi == "3.1.0"
        assert "<html" in call("getReference")
        assert call("getClientConfig").cognito.client_id == api.issuer.client_id
        assert call("showTyping", group, status=204) is None
        assert call("blockUser", bert.user.handle, status=204) is None
        (block,) = call("listBlocks")
        assert (str(block.user_uuid), call("getMessageGroup", group).blocked) == (bert.user.uuid, True)
        refused = call("sendMessage", body=to_bert, status=403)
        assert refused == [models.Code.RECEIVER_BLOCKED]
        report = models.NewReport(message_group_uuid=group, created_at=bert_sent, reason="A threat.")
        assert call("reportUser", body=report, status=201).uuid
        assert call("unblockUser", bert.user.handle, status=204) is None
    with connect(package, url, expiring(api, anna)) as short_lived:
        text = short_lived.call("streamEvents", last_event_id=since)
        assert re.findall("^event: (.+)$", text, re.MULTILINE) == ["hello", "message_group", "expired"]
        assert f'"uuid":"{group}"' in text
        assert caller.called | short_lived.called == TAGS.keys()


def test_client_parses_refusals(api: Api, package: ModuleType, url: str) -> None:
    models = importlib.import_module(f"{PACKAGE}.models")
    code = models.Code
    anna, bert = api.couple()
    group = anna.write("1", to=bert)["message_group_uuid"]
    with connect(package, url) as nobody:
        assert nobody.call("countUnread", status=401) == [code.TOKEN_MISSING]
    with connect(package, url, anna) as caller:
        call = caller.call
        assert call("getMessageGroup", uuid.uuid4(), status=404) == [code.MESSAGE_GROUP_NOT_FOUND]
        assert call("listMessages", group, limit=0, status=422) == [code.LIMIT_INVALID]
        message = models.MessageToUser(message=" ", handle="")
        assert call("sendMessage", body=message, status=422) == [code.MESSAGE_BLANK, code.USER_RECEIVER_HANDLE_BLANK]
        call("sendMessage", body=models.MessageToUser(message="2", handle=bert.user.handle), idempotency_key="k")
        message = models.MessageToUser(message="3", handle=bert.user.handle)
        assert call("sendMessage", body=message, idempotency_key="k", status=409) == [code.IDEMPOTENCY_KEY_REUSED]
        message = models.MessageToUser(message="x" * 20000, handle=bert.user.handle)
        assert call("sendMessage", body=message, status=413) == [code.BODY_TOO_LARGE]
        assert call("listMessageGroups", if_none_match="*", status=304) is None
    busy = httpx.MockTransport(lambda _: httpx.Response(503, json=[Code.SERVER_BUSY]))
    with connect(package, url, anna, transport=busy) as caller:
        for operation_id in ("countUnread", "getMessageGroup", "getShortProfile", "checkReadiness", "checkHealth"):
            path = {"getMessageGroup": [group], "getShortProfile": ["x"]}.get(operation_id, [])
            assert caller.call(operation_id, *path, status=503) == [code.SERVER_BUSY]
