"""The policies, simulated: every statement, allow by allow and deny by deny, then what they are for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lib.aws.templates import STACKS, template
from lib.config import DynamoDBSettings
from lib.ddb.schema import MESSAGE_GROUP_INDEX
from tests.policies import (
    ACCOUNT,
    INDEX,
    REGION,
    SECRET,
    STREAM,
    TABLE,
    decide,
    documents,
    may_assume,
    resolved,
    trusts,
)

DOCUMENTS = documents()
TRUSTS = trusts()

AUDIT_BUCKET = resolved({"Fn::GetAtt": ["AuditBucket", "Arn"]})
OTHER_TABLE = TABLE.replace("cruddur-messages", "somebody-elses")
DEPLOYMENT_ROLE = f"arn:aws:iam::{ACCOUNT}:role/cruddur-deployment"
DEPLOYMENT = {"aws:PrincipalArn": DEPLOYMENT_ROLE}
ADMINISTRATOR = {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/administrator"}
MAINTENANCE = {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/cruddur-maintenance"}
PLAIN_HTTP = {"aws:SecureTransport": "false"}
FOREIGN = {"aws:PrincipalAccount": "999999999999"}
HERE, ELSEWHERE = {"aws:RequestedRegion": REGION}, {"aws:RequestedRegion": "eu-west-1"}

APP, ENDPOINT, DAX = "messaging.TableAccess", "network.DynamoDBEndpoint", "guardrails.DaxRole.read"
LOCK, PROTECT, KEYS = "region-lock", "protect-table", "no-long-lived-keys"
FUNCTION = "messaging.MessageStreamRole.message-stream"
CONFIRM = "messaging.PostConfirmationRole.post-confirmation"

# What a statement may allow on every resource, because AWS knows none for it.
WITHOUT_RESOURCE = {
    ("messaging.FunctionInVpc", "NetworkInterfaces"),
    ("network.EcrApiEndpoint", "SignIn"),
    ("network.EcrDkrEndpoint", "SignIn"),
    ("service.ExecutionRole.start", "SignIn"),
}

# Services that do not say, by AWS's pages on their roles, for whom they assume one.
WITHOUT_SOURCE = {"lambda.amazonaws.com", "cloudtrail.amazonaws.com", "dax.amazonaws.com"}

CASES: list[tuple[str, str, str, dict[str, str], str]] = [
    *[
        (APP, f"dynamodb:{each}", TABLE, {}, "Allow")
        for each in ("GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem")
    ],
    (APP, "dynamodb:Query", INDEX, {}, "Allow"),
    (APP, "dynamodb:GetItem", OTHER_TABLE, {}, "ImplicitDeny"),
    (APP, "dynamodb:GetItem", TABLE.replace(REGION, "eu-west-1"), {}, "ImplicitDeny"),
    (APP, "dynamodb:Scan", TABLE, {}, "ImplicitDeny"),
    (APP, "dynamodb:Scan", INDEX, {}, "ImplicitDeny"),
    (APP, "dynamodb:DeleteTable", TABLE, {}, "ImplicitDeny"),
    (APP, "dynamodb:UpdateTable", TABLE, {}, "ImplicitDeny"),
    (APP, "dynamodb:PartiQLSelect", TABLE, {}, "ImplicitDeny"),
    (APP, "dynamodb:GetRecords", STREAM, {}, "ImplicitDeny"),
    *[
        (FUNCTION, f"dynamodb:{each}", STREAM, {}, "Allow")
        for each in ("DescribeStream", "GetShardIterator", "GetRecords")
    ],
    (FUNCTION, "dynamodb:ListStreams", f"{TABLE}/stream/*", {}, "Allow"),
    (FUNCTION, "dynamodb:GetRecords", f"{OTHER_TABLE}/stream/2026", {}, "ImplicitDeny"),
    (FUNCTION, "dynamodb:Scan", TABLE, {}, "ImplicitDeny"),
    (ENDPOINT, "dynamodb:PutItem", TABLE, {}, "Allow"),
    (ENDPOINT, "dynamodb:PutItem", OTHER_TABLE, {}, "ImplicitDeny"),
    (ENDPOINT, "dynamodb:PutItem", TABLE, FOREIGN, "ImplicitDeny"),
    (ENDPOINT, "dynamodb:Scan", TABLE, {}, "ImplicitDeny"),
    (ENDPOINT, "dynamodb:Scan", TABLE, MAINTENANCE, "Allow"),
    (ENDPOINT, "dynamodb:Scan", OTHER_TABLE, MAINTENANCE, "ImplicitDeny"),
    ("service.MaintenanceRole.table", "dynamodb:Scan", TABLE, {}, "Allow"),
    ("service.MaintenanceRole.table", "dynamodb:DeleteTable", TABLE, {}, "ImplicitDeny"),
    (ENDPOINT, "dynamodb:DeleteTable", TABLE, {}, "ImplicitDeny"),
    ("network.SecretsEndpoint", "secretsmanager:GetSecretValue", SECRET, {}, "Allow"),
    ("network.SecretsEndpoint", "secretsmanager:GetSecretValue", SECRET, FOREIGN, "ImplicitDeny"),
    ("network.SecretsEndpoint", "secretsmanager:PutSecretValue", SECRET, {}, "ImplicitDeny"),
    ("network.S3Endpoint", "s3:GetObject", f"arn:aws:s3:::prod-{REGION}-starport-layer-bucket/layer", {}, "Allow"),
    ("network.S3Endpoint", "s3:PutObject", "arn:aws:s3:::a-bucket-of-a-thief/table", {}, "ImplicitDeny"),
    (CONFIRM, "secretsmanager:GetSecretValue", SECRET, {}, "Allow"),
    (CONFIRM, "dynamodb:GetItem", TABLE, {}, "ImplicitDeny"),
    (DAX, "dynamodb:Query", INDEX, {}, "Allow"),
    (DAX, "dynamodb:BatchGetItem", TABLE, {}, "Allow"),
    (DAX, "dynamodb:PutItem", TABLE, {}, "ImplicitDeny"),
    (DAX, "dynamodb:Scan", TABLE, {}, "ImplicitDeny"),
    ("guardrails.AuditorRole.settings", "dynamodb:DescribeContinuousBackups", TABLE, {}, "Allow"),
    ("guardrails.AuditorRole.settings", "dynamodb:GetItem", TABLE, {}, "ImplicitDeny"),
    ("guardrails.AuditBucketPolicy", "s3:GetObject", f"{AUDIT_BUCKET}/file", PLAIN_HTTP, "Deny"),
    ("guardrails.AuditBucketPolicy", "s3:GetObject", f"{AUDIT_BUCKET}/file", {}, "ImplicitDeny"),
    (PROTECT, "dynamodb:DeleteTable", TABLE, ADMINISTRATOR, "Deny"),
    (PROTECT, "dynamodb:DeleteTable", TABLE, DEPLOYMENT, "Deny"),
    (PROTECT, "dynamodb:DeleteTable", TABLE.replace(REGION, "eu-west-1"), ADMINISTRATOR, "Deny"),
    (PROTECT, "dynamodb:DeleteTable", OTHER_TABLE, ADMINISTRATOR, "ImplicitDeny"),
    (PROTECT, "dynamodb:DeleteBackup", f"{TABLE}/backup/01", DEPLOYMENT, "Deny"),
    (PROTECT, "dynamodb:UpdateTable", TABLE, ADMINISTRATOR, "Deny"),
    (PROTECT, "dynamodb:UpdateTable", TABLE, DEPLOYMENT, "ImplicitDeny"),
    (PROTECT, "dynamodb:UpdateContinuousBackups", TABLE, ADMINISTRATOR, "Deny"),
    (PROTECT, "dynamodb:PutItem", TABLE, ADMINISTRATOR, "ImplicitDeny"),
    *[
        (PROTECT, action, resource, who, decision)
        for action, resource in (
            ("dynamodb:UpdateTimeToLive", TABLE),
            ("dynamodb:PutResourcePolicy", TABLE),
            ("dynamodb:DeleteResourcePolicy", TABLE),
            ("dynamodb:CreateTableReplica", TABLE),
            ("dynamodb:EnableKinesisStreamingDestination", TABLE),
            *((f"cloudtrail:{each}", "any") for each in ("DeleteTrail", "PutEventSelectors", "UpdateTrail")),
            *((f"cloudwatch:{each}", "any") for each in ("DeleteAlarms", "DisableAlarmActions", "PutMetricAlarm")),
            *((f"config:{each}ConfigRule", "any") for each in ("Delete", "Put")),
            *((f"config:{each}ConfigurationRecorder", "any") for each in ("Delete", "Put", "Stop")),
            *((f"config:{each}DeliveryChannel", "any") for each in ("Delete", "Put")),
            *((f"logs:{each}", "any") for each in ("DeleteLogGroup", "DeleteMetricFilter", "PutMetricFilter")),
            ("sns:DeleteTopic", "any"),
            *((f"iam:{each}", DEPLOYMENT_ROLE) for each in ("CreateRole", "DeleteRole", "UpdateAssumeRolePolicy")),
        )
        for who, decision in ((ADMINISTRATOR, "Deny"), (DEPLOYMENT, "ImplicitDeny"))
    ],
    (PROTECT, "iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/another", ADMINISTRATOR, "ImplicitDeny"),
    (PROTECT, "organizations:LeaveOrganization", "any", DEPLOYMENT, "Deny"),
    (PROTECT, "account:CloseAccount", "any", DEPLOYMENT, "Deny"),
    (PROTECT, "cloudtrail:StopLogging", f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/any", ADMINISTRATOR, "Deny"),
    (LOCK, "dynamodb:CreateTable", TABLE.replace(REGION, "eu-west-1"), ELSEWHERE, "Deny"),
    (LOCK, "dynamodb:CreateTable", TABLE, HERE, "ImplicitDeny"),
    (LOCK, "s3:CreateBucket", "*", ELSEWHERE, "Deny"),
    (LOCK, "iam:CreateRole", "*", ELSEWHERE, "ImplicitDeny"),
    (LOCK, "sts:AssumeRole", "*", ELSEWHERE, "ImplicitDeny"),
    (LOCK, "dynamodb:CreateTable", TABLE, {"aws:RequestedRegion": "us-east-1"}, "Deny"),
    (KEYS, "iam:CreateAccessKey", "*", ADMINISTRATOR, "Deny"),
    (KEYS, "iam:UpdateAccessKey", "*", ADMINISTRATOR, "Deny"),
    (KEYS, "iam:CreateServiceSpecificCredential", "*", ADMINISTRATOR, "Deny"),
    (KEYS, "iam:CreateUser", "*", ADMINISTRATOR, "Deny"),
    (KEYS, "iam:CreateRole", "*", ADMINISTRATOR, "ImplicitDeny"),
]


def statements(*effects: str) -> list[Any]:
    return [
        pytest.param(statement, id=f"{name}-{statement['Sid']}")
        for name, document in DOCUMENTS.items()
        for statement in document["Statement"]
        if statement["Effect"] in effects
    ]


def texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def met(statement: dict[str, Any]) -> dict[str, str]:
    """Condition keys with which all conditions of a statement are met."""
    keys = {}
    for operator, expected in statement.get("Condition", {}).items():
        for key, value in expected.items():
            first = texts(value)[0]
            keys[key] = f"not-{first}" if "Not" in operator else first.replace("*", "any")
    return keys


def missed(statement: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The same with one of them not met, for each."""
    for operator, expected in statement.get("Condition", {}).items():
        for key, value in expected.items():
            first = texts(value)[0]
            other = first.replace("*", "any") if "Not" in operator else "true" if first == "false" else "another"
            yield met(statement) | {key: other}


def requests(statement: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for action in texts(statement.get("Action", "dynamodb:CreateTable")):
        for resource in texts(statement["Resource"]):
            yield action.replace("*", "GetObject"), resource.replace("*", "any")


@pytest.mark.parametrize("statement", statements("Allow", "Deny"))
def test_a_statement_decides_what_it_names_and_nothing_else(statement: dict[str, Any]) -> None:
    alone, keys = {"Statement": [statement]}, met(statement)
    for action, resource in requests(statement):
        assert decide(alone, action, resource, keys) == (statement["Effect"], statement["Sid"])
        assert {decide(alone, action, resource, other)[0] for other in missed(statement)} <= {"ImplicitDeny"}
        assert (decide(alone, action, f"of-another-{resource}", keys)[0] == "ImplicitDeny") == (resource != "any")
        excepted = texts(statement.get("NotAction", "made:Up"))[0].replace("*", "Any")
        assert decide(alone, excepted, resource, keys)[0] == "ImplicitDeny"


@pytest.mark.parametrize(("name", "action", "resource", "keys", "decision"), CASES)
def test_what_a_policy_is_for(name: str, action: str, resource: str, keys: dict[str, str], decision: str) -> None:
    assert decide(DOCUMENTS[name], action, resource, keys)[0] == decision


def test_an_allowance_names_its_actions_and_its_resources() -> None:
    for name, document in DOCUMENTS.items():
        for statement in document["Statement"]:
            if statement["Effect"] == "Allow":
                assert [action for action in texts(statement["Action"]) if "*" in action] == []
                assert (statement["Resource"] == "*") == ((name, statement["Sid"]) in WITHOUT_RESOURCE)


def test_an_endpoint_is_open_to_this_account_alone() -> None:
    for name, document in DOCUMENTS.items():
        for statement in document["Statement"]:
            if statement["Effect"] == "Allow" and statement.get("Principal") == "*" and name != "network.S3Endpoint":
                assert statement["Condition"]["StringEquals"] == {"aws:PrincipalAccount": ACCOUNT}


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


def test_the_endpoint_lets_through_what_the_roles_may_do_and_nothing_else() -> None:
    def granted(name: str, *sids: str) -> set[tuple[str, str]]:
        chosen = [each for each in DOCUMENTS[name]["Statement"] if not sids or each["Sid"] in sids]
        return {(action, each["Resource"]) for each in chosen for action in texts(each["Action"])}

    assert granted(ENDPOINT, "Items", "Index") == granted(APP)
    assert granted(ENDPOINT) == granted("service.MaintenanceRole.table")


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
    place = statement.get("Condition", {}).get("ArnLike", {}).get("aws:SourceArn")
    assert place == (f"arn:aws:ecs:{REGION}:{ACCOUNT}:*" if service == "ecs-tasks.amazonaws.com" else None)


def test_an_auditor_needs_the_account_and_the_external_id() -> None:
    trust, auditor = TRUSTS["guardrails.AuditorRole"], "arn:aws:iam::999999999999:role/auditor"
    agreed = {"sts:ExternalId": "agreed-upon-0123456789"}
    assert may_assume(trust, auditor, agreed)
    assert not may_assume(trust, auditor)
    assert not may_assume(trust, auditor, {"sts:ExternalId": "agreed-upon-0123456780"})
    assert not may_assume(trust, f"arn:aws:iam::{ACCOUNT}:role/administrator", agreed)
