"""A persistent ministack keeps its port and its state, and names what it could not save or read."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest

from tools.local_stack.cognito import POOL_NAME, ensure_pool
from tools.local_stack.ministack import Ministack
from tools.local_stack.processes import LOOPBACK, EngineError


def ministack(folder: Path) -> Ministack:
    return Ministack(folder / "ministack", log=folder / "log", persistent=True)


def fill(engine: Ministack) -> None:
    with closing(boto3.client("cognito-idp", endpoint_url=engine.url)) as client:
        ensure_pool(client)
    with closing(boto3.client("dynamodb", endpoint_url=engine.url)) as client:
        client.list_tables()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the state of a first run."""
    engine = ministack(tmp_path)
    engine.start()
    fill(engine)
    engine.stop_and_save(has_data=True)
    return tmp_path


def test_port_stays_the_same_while_it_is_free(folder: Path) -> None:
    first = ministack(folder).url
    assert ministack(folder).url == first
    with socket.create_server((LOOPBACK, urlsplit(first).port or 0)):
        second = ministack(folder).url
    assert second != first
    assert ministack(folder).url == second


def test_unreadable_state_is_named_and_kept(folder: Path) -> None:
    state = folder / "ministack/state/cognito.json"
    content = state.read_bytes()
    state.write_bytes(content[:-10])
    engine = ministack(folder)
    with pytest.raises(EngineError, match=f"ministack cannot read {state}"):
        engine.start()
    assert state.read_bytes() == content[:-10]
    assert engine.pid is None


def test_crash_is_reported_as_a_loss_and_the_older_state_stays(folder: Path) -> None:
    state = folder / "ministack/state/cognito.json"
    content = state.read_bytes()
    assert POOL_NAME.encode() in content
    engine = ministack(folder)
    engine.start()
    os.kill(engine.pid or 0, signal.SIGKILL)
    with pytest.raises(EngineError, match="DynamoDB and Cognito: the changes since the last stop were not saved"):
        engine.stop_and_save(has_data=False)
    assert state.read_bytes() == content


def test_first_start_that_is_interrupted_loses_nothing(tmp_path: Path) -> None:
    engine = ministack(tmp_path)
    engine.start()
    engine.stop_and_save(has_data=False)
