"""What bin/ddb/explain printed, compared with the requests on the wire and with the table's items."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.endpoint import Endpoint

from lib.ddb.store import MessageStore
from tools.explain.formatting import filled

Request = tuple[str, dict[str, Any], dict[str, Any]]
"""An operation, the body of its request, and the body of its response."""

EXPRESSIONS = ("KeyConditionExpression", "ConditionExpression", "UpdateExpression", "FilterExpression")


def recorded_wire(monkeypatch: pytest.MonkeyPatch, seeded: MessageStore) -> Iterator[list[Request]]:
    """The fixture: the pattern's requests that leave the process after seeding.

    The pattern's requests ask for their capacity; the ping and the script's reads of items do not.
    """
    requests: list[Request] = []
    send = Endpoint._send

    def record(endpoint: Endpoint, request: Any) -> Any:
        response = send(endpoint, request)
        target = request.headers["X-Amz-Target"]
        operation = (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
        body = json.loads(request.body)
        if "ReturnConsumedCapacity" in body and "PING" not in json.dumps(body):
            requests.append((operation, body, json.loads(response.content)))
        return response

    with monkeypatch.context() as patched:
        patched.setattr(Endpoint, "_send", record)
        yield requests


def section(data: list[str], heading: str) -> list[str]:
    """The lines below a heading that begins like this."""
    start = next(place for place, line in enumerate(data, start=1) if line.startswith(heading))
    return data[start : data.index("", start)] if "" in data[start:] else data[start:]


def check_calls(data: list[str], requests: list[Request]) -> None:
    """The script printed every call of the pattern with its keys, expressions and units, and the sum of the units."""
    shown = "\n".join(data)
    total = 0.0
    for number, (operation, sent, answer) in enumerate(requests, start=1):
        consumed = answer["ConsumedCapacity"]
        units = sum(part["CapacityUnits"] for part in (consumed if isinstance(consumed, list) else [consumed]))
        total += units
        assert re.search(rf"^{number} {operation}\b.*: {units:g} (read|write) units$", shown, re.MULTILINE), shown
        writes = [next(iter(write.items())) for write in sent.get("TransactItems", [])]
        for action, arguments in writes or [("", sent)]:
            if key := arguments.get("Key") or arguments.get("Item"):
                assert re.search(rf"{action}.* {re.escape(key['pk']['S'])} {re.escape(key['sk']['S'])}$", shown, re.M)
            for name in EXPRESSIONS:
                assert filled(arguments.get(name, ""), arguments) in shown
    assert len(re.findall(r"^\d+ [A-Z]\w+.*: ", shown, re.MULTILINE)) == len(requests)
    assert section(data, "Cost") == [f"calls: {len(requests)}, capacity units: {total:g}"]
