"""README.md and the pages in docs say what the code says: their paths, tables, items and costs are checked here."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import app
from lib.config import ROOT, Settings
from lib.ddb.items import Conversation, InboxRow, Item, Member, Message, PairGuard
from lib.ddb.receipts import Idempotency, Receipt, receipt_write
from lib.ddb.sending import KeyTaken, advanced, append_writes, number_writes, read_writes, start_writes
from lib.ddb.table import Write, put
from lib.users import User
from services import errors
from services.errors import Code

README, DATA_MODEL, AWS = ROOT / "README.md", ROOT / "docs/data-model.md", ROOT / "docs/aws.md"
DOCUMENTS = pytest.mark.parametrize("document", [README, DATA_MODEL, AWS], ids=lambda path: path.name)

AUGUSTSZ = User("76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "Augustsz", "Augustsz")
BAYKO = User("3f0c5b8e-92d1-4c47-9a6e-b1d8f7240c35", "bayko", "Bayko")
GROUP = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"
MESSAGE = Message(
    group_uuid=GROUP,
    created_at="2026-01-02T08:15:00.375877+00:00",
    uuid="0b6f1c52-7a43-4be2-9d18-3f5c8e6a2b71",
    text="Happy new year! 🎆",
    sender=AUGUSTSZ,
    seq=42,
)
STATE = Conversation(
    group_uuid=GROUP,
    members={AUGUSTSZ.uuid: Member(AUGUSTSZ, read_seq=42), BAYKO.uuid: Member(BAYKO, read_seq=41)},
    last_message_at=MESSAGE.created_at,
    seq=42,
    version=42,
    created_at="2025-12-29T18:04:11.902416+00:00",
)
RECEIPT = Receipt("8e03978e-40d5-43dd-bc93-6894a57f9324", "a5f3c6a11b03839d46af9fb43c97c188" * 2, MESSAGE, 1767428100)

IDEMPOTENCY = Idempotency(RECEIPT.key, RECEIPT.request_hash)


@DOCUMENTS
def test_every_relative_link_leads_to_a_file_and_to_a_heading_of_it(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    for path, _, anchor in (link.partition("#") for link in links if not link.startswith("https://")):
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), path
        assert not anchor or anchor in _anchors(target), f"{path}#{anchor}"


@DOCUMENTS
def test_every_path_that_is_named_exists(document: Path) -> None:
    named = re.findall(
        r"(?<![\w/.-])(?:\./)?((?:bin|lib|services|routes|db|docs|tests)/[\w./-]*\w)", document.read_text()
    )
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@DOCUMENTS
def test_every_function_that_is_linked_is_in_its_file(document: Path) -> None:
    linked = re.findall(r"\[`([\w.]+)`\]\(([^)]+\.py)\)", document.read_text())
    assert linked
    for name, path in linked:
        source = (document.parent / path).read_text()
        assert re.search(rf"^ *(def|class) {name.rpartition('.')[2]}\b", source, re.MULTILINE), f"{name} in {path}"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    expected = [
        [f"`{each.name.upper()}`", _default(each.default), each.metadata["meaning"]] for each in fields(Settings)
    ]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in expected)
    assert _table(README, "Setting") == expected, f"the table in README.md has to read\n{lines}"


def test_the_table_of_errors_has_every_code_with_its_statuses() -> None:
    listed = {(int(status), code.strip("`")) for status, code, _ in _table(README, "Status")}
    assert listed == set(_answers())
    assert {code for _, code in listed} == set(Code)


def test_every_script_is_named_in_the_readme() -> None:
    scripts = [path for path in (ROOT / "bin").rglob("*") if path.is_file() and os.access(path, os.X_OK)]
    named = {script.strip("`") for script, _ in _table(README, "Script")}
    assert named == {str(path.relative_to(ROOT)) for path in scripts}


def test_the_answers_in_the_readme_are_those_of_the_seeded_conversation() -> None:
    lines = json.loads((ROOT / "db/conversation.json").read_text())
    inbox, page = (json.loads(block) for block in _blocks(README)[:2])
    newest = [(len(lines), lines[-1]), (len(lines) - 1, lines[-2])]
    expected = [{"seq": seq, "created_at": line["at"], "message": line["message"]} for seq, line in newest]
    assert [answer.items() >= each.items() for answer, each in zip(page, expected, strict=True)] == [True, True]
    assert inbox[0].items() >= expected[0].items()


def test_the_examples_are_the_items_that_the_code_writes() -> None:
    assert [json.loads(block) for block in _blocks(DATA_MODEL)] == _examples()


def test_the_sizes_of_the_examples_follow_from_the_documented_rules() -> None:
    sizes = [int(size) for size in re.findall(r"\((\d+) bytes\)", DATA_MODEL.read_text())]
    assert sizes == [_size(item) for item in _examples()]


def test_the_costs_follow_from_the_documented_rules() -> None:
    costs = {call: by_rule for call, _, by_rule, *_ in _table(DATA_MODEL, "Call")}
    for characters, text in {
        "100 characters": "x" * 100,
        "1024 letters": "x" * 1024,
        "1024 emoji": "😀" * 1024,
    }.items():
        start, append, keyed, mark = _write_costs(text)
        assert costs[f"C+D, in a conversation, {characters}"] == append
        if characters == "100 characters":
            assert costs["C+D, the first message, 100 characters"] == f"1 + 1 + 1 + {start}"
            assert costs["C+D, in a conversation, 100 characters, with a key"] == keyed
            assert costs["mark read"] == f"1 + {mark}"
            search = _read_cost(_message(text, seq=1234), 21)
            assert costs["mark unread, the other wrote last, 100 characters"] == f"1 + {search} + {mark}"
    for count in (1, 10, 50):
        many = f"{count} message{'s' if count > 1 else ''}"
        assert costs[f"D, in stream mode, {many} of 100 characters"] == _count_cost(count)
    lone = replace(_message("x" * 100, seq=1), seq=None)
    assert costs["C, in stream mode, 100 characters"] == str(_units(_size(lone.to_item()), 1))
    keyed = _write_cost([receipt_write(IDEMPOTENCY, lone, now=1767341700), put(lone.to_item(), KeyTaken)], {})
    assert f"{costs['C, in stream mode, 100 characters, with a key']} + 0" == keyed
    # One item more than the limit is read.
    assert costs["A, 20 messages of 100 characters"] == _read_cost(_message("x" * 100, seq=1234), 21)
    assert costs["A, 100 messages of 1024 letters"] == _read_cost(_message("x" * 1024, seq=1234), 101)
    inbox = _read_cost(_rows(_message("x" * 100, seq=1234))[0], 20)
    assert costs["the total of unread, 20 conversations, 100 characters"] == inbox
    assert costs["a conversation by itself"] == str(_units(_size(STATE.to_item()), 4))
    assert costs["B, 20 conversations, 100 characters"] == _read_cost(_rows(_message("x" * 100, seq=1234))[0], 21)


def _blocks(document: Path) -> list[str]:
    """The JSON that the document shows."""
    return re.findall(r"```json\n(.*?)```", document.read_text(), re.DOTALL)


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _table(document: Path, first_heading: str) -> list[list[str]]:
    """The rows of the one table whose first column has this heading."""
    found = re.search(rf"^\| {first_heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", document.read_text(), re.MULTILINE)
    assert found, f"{document.name} has no table that begins with {first_heading}"
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in found[1].splitlines()]


def _default(value: object) -> str:
    if value is MISSING:
        return "required"
    return "empty" if value in (None, "") else f"`{value}`"


def _answers() -> Iterator[tuple[int, str]]:
    """Each status with each code that the sources raise under it."""
    status = {kind.__name__: number for kind, number in app._STATUS.items()}
    for path in [*(ROOT / "services").glob("*.py"), *(ROOT / "routes").glob("*.py")]:
        for kind, code in re.findall(r"\b(\w+)\(Code\.(\w+)\)", path.read_text()):
            assert issubclass(getattr(errors, kind), errors.ServiceError)
            yield status[kind], Code[code]
    yield from app._CODES.items()
    yield from [(400, Code.BAD_REQUEST), (500, Code.INTERNAL_ERROR)]
    yield from [(503, Code.POSTGRES_UNAVAILABLE), (503, Code.DYNAMODB_UNAVAILABLE)]  # raised by Readiness, by variable


def _examples() -> list[Item]:
    guard = PairGuard(user_uuids=(AUGUSTSZ.uuid, BAYKO.uuid), group_uuid=GROUP)
    return [item.to_item() for item in (MESSAGE, *_rows(MESSAGE), STATE, guard, RECEIPT)]


def _rows(message: Message) -> list[InboxRow]:
    """Both members' inbox rows as the write path makes them."""
    state = replace(STATE, seq=message.seq or 0, last_message_at=message.created_at)
    puts = [write.request["Put"]["Item"] for write in start_writes(state, message)]
    return [InboxRow.from_item(item) for item in puts if "message_group_uuid" in item]


def _message(text: str, *, seq: int) -> Message:
    return replace(MESSAGE, text=text, seq=seq, created_at=f"2026-01-02T08:15:00.{seq:06}+00:00")


def _size(value: dict[str, Any]) -> int:
    """Bytes of an item, or of a map's elements, by the rules of AWS's page on item sizes."""
    return sum(len(name.encode()) + _value_size(each) for name, each in value.items())


def _value_size(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "N":
        return (len(content) + 1) // 2 + 1
    assert kind == "M"
    return 3 + len(content) + _size(content)


def _units(size: int, kilobytes: int) -> int:
    return -(-size // (1024 * kilobytes))


def _read_cost(item: Message | InboxRow, count: int) -> str:
    return str(_units(_size(item.to_item()) * count, 4))


def _write_costs(text: str) -> tuple[str, str, str, str]:
    """What a first message, one after it, another with a key, and a mark cost: "table + index", in write units."""
    messages = [_message(text, seq=seq) for seq in (1, 2, 3)]
    states = [replace(STATE, seq=each.seq, version=each.seq, last_message_at=each.created_at) for each in messages]
    receipt = receipt_write(IDEMPOTENCY, messages[2], now=1767341700)
    stored: dict[str, Item] = {}
    return (
        _write_cost(start_writes(states[0], messages[0]), stored),
        _write_cost(append_writes(states[0], states[1], messages[1]), stored),
        _write_cost([receipt, *append_writes(states[1], states[2], messages[2])], stored),
        _write_cost(read_writes(states[2], states[2], owner_uuid=BAYKO.uuid), stored),
    )


def _count_cost(count: int) -> str:
    """What pattern D costs in stream mode: the state, the messages, and the transaction at table and index."""
    last, *messages = (_message("x" * 100, seq=seq) for seq in range(42, 43 + count))
    before = replace(STATE, last_message_at=last.created_at)
    new = [replace(message, seq=None) for message in messages]
    stored = {_place(item): item for item in (each.to_item() for each in (before, *_rows(last), *messages))}
    writes = number_writes(before, reduce(advanced, new, before), new, last=messages[-1])
    return f"{_units(_size(before.to_item()), 4)} + {_read_cost(new[0], count)} + {_write_cost(writes, stored)}"


def _place(item: Item) -> str:
    return json.dumps({name: item[name] for name in ("pk", "sk")})


def _write_cost(writes: Sequence[Write], stored: dict[str, Item]) -> str:
    table = index = 0
    for write in writes:
        ((action, arguments),) = write.request.items()
        place = _place(arguments.get("Key") or arguments["Item"])
        if action == "Put":
            stored[place] = arguments["Item"]
        item = stored.pop(place) if action == "Delete" else stored[place]
        table += 2 * _units(_size(item), 1)
        index += _units(_size(item), 1) if "message_group_uuid" in item else 0
    return f"{table} + {index}"
