"""docs/aws.md asks for every value that a person chooses, and links every stack and policy."""

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


def test_the_page_sets_every_parameter_that_a_person_chooses() -> None:
    text = AWS.read_text()
    assert [name for names in BY_HAND.values() for name in names if f"--set {name}=" not in text] == []


def test_the_page_links_every_stack_and_policy() -> None:
    links = set(re.findall(r"\]\(\.\./([^)]+)\)", AWS.read_text()))
    assert links >= {f"aws/cfn/{stack}.yaml" for stack in STACKS}
    assert links >= {str(path.relative_to(ROOT)) for path in POLICIES}


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_a_policy_fits_the_size_limit_of_an_organization(path: Path) -> None:
    assert len(path.read_text()) <= LONGEST_POLICY
