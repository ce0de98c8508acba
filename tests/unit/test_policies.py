"""The policies of the templates: simulated decisions, and grants beside the code's calls.

test_organization.py has those of the organization.
"""

from __future__ import annotations

import pytest
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource
from ministack.core.iam_evaluator import EvalContext, evaluate_trust_policy

from lib.config import DynamoDBSettings
from lib.ddb.schema import MESSAGE_GROUP_INDEX
from tests.support import scripts
from tests.support.policies import (
    ACCOUNT,
    ENDPOINT_ID,
    NAMES,
    REGION,
    TABLE,
    decide,
    documents,
    grants,
    resolved,
    strings,
)
from tools.deploy.templates import STACKS, resources

DOCUMENTS = documents()

AUDIT_BUCKET = resolved({"Fn::GetAtt": ["AuditBucket", "Arn"]})
OTHER_TABLE = TABLE.replace("cruddur-messages", "somebody-elses")
DEPLOYMENT = {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/cruddur-deployment"}
BREAK_GLASS = {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/cruddur-break-glass"}
ADMINISTRATOR = {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/administrator"}
MAINTENANCE = {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/cruddur-maintenance"}
PLAIN_HTTP = {"aws:SecureTransport": "false"}
FOREIGN = {"aws:PrincipalAccount": "999999999999"}
INSIDE, OUTSIDE = {"aws:SourceVpce": ENDPOINT_ID}, {"aws:SourceVpce": "vpce-of-somebody-else"}

ENDPOINT, STORAGE = "network.DynamoDBEndpoint", "network.S3Endpoint"
FUNCTION = "messaging.MessageStreamRole.message-stream"

PROGRAMS = set(STACKS) - {"deployment"}  # test_deployment_role.py has the roles of people

# Statements that need a wildcard: parts of an ARN are unknown beforehand, or the action has no resource.
OPEN = {
    ("guardrails.AuditBucketPolicy", "TrailWrites"),
    ("guardrails.ConfigRole.deliver", "Write"),
    ("messaging.FunctionInVpc", "NetworkInterfaces"),
    (FUNCTION, "FindStream"),
    ("network.EcrApiEndpoint", "SignIn"),
    ("network.EcrDkrEndpoint", "SignIn"),
    ("network.FlowLogRole.flow-logs", "FindGroup"),
    ("network.LogsEndpoint", "Write"),
    (STORAGE, "Layers"),
    ("service.AccessLogBucketPolicy", "LoadBalancerWrites"),
    ("tasks.TaskStartPolicy", "SignIn"),
}

ITEM_NAMES = [f"{kind}Item" for kind in ("BatchGet", "BatchWrite", "ConditionCheck", "Delete", "Get", "Put", "Update")]
ITEM_NAMES += ["PartiQLDelete", "PartiQLInsert", "PartiQLSelect", "PartiQLUpdate", "Query", "Scan"]
ITEM_CALLS = [f"dynamodb:{name}" for name in ITEM_NAMES]

# tests/integration/test_iam.py shows what the roles may do to the table, with IAM enforced.
CASES: list[tuple[str, str, str, dict[str, str], str]] = [
    (ENDPOINT, "dynamodb:PutItem", TABLE, {}, "Allow"),
    (ENDPOINT, "dynamodb:PutItem", OTHER_TABLE, {}, "ImplicitDeny"),
    (ENDPOINT, "dynamodb:PutItem", TABLE, FOREIGN, "ImplicitDeny"),
    (ENDPOINT, "dynamodb:Scan", TABLE, {}, "ImplicitDeny"),
    (ENDPOINT, "dynamodb:Scan", TABLE, MAINTENANCE, "Allow"),
    (STORAGE, "s3:GetObject", f"arn:aws:s3:::prod-{REGION}-starport-layer-bucket/layer", {}, "Allow"),
    (STORAGE, "s3:PutObject", "arn:aws:s3:::a-bucket-of-a-thief/table", {}, "ImplicitDeny"),
    ("guardrails.AuditBucketPolicy", "s3:GetObject", f"{AUDIT_BUCKET}/file", PLAIN_HTTP, "Deny"),
    ("guardrails.AuditBucketPolicy", "s3:GetObject", f"{AUDIT_BUCKET}/file", {}, "ImplicitDeny"),
    ("guardrails.AuditBucketPolicy", "s3:DeleteObject", f"{AUDIT_BUCKET}/file", DEPLOYMENT, "Deny"),
    ("guardrails.AuditBucketPolicy", "s3:DeleteObjectVersion", f"{AUDIT_BUCKET}/file", ADMINISTRATOR, "Deny"),
    ("guardrails.AuditBucketPolicy", "s3:PutLifecycleConfiguration", AUDIT_BUCKET, ADMINISTRATOR, "Deny"),
    ("guardrails.AuditBucketPolicy", "s3:PutBucketPolicy", AUDIT_BUCKET, ADMINISTRATOR, "Deny"),
    ("guardrails.AuditBucketPolicy", "s3:PutBucketPolicy", AUDIT_BUCKET, DEPLOYMENT, "ImplicitDeny"),
]


@pytest.mark.parametrize(("name", "action", "resource", "keys", "decision"), CASES)
def test_policy_decides(name: str, action: str, resource: str, keys: dict[str, str], decision: str) -> None:
    assert decide(DOCUMENTS[name], action, resource, keys) == decision


@pytest.mark.parametrize("resource", [TABLE, f"{TABLE}/index/{MESSAGE_GROUP_INDEX}"])
def test_table_denies_calls_on_items_that_do_not_come_through_the_endpoint(resource: str) -> None:
    def decided(action: str, keys: dict[str, str]) -> str:
        return decide(DOCUMENTS["messaging.Table"], action, resource, keys)

    services = {"aws:PrincipalIsAWSService": "false", "aws:ViaAWSService": "false"}  # of the caller's own requests
    for action in ITEM_CALLS:
        for caller in (ADMINISTRATOR, MAINTENANCE, {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:root"}):
            assert decided(action, caller | services) == "Deny"
            assert decided(action, caller) == "Deny"
            assert decided(action, caller | services | OUTSIDE) == "Deny"
            assert decided(action, caller | services | INSIDE) == "ImplicitDeny"
            assert decided(action, caller | services | {"aws:ViaAWSService": "true"}) == "ImplicitDeny"
        for caller in (DEPLOYMENT, BREAK_GLASS):
            assert decided(action, caller | services) == "ImplicitDeny"
        assert decided(action, services | {"aws:PrincipalIsAWSService": "true"}) == "ImplicitDeny"
        assert decided(action, DEPLOYMENT | {"aws:PrincipalArn": "arn:aws:iam::1:role/cruddur-deployment"}) == "Deny"


def test_table_denies_no_call_that_is_not_on_items() -> None:
    services = load_resource(AdditionalSpecs, "Policies.json")
    known = {
        action for action in services["dynamodb"]["Actions"] if action not in {call.lower() for call in ITEM_NAMES}
    }
    assert {"describetable", "getrecords", "updatetable", "putresourcepolicy", "describecontinuousbackups"} < known
    for action in known:
        assert decide(DOCUMENTS["messaging.Table"], f"dynamodb:{action}", TABLE, ADMINISTRATOR) == "ImplicitDeny"


def test_grants_name_their_actions_and_resources_without_wildcards() -> None:
    statements = [
        (name, statement)
        for name, document in DOCUMENTS.items()
        for statement in document["Statement"]
        if name.partition(".")[0] in PROGRAMS and statement["Effect"] == "Allow"
    ]
    assert {(name, statement["Sid"]) for name, statement in statements if "*" in str(statement["Resource"])} == OPEN
    actions = [action for _, statement in statements for action in strings(statement["Action"])]
    assert [action for action in actions if "*" in action or action.startswith(("iam:", "sts:", "kms:"))] == []


def test_roles_of_the_functions_grant_only_their_services() -> None:
    def services(name: str) -> set[str]:
        return {action.partition(":")[0] for action, _ in grants(DOCUMENTS[name]["Statement"])}

    assert services(FUNCTION) == {"dynamodb", "sqs", "rds-db", "logs"}
    assert services("messaging.PostConfirmationRole.post-confirmation") == {"rds-db", "logs"}


def test_auditor_needs_the_external_id_and_reads_settings_alone() -> None:
    role = resources("guardrails", "AWS::IAM::Role")["AuditorRole"]
    trust = resolved(role["AssumeRolePolicyDocument"])
    auditor = resolved({"Ref": "AuditorAccountId"})
    right = resolved({"Ref": "AuditorExternalId"})

    def trusts(account: str, keys: dict[str, str]) -> bool:
        caller = f"arn:aws:iam::{account}:role/auditor"
        request = EvalContext(caller, "AssumedRole", account, "sts:AssumeRole", "*", REGION, principal_keys=keys)
        return evaluate_trust_policy(trust, caller, request)

    assert trusts(auditor, {"sts:externalid": right})
    assert not trusts(auditor, {"sts:externalid": "guessed"})
    assert not trusts(auditor, {})
    assert not trusts(ACCOUNT, {"sts:externalid": right})
    known = load_resource(AdditionalSpecs, "Policies.json")["dynamodb"]["Actions"]
    settings = DOCUMENTS["guardrails.AuditorRole.settings"]
    allowed = {action for action in known if decide(settings, f"dynamodb:{action}", TABLE, {}) == "Allow"}
    assert allowed == {"describecontinuousbackups", "describetable", "describetimetolive"}


def test_maintenance_may_do_in_the_user_pool_what_its_scripts_do() -> None:
    changes = [scripts.load("db/disable-user").module.DISABLE, scripts.load("db/enable-user").module.ENABLE]
    changes.append(scripts.load("db/sign-out-user").module.SIGN_OUT)
    commands = {command for change in changes for command in change.calls}
    commands.add("list-users")  # bin/db/update_cognito_user_ids
    actions = {f"cognito-idp:{command.title().replace('-', '')}" for command in commands}
    granted = grants(DOCUMENTS["tasks.MaintenanceRole.users"]["Statement"])
    assert {action for action, arn in granted if ":userpool/" in arn} == actions


def test_endpoint_grants_what_the_roles_grant() -> None:
    statements = DOCUMENTS[ENDPOINT]["Statement"]
    of_application = [statement for statement in statements if statement["Sid"] in ("Items", "Index")]
    of_roles = [DOCUMENTS[name]["Statement"] for name in ("messaging.TableAccess", "messaging.AppRole.blocks")]
    assert grants(of_application) == set().union(*map(grants, of_roles))
    assert grants(statements) == grants(DOCUMENTS["tasks.MaintenanceRole.table"]["Statement"])
    endpoints = resources("network", "AWS::EC2::VPCEndpoint")
    assert {name for name, endpoint in endpoints.items() if "PolicyDocument" not in endpoint} == {"CognitoEndpoint"}


@pytest.mark.parametrize(("action", "keys"), [("dynamodb:PutItem", {}), ("dynamodb:Scan", MAINTENANCE)])
def test_endpoint_lets_both_tables_be_used_while_one_is_restored(action: str, keys: dict[str, str]) -> None:
    policy = resources("network", "AWS::EC2::VPCEndpoint")["DynamoDBEndpoint"]["PolicyDocument"]
    document = resolved(policy, NAMES | {"RestoredTableName": "somebody-elses"})
    assert [decide(document, action, table, keys) for table in (TABLE, OTHER_TABLE)] == ["Allow", "Allow"]
    assert decide(document, "dynamodb:Scan", OTHER_TABLE, {}) == "ImplicitDeny"


def test_policies_name_the_table_and_the_index_of_the_code() -> None:
    assert TABLE.endswith(f":table/{DynamoDBSettings.ddb_table}")
    assert ("dynamodb:Query", f"{TABLE}/index/{MESSAGE_GROUP_INDEX}") in grants(DOCUMENTS[ENDPOINT]["Statement"])
