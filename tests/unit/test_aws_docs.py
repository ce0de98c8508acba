"""docs/aws.md says what has to be said by hand, and names every policy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lib.config import ROOT
from tests.support.documents import AWS
from tests.unit.test_templates import BY_HAND
from tools.deploy.templates import STACKS

POLICIES = sorted((ROOT / "aws/policies").glob("*.json"))

LONGEST_POLICY = 5_120  # characters of a service control policy, by AWS's quotas


def test_each_value_that_comes_from_a_person_is_asked_for() -> None:
    text = AWS.read_text()
    assert [name for names in BY_HAND.values() for name in names if f"--set {name}=" not in text] == []


def test_each_stack_and_each_policy_is_named() -> None:
    links = set(re.findall(r"\]\(\.\./([^)]+)\)", AWS.read_text()))
    assert links >= {f"aws/cfn/{stack}.yaml" for stack in STACKS}
    assert links >= {str(path.relative_to(ROOT)) for path in POLICIES}


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_a_policy_is_short_enough_for_an_organization(path: Path) -> None:
    assert len(path.read_text()) <= LONGEST_POLICY
