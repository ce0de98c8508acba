"""The templates of aws/cfn: what cfn-lint says, how values get to the next one, and what they share with the code.

bin/aws/check looks for more by checkov. Kept here is what neither of the two sees.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from lib.config import ROOT, Settings
from lib.ddb import keys
from lib.ddb.items import EXPIRES_AT
from lib.ddb.schema import table_definition
from tests.support.policies import resolved, resources
from tools.deploy.packages import FUNCTIONS, HANDLERS, RUNTIME
from tools.deploy.templates import STACKS, TEMPLATES, body, parameters, template

BY_HAND = {
    "network": {"DynamoDBPrefixListId", "S3PrefixListId"},
    "messaging": set(),
    "service": {"ImageTag", "CertificateArn", "FrontendUrl", "BackendUrl", "AllowedRegions"},
    "guardrails": set(),
}
BY_PACKAGE = {"CodeBucket", "MessageStreamKey", "PostConfirmationKey"}
MESSAGING: dict[str, dict[str, Any]] = template("messaging")["Resources"]
NETWORK = template("network")
DATABASE = NETWORK["Resources"]["Database"]["Properties"]

EVERY_STACK = pytest.mark.parametrize("stack", STACKS)


def suppressions(stack: str) -> list[dict[str, str]]:
    """What checkov is told not to look at."""
    parts = [template(stack), *template(stack)["Resources"].values()]
    return [each for part in parts for each in part.get("Metadata", {}).get("checkov", {}).get("skip", [])]


def outputs(stack: str) -> set[str]:
    return set(template(stack)["Outputs"])


def ref(value: Any) -> Any:
    return value["Ref"] if isinstance(value, dict) else value


def test_cfn_lint_has_nothing_to_say() -> None:
    command = [Path(sys.executable).parent / "cfn-lint", *TEMPLATES.glob("*.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@EVERY_STACK
def test_a_suppression_says_why_beside_what_it_is_about(stack: str) -> None:
    for each in suppressions(stack):
        assert len(each["comment"].split()) >= 8
    assert "Metadata" not in template(stack)
    assert body(stack).count("- id: CKV") == len(suppressions(stack))
    assert "checkov:skip" not in body(stack)


@EVERY_STACK
def test_a_parameter_is_an_output_of_an_earlier_stack_or_said_by_hand(stack: str) -> None:
    needed = {name for name, has_default in parameters(stack).items() if not has_default}
    given = set().union(*(outputs(each) for each in STACKS[: STACKS.index(stack)]))
    assert needed - given - BY_PACKAGE == BY_HAND[stack]


@EVERY_STACK
def test_what_holds_data_outlives_its_stack(stack: str) -> None:
    def policies(resource: dict[str, Any]) -> set[str]:
        return {resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")}

    for name, resource in template(stack)["Resources"].items():
        if resource["Type"] in ("AWS::DynamoDB::Table", "AWS::Cognito::UserPool", "AWS::S3::Bucket"):
            assert policies(resource) == {"Retain"}, name
        if resource["Type"] == "AWS::RDS::DBInstance":
            assert policies(resource) == {"Snapshot"}, name


def test_what_keeps_data_and_intruders_where_they_are_and_checkov_does_not_look_at() -> None:
    table, pool = MESSAGING["Table"]["Properties"], MESSAGING["UserPool"]["Properties"]
    assert (table["DeletionProtectionEnabled"], pool["DeletionProtection"]) == (True, "ACTIVE")
    assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}
    assert MESSAGING["DeadLetterQueue"]["Properties"]["SqsManagedSseEnabled"] is True
    assert (DATABASE["DeletionProtection"], DATABASE["DeleteAutomatedBackups"]) == (True, False)
    assert DATABASE["BackupRetentionPeriod"] >= 7
    (permission,) = resources("messaging", "AWS::Lambda::Permission").values()
    assert permission["SourceArn"] == {"Fn::GetAtt": ["UserPool", "Arn"]}
    (balancer,) = resources("service", "AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    assert {"Key": "deletion_protection.enabled", "Value": "true"} in balancer["LoadBalancerAttributes"]
    (service,) = resources("service", "AWS::ECS::Service").values()
    assert service["EnableExecuteCommand"] is False
    assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    (container,) = resources("service", "AWS::ECS::TaskDefinition")["Task"]["ContainerDefinitions"]
    assert container["ReadonlyRootFilesystem"] is True


@EVERY_STACK
def test_nothing_is_kept_for_ever_in_a_log(stack: str) -> None:
    for group in resources(stack, "AWS::Logs::LogGroup").values():
        assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@EVERY_STACK
def test_each_filter_has_its_alarm_and_each_alarm_reaches_the_topic(stack: str) -> None:
    alarms = resources(stack, "AWS::CloudWatch::Alarm").values()
    for each in resources(stack, "AWS::Logs::MetricFilter").values():
        (counted,) = each["MetricTransformations"]
        watched = [(alarm["Namespace"], alarm["MetricName"]) for alarm in alarms]
        assert (counted["MetricNamespace"], counted["MetricName"]) in watched
    topic = "AlarmTopic" if stack == "messaging" else "AlarmTopicArn"
    assert all(alarm["AlarmActions"] == [{"Ref": topic}] for alarm in alarms)


# Network


def test_every_way_out_has_a_way_in_and_the_world_reaches_the_balancer_alone() -> None:
    groups = resources("network", "AWS::EC2::SecurityGroup")
    rules_out = [(group, rule) for group, each in groups.items() for rule in each["SecurityGroupEgress"]]
    ways_out = {
        (group, ref(rule["DestinationSecurityGroupId"]), rule["ToPort"])
        for group, rule in rules_out
        if "DestinationSecurityGroupId" in rule
    }
    rules_in = resources("network", "AWS::EC2::SecurityGroupIngress").values()
    ways_in = {(ref(rule["SourceSecurityGroupId"]), ref(rule["GroupId"]), rule["ToPort"]) for rule in rules_in}
    assert ways_out == ways_in
    of_database = {source for source, target, _ in ways_in if target == "DatabaseSecurityGroup"}
    assert of_database == {"ServiceSecurityGroup", "PostConfirmationSecurityGroup"}
    assert {rule["CidrIp"] for _, rule in rules_out if "CidrIp" in rule} == {"127.0.0.1/32"}
    open_to_all = [
        (name, rule["ToPort"]) for name, each in groups.items() for rule in each.get("SecurityGroupIngress", [])
    ]
    assert set(open_to_all) == {("LoadBalancerSecurityGroup", 443), ("LoadBalancerSecurityGroup", 80)}
    assert resources("network", "AWS::RDS::DBSubnetGroup")["DatabaseSubnets"]["SubnetIds"] == [
        {"Ref": "PrivateSubnetA"},
        {"Ref": "PrivateSubnetB"},
    ]


def test_the_pool_has_no_domain_which_would_close_its_endpoint() -> None:
    assert resources("messaging", "AWS::Cognito::UserPoolDomain") == {}


def test_postgres_takes_tls_alone_and_logs_no_values_and_forgets_what_it_logs() -> None:
    own = resources("network", "AWS::RDS::DBParameterGroup")["DatabaseParameters"]["Parameters"]
    assert (own["rds.force_ssl"], own["log_error_verbosity"]) == ("1", "terse")
    assert DATABASE["DBParameterGroupName"] == {"Ref": "DatabaseParameters"}
    group = resources("network", "AWS::Logs::LogGroup")["DatabaseLogGroup"]["LogGroupName"]["Fn::Sub"]
    exported = [f"/aws/rds/instance/${{AWS::StackName}}/{each}" for each in DATABASE["EnableCloudwatchLogsExports"]]
    assert (exported, DATABASE["DBInstanceIdentifier"]) == ([group], {"Ref": "AWS::StackName"})
    assert NETWORK["Resources"]["Database"]["DependsOn"] == "DatabaseLogGroup"  # else RDS makes the group


def test_no_password_is_in_the_template_or_typed_by_anybody() -> None:
    assert DATABASE["MasterUserPassword"] == {"Fn::Sub": "{{resolve:secretsmanager:${DatabasePassword}}}"}
    assert [name for name, each in NETWORK["Parameters"].items() if "assword" in name + str(each)] == []
    assert "resolve:" not in str(NETWORK["Outputs"])


# Messaging


def test_the_table_is_that_of_the_code() -> None:
    table = MESSAGING["Table"]["Properties"]
    definition = table_definition("cruddur-messages")
    assert definition.pop("TableName") == template("messaging")["Parameters"]["TableName"]["Default"]
    assert definition.pop("StreamSpecification") == {"StreamEnabled": True} | table["StreamSpecification"]
    assert {name: table[name] for name in definition} == definition
    assert table["TimeToLiveSpecification"] == {"AttributeName": EXPIRES_AT, "Enabled": True}


def test_the_mapping_gives_the_function_new_messages_alone_and_keeps_what_fails() -> None:
    (mapping,) = resources("messaging", "AWS::Lambda::EventSourceMapping").values()
    (pattern,) = (json.loads(each["Pattern"]) for each in mapping["FilterCriteria"]["Filters"])
    assert pattern == {"eventName": ["INSERT"], "dynamodb": {"Keys": {"pk": {"S": [{"prefix": keys.message_pk("")}]}}}}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["DestinationConfig"] == {"OnFailure": {"Destination": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_its_package_with_settings_that_it_reads_and_versions_that_are_tested(name: str) -> None:
    def pins(path: Path) -> set[str]:
        return {line.partition("#")[0].strip() for line in path.read_text().splitlines() if "==" in line}

    properties = MESSAGING[f"{name.title().replace('_', '')}Function"]["Properties"]
    assert (properties["Runtime"], properties["Handler"]) == (f"python{RUNTIME[0]}.{RUNTIME[1]}", "handler.handler")
    source = (HANDLERS / name / "handler.py").read_text()
    settings = {each.upper() for each in Settings.__dataclass_fields__}
    variables = set(properties["Environment"]["Variables"])
    assert {each for each in variables if each not in settings and f'"{each}"' not in source} == set()
    assert variables & {"AWS_REGION", "AWS_DEFAULT_REGION", "SECRET_KEY", "DATABASE_URL"} == set()
    group = MESSAGING[properties["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
    assert group["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/${{{properties['FunctionName']['Ref']}}}"}
    installed = pins(HANDLERS / name / "requirements.txt")
    assert installed
    assert installed <= pins(ROOT / "requirements-runtime.txt")


def test_an_alarm_on_a_log_line_waits_for_one_that_is_written() -> None:
    folders = (ROOT / "services", ROOT / "aws/lambdas")
    sources = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    for filtered in resources("messaging", "AWS::Logs::MetricFilter").values():
        (event,) = re.findall(r'\$\.event = "(\w+)"', filtered["FilterPattern"])
        assert f'log("{event}"' in sources


def test_an_address_counts_when_it_is_verified_and_nobody_verifies_their_own_or_sends_a_password() -> None:
    (pool,) = resources("messaging", "AWS::Cognito::UserPool").values()
    assert pool["AutoVerifiedAttributes"] == ["email"]
    assert pool["UserAttributeUpdateSettings"] == {"AttributesRequireVerificationBeforeUpdate": ["email"]}
    assert pool["UsernameConfiguration"] == {"CaseSensitive": False}
    (client,) = resources("messaging", "AWS::Cognito::UserPoolClient").values()
    assert client["WriteAttributes"] == ["email", "name", "preferred_username"]
    assert client["PreventUserExistenceErrors"] == "ENABLED"
    flows = template("messaging")["Parameters"][client["ExplicitAuthFlows"]["Ref"]]["Default"]
    assert flows.split(",") == ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]


# Guardrails


TABLE = resolved({"Ref": "TableName"})
PROTECTED_OFF = {"tableName": TABLE, "deletionProtectionEnabled": False}


@pytest.mark.parametrize(
    ("counts", "event", "parameters", "error"),
    [
        (True, "DeleteTable", {"tableName": TABLE}, None),
        (True, "DeleteTable", {"tableName": resolved({"Ref": "TableArn"})}, None),
        (True, "DeleteTable", None, "AccessDenied"),
        (False, "DeleteTable", {"tableName": "another"}, None),
        (True, "UpdateTable", PROTECTED_OFF, None),
        (True, "UpdateTable", None, "AccessDeniedException"),
        (False, "UpdateTable", PROTECTED_OFF | {"tableName": "another"}, None),
        (False, "UpdateTable", {"tableName": TABLE}, None),
        (True, "UpdateContinuousBackups", {"tableName": TABLE}, None),
        (True, "UpdateTimeToLive", {"tableName": TABLE}, None),
        (False, "DescribeTable", {"tableName": TABLE}, None),
    ],
)
def test_deleting_and_unprotecting_the_table_is_told_from_the_rest(
    counts: bool, event: str, parameters: dict[str, object] | None, error: str | None
) -> None:
    record = {"eventSource": "dynamodb.amazonaws.com", "eventName": event, "requestParameters": parameters}
    counted = resources("guardrails", "AWS::Logs::MetricFilter")["TableChangeFilter"]
    pattern = resolved(counted["FilterPattern"])
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


def test_the_trail_sees_each_call_on_the_items_of_the_table_and_config_records_what_its_rules_are_about() -> None:
    (trail,) = resources("guardrails", "AWS::CloudTrail::Trail").values()
    _, items = (each["FieldSelectors"] for each in trail["AdvancedEventSelectors"])
    assert {"Field": "resources.ARN", "Equals": [{"Ref": "TableArn"}]} in items
    rules = resources("guardrails", "AWS::Config::ConfigRule")
    (recorder,) = resources("guardrails", "AWS::Config::ConfigurationRecorder").values()
    kinds = {each for rule in rules.values() for each in rule.get("Scope", {}).get("ComplianceResourceTypes", [])}
    assert kinds | {"AWS::RDS::DBInstance"} <= set(recorder["RecordingGroup"]["ResourceTypes"])
    assert {template("guardrails")["Resources"][name]["DependsOn"] for name in rules} == {"Recording"}
