"""How bin/aws reads changes and events of CloudFormation."""

from __future__ import annotations

import pytest

from tools.deploy.stacks import is_cause, is_loss


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
def test_change_that_removes_or_replaces_a_precious_resource_is_a_loss(
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
def test_resource_cancelled_after_another_failure_is_not_a_cause(status: str, reason: str, cause: bool) -> None:
    assert is_cause({"ResourceStatus": status, "ResourceStatusReason": reason}) == cause
