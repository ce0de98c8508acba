"""Deletion protection of resources: a protected one would stop the deletion of its stack half-way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_HOW_TO_LIFT = {
    "AWS::DynamoDB::Table": "aws dynamodb update-table --table-name {name} --no-deletion-protection-enabled",
    # The command for a pool would reset its other settings.
    "AWS::Cognito::UserPool": "DeletionProtection: INACTIVE in the template, and deploy it",
    "AWS::RDS::DBInstance": "aws rds modify-db-instance --db-instance-identifier {name} --no-deletion-protection",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "aws elbv2 modify-load-balancer-attributes --load-balancer-arn {name} "
    "--attributes Key=deletion_protection.enabled,Value=false",
}


def protections(session: Any, resources: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A sentence for each of these resources (type and name) that has deletion protection, with the way to lift it."""
    for kind, name in resources:
        if _is_protected(session, kind, name):
            yield f"{name} has deletion protection; to lift it: {_HOW_TO_LIFT[kind].format(name=name)}"


def _is_protected(session: Any, kind: str, name: str) -> bool:
    match kind:
        case "AWS::DynamoDB::Table":
            table = session.client("dynamodb").describe_table(TableName=name)["Table"]
            return bool(table["DeletionProtectionEnabled"])
        case "AWS::Cognito::UserPool":
            pool = session.client("cognito-idp").describe_user_pool(UserPoolId=name)["UserPool"]
            return bool(pool.get("DeletionProtection") == "ACTIVE")
        case "AWS::RDS::DBInstance":
            (database,) = session.client("rds").describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
            return bool(database["DeletionProtection"])
        case "AWS::ElasticLoadBalancingV2::LoadBalancer":
            balancer = session.client("elbv2").describe_load_balancer_attributes(LoadBalancerArn=name)
            return {"Key": "deletion_protection.enabled", "Value": "true"} in balancer["Attributes"]
    return False
