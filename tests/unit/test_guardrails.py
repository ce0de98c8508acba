"""docs/aws-security.md beside the templates and the tests: what is real, and what is words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.documents import AWS_SECURITY, table
from tests.support.policies import documents
from tools.deploy.templates import resources, template


class Guardrail(NamedTuple):
    name: str
    effect: str
    resource: str
    kind: str
    proof: str

    @property
    def resources(self) -> list[tuple[str, str]]:
        """The stacks and logical ids."""
        return [
            (stack, name) for stack, _, name in (text.partition(".") for text in re.findall(r"`(.+?)`", self.resource))
        ]

    @property
    def tests(self) -> list[Path]:
        return [AWS_SECURITY.parent / path for path in re.findall(r"\]\((.+?)\)", self.proof)]


GUARDRAILS = [Guardrail(*row) for row in table(AWS_SECURITY, "Guardrail")]
SIMULATED = {
    *((stack, name.partition(".")[0]) for stack, _, name in (key.partition(".") for key in documents())),
    *(("guardrails", name) for name in resources("guardrails", "AWS::Logs::MetricFilter")),
    ("guardrails", "Trail"),
}


@pytest.mark.parametrize("guardrail", GUARDRAILS, ids=[guardrail.name for guardrail in GUARDRAILS])
def test_guardrail_has_the_resource_and_the_test_that_its_kind_says(guardrail: Guardrail) -> None:
    assert {name for stack, name in guardrail.resources if name not in template(stack)["Resources"]} == set()
    assert [path for path in guardrail.tests if not path.name.startswith("test_") or not path.exists()] == []
    match guardrail.kind:
        case "resource and test":
            assert guardrail.tests
            assert guardrail.resources or "](" in guardrail.resource  # code
        case "simulated":
            assert guardrail.tests
            assert set() < set(guardrail.resources) <= SIMULATED
        case "template only":
            assert guardrail.resources
            assert guardrail.proof == "–"
        case "words":
            assert (guardrail.resource, guardrail.proof) == ("–", "–")
        case other:
            pytest.fail(f"unknown kind {other}")


def test_every_policy_of_the_organization_and_every_alarm_of_the_trail_is_listed() -> None:
    listed = {resource for guardrail in GUARDRAILS for resource in guardrail.resources}
    organization = {("organization", name) for name in template("organization")["Resources"]}
    filters = {("guardrails", name) for name in resources("guardrails", "AWS::Logs::MetricFilter")}
    rules = {("guardrails", name) for name in resources("guardrails", "AWS::Config::ConfigRule")}
    assert organization | filters | rules <= listed
    alarms = {row[0] for row in table(AWS_SECURITY, "Alarm")}
    assert alarms == {*resources("guardrails", "AWS::CloudWatch::Alarm"), "ComplianceRule"}
