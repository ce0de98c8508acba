"""bin/ddb/stream-worker as a process on a real engine's stream: it misses no message."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lib.config import ROOT
from lib.ddb.schema import create_table
from lib.ddb.store import StreamedMessageStore
from tests.support import scripts, streamed
from tests.support.clocks import eventually
from tests.support.stores import ANNA, BERT, CARL, TableContents
from tests.support.streamed import streamed_stores_on

SECONDS = 10
SECRET = "a secret text"

store = streamed.store


@pytest.fixture(autouse=True)
def settings(dynamodb_url: str, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's environment: the test's table, and no local stack."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url)
    monkeypatch.setenv("DDB_TABLE", table)
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))


def run_once() -> subprocess.CompletedProcess[str]:
    return scripts.run("ddb/stream-worker", "--once")


def conversation(store: StreamedMessageStore, *texts: str) -> str:
    """A conversation whose messages after the first wait for the worker."""
    first, *others = texts
    group = store.send_to_user(sender=ANNA, receiver=BERT, text=first).group_uuid
    for text in others:
        store.send(group_uuid=group, sender=BERT, text=text)
    return group


def test_once_updates_every_conversation_and_repeating_it_changes_nothing(
    store: StreamedMessageStore, contents: TableContents
) -> None:
    to_bert = conversation(store, "b1", SECRET, "b3")
    to_carl = store.send_to_user(sender=CARL, receiver=ANNA, text="c1").group_uuid
    store.send(group_uuid=to_carl, sender=ANNA, text="c2")

    first = run_once()
    assert (first.returncode, first.stderr) == (0, "")
    contents.check(to_bert, ["b1", SECRET, "b3"])
    contents.check(to_carl, ["c1", "c2"])
    assert SECRET not in first.stdout

    before = contents.items()
    assert run_once().returncode == 0
    assert contents.items() == before


def test_malformed_record_is_skipped_and_the_records_behind_it_are_done(
    store: StreamedMessageStore, contents: TableContents
) -> None:
    group = conversation(store, "1", "2")
    malformed = {"pk": {"S": f"MSG#{group}"}, "sk": {"S": "2026-01-02T00:00:00.000000+00:00"}, "message": {"S": SECRET}}
    contents.put(malformed)
    store.send(group_uuid=group, sender=ANNA, text="3")

    result = run_once()
    assert (result.returncode, result.stderr) == (1, "")
    assert SECRET not in result.stdout
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    [skipped] = [line for line in lines if line["event"] == "stream_record_skipped"]
    assert skipped["keys"] == {"pk": malformed["pk"], "sk": malformed["sk"]}
    contents.remove(skipped["keys"])
    contents.check(group, ["1", "2", "3"])


def test_worker_follows_a_new_table_and_a_signal_ends_it_at_the_tip(
    store: StreamedMessageStore, contents: TableContents, dynamodb_client: Any, table: str
) -> None:
    with subprocess.Popen([ROOT / "bin/ddb/stream-worker"], cwd="/", stdout=subprocess.DEVNULL) as worker:
        try:
            group = conversation(store, "1", "2")
            assert eventually(lambda: contents.conversation(group).seq == 2)
            assert run_once().returncode == 0  # another worker changes nothing
            contents.check(group, ["1", "2"])

            dynamodb_client.delete_table(TableName=table)
            dynamodb_client.get_waiter("table_not_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
            create_table(dynamodb_client, table)
            group = conversation(streamed_stores_on(dynamodb_client, table)(), "3", "4")
            assert eventually(lambda: contents.conversation(group).seq == 2)

            streamed_stores_on(dynamodb_client, table)().send(group_uuid=group, sender=ANNA, text="5")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(SECONDS) == 0
        finally:
            worker.kill()
    contents.check(group, ["3", "4", "5"])


def test_missing_table_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDB_TABLE", "no-such-table")
    result = run_once()
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("There is no table no-such-table at http://")
    assert result.stderr.count("\n") == 1
