"""aws/cfn/guardrails.yaml: CloudTrail and Config, which no emulator here has."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from lib.aws.templates import template
from tests.policies import resolved, resources

TRAIL = resources("guardrails", "AWS::CloudTrail::Trail")["Trail"]
FILTERS = resources("guardrails", "AWS::Logs::MetricFilter")
ALARMS = resources("guardrails", "AWS::CloudWatch::Alarm")
RULES = resources("guardrails", "AWS::Config::ConfigRule")


def events(name: str) -> set[str]:
    """The events that a filter counts."""
    pattern = FILTERS[name]["FilterPattern"]
    text = pattern if isinstance(pattern, str) else pattern["Fn::Sub"]
    assert '($.eventSource = "dynamodb.amazonaws.com")' in text
    assert text.count("(") == text.count(")")
    return set(re.findall(r'\$\.eventName = "(\w+)"', text))


def test_the_trail_covers_every_region_and_each_call_on_the_items_of_the_table() -> None:
    assert TRAIL["IsLogging"] is TRAIL["IsMultiRegionTrail"] is TRAIL["EnableLogFileValidation"] is True
    management, items = (each["FieldSelectors"] for each in TRAIL["AdvancedEventSelectors"])
    assert management == [{"Field": "eventCategory", "Equals": ["Management"]}]
    assert items == [
        {"Field": "eventCategory", "Equals": ["Data"]},
        {"Field": "resources.type", "Equals": ["AWS::DynamoDB::Table"]},
        {"Field": "resources.ARN", "Equals": [{"Ref": "TableArn"}]},
    ]
    assert TRAIL["CloudWatchLogsLogGroupArn"] == {"Fn::GetAtt": ["TrailLogGroup", "Arn"]}


def test_the_trails_bucket_is_private_versioned_and_encrypted() -> None:
    bucket = resources("guardrails", "AWS::S3::Bucket")["AuditBucket"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert "BucketEncryption" in bucket


def test_the_trail_alone_writes_to_its_bucket_and_nobody_over_plain_http() -> None:
    bucket = {"Fn::GetAtt": ["AuditBucket", "Arn"]}
    (policy,) = resources("guardrails", "AWS::S3::BucketPolicy").values()
    plain, *trails = policy["PolicyDocument"]["Statement"]
    assert (plain["Effect"], plain["Principal"], plain["Action"]) == ("Deny", "*", "s3:*")
    assert plain["Resource"] == [bucket, {"Fn::Sub": "${AuditBucket.Arn}/*"}]
    assert plain["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert {each["Action"] for each in trails} == {"s3:GetBucketAcl", "s3:PutObject"}
    for each in trails:
        assert each["Principal"] == {"Service": "cloudtrail.amazonaws.com"}
        source = resolved(each["Condition"]["StringEquals"]["aws:SourceArn"])
        assert source.endswith(":123456789012:trail/" + resolved(TRAIL["TrailName"]))


def test_an_auditors_account_is_not_taken_without_an_external_id() -> None:
    rule = template("guardrails")["Rules"]["AuditorNeedsExternalId"]
    given = {"Fn::Not": [{"Fn::Equals": [{"Ref": "AuditorAccountId"}, ""]}]}
    assert rule["RuleCondition"] == template("guardrails")["Conditions"]["HasAuditor"] == given
    (assertion,) = rule["Assertions"]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "AuditorExternalId"}, ""]}]}


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("TableChangeFilter", {"DeleteTable", "UpdateTable", "UpdateContinuousBackups", "UpdateTimeToLive"}),
        ("BulkReadFilter", {"Scan", "ExecuteStatement", "BatchExecuteStatement"}),
        ("ExportFilter", {"ExportTableToPointInTime", "RestoreTableToPointInTime", "RestoreTableFromBackup"}),
    ],
)
def test_a_filter_counts_what_threatens_the_table(name: str, counted: set[str]) -> None:
    assert events(name) == counted
    assert FILTERS[name]["LogGroupName"] == {"Ref": "TrailLogGroup"}


TABLE = resolved({"Ref": "TableName"})
PROTECTED_OFF = {"tableName": TABLE, "deletionProtectionEnabled": False}


@pytest.mark.parametrize(
    ("counts", "event", "parameters", "error"),
    [
        (True, "DeleteTable", {"tableName": TABLE}, None),
        (True, "DeleteTable", {"tableName": resolved({"Ref": "TableArn"})}, None),
        (True, "DeleteTable", {"tableName": TABLE}, "ValidationException"),
        (True, "DeleteTable", None, "AccessDenied"),
        (False, "DeleteTable", {"tableName": "another"}, None),
        (True, "UpdateTable", PROTECTED_OFF, None),
        (True, "UpdateTable", None, "AccessDeniedException"),
        (False, "UpdateTable", PROTECTED_OFF | {"tableName": "another"}, None),
        (False, "UpdateTable", PROTECTED_OFF | {"deletionProtectionEnabled": True}, None),
        (False, "UpdateTable", {"tableName": TABLE}, None),
        (True, "UpdateContinuousBackups", {"tableName": TABLE}, None),
        (True, "UpdateTimeToLive", {"tableName": TABLE}, None),
        (False, "DescribeTable", {"tableName": TABLE}, None),
        (False, "DescribeTable", None, "AccessDenied"),
    ],
)
def test_deleting_and_unprotecting_the_table_is_told_from_the_rest(
    counts: bool, event: str, parameters: dict[str, object] | None, error: str | None
) -> None:
    record = {"eventSource": "dynamodb.amazonaws.com", "eventName": event, "requestParameters": parameters}
    pattern = resolved(FILTERS["TableChangeFilter"]["FilterPattern"])
    assert len(pattern) <= 1024  # by CloudWatch's quotas
    assert matches(pattern, record | ({"errorCode": error} if error else {})) == counts


def matches(pattern: str, record: dict[str, object]) -> bool:
    """Whether a filter pattern takes a record, for the comparisons that these patterns use."""

    def compare(comparison: re.Match[str]) -> str:
        value: Any = record
        for name in comparison["path"].split("."):
            value = value.get(name) if isinstance(value, dict) else None
        wanted = comparison["text"]
        return str(value is False if wanted is None else fnmatchcase(value or "", wanted))

    logic = re.sub(r'\$\.(?P<path>[\w.]+) (?:= "(?P<text>[^"]*)"|IS FALSE)', compare, pattern.strip("{}"))
    logic = logic.replace("&&", "and").replace("||", "or")
    assert re.fullmatch(r"(?:True|False|and|or|[() ])+", logic)
    return bool(eval(logic))  # noqa: S307 - of the words that were just looked for


def test_each_filter_has_its_alarm() -> None:
    counted = [each["MetricTransformations"][0] for each in FILTERS.values()]
    watched = [(each["Namespace"], each["MetricName"]) for each in ALARMS.values()]
    assert [(each["MetricNamespace"], each["MetricName"]) for each in counted] == watched
    assert ALARMS["TableChangeAlarm"]["Threshold"] == 1


def test_config_watches_encryption_recovery_and_protection() -> None:
    assert {rule["Source"]["SourceIdentifier"] for rule in RULES.values()} == {
        "CLOUD_TRAIL_ENABLED",
        "DYNAMODB_PITR_ENABLED",
        "DYNAMODB_TABLE_DELETION_PROTECTION_ENABLED",
        "DYNAMODB_TABLE_ENCRYPTED_KMS",
        "RDS_INSTANCE_DELETION_PROTECTION_ENABLED",
        "RDS_INSTANCE_PUBLIC_ACCESS_CHECK",
        "RDS_STORAGE_ENCRYPTED",
    }
    assert {rule["Source"]["Owner"] for rule in RULES.values()} == {"AWS"}
    (recorder,) = resources("guardrails", "AWS::Config::ConfigurationRecorder").values()
    kinds = {each for rule in RULES.values() for each in rule.get("Scope", {}).get("ComplianceResourceTypes", [])}
    assert kinds | {"AWS::RDS::DBInstance"} <= set(recorder["RecordingGroup"]["ResourceTypes"])
    recording = template("guardrails")["Resources"]["Recording"]["Metadata"]["recorder"]
    assert recording == {"Fn::If": ["RecordsConfiguration", {"Ref": "ConfigRecorder"}, "another"]}
    assert {template("guardrails")["Resources"][name]["DependsOn"] for name in RULES} == {"Recording"}


def test_the_table_is_what_config_wants_of_it() -> None:
    table = resources("messaging", "AWS::DynamoDB::Table")["Table"]
    assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] is True
