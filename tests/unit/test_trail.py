"""What the trail of aws/cfn/guardrails.yaml records, of sample events."""

from __future__ import annotations

import pytest

from lib.aws.dynamodb_client import DynamoDBClient
from tests.support.event_patterns import selects
from tests.support.policies import ACCOUNT, TABLE, resolved
from tools.deploy.templates import resources

PROGRAMS = {"AppRoleName": "messaging-AppRole-1A2B", "MessageStreamRoleName": "messaging-StreamRole-3C4D"}
SELECTORS = resolved(
    resources("guardrails", "AWS::CloudTrail::Trail")["Trail"]["AdvancedEventSelectors"],
    {"AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "TableArn": TABLE, **PROGRAMS},
)
OPERATIONS = ["GetItem", "PutItem", "Query", "TransactWriteItems"]  # of the programs


def session(role: str, name: str = "0f3a9c") -> str:
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}"


def is_recorded(identity: str, operation: str, *, table: str = TABLE) -> bool:
    event = {"eventCategory": "Data", "resources.type": "AWS::DynamoDB::Table", "resources.ARN": table}
    return selects(SELECTORS, event | {"userIdentity.arn": identity, "eventName": operation})


@pytest.mark.parametrize("role", PROGRAMS.values())
@pytest.mark.parametrize("operation", OPERATIONS)
def test_calls_of_the_programs_are_not_recorded(role: str, operation: str) -> None:
    assert not is_recorded(session(role), operation)


@pytest.mark.parametrize(
    "identity",
    [
        session("cruddur-maintenance"),
        session("cruddur-deployment", "anna"),
        session("AWSReservedSSO_Administrator_0a1b", "anna@example.com"),
        session(f"{PROGRAMS['AppRoleName']}X"),  # a name that begins with the program's
        session("anybody", PROGRAMS["AppRoleName"]),  # a session with the program's name
        session(PROGRAMS["AppRoleName"]).replace(ACCOUNT, "999999999999"),  # a role of another account
        f"arn:aws:iam::{ACCOUNT}:user/{PROGRAMS['AppRoleName']}",
        f"arn:aws:iam::{ACCOUNT}:root",
    ],
)
@pytest.mark.parametrize("operation", [*OPERATIONS, "Scan"])
def test_calls_of_everybody_else_are_recorded(identity: str, operation: str) -> None:
    assert is_recorded(identity, operation)


@pytest.mark.parametrize("role", PROGRAMS.values())
@pytest.mark.parametrize(
    "operation",
    ["Scan", "BatchGetItem", "BatchWriteItem", "DeleteItem", "ExecuteStatement", "TransactGetItems", "UpdateItem"],
)
def test_calls_that_a_program_never_makes_are_recorded_for_its_role_too(role: str, operation: str) -> None:
    assert is_recorded(session(role), operation)


def test_unrecorded_calls_are_those_of_the_api_client() -> None:
    """Except BatchWriteItem, which only bin/ddb/seed makes."""
    calls = {name for name in vars(DynamoDBClient) if name.endswith(("_item", "_items")) or name == "query"}
    names = {"".join(word.title() for word in name.split("_")) for name in calls}
    assert names - {"BatchWriteItem"} == set(OPERATIONS)


def test_other_tables_are_not_recorded_and_management_events_are() -> None:
    assert not is_recorded(session("cruddur-deployment"), "Scan", table=f"{TABLE}-other")
    assert selects(SELECTORS, {"eventCategory": "Management"})
