"""Deletion protection, where it is kept: what has it would stop the deletion of its stack half-way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

_Protection = tuple[Callable[[Any, str], bool], str]  # whether it is on, by session and name; and how it is lifted

_PROTECTIONS: dict[str, _Protection] = {
    "AWS::DynamoDB::Table": (
        lambda session, name: session.client("dynamodb").describe_table(TableName=name)["Table"][
            "DeletionProtectionEnabled"
        ],
        "aws dynamodb update-table --table-name {name} --no-deletion-protection-enabled",
    ),
    "AWS::Cognito::UserPool": (
        lambda session, name: (
            session.client("cognito-idp").describe_user_pool(UserPoolId=name)["UserPool"].get("DeletionProtection")
            == "ACTIVE"
        ),
        "DeletionProtection: INACTIVE in the template, and deploy it",  # the command would reset what it does not name
    ),
    "AWS::RDS::DBInstance": (
        lambda session, name: session.client("rds").describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0][
            "DeletionProtection"
        ],
        "aws rds modify-db-instance --db-instance-identifier {name} --no-deletion-protection",
    ),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": (
        lambda session, name: (
            {"Key": "deletion_protection.enabled", "Value": "true"}
            in session.client("elbv2").describe_load_balancer_attributes(LoadBalancerArn=name)["Attributes"]
        ),
        "aws elbv2 modify-load-balancer-attributes --load-balancer-arn {name} "
        "--attributes Key=deletion_protection.enabled,Value=false",
    ),
}


def protections(session: Any, resources: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Those of these (type and name) that are protected from deletion, each as a sentence with what lifts it."""
    for kind, name in resources:
        if kind in _PROTECTIONS:
            is_on, lift = _PROTECTIONS[kind]
            if is_on(session, name):
                yield f"{name} has deletion protection; what lifts it: {lift.format(name=name)}"
