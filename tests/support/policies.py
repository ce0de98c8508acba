"""The policies of the templates and of aws/policies, as AWS would read them, and what they decide.

The evaluator is ministack's own: the one behind its IAM enforcement and its SimulateCustomPolicy, which takes no
condition keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from lib.config import ROOT
from tools.deploy.templates import STACKS, template

ACCOUNT, REGION = "123456789012", "us-east-2"
TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/cruddur-messages"
INDEX = f"{TABLE}/index/message-group-sk-index"
STREAM = f"{TABLE}/stream/2026-01-02T08:15:00.375"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:DatabaseUrl-a1b2c3"

_NAMES = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "cruddur",
    "TableName": "cruddur-messages",
    "Table.Arn": TABLE,
    "TableArn": TABLE,
    "Table.StreamArn": STREAM,
    "DatabaseUrl": SECRET,
    "DatabaseSecretArn": SECRET,
    "AuditorAccountId": "999999999999",
    "AuditorExternalId": "agreed-upon-0123456789",
}


def resolved(value: Any, names: Mapping[str, str] = _NAMES) -> Any:
    """What CloudFormation would make of a value; what nothing is known of becomes an ARN with its name.

    Conditions hold, so that all is seen that a policy may allow.
    """
    if isinstance(value, list):
        return [resolved(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    if "Fn::If" in value:
        return resolved(value["Fn::If"][1], names)
    if "Ref" in value:
        return _named(value["Ref"], names)
    if "Fn::GetAtt" in value:
        return _named(".".join(value["Fn::GetAtt"]), names)
    if "Fn::Sub" in value:
        return re.sub(r"\$\{([^}]+)\}", lambda match: _named(match[1], names), value["Fn::Sub"])
    return {key: resolved(each, names) for key, each in value.items()}


def _named(name: str, names: Mapping[str, str]) -> str:
    own = parameter_defaults().get(name)
    return names.get(name) or own or f"arn:aws:service:{REGION}:{ACCOUNT}:{name.removesuffix('.Arn')}"


def parameter_defaults() -> dict[str, str]:
    declared = [item for stack in STACKS for item in template(stack)["Parameters"].items()]
    return {name: str(each["Default"]) for name, each in declared if each.get("Default")}


def resources(stack: str, kind: str) -> dict[str, dict[str, Any]]:
    """A template's resources of one type: the properties by their logical ids."""
    found = template(stack)["Resources"]
    return {name: each.get("Properties", {}) for name, each in found.items() if each["Type"] == kind}


def documents() -> dict[str, dict[str, Any]]:
    """Every policy that allows or denies something, by where it stands."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "aws/policies").glob("*.json"))}
    for stack in STACKS:
        for name, resource in template(stack)["Resources"].items():
            for path, document in _documents_of(resource.get("Properties", {})):
                found[f"{stack}.{name}{path}"] = resolved(document)
    return found


def _documents_of(properties: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "PolicyDocument" in properties:
        yield "", properties["PolicyDocument"]
    for policy in properties.get("Policies", []) if isinstance(properties.get("Policies"), list) else []:
        yield f".{policy['PolicyName']}", policy["PolicyDocument"]


def decide(
    document: dict[str, Any], action: str, resource: str, keys: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Allow, Deny or ImplicitDeny, and the Sid of the statement that decides; `keys` are its condition keys."""
    result = evaluate(_context(action, resource, keys or {}), [parse_policy_document(document)])
    return result.decision, result.matched_sid


def _context(action: str, resource: str, keys: Mapping[str, str]) -> EvalContext:
    return EvalContext(
        principal_arn=keys.get("aws:PrincipalArn", f"arn:aws:iam::{ACCOUNT}:role/anybody"),
        principal_type="AssumedRole",
        principal_account=keys.get("aws:PrincipalAccount", ACCOUNT),
        action=action,
        resource_arn=resource,
        region=keys.get("aws:RequestedRegion", REGION),
        secure_transport=keys.get("aws:SecureTransport", "true") == "true",
        principal_keys={name.lower(): value for name, value in keys.items()},
    )
