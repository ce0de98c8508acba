"""The templates of aws/cfn, all of them: what cfn-lint says, what is suppressed, and how values get to the next one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lib.aws.templates import STACKS, TEMPLATES, body, parameters, template
from lib.config import ROOT

BY_HAND = {
    "network": {"DynamoDBPrefixListId", "S3PrefixListId"},
    "messaging": set(),
    "service": {"ImageTag", "CertificateArn", "FrontendUrl", "BackendUrl", "AllowedRegions"},
    "guardrails": set(),
}
BY_PACKAGE = {"CodeBucket", "MessageStreamKey", "PostConfirmationKey"}

EVERY_STACK = pytest.mark.parametrize("stack", STACKS)


def suppressions(stack: str) -> list[dict[str, str]]:
    """What checkov is told not to look at."""
    parts = [template(stack), *template(stack)["Resources"].values()]
    return [each for part in parts for each in part.get("Metadata", {}).get("checkov", {}).get("skip", [])]


def outputs(stack: str) -> set[str]:
    return set(template(stack)["Outputs"])


def test_cfn_lint_has_nothing_to_say() -> None:
    command = [Path(sys.executable).parent / "cfn-lint", *TEMPLATES.glob("*.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_there_is_no_other_template() -> None:
    assert {path.stem for path in TEMPLATES.iterdir()} == set(STACKS)


@EVERY_STACK
def test_a_suppression_says_why(stack: str) -> None:
    for each in suppressions(stack):
        assert re.fullmatch(r"CKV2?_AWS_\d+", each["id"])
        assert len(each["comment"].split()) >= 8
        assert each["comment"].endswith(".")


@EVERY_STACK
def test_a_suppression_stands_beside_what_it_is_about(stack: str) -> None:
    assert "Metadata" not in template(stack)
    assert body(stack).count("- id: CKV") == len(suppressions(stack))
    assert "checkov:skip" not in body(stack)


@EVERY_STACK
def test_a_parameter_is_an_output_of_an_earlier_stack_or_said_by_hand(stack: str) -> None:
    needed = {name for name, has_default in parameters(stack).items() if not has_default}
    given = set().union(*(outputs(each) for each in STACKS[: STACKS.index(stack)]))
    assert needed - given - BY_PACKAGE == BY_HAND[stack]


@EVERY_STACK
def test_a_template_is_small_enough_to_be_sent_with_the_request(stack: str) -> None:
    assert len(body(stack).encode()) <= 51_200


@EVERY_STACK
def test_what_holds_data_outlives_its_stack(stack: str) -> None:
    def policies(resource: dict[str, Any]) -> set[str]:
        return {resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")}

    for name, resource in template(stack)["Resources"].items():
        if resource["Type"] in ("AWS::DynamoDB::Table", "AWS::Cognito::UserPool", "AWS::S3::Bucket"):
            assert policies(resource) == {"Retain"}, name
        if resource["Type"] == "AWS::RDS::DBInstance":
            assert policies(resource) == {"Snapshot"}, name


@EVERY_STACK
def test_nothing_is_kept_for_ever_in_a_log(stack: str) -> None:
    for resource in template(stack)["Resources"].values():
        if resource["Type"] == "AWS::Logs::LogGroup":
            assert resource["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_checkov_and_all_that_it_brings_along_are_pinned() -> None:
    lines = (ROOT / "requirements-checkov.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert packages[0].startswith("checkov==")
    assert [line for line in packages if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
