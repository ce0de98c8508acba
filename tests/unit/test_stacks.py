"""Change sets and events, as bin/aws/deploy reads them."""

from __future__ import annotations

from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import Stubber

from tools.deploy.stacks import Stack, is_cause, is_loss


@pytest.mark.parametrize(
    ("action", "type_", "replacement", "lost"),
    [
        ("Remove", "AWS::DynamoDB::Table", None, True),
        ("Dynamic", "AWS::DynamoDB::Table", None, True),
        ("Modify", "AWS::DynamoDB::Table", "True", True),
        ("Modify", "AWS::DynamoDB::Table", "Conditional", True),
        ("Modify", "AWS::DynamoDB::Table", "False", False),
        ("Add", "AWS::DynamoDB::Table", None, False),
        ("Remove", "AWS::Cognito::UserPool", None, True),
        ("Modify", "AWS::RDS::DBInstance", "True", True),
        ("Remove", "AWS::Lambda::Function", None, False),
    ],
)
def test_what_people_wrote_is_lost_with_its_resource_or_behind_another(
    action: str, type_: str, replacement: str | None, lost: bool
) -> None:
    change = {"Action": action, "ResourceType": type_} | ({"Replacement": replacement} if replacement else {})
    assert is_loss(change) == lost


@pytest.mark.parametrize(
    ("status", "reason", "cause"),
    [
        ("CREATE_FAILED", "already exists", True),
        ("DELETE_FAILED", "is not empty", True),
        ("CREATE_FAILED", "Resource creation cancelled", False),
        ("CREATE_COMPLETE", "", False),
        ("ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [It].", False),
    ],
)
def test_what_stopped_because_something_else_failed_is_no_cause(status: str, reason: str, cause: bool) -> None:
    assert is_cause({"ResourceStatus": status, "ResourceStatusReason": reason}) == cause


def test_what_a_failed_deletion_left_belongs_to_the_stack_and_what_is_gone_does_not() -> None:
    listed = {
        "Database": "DELETE_FAILED",
        "Table": "DELETE_SKIPPED",
        "Topic": "DELETE_COMPLETE",
        "Queue": "CREATE_COMPLETE",
    }
    client = boto3.client("cloudformation", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    summaries = [
        {
            "LogicalResourceId": name,
            "PhysicalResourceId": name.lower(),
            "ResourceType": "AWS::Any::Type",
            "LastUpdatedTimestamp": datetime(2026, 1, 2, tzinfo=UTC),
            "ResourceStatus": status,
        }
        for name, status in listed.items()
    ]
    with Stubber(client) as stub:
        stub.add_response("list_stack_resources", {"StackResourceSummaries": summaries})
        found = Stack(client, "cruddur", "network").resources()
    assert found == {"Database": ("AWS::Any::Type", "database"), "Queue": ("AWS::Any::Type", "queue")}
