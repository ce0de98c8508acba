"""Where the policies stand, and what they may grant at all. What each decides is simulated in test_policies.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lib.aws.templates import STACKS, template
from tests.policies import documents, resources, trusts

IN_TEMPLATES = {name: each for name, each in documents().items() if name.partition(".")[0] in STACKS}

# Parts of an ARN that nobody can know beforehand, or that AWS knows no resource for.
OPEN = {
    ("guardrails.AuditBucketPolicy", "TrailWrites"): "the trail's files",
    ("guardrails.ConfigRole.deliver", "Write"): "the recorder's files",
    ("messaging.FunctionInVpc", "NetworkInterfaces"): "interfaces to be",
    ("messaging.MessageStreamRole.message-stream", "FindStream"): "streams of the table",
    ("network.EcrApiEndpoint", "SignIn"): "no resource",
    ("network.EcrDkrEndpoint", "SignIn"): "no resource",
    ("network.FlowLogRole.flow-logs", "FindGroup"): "log groups of this account",
    ("network.LogsEndpoint", "Write"): "log groups of this account",
    ("network.S3Endpoint", "Layers"): "layers of images",
    ("service.ExecutionRole.start", "SignIn"): "no resource",
}


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def allowances(name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for place, document in IN_TEMPLATES.items():
        for statement in document["Statement"]:
            if statement["Effect"] == "Allow" and name in place:
                yield place, statement


def statements_in(value: object) -> int:
    """How many policies there are anywhere in a value."""
    if isinstance(value, dict):
        return ("Statement" in value) + sum(map(statements_in, value.values()))
    return sum(map(statements_in, value)) if isinstance(value, list) else 0


def test_no_policy_stands_where_the_simulations_do_not_look() -> None:
    assert sum(statements_in(template(stack)["Resources"]) for stack in STACKS) == len(IN_TEMPLATES) + len(trusts())


def test_two_roles_alone_have_a_policy_of_awss_and_those_are_for_its_services() -> None:
    roles = {name: role for stack in STACKS for name, role in resources(stack, "AWS::IAM::Role").items()}
    given = {
        name: [each for each in role.get("ManagedPolicyArns", []) if "Ref" not in each] for name, role in roles.items()
    }
    assert {name: policies for name, policies in given.items() if policies} == {
        "DatabaseMonitoringRole": [
            {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"}
        ],
        "ConfigRole": [{"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/service-role/AWS_ConfigRole"}],
    }


def test_a_resource_is_named_to_its_end() -> None:
    wild = {(place, each["Sid"]) for place, each in allowances() if "*" in str(each["Resource"])}
    assert wild == OPEN.keys()


def test_nobody_is_allowed_to_hand_on_a_role_or_to_change_one() -> None:
    actions = [action for _, each in allowances() for action in listed(each["Action"])]
    assert [action for action in actions if action.startswith(("iam:", "sts:", "kms:"))] == []


def test_an_auditor_reads_settings_and_no_item() -> None:
    actions = {action for _, each in allowances("AuditorRole") for action in listed(each["Action"])}
    assert actions
    assert {
        action for action in actions if action.partition(":")[2].startswith(("Describe", "GetCompliance"))
    } == actions


def test_dax_changes_nothing_and_scans_nothing() -> None:
    actions = {action for _, each in allowances("DaxRole") for action in listed(each["Action"])}
    assert actions == {f"dynamodb:{each}" for each in ("BatchGetItem", "DescribeTable", "GetItem", "Query")}
