"""Deletion protection of resources: a protected one would stop the deletion of its stack half-way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

_Protection = tuple[Callable[[Any, str], bool], str]  # whether it is on, by session and name; how to lift it

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
        "DeletionProtection: INACTIVE in the template, and deploy it",  # the command would reset other settings
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
    """A sentence for each of these resources (type and name) that has deletion protection, with the way to lift it."""
    for kind, name in resources:
        if kind in _PROTECTIONS:
            is_on, lift = _PROTECTIONS[kind]
            if is_on(session, name):
                yield f"{name} has deletion protection; to lift it: {lift.format(name=name)}"
