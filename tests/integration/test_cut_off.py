"""Users whom scripts disable or sign out: every process refuses their tokens and ends their streams."""

from __future__ import annotations

import shlex
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest

from lib.users.cache import CACHED_SECONDS
from lib.users.directory import UserDirectory
from tests.integration.test_api_cache import long_timeout, process
from tests.integration.test_events import log_lines, respond, stream
from tests.support import scripts
from tests.support.api import Api, Person, ok, refused, run_api
from tests.support.api_server import ApiServer
from tests.support.clocks import FrozenTime, eventually
from tests.support.cognito_ids import use_pool
from tests.support.event_stream import Event
from tests.support.momento_server import KEY, MomentoServer, run_momento
from tools.local_stack.cognito import PASSWORD, LocalPool, ensure_user

INBOX = "/api/message_groups"
REVOKED = (401, ["token_revoked"])
SOON = 2.0

__all__ = ["long_timeout"]

api = pytest.fixture(scope="module")(run_api)
momento = pytest.fixture(run_momento)


@pytest.fixture(scope="module")
def server(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server with two workers."""
    log = tmp_path_factory.mktemp("cut-off") / "server.log"
    with ApiServer(log, **api.server_variables(), WEB_CONCURRENCY="2") as server:
        yield server


@pytest.fixture
def run(api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> scripts.Run:
    """Runs a script of bin/db without Cognito."""
    monkeypatch.setenv("DATABASE_URL", api.maintenance_url)
    return scripts.runner(capsys, "db")


@pytest.fixture
def pool(user_pool: LocalPool, ministack_url: str, monkeypatch: pytest.MonkeyPatch) -> LocalPool:
    """The settings of the local stack's user pool."""
    use_pool(user_pool, ministack_url, monkeypatch)
    return user_pool


def later(api: Api, person: Person, seconds: float = 5) -> Person:
    """The same user with a token that is issued after the script has run."""
    authorization = api.issuer.authorization(f"sub-{person.user.uuid}", iat=int(time.time() + seconds))
    return Person(person.user, person.client, authorization)


@contextmanager
def processes(api: Api, clock: FrozenTime, count: int = 2) -> Iterator[list[Api]]:
    """Processes of the API that listen to no hints; the caches of users have this clock."""
    with ExitStack() as stack:
        apis = [stack.enter_context(api.variant()) for _ in range(count)]
        for one in apis:
            deps = one.app.extensions["dependencies"]
            users = UserDirectory(deps.users._database, timer=clock.monotonic)
            one.app.extensions["dependencies"] = replace(deps, users=users)
        yield apis


def inbox(api: Api, person: Person) -> Any:
    return api.app.test_client().get(INBOX, headers=person.headers)


def cognito_user(api: Api, person: Person, client: Any, pool: LocalPool) -> str:
    """Sign a user of Postgres up with Cognito, too; return the refresh token of a session there."""
    email = f"{uuid.uuid4().hex}@example.com"
    sub = ensure_user(client, pool, handle=person.user.handle, display_name="A", email=email)
    api.execute("UPDATE users SET cognito_user_id = %s WHERE uuid = %s", sub, person.user.uuid)
    parameters = {"USERNAME": email, "PASSWORD": PASSWORD}
    session = client.initiate_auth(AuthFlow="USER_PASSWORD_AUTH", ClientId=pool.client_id, AuthParameters=parameters)
    refresh_token: str = session["AuthenticationResult"]["RefreshToken"]
    return refresh_token


def can_refresh(client: Any, pool: LocalPool, refresh_token: str) -> bool:
    parameters = {"REFRESH_TOKEN": refresh_token}
    try:
        client.initiate_auth(AuthFlow="REFRESH_TOKEN_AUTH", ClientId=pool.client_id, AuthParameters=parameters)
    except client.exceptions.NotAuthorizedException:
        return False
    return True


@pytest.mark.parametrize("script", ["disable-user", "sign-out-user"])
def test_script_cuts_a_user_off_at_once_in_every_process_that_listens(script: str, api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    with ExitStack() as stack:
        berts = [stack.enter_context(stream(server, bert)) for _ in range(6)]
        annas = [stack.enter_context(stream(server, anna)) for _ in range(6)]
        assert eventually(lambda: len(log_lines(server, "live_connected")) >= 2)
        done = scripts.run(f"db/{script}", anna.user.handle.upper(), DATABASE_URL=api.maintenance_url)
        assert (done.returncode, anna.user.uuid in done.stderr) == (1, True)  # no Cognito
        for followed in annas:
            assert followed.next(SOON) == Event("expired", {})
            assert followed.ended.wait(SOON)
        for _ in range(20):
            response, codes = respond(server, "GET", INBOX, anna.headers)
            assert (response.status, codes) == REVOKED
            assert respond(server, "GET", INBOX, bert.headers)[0].status == 200
        assert respond(server, "GET", "/api/events", anna.headers)[1] == ["token_revoked"]
        assert not any(followed.ended.is_set() for followed in berts)
        status = respond(server, "GET", INBOX, later(api, anna).headers)[0].status
        assert status == (401 if script == "disable-user" else 200)
    ends = eventually(
        lambda: [line for line in log_lines(server, "stream_ended") if line["user_uuid"] == anna.user.uuid]
    )
    assert {line["reason"] for line in ends} == {"cut off"}


def test_deleted_user_is_cut_off_at_once_in_every_process_that_listens(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    with ExitStack() as stack:
        annas = [stack.enter_context(stream(server, anna)) for _ in range(6)]
        berts = stack.enter_context(stream(server, bert))
        assert eventually(lambda: len(log_lines(server, "live_connected")) >= 2)
        api.execute("DELETE FROM users WHERE uuid = %s", anna.user.uuid)
        for followed in annas:
            assert followed.next(SOON) == Event("expired", {})
        for _ in range(20):
            response, codes = respond(server, "GET", INBOX, anna.headers)
            assert (response.status, codes) == REVOKED
        assert not berts.ended.is_set()


@pytest.mark.parametrize("script", ["disable-user", "sign-out-user"])
def test_script_cuts_a_user_off_within_a_minute_where_no_hint_arrives(script: str, api: Api, run: scripts.Run) -> None:
    anna, bert = api.couple()
    clock = FrozenTime()
    with processes(api, clock) as both:
        for one in both:
            ok(inbox(one, anna))
        run(script, anna.user.handle)
        clock.ahead = CACHED_SECONDS - 1
        for one in both:
            ok(inbox(one, anna))
        clock.ahead = CACHED_SECONDS
        for one in both:
            assert refused(inbox(one, anna)) == REVOKED
            ok(inbox(one, bert))
            assert inbox(one, later(api, anna)).status_code == (401 if script == "disable-user" else 200)


def test_enabled_user_needs_a_new_token(api: Api, run: scripts.Run) -> None:
    anna = api.sign_up("anna")
    run("disable-user", anna.user.handle)
    run("disable-user", anna.user.handle)
    with api.variant() as one:
        assert refused(inbox(one, later(api, anna))) == REVOKED
    run("enable-user", anna.user.handle)
    with api.variant() as one:
        assert refused(inbox(one, anna)) == REVOKED
        ok(inbox(one, later(api, anna)))


@pytest.mark.parametrize("fault", [None, grpc.StatusCode.UNAVAILABLE])
def test_script_removes_the_user_from_the_shared_cache_or_warns(
    api: Api,
    momento: MomentoServer,
    fault: grpc.StatusCode | None,
    run: scripts.Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOMENTO_API_KEY", KEY)
    monkeypatch.setenv("MOMENTO_ENDPOINT", momento.url)
    anna = api.sign_up("anna")
    with process(api, momento) as one:
        ok(inbox(one, anna))
    momento.fault = fault
    assert ("Could not invalidate the shared cache" in run("sign-out-user", anna.user.handle)[2]) is (fault is not None)
    momento.fault = None
    with process(api, momento) as one:
        assert inbox(one, anna).status_code == (200 if fault else 401)


def test_outage_of_postgres_changes_nothing_for_a_user_who_is_cut_off(api: Api, run: scripts.Run) -> None:
    anna, bert = api.couple()
    with api.variant() as one:
        run("disable-user", anna.user.handle)
        assert refused(inbox(one, anna)) == REVOKED
        ok(inbox(one, bert))
        one.app.extensions["dependencies"].users._database.close()
        assert refused(inbox(one, anna)) == REVOKED
        ok(inbox(one, bert))
        assert refused(inbox(one, api.sign_up())) == (503, ["storage_unavailable"])


def test_scripts_change_the_local_cognito(api: Api, run: scripts.Run, pool: LocalPool, cognito_client: Any) -> None:
    anna, bert = api.couple()
    tokens = {person: cognito_user(api, person, cognito_client, pool) for person in (anna, bert)}
    time.sleep(1)  # the emulator compares whole seconds

    def can_go_on() -> tuple[bool, bool]:
        return can_refresh(cognito_client, pool, tokens[anna]), can_refresh(cognito_client, pool, tokens[bert])

    assert can_go_on() == (True, True)
    for script in ("sign-out-user", "disable-user"):
        assert run(script, anna.user.handle)[:2] == (0, [])
        assert can_go_on() == (False, True)
    assert run("enable-user", anna.user.handle)[:2] == (0, [])
    assert can_go_on() == (False, True)  # the session from before


@pytest.mark.parametrize("case", ["no settings", "no response", "refusal", "another system's pool"])
def test_script_cuts_off_in_postgres_and_prints_the_commands_if_cognito_does_not_do_it(
    case: str, api: Api, run: scripts.Run, pool: LocalPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool_id = pool.user_pool_id
    if case == "no settings":
        monkeypatch.delenv("AWS_COGNITO_USER_POOL_ID")
        pool_id = "<user pool>"
    elif case == "no response":
        monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "http://127.0.0.1:9")
    elif case == "another system's pool":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    anna = api.sign_up("anna")
    status, commands, printed = run("disable-user", anna.user.handle)
    assert (status, "Traceback" in printed) == (1, False)
    options = ["--user-pool-id", pool_id, "--username", f"sub-{anna.user.uuid}"]
    names = ["admin-disable-user", "admin-user-global-sign-out"]
    assert [shlex.split(command) for command in commands] == [["aws", "cognito-idp", name, *options] for name in names]
    assert f"{anna.user.uuid}: {anna.user.handle} is disabled" in printed
    with api.variant() as one:
        assert refused(inbox(one, anna)) == REVOKED


def test_waiting_user_has_no_cognito_user_to_change(api: Api, run: scripts.Run) -> None:
    anna = api.sign_up("anna")
    api.execute("UPDATE users SET cognito_user_id = NULL WHERE uuid = %s", anna.user.uuid)
    assert run("disable-user", anna.user.handle)[:2] == (0, [])
    assert run("disable-user", "nobody") == (1, [], "No user has the handle nobody\n")
