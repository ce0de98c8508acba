"""The service control policies of aws/cfn/organization.yaml together, as an organization applies them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource
from ministack.core.iam_evaluator import fnmatch_iam

from tests.support.policies import ACCOUNT, NAMES, REGION, TABLE, decide, documents, grants, resolved, strings
from tools.deploy.templates import resources, template

POLICIES = resources("organization", "AWS::Organizations::Policy")
MOST_POLICIES = 5  # on a target; one of them is FullAWSAccess
LONGEST_POLICY = 5_120  # characters
LONG_NAMES = {
    "AllowedRegions": "ap-southeast-1",
    "Prefix": "p" * 31,
    "TableName": "t" * 64,
    "DeploymentRoleName": "d" * 64,
    "BreakGlassRoleName": "b" * 64,
    "MaintenanceRoleName": "m" * 64,
}
KEYS = {"Action", "NotAction"}
FULL_ACCESS = {"Effect": "Allow", "Action": "*", "Resource": "*"}
# Roles whose names do not begin with the prefix need their own exceptions.
ROLES = {"DeploymentRoleName": "deployer", "BreakGlassRoleName": "fire-axe", "MaintenanceRoleName": "janitor"}
STATEMENTS: list[dict[str, Any]] = [
    statement for policy in POLICIES.values() for statement in resolved(policy["Content"], NAMES | ROLES)["Statement"]
]

PRINCIPALS = {
    "administrator": f"arn:aws:iam::{ACCOUNT}:role/administrator",
    "impostor": f"arn:aws:iam::{ACCOUNT}:role/another/deployer",
    "root": f"arn:aws:iam::{ACCOUNT}:root",
    "system": f"arn:aws:iam::{ACCOUNT}:role/cruddur-messaging-AppRole-A1B2C3",
    "maintenance": f"arn:aws:iam::{ACCOUNT}:role/janitor",
    "Config": f"arn:aws:iam::{ACCOUNT}:role/cruddur-guardrails-ConfigRole-A1B2C3",
    "monitoring": f"arn:aws:iam::{ACCOUNT}:role/cruddur-network-DatabaseMonitoringRole-A1B2C3",
    "backup": f"arn:aws:iam::{ACCOUNT}:role/cruddur-guardrails-BackupRole-A1B2C3",
    "break-glass": f"arn:aws:iam::{ACCOUNT}:role/fire-axe",
    "deployment": f"arn:aws:iam::{ACCOUNT}:role/deployer",
}
NOBODY: set[str] = set()
EVERYBODY = set(PRINCIPALS)
DEPLOYMENT = {"deployment"}
ACCIDENTS = {"deployment", "break-glass"}
SCANNERS = {*ACCIDENTS, "maintenance"}
SYSTEM = {*SCANNERS, "system", "Config", "monitoring", "backup"}

RESTORED = f"{TABLE}-restored"
ABROAD = TABLE.replace(REGION, "eu-west-1")
GLOBAL_TABLE = f"arn:aws:dynamodb::{ACCOUNT}:global-table/cruddur-messages"
TRAIL_FILES = "arn:aws:s3:::cruddur-guardrails-auditbucket-a1b2c3"
ACCESS_LOGS = "arn:aws:s3:::cruddur-service-accesslogbucket-a1b2c3"
PACKAGES = "arn:aws:s3:::cruddur-packages"
MANAGED = f"arn:aws:iam::{ACCOUNT}:policy/cruddur-messaging-TableAccess-A1B2C3"
TRAIL_ROLE = f"arn:aws:iam::{ACCOUNT}:role/cruddur-guardrails-TrailRole-A1B2C3"
OTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/somebody-elses"
OTHER_BUCKET = "arn:aws:s3:::somebody-elses"
ANY = "*"

# Who may make a call, on which resources, and the calls.
CASES: list[tuple[set[str], list[str], str]] = [
    (NOBODY, [TABLE, ABROAD, RESTORED], "dynamodb:DeleteTable dynamodb:DeleteTableReplica"),
    (NOBODY, [f"{TABLE}/backup/01", f"{RESTORED}/backup/01"], "dynamodb:DeleteBackup"),
    (NOBODY, [ANY], "rds:DeleteDBInstance rds:DeleteDBInstanceAutomatedBackup rds:DeleteDBSnapshot"),
    (NOBODY, [ANY], "cognito-idp:DeleteUserPool backup:DeleteBackupVault backup:DeleteRecoveryPoint"),
    (NOBODY, [ANY], "backup:DeleteBackupVaultLockConfiguration backup:DisassociateRecoveryPoint"),
    (NOBODY, [ANY], "backup:UpdateRecoveryPointLifecycle"),
    (
        ACCIDENTS,
        [TABLE, RESTORED],
        """dynamodb:AssociateTableReplica dynamodb:CreateGlobalTableWitness dynamodb:CreateTableReplica
        dynamodb:DeleteResourcePolicy dynamodb:DisableKinesisStreamingDestination dynamodb:PutResourcePolicy
        dynamodb:EnableKinesisStreamingDestination dynamodb:UpdateContinuousBackups dynamodb:UpdateTable
        dynamodb:UpdateContributorInsights dynamodb:UpdateGlobalTableVersion dynamodb:UpdateTimeToLive
        dynamodb:UpdateKinesisStreamingDestination dynamodb:UpdateTableReplicaAutoScaling""",
    ),
    (ACCIDENTS, [f"{TABLE}/stream/2026"], "dynamodb:PutResourcePolicy dynamodb:DeleteResourcePolicy"),
    (
        ACCIDENTS,
        [TABLE, GLOBAL_TABLE, f"{GLOBAL_TABLE}-restored"],
        "dynamodb:CreateGlobalTable dynamodb:UpdateGlobalTable dynamodb:UpdateGlobalTableSettings",
    ),
    (
        {*ACCIDENTS, "backup"},
        [TABLE, TABLE.replace("cruddur-messages", "loot")],
        """dynamodb:ExportTableToPointInTime dynamodb:PartiQLDelete dynamodb:PartiQLInsert dynamodb:PartiQLSelect
        dynamodb:PartiQLUpdate dynamodb:RestoreTableFromAwsBackup dynamodb:RestoreTableFromBackup
        dynamodb:RestoreTableToPointInTime backup:CopyFromBackupVault backup:PutBackupVaultAccessPolicy
        backup:StartCopyJob backup:StartRestoreJob""",
    ),
    (SCANNERS, [TABLE, RESTORED], "dynamodb:Scan"),
    (
        SYSTEM,
        [TABLE, f"{TABLE}/stream/2026"],
        """dynamodb:BatchGetItem dynamodb:BatchWriteItem dynamodb:ConditionCheckItem dynamodb:DeleteItem
        dynamodb:GetItem dynamodb:GetRecords dynamodb:GetShardIterator dynamodb:PutItem dynamodb:Query
        dynamodb:UpdateItem""",
    ),
    (SYSTEM, [ANY], "rds-db:connect secretsmanager:GetSecretValue"),
    (
        NOBODY,
        [TRAIL_FILES, f"{TRAIL_FILES}/file", ACCESS_LOGS],
        "s3:DeleteBucket s3:DeleteObject s3:DeleteObjectVersion",
    ),
    (
        {"deployment", "Config"},
        [TRAIL_FILES, PACKAGES],
        """s3:DeleteBucketPolicy s3:PutBucketAcl s3:PutBucketOwnershipControls s3:PutBucketPolicy
        s3:PutBucketPublicAccessBlock s3:PutBucketVersioning s3:PutEncryptionConfiguration
        s3:PutLifecycleConfiguration s3:PutObject s3:PutReplicationConfiguration""",
    ),
    (
        DEPLOYMENT,
        [ANY],
        """budgets:ModifyBudget cloudtrail:DeleteTrail cloudtrail:PutEventSelectors cloudtrail:StopLogging
        cloudtrail:UpdateTrail cloudwatch:DeleteAlarms cloudwatch:DisableAlarmActions cloudwatch:PutAlarmMuteRule
        cloudwatch:PutCompositeAlarm cloudwatch:PutMetricAlarm cloudwatch:PutMetricData cloudwatch:SetAlarmState
        config:DeleteConfigRule config:DeleteConfigurationRecorder config:DeleteDeliveryChannel
        config:DisassociateResourceTypes config:PutConfigRule config:PutConfigurationRecorder
        config:PutDeliveryChannel config:PutRemediationConfigurations config:PutRetentionConfiguration
        config:StopConfigurationRecorder events:DeleteRule events:DisableRule events:PutRule events:PutTargets
        events:RemoveTargets logs:AssociateKmsKey logs:CreateExportTask logs:DeleteLogGroup logs:DeleteLogStream
        logs:DeleteMetricFilter logs:DeleteRetentionPolicy logs:DisassociateKmsKey logs:PutAccountPolicy
        logs:PutDataProtectionPolicy logs:PutMetricFilter  logs:PutStorageTierPolicy
        logs:PutSubscriptionFilter logs:PutTransformer sns:AddPermission sns:DeleteTopic
        sns:PutDataProtectionPolicy sns:RemovePermission sns:SetSubscriptionAttributes sns:SetTopicAttributes
        sns:Unsubscribe kms:DisableKey kms:PutKeyPolicy kms:RevokeGrant kms:ScheduleKeyDeletion""",
    ),
    ({"deployment", "monitoring"}, [ANY], "logs:PutRetentionPolicy"),
    (
        ACCIDENTS,
        [ANY],
        """application-autoscaling:DeleteScalingPolicy application-autoscaling:DeregisterScalableTarget
        application-autoscaling:RegisterScalableTarget cloudformation:DeleteStack
        cloudformation:UpdateTerminationProtection cognito-idp:AddUserPoolClientSecret
        cognito-idp:AdminConfirmSignUp cognito-idp:AdminCreateUser cognito-idp:AdminDeleteUser
        cognito-idp:AdminInitiateAuth cognito-idp:AdminLinkProviderForUser cognito-idp:AdminSetUserMFAPreference
        cognito-idp:AdminSetUserPassword cognito-idp:AdminUpdateUserAttributes cognito-idp:CreateIdentityProvider
        cognito-idp:CreateUserPoolClient cognito-idp:CreateUserPoolDomain cognito-idp:CreateUserPoolReplica
        cognito-idp:DeleteUserPoolClient cognito-idp:SetUserPoolMfaConfig cognito-idp:UpdateIdentityProvider
        cognito-idp:UpdateUserPool cognito-idp:UpdateUserPoolClient ec2:AcceptVpcPeeringConnection
        ec2:AttachInternetGateway ec2:AttachVpnGateway ec2:AuthorizeSecurityGroupEgress
        ec2:AuthorizeSecurityGroupIngress ec2:CreateClientVpnEndpoint ec2:CreateInstanceConnectEndpoint
        ec2:CreateNatGateway ec2:CreateRoute ec2:CreateTransitGatewayVpcAttachment ec2:CreateVpcEndpoint
        ec2:CreateVpcPeeringConnection ec2:CreateVpnConnection ec2:DeleteFlowLogs ec2:DeleteVpcEndpoints
        ec2:ModifySecurityGroupRules ec2:ModifyVpcEndpoint ec2:ReplaceRoute ec2:RunInstances ecr:BatchDeleteImage
        ecr:DeleteRepository ecr:PutImage ecr:PutImageTagMutability ecr:PutLifecyclePolicy ecr:SetRepositoryPolicy
        ecs:CreateService ecs:DeleteCluster ecs:DeleteService ecs:ExecuteCommand ecs:RegisterTaskDefinition
        ecs:RunTask ecs:StartTask ecs:UpdateService elasticloadbalancing:AddListenerCertificates
        elasticloadbalancing:CreateListener elasticloadbalancing:CreateRule elasticloadbalancing:DeleteLoadBalancer
        elasticloadbalancing:ModifyListener elasticloadbalancing:ModifyLoadBalancerAttributes
        elasticloadbalancing:SetSecurityGroups lambda:AddPermission lambda:CreateEventSourceMapping
        lambda:CreateFunction lambda:DeleteEventSourceMapping lambda:DeleteFunction lambda:PublishVersion
        lambda:PutFunctionConcurrency lambda:RemovePermission lambda:UpdateEventSourceMapping
        lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration rds:AddRoleToDBInstance rds:CopyDBSnapshot
        rds:CreateBlueGreenDeployment rds:CreateDBInstanceReadReplica rds:CreateIntegration rds:ModifyDBInstance
        rds:ModifyDBParameterGroup rds:ModifyDBSnapshotAttribute rds:PromoteReadReplica rds:RebootDBInstance
        rds:RestoreDBInstanceFromDBSnapshot rds:RestoreDBInstanceToPointInTime rds:StartExportTask
        rds:StopDBInstance secretsmanager:DeleteResourcePolicy secretsmanager:DeleteSecret
        secretsmanager:PutResourcePolicy secretsmanager:PutSecretValue secretsmanager:ReplicateSecretToRegions
        secretsmanager:RotateSecret secretsmanager:UpdateSecret wafv2:DeleteWebACL wafv2:DisassociateWebACL
        wafv2:PutLoggingConfiguration wafv2:UpdateWebACL""",
    ),
    (
        NOBODY,
        [ANY],
        """iam:CreateAccessKey iam:CreateLoginProfile iam:CreateServiceSpecificCredential iam:CreateUser
        iam:ResetServiceSpecificCredential iam:UpdateLoginProfile iam:UploadSSHPublicKey
        iam:UploadSigningCertificate sts:GetFederationToken account:CloseAccount organizations:DeletePolicy
        organizations:DetachPolicy organizations:DisablePolicyType organizations:LeaveOrganization
        organizations:UpdatePolicy""",
    ),
    (
        DEPLOYMENT,
        [*(PRINCIPALS[name] for name in ("deployment", "break-glass", "maintenance", "system")), TRAIL_ROLE],
        """iam:AttachRolePolicy iam:CreateRole iam:DeleteRole iam:DeleteRolePermissionsBoundary iam:DeleteRolePolicy
        iam:DetachRolePolicy iam:PutRolePermissionsBoundary iam:PutRolePolicy iam:UpdateAssumeRolePolicy
        iam:UpdateRole""",
    ),
    (
        DEPLOYMENT,
        [MANAGED],
        "iam:CreatePolicyVersion iam:DeletePolicy iam:DeletePolicyVersion iam:SetDefaultPolicyVersion",
    ),
    (ACCIDENTS, [PRINCIPALS["maintenance"], PRINCIPALS["system"]], "iam:PassRole"),
    (
        DEPLOYMENT,
        [ANY],
        """iam:AddClientIDToOpenIDConnectProvider iam:CreateOpenIDConnectProvider iam:CreateSAMLProvider
        iam:UpdateOpenIDConnectProviderThumbprint iam:UpdateSAMLProvider rolesanywhere:CreateTrustAnchor
        rolesanywhere:EnableProfile rolesanywhere:UpdateTrustAnchor""",
    ),
    # Calls that must stay possible: to stop a leaked key, to cut somebody off, to look, to be told, and to run.
    (
        EVERYBODY,
        [ANY],
        """iam:UpdateAccessKey iam:DeleteAccessKey iam:DeleteLoginProfile iam:DeactivateMFADevice
        iam:UpdateServiceSpecificCredential iam:DeleteServiceSpecificCredential cognito-idp:AdminDisableUser
        cognito-idp:AdminUserGlobalSignOut cloudtrail:LookupEvents cloudtrail:StartLogging
        cloudwatch:EnableAlarmActions config:PutEvaluations config:StartConfigurationRecorder logs:CreateLogStream
        logs:FilterLogEvents logs:PutLogEvents sns:ConfirmSubscription sns:Publish sns:Subscribe
        sts:AssumeRole ec2:CreateNetworkInterface ec2:DescribeVpcEndpoints rds:CreateDBSnapshot""",
    ),
    (EVERYBODY, [TABLE], "dynamodb:CreateBackup dynamodb:DescribeTable dynamodb:DescribeContinuousBackups"),
    (EVERYBODY, [TABLE.replace("cruddur-messages", "another")], "dynamodb:DeleteTable dynamodb:UpdateTable"),
    (EVERYBODY, [f"{TRAIL_FILES}/file"], "s3:GetObject"),
    (EVERYBODY, [OTHER_BUCKET], "s3:DeleteObject s3:PutBucketPolicy"),
    (EVERYBODY, [OTHER_ROLE], "iam:AttachRolePolicy iam:CreateRole iam:PassRole"),
]
CALLS = [(may, resource, call) for may, targets, text in CASES for resource in targets for call in text.split()]

WITHOUT_REGION = [
    "account:GetContactInformation",
    "aws-portal:ViewBilling",
    "billing:GetBillingData",
    "budgets:ViewBudget",
    "ce:GetCostAndUsage",
    "cloudfront:CreateDistribution",
    "cloudtrail:LookupEvents",
    "consoleapp:ListDeviceIdentities",
    "cur:DescribeReportDefinitions",
    "globalaccelerator:ListAccelerators",
    "health:DescribeEvents",
    "iam:CreateRole",
    "networkmanager:GetSites",
    "notifications:ListChannels",
    "organizations:DescribeOrganization",
    "pricing:GetProducts",
    "route53:ChangeResourceRecordSets",
    "route53domains:ListDomains",
    "s3:ListAllMyBuckets",
    "shield:ListProtections",
    "sso:ListInstances",
    "sts:AssumeRole",
    "support:CreateCase",
    "tax:GetTaxRegistration",
    "trustedadvisor:DescribeChecks",
    "waf:ListWebACLs",
    "acm:RequestCertificate",
    "wafv2:CreateWebACL",
]


def allowed(statements: list[dict[str, Any]], principal: str, call: str, resource: str, region: str = REGION) -> bool:
    """Whether the organization lets a principal make a call, which the account allows."""
    keys = {"aws:PrincipalArn": PRINCIPALS[principal], "aws:RequestedRegion": region}
    return decide({"Statement": [FULL_ACCESS, *statements]}, call, resource, keys) == "Allow"


def outcomes(statements: list[dict[str, Any]], patterns: list[str]) -> dict[tuple[str, ...], bool]:
    """What the statements decide about each call of CASES that matches, and about calls to other regions."""
    found: dict[tuple[str, ...], bool] = {}
    for _, resource, call in CALLS:
        if any(fnmatch_iam(call, pattern) for pattern in patterns):
            for name in PRINCIPALS:
                found[name, call, resource] = allowed(statements, name, call, resource)
    for call in (*WITHOUT_REGION, "dynamodb:CreateTable"):
        if any(fnmatch_iam(call, pattern) for pattern in patterns):
            for region in (REGION, "us-east-1", "eu-west-1"):
                found["administrator", call, region] = allowed(statements, "administrator", call, ANY, region)
    return found


@pytest.mark.parametrize(("may", "targets", "text"), CASES, ids=[text.split()[0] for _, _, text in CASES])
def test_organization_lets_these_principals_and_no_others_make_a_call(
    may: set[str], targets: list[str], text: str
) -> None:
    for call in text.split():
        for resource in targets:
            assert {name for name in PRINCIPALS if allowed(STATEMENTS, name, call, resource)} == may, (call, resource)


def test_calls_go_to_the_regions_of_residence_except_those_without_a_region_and_for_cloudfront() -> None:
    def possible(call: str, region: str) -> bool:
        return allowed(STATEMENTS, "deployment", call, ANY, region)

    assert [call for call in WITHOUT_REGION if not possible(call, "us-east-1")] == []
    assert [call for call in WITHOUT_REGION if not possible(call, "eu-west-1")] == WITHOUT_REGION[-2:]
    for call in ("dynamodb:CreateTable", "lambda:CreateFunction", "s3:CreateBucket", "cloudtrail:CreateTrail"):
        assert [possible(call, region) for region in (REGION, "us-east-1", "eu-west-1")] == [True, False, False]


def test_roles_of_the_system_may_do_what_their_policies_allow() -> None:
    named = {"MaintenanceRole": "janitor"}
    checked = set()
    for key, document in documents().items():
        stack, name, *inline = key.split(".")
        if stack == "deployment":
            continue  # the cases have its calls
        if inline or template(stack)["Resources"][name]["Type"] == "AWS::IAM::ManagedPolicy":
            role = named.get(name, f"cruddur-{stack}-{name}-A1B2C3")
            keys = {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/{role}", "aws:RequestedRegion": REGION}
            for action, resource in grants(document["Statement"]):
                decision = decide({"Statement": [FULL_ACCESS, *STATEMENTS]}, action, resource, keys)
                assert decision == "Allow", (key, action)
                checked.add(action)
    assert {"dynamodb:GetItem", "dynamodb:Scan", "dynamodb:GetRecords", "s3:PutObject", "logs:PutLogEvents"} <= checked


def _without_a_part(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each part of nested lists and dicts, with a copy of the value that lacks this part."""
    if isinstance(value, list) and len(value) > 1:
        yield from ((part, [other for other in value if other != part]) for part in value)
    if isinstance(value, dict):
        for key, content in value.items():
            yield from ((part, value | {key: rest}) for part, rest in _without_a_part(content))


@pytest.mark.parametrize("statement", STATEMENTS, ids=[statement["Sid"] for statement in STATEMENTS])
def test_cases_notice_if_a_statement_lacks_a_part(statement: dict[str, Any]) -> None:
    """So no action, resource, principal or region is there without a case that needs it."""
    others = [other for other in STATEMENTS if other is not statement]
    actions = strings(statement.get("Action", ["dynamodb:CreateTable"]))
    assert outcomes(others, actions) != outcomes(STATEMENTS, actions)
    for part, rest in _without_a_part(statement):
        patterns = actions if part.startswith("arn:") else [part]
        assert outcomes([*others, rest], patterns) != outcomes(STATEMENTS, patterns), part


def test_policies_fit_the_limits_of_an_organization() -> None:
    assert len(POLICIES) < MOST_POLICIES
    for name, policy in POLICIES.items():
        assert len(json.dumps(resolved(policy["Content"], NAMES | LONG_NAMES))) <= LONGEST_POLICY, name


def test_policies_name_actions_that_exist() -> None:
    """AWS accepts a misspelled action, which then protects nothing."""
    services = load_resource(AdditionalSpecs, "Policies.json")
    for action in {part for statement in STATEMENTS for key in KEYS & statement.keys() for part in statement[key]}:
        service, _, name = action.lower().partition(":")
        assert any(fnmatch_iam(known, name) for known in services[service]["Actions"]), action
