"""What the guards of aws/cfn/guardrails.yaml tell: the events of the trail that the metric filters count."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.metric_filters import counts
from tests.support.policies import ACCOUNT, TABLE, resolved
from tools.deploy.templates import resources, template

LONGEST_PATTERN = 1_024  # characters, by AWS's quotas
FILTERS = resources("guardrails", "AWS::Logs::MetricFilter")
ALARMS = resources("guardrails", "AWS::CloudWatch::Alarm")

DEPLOYMENT, ADMINISTRATOR, ROOT = "cruddur-deployment", "administrator", ""
REFUSED = {"errorCode": "AccessDenied"}
DYNAMODB, POSTGRES, USERS, STS = "dynamodb", "rds", "cognito-idp", "sts"

TOLD: list[tuple[str, str, str, dict[str, Any], str]] = [
    # metric, caller, service, the rest of the event, event names
    (
        "TableThreats",
        DEPLOYMENT,
        DYNAMODB,
        {"requestParameters": {"tableName": "cruddur-messages"}},
        "DeleteTable UpdateContinuousBackups UpdateTimeToLive",
    ),
    ("TableThreats", DEPLOYMENT, DYNAMODB, {"requestParameters": {"tableName": TABLE}}, "DeleteTable"),
    (
        "TableThreats",
        DEPLOYMENT,
        DYNAMODB,
        {"requestParameters": {"tableName": "cruddur-messages-restored"}},
        "DeleteTable",
    ),
    (
        "TableThreats",
        DEPLOYMENT,
        DYNAMODB,
        {"requestParameters": {"tableName": "cruddur-messages", "deletionProtectionEnabled": False}},
        "UpdateTable",
    ),
    (
        "TableThreats",
        DEPLOYMENT,
        DYNAMODB,
        {"requestParameters": {"tableName": TABLE, "streamSpecification": {"streamEnabled": False}}},
        "UpdateTable",
    ),
    ("TableThreats", ADMINISTRATOR, DYNAMODB, REFUSED, "DeleteTable UpdateTable UpdateTimeToLive"),
    ("BulkReads", DEPLOYMENT, DYNAMODB, {}, "Scan ExecuteStatement BatchExecuteStatement"),
    (
        "TableCopies",
        DEPLOYMENT,
        DYNAMODB,
        {},
        """ExportTableToPointInTime RestoreTableToPointInTime RestoreTableFromBackup RestoreTableFromAwsBackup
        CreateGlobalTable UpdateGlobalTable EnableKinesisStreamingDestination PutResourcePolicy DeleteResourcePolicy""",
    ),
    (
        "UserDataThreats",
        DEPLOYMENT,
        POSTGRES,
        {},
        """DeleteDBInstance DeleteDBInstanceAutomatedBackup DeleteDBSnapshot ModifyDBSnapshotAttribute CopyDBSnapshot
        StartExportTask RestoreDBInstanceFromDBSnapshot RestoreDBInstanceToPointInTime""",
    ),
    ("UserDataThreats", DEPLOYMENT, USERS, {}, "DeleteUserPool AdminSetUserPassword AdminInitiateAuth"),
    (
        "GuardThreats",
        DEPLOYMENT,
        "any",
        {},
        """StopLogging DeleteTrail DeleteAlarms DisableAlarmActions SetAlarmState PutAlarmMuteRule DeleteMetricFilter
        DeleteLogGroup Unsubscribe DeleteTopic DeleteRule DisableRule StopConfigurationRecorder DeleteConfigRule
        DeleteConfigurationRecorder DeleteDeliveryChannel DeleteBucketPolicy DeleteFlowLogs ModifyVpcEndpoint
        DeleteVpcEndpoints DisableKey ScheduleKeyDeletion""",
    ),
    (
        "GuardThreats",
        ADMINISTRATOR,
        "any",
        {},
        """UpdateTrail PutEventSelectors PutMetricAlarm PutMetricFilter DeleteLogStream
        SetTopicAttributes SetSubscriptionAttributes PutRule RemoveTargets PutConfigRule PutConfigurationRecorder
        PutBucketPolicy PutBucketVersioning PutBucketLifecycle DisassociateWebACL UpdateWebACL
        ModifyLoadBalancerAttributes""",
    ),
    (
        "GuardThreats",
        ADMINISTRATOR,
        "logs",
        {"requestParameters": {"logGroupName": "cruddur-guardrails-TrailLogGroup"}},
        "PutRetentionPolicy",
    ),
    ("GuardThreats", ADMINISTRATOR, "logs", REFUSED, "PutRetentionPolicy"),
    (
        "IdentityThreats",
        DEPLOYMENT,
        "iam",
        {},
        "CreateUser CreateAccessKey CreateLoginProfile UpdateLoginProfile GetFederationToken",
    ),
    (
        "IdentityThreats",
        ADMINISTRATOR,
        "any",
        {},
        """UpdateAssumeRolePolicy AttachRolePolicy PutRolePolicy DetachRolePolicy DeleteRolePolicy CreatePolicyVersion
        SetDefaultPolicyVersion PutRolePermissionsBoundary CreateSAMLProvider CreateOpenIDConnectProvider
        UpdateFunctionCode20150331v2 UpdateEventSourceMapping20150331 DeleteEventSourceMapping20150331 RunInstances
        ExecuteCommand""",
    ),
    (
        "BreakGlass",
        ADMINISTRATOR,
        STS,
        {"requestParameters": {"roleArn": f"arn:aws:iam::{ACCOUNT}:role/cruddur-break-glass"}},
        "AssumeRole AssumeRoleWithSAML",
    ),
    ("BreakGlass", ROOT, "signin", {}, "ConsoleLogin DescribeTable"),
]

QUIET: list[tuple[str, str, dict[str, Any], str]] = [
    (
        DEPLOYMENT,
        "any",
        {},
        """CreateStack UpdateFunctionCode20150331v2 PutMetricAlarm PutMetricFilter PutRetentionPolicy PutRolePolicy
        PutBucketPolicy PutRule PutConfigRule SetTopicAttributes UpdateService RunTask""",
    ),
    (DEPLOYMENT, DYNAMODB, {"requestParameters": {"tableName": "cruddur-messages"}}, "UpdateTable DescribeTable"),
    (DEPLOYMENT, DYNAMODB, {"requestParameters": {"tableName": "another"}}, "DeleteTable UpdateTimeToLive"),
    ("cruddur-messaging-AppRole-A1B2C3", DYNAMODB, {}, "GetItem Query PutItem TransactWriteItems"),
    (
        ADMINISTRATOR,
        STS,
        {"requestParameters": {"roleArn": f"arn:aws:iam::{ACCOUNT}:role/cruddur-deployment"}},
        "AssumeRole",
    ),
    (ADMINISTRATOR, "iam", {}, "UpdateAccessKey DeleteAccessKey"),
    (
        "cruddur-network-DatabaseMonitoringRole-A1B2C3",
        "logs",
        {"requestParameters": {"logGroupName": "RDSOSMetrics"}},
        "PutRetentionPolicy CreateLogStream",
    ),
]


def metrics(caller: str, service: str, rest: dict[str, Any], name: str) -> set[str]:
    """The metrics that count an event of the trail."""
    identity: dict[str, Any] = {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"userName": caller}}}
    if caller == ROOT:
        identity = {"type": "Root"}
    event = {
        "eventName": name,
        "eventSource": f"{service}.amazonaws.com",
        "eventType": "AwsApiCall",
        "userIdentity": identity,
        **rest,
    }
    return {
        transformation["MetricName"]
        for filter_ in FILTERS.values()
        if counts(resolved(filter_["FilterPattern"]), event)
        for transformation in filter_["MetricTransformations"]
    }


@pytest.mark.parametrize(("metric", "caller", "service", "rest", "names"), TOLD)
def test_threat_is_counted(metric: str, caller: str, service: str, rest: dict[str, Any], names: str) -> None:
    assert {name: metrics(caller, service, rest, name) for name in names.split()} == {
        name: {metric} for name in names.split()
    }


@pytest.mark.parametrize(("caller", "service", "rest", "names"), QUIET)
def test_usual_call_is_not_counted(caller: str, service: str, rest: dict[str, Any], names: str) -> None:
    assert {name for name in names.split() if metrics(caller, service, rest, name)} == set()


def test_every_name_in_a_pattern_has_a_case() -> None:
    cases = {name for *_, names in TOLD for name in names.split()}
    for filter_ in FILTERS.values():
        named = resolved(filter_["FilterPattern"]).split('$.eventName = "')[1:]
        patterns = {part.partition('"')[0] for part in named}
        assert {p for p in patterns if not any(counts(f'{{$.n = "{p}"}}', {"n": name}) for name in cases)} == set()


def test_every_metric_raises_an_alarm_that_somebody_receives() -> None:
    counted = {change["MetricName"] for filter_ in FILTERS.values() for change in filter_["MetricTransformations"]}
    assert counted == {alarm["MetricName"] for alarm in ALARMS.values()} == {metric for metric, *_ in TOLD}
    assert {str(alarm["AlarmActions"]) for alarm in ALARMS.values()} == {"[{'Ref': 'AlarmTopicArn'}]"}
    assert {alarm["TreatMissingData"] for alarm in ALARMS.values()} == {"notBreaching"}


@pytest.mark.parametrize("name", FILTERS)
def test_pattern_fits_the_limit_of_a_metric_filter(name: str) -> None:
    assert len(resolved(FILTERS[name]["FilterPattern"])) <= LONGEST_PATTERN


def test_topic_of_the_alarms_lets_cloudwatch_and_rules_publish() -> None:
    document = template("messaging")["Resources"]["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]
    allowed = [statement for statement in document["Statement"] if statement["Effect"] == "Allow"]
    publishers = {statement["Principal"]["Service"] for statement in allowed if statement["Action"] == "sns:Publish"}
    assert {"cloudwatch.amazonaws.com", "events.amazonaws.com"} <= publishers
