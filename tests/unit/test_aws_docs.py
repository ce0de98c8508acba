"""docs/aws.md says what has to be said by hand, names every policy, and counts with the documented capacity units."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lib.aws.templates import STACKS
from lib.config import ROOT
from tests.unit.test_docs import DATA_MODEL, _table
from tests.unit.test_templates import BY_HAND

DOCUMENT = ROOT / "docs/aws.md"
POLICIES = sorted((ROOT / "aws/policies").glob("*.json"))

WRITE_UNIT, READ_UNIT, CALL, GB_SECOND = 0.625e-6, 0.125e-6, 0.20e-6, 0.0000166667
LONGEST_POLICY = 5_120  # characters of a service control policy, by AWS's quotas


def test_each_value_that_comes_from_a_person_is_asked_for() -> None:
    text = DOCUMENT.read_text()
    assert [name for names in BY_HAND.values() for name in names if f"--set {name}=" not in text] == []


def test_each_stack_and_each_policy_is_named() -> None:
    links = set(re.findall(r"\]\(\.\./([^)]+)\)", DOCUMENT.read_text()))
    assert links >= {f"aws/cfn/{stack}.yaml" for stack in STACKS}
    assert links >= {str(path.relative_to(ROOT)) for path in POLICIES}


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_a_policy_is_short_enough_for_an_organization(path: Path) -> None:
    assert len(path.read_text()) <= LONGEST_POLICY


def test_every_guardrail_of_the_checklist_has_its_answer() -> None:
    answered = [row[0] for row in _table(DOCUMENT, "Guardrail")]
    assert answered == [
        "VPC endpoint",
        "Region of residence",
        "SCP",
        "CloudTrail",
        "Config",
        "Deletion protection",
        "Roles, temporary credentials",
        "DAX",
        "Site-to-Site VPN",
        "Client-side encryption",
        "Encryption at rest",
        "Encryption in transit",
        "No sensitive data in DynamoDB",
    ]


def test_the_prices_follow_from_the_capacity_units() -> None:
    prices = [row[1:] for row in _table(DOCUMENT, "Mode")]
    milliseconds = {1: 40, 10: 45, 50: 80}
    costs = {row[0]: row[2] for row in _table(DATA_MODEL, "Call")}
    inline = sum(units(costs["C+D, in a conversation, 100 characters"]))
    expected = [price("–", writes=inline, reads=0, seconds=0, calls=0)]
    for count, duration in milliseconds.items():
        messages = "message" if count == 1 else "messages"
        read, messages_read, *written = units(costs[f"D, in stream mode, {count} {messages} of 100 characters"])
        request = sum(units(costs["C, in stream mode, 100 characters"]))
        writes, reads = request + sum(written) / count, (read + messages_read) / count
        expected.append(price(str(count), writes=writes, reads=reads, seconds=duration / 1000 / count, calls=1 / count))
    assert prices == expected


def units(text: str) -> list[int]:
    return [int(part) for part in text.split(" + ")]


def price(batch: str, *, writes: float, reads: float, seconds: float, calls: float) -> list[str]:
    """A row of the table: a million messages, by what each costs."""
    million = 1_000_000
    dynamodb = million * (writes * WRITE_UNIT + reads * READ_UNIT)
    function = million * (calls * CALL + seconds * 0.5 * GB_SECOND)
    amounts = [f"${amount + 1e-9:.2f}" for amount in (dynamodb, function, dynamodb + function)]
    return [batch, f"{writes:g} M", f"{reads:g} M", *amounts]
