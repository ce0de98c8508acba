"""What bin/ddb/explain printed, held against what was on the wire and what is in the table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.endpoint import Endpoint

from lib.ddb.store import MessageStore
from tests.support.stores import TableContents

Contents = Callable[[], dict[tuple[str, str], Any]]
"""Reads the table: its items by their keys."""

LOOKS = ("BatchGetItem", "ExecuteStatement")
"""What the script sends beside the pattern: its looks at items, and the PartiQL of a list."""


@dataclass
class Wire:
    """The requests that left the process since a script began its pattern, and their answers."""

    requests: list[tuple[str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    def of_pattern(self) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Without looks, and without the ping at the start."""
        return [each for each in self.requests if each[0] not in LOOKS and "PING" not in json.dumps(each[1])]


def recorded_wire(monkeypatch: pytest.MonkeyPatch, seeded: MessageStore) -> Iterator[Wire]:
    """The fixture: what is sent after seeding."""
    recorded, send = Wire(), Endpoint._send

    def record(endpoint: Endpoint, request: Any) -> Any:
        answer = send(endpoint, request)
        target = request.headers["X-Amz-Target"]
        operation = (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
        recorded.requests.append((operation, json.loads(request.body), json.loads(answer.content)))
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(Endpoint, "_send", record)
        yield recorded


def contents_of(dynamodb_client: Any, table: str) -> Contents:
    """The fixture: a reader of the test's table."""

    def read() -> dict[tuple[str, str], Any]:
        items = TableContents(dynamodb_client, table).items()
        return {(item["pk"]["S"], item["sk"]["S"]): item for item in items}

    return read


def section(data: list[str], heading: str) -> list[str]:
    """The lines below a heading."""
    start = data.index(heading) + 1
    return data[start : data.index("", start)] if "" in data[start:] else data[start:]


def with_values(expression: str, arguments: dict[str, Any]) -> str:
    """An expression with strings and numbers in place of its placeholders."""
    values = arguments.get("ExpressionAttributeValues", {})
    return re.sub(r":\w+", lambda found: as_json(values[found[0]]), expression)


def as_json(value: Any) -> str:
    """An attribute's value as JSON."""
    ((kind, content),) = value.items()
    if kind == "M":
        return "{" + ", ".join(f'"{name}": {as_json(each)}' for name, each in content.items()) + "}"
    return content if kind == "N" else json.dumps(content, ensure_ascii=False)


def units(parts: Any) -> float:
    return sum(part["CapacityUnits"] for part in (parts if isinstance(parts, list) else [parts]))


def check_calls(data: list[str], wire: Wire) -> None:
    """Every call of the pattern is shown, with its expressions and its units; the sum is the meter's."""
    shown = "\n".join(data)
    calls = wire.of_pattern()
    for number, (operation, sent, answer) in enumerate(calls, start=1):
        title = re.search(rf"^{number} {operation}\b.*: ([\d.]+) (?:read|write) unit", shown, re.MULTILINE)
        assert title, (operation, shown)
        assert float(title[1]) == units(answer["ConsumedCapacity"])
        writes = [next(iter(each.items())) for each in sent.get("TransactItems", [])]
        for action, arguments in writes or [("", sent)]:
            if key := arguments.get("Key") or arguments.get("Item"):
                assert re.search(rf"{action}.* {re.escape(key['pk']['S'])} {re.escape(key['sk']['S'])}$", shown, re.M)
            for name in ("KeyConditionExpression", "ConditionExpression", "UpdateExpression", "FilterExpression"):
                assert with_values(arguments.get(name, ""), arguments) in shown
    assert len(re.findall(r"^\d+ [A-Z]\w+.*: ", shown, re.MULTILINE)) == len(calls)
    total = sum(units(answer["ConsumedCapacity"]) for _, _, answer in calls)
    assert section(data, "Cost")[-1] == f"requests: {len(calls)}, capacity units: {total:g}"


def check_changes(data: list[str], before: dict[Any, Any], after: dict[Any, Any]) -> None:
    """Every item that differs is shown, and every attribute of it that does, with both values."""
    shown = section(data, "Items before and after")
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new or new is None:
            continue
        if old is None:  # an inbox row that moved has its old self in the same partition
            old = next((item for other, item in before.items() if other[0] == key[0] and other not in after), None)
        mark = "~" if old else "+"
        [place] = [n for n, line in enumerate(shown) if line.startswith(mark) and line.endswith(f" {key[0]} {key[1]}")]
        lines = shown[place + 1 : next((n for n in range(place + 1, len(shown)) if shown[n][0] in "+-~"), None)]
        assert sorted(line for line in lines if not line.startswith("as before: ")) == sorted(expected(old, new))


def expected(old: dict[str, Any] | None, new: dict[str, Any]) -> Iterator[str]:
    for name in new:
        if old is None and name not in ("pk", "sk"):
            yield " ".join(f"{name} {as_json(new[name])}".split())
        elif old and name == "members":
            for uuid, member in new[name]["M"].items():
                was = old[name]["M"][uuid]["M"]
                changed = {each for each in member["M"] if member["M"][each] != was[each]}
                yield from (f"members.{uuid}.{each} {was[each]['N']} → {member['M'][each]['N']}" for each in changed)
        elif old and old.get(name) != new[name]:
            yield f"{name} {as_json(old[name]) if name in old else 'none'} → {as_json(new[name])}"
