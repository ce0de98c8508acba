"""The deployment role beside the templates: it may do what CloudFormation does for them, and little else."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.support.policies import (
    ACCOUNT,
    DEPLOYER,
    PEOPLE,
    REGION,
    RESCUER,
    SECRET,
    TABLE,
    decide,
    documents,
    grants,
    resolved,
)
from tools.deploy.templates import STACKS, resources, template

DOCUMENTS = documents()
RESOURCES = template("deployment")["Resources"]
POLICIES = [f"deployment.{policy['Ref']}" for policy in RESOURCES["DeploymentRole"]["Properties"]["ManagedPolicyArns"]]
ROLE = {"Version": "2012-10-17", "Statement": [part for name in POLICIES for part in DOCUMENTS[name]["Statement"]]}
BOUNDARY = DOCUMENTS["deployment.RoleBoundary"]
BOUNDARY_ARN = f"arn:aws:iam::{ACCOUNT}:policy/cruddur-boundary"
BY_STACKS = {"aws:CalledViaFirst": "cloudformation.amazonaws.com"}
BOUNDED = BY_STACKS | {"iam:PermissionsBoundary": BOUNDARY_ARN}
LONGEST_POLICY = 6_144  # characters of a managed policy without white space, by IAM's quotas
MFA = {"aws:MultiFactorAuthPresent": "true"}
DEPLOYMENT_ROLE = f"arn:aws:iam::{ACCOUNT}:role/cruddur-deployment"
BREAK_GLASS_ROLE = f"arn:aws:iam::{ACCOUNT}:role/cruddur-break-glass"
STACK_ARN = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack"
CHANGES = {
    action for name in POLICIES if name.endswith("ByStacks") for action, _ in grants(DOCUMENTS[name]["Statement"])
}

# Resources of the system, by service. The statements of other services name none.
ARNS = {
    "cloudtrail": f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/cruddur-guardrails",
    "cloudwatch": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:cruddur-messaging-Alarm-1",
    "dynamodb": TABLE,
    "events": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/cruddur-guardrails-Rule-1",
    "ecr": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/cruddur-network-imagerepository-1",
    "iam": f"arn:aws:iam::{ACCOUNT}:role/cruddur-messaging-AppRole-1",
    "lambda": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:cruddur-message-stream",
    "logs": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/cruddur-message-stream",
    "rds": f"arn:aws:rds:{REGION}:{ACCOUNT}:db:cruddur-network",
    "s3": "arn:aws:s3:::cruddur-guardrails-auditbucket-1",
    "sns": f"arn:aws:sns:{REGION}:{ACCOUNT}:cruddur-messaging-AlarmTopic-1",
    "sqs": f"arn:aws:sqs:{REGION}:{ACCOUNT}:cruddur-messaging-DeadLetterQueue-1",
}
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/cruddur-messaging-TableAccess-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"

# Calls of CloudFormation for what no template uses, or that another role makes.
UNUSED = {
    "application-autoscaling:*scheduledaction*",
    "autoscaling:*",
    "backup-storage:mount",  # IAM knows no such action
    "backup:*accesspolicy",
    "backup:*lockconfiguration",
    "cloudtrail:*insightselectors",
    "cloudtrail:puteventconfiguration",
    "cognito-idp:addcustomattributes",
    "dynamodb:*contributorinsights",
    "dynamodb:*import*",
    "dynamodb:*item",
    "dynamodb:*kinesis*",
    "dynamodb:*replica",
    "dynamodb:query",
    "dynamodb:scan",
    "cognito-idp:*webacl*",
    "ec2:*cidrblock",
    "ec2:*webacl*",
    "ec2:*encryptioncontrol",
    "ec2:*vpngateway",
    "ec2:modifyvpctenancy",
    "ecr:*lifecyclepolicy",
    "ecr:*repositorypolicy",
    "ecs:*capacityproviders",
    "ecs:putaccountsetting*",
    "ecs:stopservicedeployment",
    "elasticloadbalancing:*capacityreservation",
    "elasticloadbalancing:modifyippools",
    "iam:*group*",
    "iam:*userpolicy",
    "iam:createservicelinkedrole",  # an administrator does, before the first deployment
    "iam:deleterolepermissionsboundary",
    "iam:describeorganization",
    "kms:*crypt*",
    "kms:generatedatakey*",
    "kms:re*grant",
    "lambda:*codesigning*",
    "lambda:*concurrency*",
    "lambda:*recursionconfig",
    "lambda:*scalingconfig",
    "lambda:associateruntimealias",
    "lambda:getlayerversion",
    "lambda:passcapacityprovider",
    "lambda:publishversion",
    "lambda:putruntimemanagementconfig",
    "logs:*bearertokenauthentication",
    "logs:*dataprotectionpolicy",
    "logs:*deletionprotection",
    "logs:*indexpolicy",
    "logs:*kmskey",
    "logs:*logevents",
    "logs:*logstream*",
    "logs:deleteresourcepolicy",
    "organizations:*",
    "rds:*automatedbackupsreplication",
    "rds:*readreplica",
    "rds:*roletodbinstance",
    "rds:*rolefromdbinstance",
    "rds:restore*",
    "s3:*abac",
    "s3:*accelerate*",
    "s3:*analytics*",
    "s3:*cors",
    "s3:*inventory*",
    "s3:*metadata*",
    "s3:*metrics*",
    "s3:*object*",
    "s3:*replication*",
    "s3:*tiering*",
    "s3:*website",
    "s3:deletebucketencryption",
    "s3:deletebucketlifecycle",
    "s3:listbucket",
    "s3:putbucketacl",
    "s3:putbucketlogging",
    "s3:putbucketnotification",
    "s3:rest.put.object",
    "s3:*tagresource",
    "secretsmanager:*replicat*",
    "sns:putdataprotectionpolicy",
    "wafv2:putpermissionpolicy",
}


def types() -> set[str]:
    stacks = set(STACKS) - {"deployment", "organization"}  # administrators of two accounts deploy these
    return {resource["Type"] for stack in stacks for resource in template(stack)["Resources"].values()}


def calls_for(kind: str) -> set[str]:
    """CloudFormation's calls for a type of resource, in lower case."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    handlers = schema.get("handlers", {}).values()
    return {call.lower() for handler in handlers for call in handler.get("permissions", [])}


CALLS = {call: kind for kind in sorted(types()) for call in calls_for(kind)}
CALLS["route53:associatevpcwithhostedzone"] = "AWS::EC2::VPCEndpoint"  # EC2 checks it for private names
SERVICES = {kind.split("::")[1].lower() for kind in types()} | {"kms", "route53"}  # its keys encrypt table and database
NAMESPACES = {"backupstorage": "backup", "cognitoidp": "cognito", "elasticloadbalancing": "elasticloadbalancingv2"}


def is_unused(call: str) -> bool:
    namespace = call.partition(":")[0].replace("-", "")
    is_of_another_service = NAMESPACES.get(namespace, namespace) not in SERVICES
    return any(fnmatchcase(call, pattern) for pattern in UNUSED) or is_of_another_service


def allows(call: str, keys: dict[str, str]) -> bool:
    """Whether the role may make a call for any resource of the system."""
    arns = {ARNS.get(call.partition(":")[0], "*"), "*", POLICY, KEY}
    return "Allow" in {decide(ROLE, call, arn, keys) for arn in arns}


def test_role_allows_what_cloudformation_calls_for_the_templates_and_no_other_change() -> None:
    keys = BOUNDED | {"iam:PassedToService": "lambda.amazonaws.com", "kms:GrantIsForAWSResource": "true"}
    needed = {call for call in CALLS if not is_unused(call)}
    assert {call: CALLS[call] for call in needed if not allows(call, keys)} == {}
    assert {action for action in CHANGES if action.lower() not in needed} == set()


def test_unused_calls_are_calls_of_cloudformation() -> None:
    assert {pattern for pattern in UNUSED if not any(fnmatchcase(call, pattern) for call in CALLS)} == set()


def test_role_changes_resources_only_by_cloudformation() -> None:
    direct = {action for action, _ in grants(DOCUMENTS["deployment.DirectCalls"]["Statement"])}
    keys = {"iam:PermissionsBoundary": BOUNDARY_ARN, "kms:GrantIsForAWSResource": "true"}
    assert {action for action in CHANGES - direct if allows(action, keys)} == set()


@pytest.mark.parametrize(
    ("action", "arn", "keys"),
    [
        ("dynamodb:Scan", TABLE, BY_STACKS),
        ("dynamodb:UpdateTable", TABLE.replace("cruddur-", "other-"), BY_STACKS),
        ("secretsmanager:GetSecretValue", SECRET, {}),
        ("s3:GetObject", f"{ARNS['s3']}/AWSLogs", BY_STACKS),
        (
            "logs:GetLogEvents",
            f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:cruddur-guardrails-TrailLogGroup-1:log-stream:1",
            {},
        ),
        ("iam:CreateUser", "*", BY_STACKS),
        ("iam:CreateRole", ARNS["iam"], BY_STACKS),
        ("iam:PutRolePolicy", ARNS["iam"], BY_STACKS),
        ("iam:AttachRolePolicy", ARNS["iam"], BY_STACKS | {"iam:PermissionsBoundary": POLICY}),
        ("iam:DeleteRolePermissionsBoundary", ARNS["iam"], BOUNDED),
        ("iam:PutRolePolicy", DEPLOYMENT_ROLE, BOUNDED),
        ("iam:UpdateAssumeRolePolicy", BREAK_GLASS_ROLE, BOUNDED),
        ("iam:CreatePolicyVersion", BOUNDARY_ARN, BOUNDED),
        ("iam:CreatePolicyVersion", f"arn:aws:iam::{ACCOUNT}:policy/cruddur-deployment-RolesByStacks-1", BOUNDED),
        ("iam:PassRole", DEPLOYMENT_ROLE, {"iam:PassedToService": "lambda.amazonaws.com"}),
        ("iam:PassRole", ARNS["iam"], {"iam:PassedToService": "ec2.amazonaws.com"}),
        ("sts:AssumeRole", BREAK_GLASS_ROLE, {}),
        ("cloudformation:CreateChangeSet", f"{STACK_ARN}/cruddur-deployment/1", {}),
        ("cloudformation:CreateChangeSet", f"{STACK_ARN}/another/1", {}),
    ],
)
def test_role_refuses(action: str, arn: str, keys: dict[str, str]) -> None:
    assert decide(ROLE, action, arn, keys) != "Allow"


def test_role_deploys_the_stacks_and_passes_the_roles_of_the_templates_to_their_services_alone() -> None:
    assert decide(ROLE, "cloudformation:CreateChangeSet", f"{STACK_ARN}/cruddur-network/1", {}) == "Allow"
    assert decide(ROLE, "iam:PassRole", ARNS["iam"], {"iam:PassedToService": "ecs-tasks.amazonaws.com"}) == "Allow"
    [passes] = (part for part in ROLE["Statement"] if part.get("Action") == "iam:PassRole")
    trusted = {
        principal["Service"]
        for _, properties in roles_of_system()
        for statement in properties["AssumeRolePolicyDocument"]["Statement"]
        if "Service" in (principal := statement["Principal"])
    }
    assert set(passes["Condition"]["StringEquals"]["iam:PassedToService"]) == trusted


def test_role_deletes_the_log_of_maintenance_and_no_other() -> None:
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group"
    streams = [f"cruddur-tasks-LogGroup-1:log-stream:{name}/1" for name in ("maintenance/script", "api/api")]
    decisions = [decide(ROLE, "logs:DeleteLogStream", f"{group}:{stream}", {}) for stream in streams]
    assert decisions == ["Allow", "ImplicitDeny"]


@pytest.mark.parametrize(("role", "principal"), [("DeploymentRole", DEPLOYER), ("BreakGlassRole", RESCUER)])
def test_role_is_assumed_by_its_principals_with_mfa(role: str, principal: str) -> None:
    trust = resolved(RESOURCES[role]["Properties"]["AssumeRolePolicyDocument"])
    [statement] = trust["Statement"]
    assert statement["Principal"] == {"AWS": f"arn:aws:iam::{PEOPLE}:root"}
    document = {**trust, "Statement": [statement | {"Resource": "*"}]}

    def decision(arn: str, **keys: str) -> str:
        return decide(document, "sts:AssumeRole", "*", {"aws:PrincipalArn": arn, **keys})

    assert decision(principal, **MFA) == "Allow"
    assert decision(principal) == "ImplicitDeny"
    assert decision(f"arn:aws:iam::{PEOPLE}:role/another", **MFA) == "ImplicitDeny"


def test_each_role_of_the_system_has_the_boundary_and_the_boundary_allows_what_the_role_needs() -> None:
    names = {name for name, properties in roles_of_system() if "PermissionsBoundary" in properties}
    assert names == {name for name, _ in roles_of_system()}
    for name, properties in roles_of_system():
        assert resolved(properties["PermissionsBoundary"]) == BOUNDARY_ARN, name
    granted = {
        (action, resource)
        for name, document in DOCUMENTS.items()
        if (kind := kind_of(name)) == "AWS::IAM::Role"
        or (kind == "AWS::IAM::ManagedPolicy" and "deployment" not in name)
        for action, resource in grants(document["Statement"])
    }
    assert {action for action, arn in granted if decide(BOUNDARY, action, arn, {}) != "Allow"} == set()
    for action in ("iam:CreateRole", "sts:AssumeRole", "dynamodb:DeleteTable", "lambda:CreateFunction", "s3:GetObject"):
        assert decide(BOUNDARY, action, "*", {}) == "ImplicitDeny"


@pytest.mark.parametrize("name", [*POLICIES, "deployment.RoleBoundary"])
def test_policy_fits_the_size_limit_of_iam(name: str) -> None:
    assert len(json.dumps(DOCUMENTS[name], separators=(",", ":"))) <= LONGEST_POLICY


def roles_of_system() -> list[tuple[str, dict[str, Any]]]:
    stacks = [stack for stack in STACKS if stack != "deployment"]
    return [(name, role) for stack in stacks for name, role in resources(stack, "AWS::IAM::Role").items()]


def kind_of(name: str) -> str:
    """The type of the resource that has a policy document."""
    stack, _, rest = name.partition(".")
    declared = template(stack)["Resources"] if stack in STACKS else {}
    return str(declared.get(rest.partition(".")[0], {}).get("Type"))
