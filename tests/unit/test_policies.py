"""The policies of the templates and of the organization: simulated decisions, and grants beside the code's calls."""

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
    resolved,
    resources,
)
from tools.deploy.templates import STACKS

DOCUMENTS = documents()
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
    (PROTECT, "dynamodb:UpdateTable", TABLE, ADMINISTRATOR, "Deny"),
    (PROTECT, "dynamodb:UpdateTable", TABLE, DEPLOYMENT, "ImplicitDeny"),
    (PROTECT, "cloudtrail:StopLogging", "any", ADMINISTRATOR, "Deny"),
    (PROTECT, "iam:UpdateAssumeRolePolicy", DEPLOYMENT_ROLE, ADMINISTRATOR, "Deny"),
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


@pytest.mark.parametrize(("name", "action", "resource", "keys", "decision"), CASES)
def test_what_a_policy_is_for(name: str, action: str, resource: str, keys: dict[str, str], decision: str) -> None:
    assert decide(DOCUMENTS[name], action, resource, keys)[0] == decision


def test_an_allowance_names_its_actions_and_its_resources_to_their_end() -> None:
    wild = {(place, each["Sid"]) for place, each in allowances() if "*" in str(each["Resource"])}
    assert wild == OPEN.keys()
    actions = [action for _, each in allowances() for action in texts(each["Action"])]
    assert [action for action in actions if "*" in action or action.startswith(("iam:", "sts:", "kms:"))] == []


def test_the_functions_may_do_what_they_are_for() -> None:
    assert {place for action, place in granted(FUNCTION) if action.startswith("dynamodb:")} == {
        STREAM,
        f"{TABLE}/stream/*",
    }
    assert {action.partition(":")[0] for action, _ in granted(FUNCTION)} == {"dynamodb", "sqs", "logs"}
    assert {action.partition(":")[0] for action, _ in granted(CONFIRM)} == {"secretsmanager", "logs"}


def test_the_endpoint_lets_through_what_the_roles_may_do_and_nothing_else() -> None:
    assert granted(ENDPOINT, "Items", "Index") == granted(APP)
    assert granted(ENDPOINT) == granted("service.MaintenanceRole.table")
    endpoints = resources("network", "AWS::EC2::VPCEndpoint")
    assert {name for name, each in endpoints.items() if "PolicyDocument" not in each} == {"CognitoEndpoint"}


def test_the_names_are_those_of_the_code() -> None:
    assert TABLE.endswith(f":table/{DynamoDBSettings.ddb_table}")
    assert INDEX.endswith(f"/index/{MESSAGE_GROUP_INDEX}")
