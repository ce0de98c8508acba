"""The price of a month beside the costs of calls in docs/performance.md, and the sums of the bill."""

from __future__ import annotations

import pytest

from tests.support.documents import PERFORMANCE, table
from tools.deploy import bill
from tools.deploy.bill import SIZES, Month

COSTS = {call: [int(part) for part in by_rule.split(" + ")] for call, _, by_rule, *_ in table(PERFORMANCE, "Call")}


def units(call: str, *, reads: int) -> tuple[int, int]:
    """The documented read and write units of a call, whose first terms are reads."""
    return sum(COSTS[call][:reads]), sum(COSTS[call][reads:])


def test_units_are_the_documented_ones() -> None:
    assert units("C+D, in a conversation that others write to, 100 characters", reads=1) == bill.SEND
    first, second = (
        units("C, in stream mode, 100 characters", reads=1),
        units("D, in stream mode, 1 message of 100 characters", reads=2),
    )
    assert (first[0] + second[0], first[1] + second[1]) == bill.STREAM_SEND
    assert units("A, 20 messages of 100 characters", reads=1) == bill.PAGE
    assert units("B, 20 conversations, 100 characters", reads=1) == bill.INBOX
    assert units("the total of unread, 20 conversations, 100 characters", reads=1) == bill.UNREAD
    assert units("mark read", reads=1) == bill.MARK
    assert units("a stream opens, 20 conversations, 100 characters", reads=2) == bill.OPENING
    assert units("a stream polls, no conversation of the last 10 s", reads=1) == bill.POLL
    assert units("a stream delivers a message of 100 characters", reads=1) == bill.DELIVERY


def test_bill_without_messages_has_fixed_costs_and_minimums() -> None:
    lines = bill.bill(Month(0))
    nothing = {name for name, amount in lines.items() if not amount}
    assert sum(lines.values()) > sum(bill.fixed_costs().values()) > 0
    assert {name for name in lines if name.startswith("DynamoDB")} | {"Cognito", "Lambda"} <= nothing
    assert lines["Containers"] == bill.bill(Month(SIZES[0]))["Containers"]


@pytest.mark.parametrize("size", SIZES)
def test_choices_change_the_bill_by_what_they_save(size: int) -> None:
    month = Month(size)
    lines, choices = bill.bill(month), bill.savings(month)
    assert choices["`LogLevel=warning`"] == lines["Log lines of requests"]
    assert 2 * choices["Postgres in one zone (template)"] == pytest.approx(lines["Postgres in two zones"])
    assert -choices["a trail of the programs' calls"] > lines["DynamoDB: writes"] + lines["DynamoDB: reads"]
    assert choices["the tier ESSENTIALS of the user pool"] <= 0


@pytest.mark.parametrize(
    ("users", "dollars"),
    [(10_000, 0), (10_001, 0.0055), (100_000, 495), (100_001, 495.0046), (1_000_000, 4_635), (1_000_001, 4_635.00325)],
)
def test_each_user_has_the_price_of_the_tier(users: int, dollars: float) -> None:
    month = Month(users * bill.SENT_PER_PERSON // bill.ACTIVE)
    assert bill.identities(month, bill.LITE) == pytest.approx(dollars)


def test_containers_follow_the_measures_of_autoscaling() -> None:
    assert [Month(size).containers for size in SIZES] == sorted(Month(size).containers for size in SIZES)
    month = Month(SIZES[-1])
    a_minute = month.requests / month.busy_seconds * 60 / month.containers
    assert a_minute <= 6_000
    assert month.streams / month.containers <= bill.STREAMS_PER_CONTAINER


def test_greatest_costs_are_those_that_the_page_names() -> None:
    def share(size: int, *names: str) -> float:
        lines = bill.bill(Month(size))
        return sum(lines[name] for name in names) / sum(lines.values())

    small, medium, large = SIZES
    assert share(small, "Interface endpoints", "Postgres in two zones") == pytest.approx(2 / 3, abs=0.04)
    assert share(medium, "Interface endpoints", "Postgres in two zones") == pytest.approx(1 / 2, abs=0.05)
    assert share(large, "Cognito", "DynamoDB: writes") == pytest.approx(3 / 4, abs=0.03)
