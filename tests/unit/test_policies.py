"""The policies of the templates and of the organization: what each is for, simulated, and what none may grant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lib.config import DynamoDBSettings
from lib.ddb.schema import MESSAGE_GROUP_INDEX
from tests.support.policies import (
    ACCOUNT,
    INDEX,
    REGION,
    STREAM,
    TABLE,
    decide,
    documents,
    may_assume,
    resolved,
    resources,
    trusts,
)
from tools.deploy.templates import STACKS, template

DOCUMENTS = documents()
TRUSTS = trusts()
IN_TEMPLATES = {name: each for name, each in DOCUMENTS.items() if name.partition(".")[0] in STACKS}

AUDIT_BUCKET = resolved({"Fn::GetAtt": ["AuditBucket", "Arn"]})
OTHER_TABLE = TABLE.replace("cruddur-messages", "somebody-elses")
ABROAD = TABLE.replace(REGION, "eu-west-1")
DEPLOYMENT_ROLE = f"arn:aws:iam::{ACCOUNT}:role/cruddur-deployment"
DEPLOYMENT = {"aws:PrincipalArn": DEPLOYMENT_ROLE}
ADMINISTRATOR = {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/administrator"}
MAINTENANCE = {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/cruddur-maintenance"}
PLAIN_HTTP = {"aws:SecureTransport": "false"}
FOREIGN = {"aws:PrincipalAccount": "999999999999"}
HERE, ELSEWHERE = {"aws:RequestedRegion": REGION}, {"aws:RequestedRegion": "eu-west-1"}

APP, ENDPOINT, STORAGE = "messaging.TableAccess", "network.DynamoDBEndpoint", "network.S3Endpoint"
LOCK, PROTECT, KEYS = "region-lock", "protect-table", "no-long-lived-keys"
FUNCTION = "messaging.MessageStreamRole.message-stream"
CONFIRM = "messaging.PostConfirmationRole.post-confirmation"

# Statements with parts of an ARN that nobody can know beforehand, or for which AWS knows no resource.
OPEN = {
    ("guardrails.AuditBucketPolicy", "TrailWrites"): "the trail's files",
    ("guardrails.ConfigRole.deliver", "Write"): "the recorder's files",
    ("messaging.FunctionInVpc", "NetworkInterfaces"): "interfaces to be",
    (FUNCTION, "FindStream"): "streams of the table",
    ("network.EcrApiEndpoint", "SignIn"): "no resource",
    ("network.EcrDkrEndpoint", "SignIn"): "no resource",
    ("network.FlowLogRole.flow-logs", "FindGroup"): "log groups of this account",
    ("network.LogsEndpoint", "Write"): "log groups of this account",
    (STORAGE, "Layers"): "layers of images",
    ("service.ExecutionRole.start", "SignIn"): "no resource",
}

# Services that do not say, by AWS's pages on their roles, for whom they assume one.
WITHOUT_SOURCE = {"lambda.amazonaws.com", "cloudtrail.amazonaws.com", "dax.amazonaws.com"}

# What the roles may do at the table, tests/integration/test_iam.py shows where IAM is enforced.
CASES: list[tuple[str, str, str, dict[str, str], str]] = [
    (ENDPOINT, "dynamodb:PutItem", TABLE, {}, "Allow"),
    (ENDPOINT, "dynamodb:PutItem", OTHER_TABLE, {}, "ImplicitDeny"),
    (ENDPOINT, "dynamodb:PutItem", TABLE, FOREIGN, "ImplicitDeny"),
    (ENDPOINT, "dynamodb:Scan", TABLE, {}, "ImplicitDeny"),
    (ENDPOINT, "dynamodb:Scan", TABLE, MAINTENANCE, "Allow"),
    (STORAGE, "s3:GetObject", f"arn:aws:s3:::prod-{REGION}-starport-layer-bucket/layer", {}, "Allow"),
    (STORAGE, "s3:PutObject", "arn:aws:s3:::a-bucket-of-a-thief/table", {}, "ImplicitDeny"),
    ("guardrails.AuditBucketPolicy", "s3:GetObject", f"{AUDIT_BUCKET}/file", PLAIN_HTTP, "Deny"),
    ("guardrails.AuditBucketPolicy", "s3:GetObject", f"{AUDIT_BUCKET}/file", {}, "ImplicitDeny"),
    (PROTECT, "dynamodb:DeleteTable", TABLE, ADMINISTRATOR, "Deny"),
    (PROTECT, "dynamodb:DeleteTable", TABLE, DEPLOYMENT, "Deny"),
    (PROTECT, "dynamodb:DeleteTable", ABROAD, ADMINISTRATOR, "Deny"),
    (PROTECT, "dynamodb:DeleteTable", OTHER_TABLE, ADMINISTRATOR, "ImplicitDeny"),
    (PROTECT, "dynamodb:DeleteBackup", f"{TABLE}/backup/01", DEPLOYMENT, "Deny"),
    (PROTECT, "dynamodb:PutItem", TABLE, ADMINISTRATOR, "ImplicitDeny"),
    *[
        (PROTECT, action, resource, who, decision)
        for action, resource in (
            *((f"dynamodb:Update{each}", TABLE) for each in ("ContinuousBackups", "Table", "TimeToLive")),
            ("dynamodb:PutResourcePolicy", TABLE),
            ("cloudtrail:StopLogging", "any"),
            ("iam:UpdateAssumeRolePolicy", DEPLOYMENT_ROLE),
        )
        for who, decision in ((ADMINISTRATOR, "Deny"), (DEPLOYMENT, "ImplicitDeny"))
    ],
    (PROTECT, "iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/another", ADMINISTRATOR, "ImplicitDeny"),
    (PROTECT, "organizations:LeaveOrganization", "any", DEPLOYMENT, "Deny"),
    (LOCK, "dynamodb:CreateTable", ABROAD, ELSEWHERE, "Deny"),
    (LOCK, "dynamodb:CreateTable", TABLE, HERE, "ImplicitDeny"),
    (LOCK, "iam:CreateRole", "*", ELSEWHERE, "ImplicitDeny"),
    (KEYS, "iam:CreateAccessKey", "*", ADMINISTRATOR, "Deny"),
    (KEYS, "iam:CreateRole", "*", ADMINISTRATOR, "ImplicitDeny"),
]


def texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def allowances(name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for place, document in IN_TEMPLATES.items():
        for statement in document["Statement"]:
            if statement["Effect"] == "Allow" and name in place:
                yield place, statement


def granted(name: str, *sids: str) -> set[tuple[str, str]]:
    """A policy's actions, each with its places."""
    chosen = [each for place, each in allowances(name) if not sids or each["Sid"] in sids]
    return {(action, place) for each in chosen for action in texts(each["Action"]) for place in texts(each["Resource"])}


def statements_in(value: object) -> int:
    """How many policies there are anywhere in a value."""
    if isinstance(value, dict):
        return ("Statement" in value) + sum(map(statements_in, value.values()))
    return sum(map(statements_in, value)) if isinstance(value, list) else 0


@pytest.mark.parametrize(("name", "action", "resource", "keys", "decision"), CASES)
def test_what_a_policy_is_for(name: str, action: str, resource: str, keys: dict[str, str], decision: str) -> None:
    assert decide(DOCUMENTS[name], action, resource, keys)[0] == decision


def test_no_policy_stands_where_these_tests_do_not_look() -> None:
    assert sum(statements_in(template(stack)["Resources"]) for stack in STACKS) == len(IN_TEMPLATES) + len(TRUSTS)


def test_an_allowance_names_its_actions_and_its_resources_to_their_end() -> None:
    wild = {(place, each["Sid"]) for place, each in allowances() if "*" in str(each["Resource"])}
    assert wild == OPEN.keys()
    actions = [action for _, each in allowances() for action in texts(each["Action"])]
    assert [action for action in actions if "*" in action or action.startswith(("iam:", "sts:", "kms:"))] == []


def test_two_roles_alone_have_a_policy_of_awss() -> None:
    roles = {name: role for stack in STACKS for name, role in resources(stack, "AWS::IAM::Role").items()}
    foreign = {name for name, role in roles.items() for each in role.get("ManagedPolicyArns", []) if "Ref" not in each}
    assert foreign == {"DatabaseMonitoringRole", "ConfigRole"}
    assert roles["AppRole"]["ManagedPolicyArns"] == [{"Ref": "TableAccess"}]


def test_the_functions_may_do_what_they_are_for() -> None:
    assert {place for action, place in granted(FUNCTION) if action.startswith("dynamodb:")} == {
        STREAM,
        f"{TABLE}/stream/*",
    }
    assert {action.partition(":")[0] for action, _ in granted(FUNCTION)} == {"dynamodb", "sqs", "logs"}
    assert {action.partition(":")[0] for action, _ in granted(CONFIRM)} == {"secretsmanager", "logs"}


def test_an_auditor_reads_settings_and_no_item_and_dax_changes_and_scans_nothing() -> None:
    audited = {action.partition(":")[2] for action, _ in granted("AuditorRole")}
    assert audited
    assert {action for action in audited if not action.startswith(("Describe", "GetCompliance"))} == set()
    actions = {action for action, _ in granted("DaxRole")}
    assert actions == {f"dynamodb:{each}" for each in ("BatchGetItem", "DescribeTable", "GetItem", "Query")}


def test_an_endpoint_is_open_to_this_account_alone() -> None:
    for name, statement in allowances():
        if statement.get("Principal") == "*" and name != STORAGE:
            assert statement["Condition"]["StringEquals"] == {"aws:PrincipalAccount": ACCOUNT}


def test_the_endpoint_lets_through_what_the_roles_may_do_and_nothing_else() -> None:
    assert granted(ENDPOINT, "Items", "Index") == granted(APP)
    assert granted(ENDPOINT) == granted("service.MaintenanceRole.table")
    endpoints = resources("network", "AWS::EC2::VPCEndpoint")
    assert {name for name, each in endpoints.items() if "PolicyDocument" not in each} == {"CognitoEndpoint"}


def test_what_the_functions_code_could_do_to_the_network_is_denied_to_it() -> None:
    document = DOCUMENTS["messaging.FunctionInVpc"]
    allowed, denied = document["Statement"]
    assert allowed["Action"] == denied["Action"]
    functions = denied["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"]
    assert {each.rpartition(":")[2] for each in functions} == {"cruddur-message-stream", "cruddur-post-confirmation"}
    for action in allowed["Action"]:
        assert decide(document, action, "any")[0] == "Allow"
        for function in functions:
            assert decide(document, action, "any", {"lambda:SourceFunctionArn": function})[0] == "Deny"


def test_the_names_are_those_of_the_code() -> None:
    assert TABLE.endswith(f":table/{DynamoDBSettings.ddb_table}")
    assert INDEX.endswith(f"/index/{MESSAGE_GROUP_INDEX}")


def test_there_is_no_user_and_no_key() -> None:
    kinds = {each["Type"] for stack in STACKS for each in template(stack)["Resources"].values()}
    assert kinds & {"AWS::IAM::User", "AWS::IAM::AccessKey", "AWS::IAM::Group"} == set()


@pytest.mark.parametrize("role", sorted(TRUSTS.keys() - {"guardrails.AuditorRole"}))
def test_a_role_is_assumed_by_one_service_alone(role: str) -> None:
    (statement,) = TRUSTS[role]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")
    ((kind, service),) = statement["Principal"].items()
    assert kind == "Service"
    assert service.endswith(".amazonaws.com")
    assert not may_assume(TRUSTS[role], f"arn:aws:iam::{ACCOUNT}:role/administrator")
    source = statement.get("Condition", {}).get("StringEquals", {}).get("aws:SourceAccount")
    assert source == (None if service in WITHOUT_SOURCE else ACCOUNT)


def test_an_auditor_needs_the_account_and_the_external_id() -> None:
    trust, auditor = TRUSTS["guardrails.AuditorRole"], "arn:aws:iam::999999999999:role/auditor"
    agreed = {"sts:ExternalId": "agreed-upon-0123456789"}
    assert may_assume(trust, auditor, agreed)
    assert not may_assume(trust, auditor)
    assert not may_assume(trust, auditor, {"sts:ExternalId": "agreed-upon-0123456780"})
    assert not may_assume(trust, f"arn:aws:iam::{ACCOUNT}:role/administrator", agreed)
