"""The policies of the templates as AWS reads them, and ministack's decisions by them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from tools.deploy.templates import STACKS, template

ACCOUNT, REGION = "123456789012", "us-east-2"
PEOPLE = "210987654321"  # the account of the people who deploy
DEPLOYER, RESCUER = (f"arn:aws:iam::{PEOPLE}:role/{name}" for name in ("deployer", "rescuer"))
ENDPOINT_ID = "vpce-0123456789abcdef0"
TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/cruddur-messages"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:SecretKey-a1b2c3"

NAMES = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AllowedRegions": REGION,
    "TableName": "cruddur-messages",
    "RestoredTableName": "cruddur-messages",
    "Table.Arn": TABLE,
    "TableArn": TABLE,
    "Table.StreamArn": f"{TABLE}/stream/2026-01-02T08:15:00.375",
    "RoleBoundary": f"arn:aws:iam::{ACCOUNT}:policy/cruddur-boundary",
    "PackageBucket.Arn": "arn:aws:s3:::cruddur-deployment-packagebucket",
    "PeopleAccountId": PEOPLE,
    "DeploymentPrincipals": DEPLOYER,
    "BreakGlassPrincipals": RESCUER,
    "SecretKey": SECRET,
    "SecretKeyArn": SECRET,
    "DynamoDBEndpointId": ENDPOINT_ID,
    "AuditorAccountId": "999999999999",
    "AuditorExternalId": "agreed-upon-0123456789",
}


def resolved(value: Any, names: Mapping[str, str] = NAMES) -> Any:
    """A value as CloudFormation resolves it. An unknown name becomes an ARN with that name.

    Conditions hold, so a policy shows all that it may allow.
    """
    match value:
        case list():
            return [resolved(element, names) for element in value]
        case {"Fn::If": [_, content, _]}:
            return resolved(content, names)
        case {"Ref": name}:
            return _named(name, names)
        case {"Fn::GetAtt": path}:
            return _named(".".join(path), names)
        case {"Fn::Sub": [text, values]}:
            return resolved({"Fn::Sub": text}, {**names, **resolved(values, names)})
        case {"Fn::Sub": text}:
            return re.sub(r"\$\{([^}]+)\}", lambda match: _named(match[1], names), text)
        case dict():
            return {key: resolved(content, names) for key, content in value.items()}
    return value


def _named(name: str, names: Mapping[str, str]) -> str:
    declarations = (template(stack)["Parameters"].get(name, {}) for stack in STACKS)
    defaults = (str(declaration["Default"]) for declaration in declarations if declaration.get("Default"))
    return names.get(name) or next(defaults, f"arn:aws:service:{REGION}:{ACCOUNT}:{name.removesuffix('.Arn')}")


def documents() -> dict[str, dict[str, Any]]:
    """Every policy that allows or denies something, by stack, resource and, in a role, policy name."""
    by_name: dict[str, dict[str, Any]] = {}
    for stack in STACKS:
        names = NAMES | {"AWS::StackName": f"cruddur-{stack}"}
        for name, resource in template(stack)["Resources"].items():
            properties = resource.get("Properties", {})
            owner = properties.get("ResourcePolicy", properties)  # a table has its policy inside
            if document := owner.get("PolicyDocument") or properties.get("Content"):
                by_name[f"{stack}.{name}"] = resolved(document, names)
            if resource["Type"] == "AWS::IAM::Role":
                for policy in properties.get("Policies", []):
                    by_name[f"{stack}.{name}.{policy['PolicyName']}"] = resolved(policy["PolicyDocument"], names)
    return by_name


def grants(statements: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    """The actions that statements allow, each with its resources."""
    return {
        (action, resource)
        for statement in statements
        if statement["Effect"] == "Allow"
        for action in strings(statement["Action"])
        for resource in strings(statement["Resource"])
    }


def strings(value: str | list[str]) -> list[str]:
    """The elements of a statement, which writes a single one without a list."""
    return [value] if isinstance(value, str) else value


def decide(document: dict[str, Any], action: str, resource: str, keys: Mapping[str, str]) -> str:
    """Allow, Deny or ImplicitDeny; `keys` are the condition keys of the request."""
    context = EvalContext(
        principal_arn=keys.get("aws:PrincipalArn", f"arn:aws:iam::{ACCOUNT}:role/anybody"),
        principal_type="AssumedRole",
        principal_account=keys.get("aws:PrincipalAccount", ACCOUNT),
        action=action,
        resource_arn=resource,
        region=keys.get("aws:RequestedRegion", REGION),
        secure_transport=keys.get("aws:SecureTransport", "true") == "true",
        principal_keys={name.lower(): value for name, value in keys.items()},
    )
    return str(evaluate(context, [parse_policy_document(document)]).decision)
