"""The capacity units and prices in docs/performance.md follow from the writes of the code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce

from lib.clock import from_timestamp
from lib.ddb.blocks import Blocks
from lib.ddb.conversations import Conversations
from lib.ddb.cursors import CursorSigner
from lib.ddb.idempotency import receipt_write
from lib.ddb.items import Block, InboxRow, Item, Message, late_updates_key
from lib.ddb.table import Table, Write, put
from lib.ddb.transactions import (
    KeyTaken,
    append_writes,
    apply_message,
    late_update_writes,
    member_writes,
    number_writes,
    start_writes,
)
from routes.events import READ_SECONDS
from tests.support.documents import PERFORMANCE, table
from tests.support.examples import AUGUSTSZ, BAYKO, BLOCK, GUARD, IDEMPOTENCY, MESSAGE, STATE, message, rows
from tools.explain.pricing import item_size, round_up

WRITE_UNIT, READ_UNIT, CALL, GB_SECOND = 0.625e-6, 0.125e-6, 0.20e-6, 0.0000166667


def test_costs_follow_from_the_documented_rules() -> None:
    costs = {call: by_rule for call, _, by_rule, *_ in table(PERFORMANCE, "Call")}
    for characters, text in {
        "100 characters": "x" * 100,
        "1024 letters": "x" * 1024,
        "1024 emoji": "😀" * 1024,
    }.items():
        start, append, keyed, mark = write_costs(text)
        assert costs[f"C+D, in a conversation, {characters}"] == append
        if characters == "100 characters":
            read = round_up(item_size(STATE.to_item()), 4)
            assert costs["C+D, in a conversation that others write to, 100 characters"] == f"{read} + {append}"
            assert costs["C+D, the first message, 100 characters"] == f"1 + 1 + 1 + {start}"
            assert costs["C+D, in a conversation, 100 characters, with a key"] == keyed
            assert costs["mark read"] == costs["mark unread"] == f"1 + {mark}"
    for count in (1, 10, 50):
        many = f"{count} message{'s' if count > 1 else ''}"
        assert costs[f"D, in stream mode, {many} of 100 characters"] == count_cost(count)
    assert costs["D, in stream mode, 1 late message of 100 characters"] == count_cost(1, is_late=True)
    lone = replace(message("x" * 100, seq=1), seq=None)
    assert costs["C, in stream mode, 100 characters"] == f"1 + {round_up(item_size(lone.to_item()), 1)}"
    keyed = write_cost([receipt_write(IDEMPOTENCY, lone, now=1767341700), put(lone.to_item(), KeyTaken)], {})
    assert f"{costs['C, in stream mode, 100 characters, with a key']} + 0" == f"1 + {keyed}"
    # One item more than the limit is read.
    assert costs["A, 20 messages of 100 characters"] == read_cost(message("x" * 100, seq=1234), 21)
    assert costs["A, 100 messages of 1024 letters"] == read_cost(message("x" * 1024, seq=1234), 101)
    in_conversation = [STATE.to_item(), *(row.to_item() for row in rows(MESSAGE)), GUARD.to_item()]
    assert costs["block or unblock, in a conversation"] == f"1 + 1 + {block_cost(*in_conversation)}"
    assert f"{costs['block or unblock, before the first message']} + 0" == f"1 + 1 + 1 + 1 + {block_cost()}"
    assert costs["the list of blocks, 20 users"] == read_cost(BLOCK, 21)
    inbox = read_cost(rows(message("x" * 100, seq=1234))[0], 20)
    assert costs["the total of unread, 20 conversations, 100 characters"] == inbox
    assert costs["a conversation by itself"] == str(round_up(item_size(STATE.to_item()), 4))
    row = rows(message("x" * 100, seq=1234))[0]
    assert costs["B, 20 conversations, 100 characters"] == read_cost(row, 21)
    assert costs["a stream opens, 20 conversations, 100 characters"] == f"{read_cost(row, 21)} + {read_cost(row, 20)}"
    assert costs["a stream goes on, 20 conversations of the last 10 s"] == read_cost(row, 20)
    assert costs["a stream polls, no conversation of the last 10 s"] == "1"
    assert costs["a stream delivers a message of 100 characters"] == read_cost(row, 1)


def test_prices_follow_from_the_capacity_units() -> None:
    prices = [row[1:] for row in table(PERFORMANCE, "Mode")]
    milliseconds = {1: 40, 10: 45, 50: 80}
    costs = {row[0]: row[2] for row in table(PERFORMANCE, "Call")}
    inline = sum(split(costs["C+D, in a conversation, 100 characters"]))
    expected = [price("–", writes=inline, reads=reads, seconds=0, calls=0) for reads in (0, 1, 1)]
    for count, duration in milliseconds.items():
        messages = "message" if count == 1 else "messages"
        read, messages_read, *written = split(costs[f"D, in stream mode, {count} {messages} of 100 characters"])
        state_read, request = split(costs["C, in stream mode, 100 characters"])
        writes, reads = request + sum(written) / count, state_read + (read + messages_read) / count
        expected.append(price(str(count), writes=writes, reads=reads, seconds=duration / 1000 / count, calls=1 / count))
    assert prices == expected


def test_price_of_a_stream_follows_from_its_reads() -> None:
    costs = {call: by_rule for call, _, by_rule, *_ in table(PERFORMANCE, "Call")}
    poll, delivery = (
        int(costs[call])
        for call in (
            "a stream polls, no conversation of the last 10 s",
            "a stream delivers a message of 100 characters",
        )
    )
    hourly = {
        "a stream, no message": poll * 3600 // READ_SECONDS,
        "a stream, 60 messages": poll * 3600 // READ_SECONDS + delivery * 60,
        "the feed, every 5 s": poll * 3600 // 5,
    }
    expected = [[name, str(units), f"${units * 1000 * READ_UNIT + 1e-9:.3f}"] for name, units in hourly.items()]
    assert table(PERFORMANCE, "One user for an hour") == expected


def read_cost(item: Message | InboxRow | Block, count: int) -> str:
    return str(round_up(item_size(item.to_item()) * count, 4))


def write_costs(text: str) -> tuple[str, str, str, str]:
    """The costs of a first message, a second one, one with a key, and a mark: "table + index", in write units."""
    messages = [message(text, seq=seq) for seq in (1, 2, 3)]
    states = [replace(STATE, seq=new.seq, version=new.seq, last_message_at=new.created_at) for new in messages]
    receipt = receipt_write(IDEMPOTENCY, messages[2], now=1767341700)
    stored: dict[str, Item] = {}
    return (
        write_cost(start_writes(states[0], messages[0]), stored),
        write_cost(append_writes(states[0], states[1], messages[1]), stored),
        write_cost([receipt, *append_writes(states[1], states[2], messages[2])], stored),
        write_cost(member_writes(states[2], states[2], owner_uuid=BAYKO.uuid), stored),
    )


def count_cost(count: int, *, is_late: bool = False) -> str:
    """The costs of pattern D in stream mode: the state, the messages, and the transaction at table and index."""
    last, *messages = (message("x" * 100, seq=seq) for seq in range(42, 43 + count))
    before = replace(STATE, last_message_at=last.created_at)
    new = [replace(message, seq=None) for message in messages]
    items = [before.to_item(), *(row.to_item() for row in rows(last)), *(message.to_item() for message in messages)]
    items += [
        late_updates_key(uuid) | {"late_updates": {"N": "1"}, "updated_at": {"S": last.created_at}}
        for uuid in before.members
    ]
    stored = {place(item): item for item in items}
    writes = number_writes(before, reduce(apply_message, new, before), new, last=messages[-1])
    if is_late:
        writes += late_update_writes(before, now=from_timestamp(last.created_at))
    return f"{round_up(item_size(before.to_item()), 4)} + {read_cost(new[0], count)} + {write_cost(writes, stored)}"


class RecordingTable(Table):
    """Holds items in memory, and keeps the writes of transactions."""

    def __init__(self, *items: Item) -> None:
        self.items = {place(item): item for item in items}
        self.writes: list[Write] = []

    def get(self, key: Item) -> Item | None:
        return self.items.get(place(key))

    def partition(self, pk: str, **_: object) -> Iterator[Item]:  # type: ignore[override]
        return iter([])

    def transact(self, writes: Sequence[Write], **_: object) -> None:  # type: ignore[override]
        self.writes += writes


def block_cost(*items: Item) -> str:
    """The cost of the transaction of a block, in a table with these items."""
    table = RecordingTable(*items)
    Blocks(table, Conversations(table), CursorSigner("a secret of the tests")).add(user=AUGUSTSZ, other=BAYKO)
    return write_cost(table.writes, table.items)


def place(item: Item) -> str:
    return json.dumps({name: item[name] for name in ("pk", "sk")})


def write_cost(writes: Sequence[Write], stored: dict[str, Item]) -> str:
    at_table = at_index = 0
    for write in writes:
        ((action, arguments),) = write.request.items()
        key = place(arguments.get("Key") or arguments["Item"])
        if action == "Put":
            stored[key] = arguments["Item"]
        item = stored.pop(key) if action == "Delete" else stored[key]
        at_table += 2 * round_up(item_size(item), 1)
        at_index += action != "Update" and "message_group_uuid" in item  # the index has only the keys
    return f"{at_table} + {at_index}"


def split(text: str) -> list[int]:
    return [int(part) for part in text.split(" + ")]


def price(batch: str, *, writes: float, reads: float, seconds: float, calls: float) -> list[str]:
    """A row of the table of prices: a million messages with these costs."""
    million = 1_000_000
    dynamodb = million * (writes * WRITE_UNIT + reads * READ_UNIT)
    function = million * (calls * CALL + seconds * 0.5 * GB_SECOND)
    amounts = [f"${amount + 1e-9:.2f}" for amount in (dynamodb, function, dynamodb + function)]
    return [batch, f"{writes:g} M", f"{reads:g} M", *amounts]
