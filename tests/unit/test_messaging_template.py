"""aws/cfn/messaging.yaml says what the code says, and asks AWS for what an emulator cannot show."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from lib.aws.packages import FUNCTIONS, HANDLERS, RUNTIME
from lib.aws.templates import template
from lib.config import ROOT, Settings
from lib.ddb import keys
from lib.ddb.items import EXPIRES_AT
from lib.ddb.schema import table_definition
from tests.policies import resources

RESOURCES: dict[str, dict[str, Any]] = template("messaging")["Resources"]
TABLE = RESOURCES["Table"]["Properties"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: each["Properties"] for name, each in RESOURCES.items() if each["Type"] == kind}


def function(name: str) -> dict[str, Any]:
    properties: dict[str, Any] = RESOURCES[f"{name.title().replace('_', '')}Function"]["Properties"]
    return properties


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_table_is_that_of_the_code() -> None:
    definition = table_definition("cruddur-messages")
    assert definition.pop("TableName") == template("messaging")["Parameters"]["TableName"]["Default"]
    assert definition.pop("StreamSpecification") == {"StreamEnabled": True} | TABLE["StreamSpecification"]
    assert {name: TABLE[name] for name in definition} == definition
    assert TABLE["TimeToLiveSpecification"] == {"AttributeName": EXPIRES_AT, "Enabled": True}


def test_the_table_is_protected_encrypted_backed_up_and_retained() -> None:
    assert TABLE["DeletionProtectionEnabled"] is True
    assert TABLE["SSESpecification"]["SSEEnabled"] is True
    assert TABLE["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True


@pytest.mark.parametrize("name", ["Table", "UserPool"])
def test_what_people_wrote_outlives_the_stack_and_a_replacement(name: str) -> None:
    assert (RESOURCES[name]["DeletionPolicy"], RESOURCES[name]["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_the_mapping_gives_the_function_new_messages_alone_and_gives_up_in_the_end() -> None:
    (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
    (pattern,) = (json.loads(each["Pattern"]) for each in mapping["FilterCriteria"]["Filters"])
    assert pattern == {"eventName": ["INSERT"], "dynamodb": {"Keys": {"pk": {"S": [{"prefix": keys.message_pk("")}]}}}}
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["Table", "StreamArn"]}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert 0 < mapping["MaximumRetryAttempts"] < 100
    assert 60 <= mapping["MaximumRecordAgeInSeconds"] <= 24 * 60 * 60
    assert mapping["DestinationConfig"] == {"OnFailure": {"Destination": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}}


def test_the_queue_is_encrypted_and_takes_nothing_over_plain_http() -> None:
    (queue,) = of_type("AWS::SQS::Queue").values()
    assert queue["SqsManagedSseEnabled"] is True
    (policy,) = of_type("AWS::SQS::QueuePolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "sqs:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_its_package_in_the_vpc_with_settings_that_it_reads(name: str) -> None:
    properties = function(name)
    assert (properties["Runtime"], properties["Handler"]) == (f"python{RUNTIME[0]}.{RUNTIME[1]}", "handler.handler")
    assert properties["VpcConfig"]["SubnetIds"] == {"Ref": "FunctionSubnetIds"}
    source = (HANDLERS / name / "handler.py").read_text()
    settings = {each.upper() for each in Settings.__dataclass_fields__}
    variables = set(properties["Environment"]["Variables"])
    assert {each for each in variables if each not in settings and f'"{each}"' not in source} == set()
    assert variables & {"AWS_REGION", "AWS_DEFAULT_REGION", "SECRET_KEY", "DATABASE_URL"} == set()
    title = name.title().replace("_", "")
    assert properties["VpcConfig"]["SecurityGroupIds"] == [{"Ref": f"{title}SecurityGroupId"}]
    assert properties["Role"] == {"Fn::GetAtt": [f"{title}Role", "Arn"]}
    assert properties["Code"] == {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": {"Ref": f"{title}Key"}}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_installs_the_versions_that_are_tested(name: str) -> None:
    def pins(text: str) -> set[str]:
        return {line.partition("#")[0].strip() for line in text.splitlines() if "==" in line}

    installed = pins((HANDLERS / name / "requirements.txt").read_text())
    assert installed
    assert installed - pins((ROOT / "requirements-runtime.txt").read_text()) == set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_logs_to_a_group_that_forgets(name: str) -> None:
    properties = function(name)
    group = RESOURCES[properties["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
    assert group["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/${{{properties['FunctionName']['Ref']}}}"}
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_there_is_an_alarm_for_what_goes_wrong_and_each_reaches_the_topic() -> None:
    alarms = of_type("AWS::CloudWatch::Alarm")
    watched = {
        (
            alarm["MetricName"],
            dimension["Value"].get("Ref", "queue") if isinstance(dimension["Value"], dict) else "index",
        )
        for alarm in alarms.values()
        for dimension in alarm.get("Dimensions", [{"Value": {"Ref": "logs"}}])
    }
    assert watched == {
        ("IteratorAge", "MessageStreamFunction"),
        ("ApproximateNumberOfMessagesVisible", "queue"),
        *(
            (metric, name)
            for metric in ("Errors", "Throttles")
            for name in ("MessageStreamFunction", "PostConfirmationFunction")
        ),
        *((metric, "Table") for metric in ("ReadThrottleEvents", "WriteThrottleEvents")),
        ("WriteThrottleEvents", "index"),
        ("GroupUpdatesFailed", "logs"),
        ("UsersNotProvisioned", "logs"),
    }
    assert {json.dumps(alarm["AlarmActions"]) for alarm in alarms.values()} == {'[{"Ref": "AlarmTopic"}]'}
    dimensions = {
        (alarm["Namespace"], *(each["Name"] for each in alarm["Dimensions"]))
        for alarm in alarms.values()
        if "Dimensions" in alarm
    }
    assert dimensions == {
        ("AWS/Lambda", "FunctionName"),
        ("AWS/SQS", "QueueName"),
        ("AWS/DynamoDB", "TableName"),
        ("AWS/DynamoDB", "TableName", "GlobalSecondaryIndexName"),
    }


def test_an_alarm_goes_off_at_the_first_of_what_it_counts_and_the_iterators_after_a_minute() -> None:
    for stack in ("messaging", "guardrails"):
        for name, alarm in resources(stack, "AWS::CloudWatch::Alarm").items():
            at = {"StreamIteratorAgeAlarm": 60_000, "BulkReadAlarm": 10}.get(name, 1)
            assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (at, "GreaterThanOrEqualToThreshold"), name
            assert alarm["EvaluationPeriods"] <= 3
        for name, counted in resources(stack, "AWS::Logs::MetricFilter").items():
            assert [each["MetricValue"] for each in counted["MetricTransformations"]] == ["1"], name


def test_the_alarms_are_published_by_cloudwatch_of_this_account_and_mailed_to_who_asked() -> None:
    (policy,) = of_type("AWS::SNS::TopicPolicy").values()
    allowed, denied = policy["PolicyDocument"]["Statement"]
    assert (allowed["Principal"], allowed["Action"]) == ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")
    assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    (subscription,) = of_type("AWS::SNS::Subscription").values()
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", {"Ref": "AlarmEmail"})
    assert RESOURCES["AlarmSubscription"]["Condition"] == "HasAlarmEmail"


def test_an_alarm_on_a_log_line_waits_for_one_that_is_written() -> None:
    sources = "".join(
        path.read_text() for folder in ("services", "aws/lambdas") for path in (ROOT / folder).rglob("*.py")
    )
    for filtered in of_type("AWS::Logs::MetricFilter").values():
        (event,) = re.findall(r'\$\.event = "(\w+)"', filtered["FilterPattern"])
        assert f'log("{event}"' in sources
        (made,) = filtered["MetricTransformations"]
        assert [made["MetricName"], made["MetricNamespace"]] in [
            [alarm["MetricName"], alarm["Namespace"]] for alarm in of_type("AWS::CloudWatch::Alarm").values()
        ]


def test_the_pool_asks_for_what_a_user_is_made_of_and_cannot_be_deleted() -> None:
    (pool,) = of_type("AWS::Cognito::UserPool").values()
    assert pool["DeletionProtection"] == "ACTIVE"
    assert {each["Name"] for each in pool["Schema"] if each["Required"]} == {"email", "name", "preferred_username"}
    assert pool["UsernameConfiguration"] == {"CaseSensitive": False}
    policy = pool["Policies"]["PasswordPolicy"]
    assert policy["MinimumLength"] >= 12
    assert all(required for name, required in policy.items() if name.startswith("Require"))


def test_an_address_counts_when_it_is_verified_and_nobody_verifies_their_own() -> None:
    (pool,) = of_type("AWS::Cognito::UserPool").values()
    assert pool["AutoVerifiedAttributes"] == ["email"]
    assert pool["UserAttributeUpdateSettings"] == {"AttributesRequireVerificationBeforeUpdate": ["email"]}
    (client,) = of_type("AWS::Cognito::UserPoolClient").values()
    assert client["WriteAttributes"] == ["email", "name", "preferred_username"]


def test_the_client_is_one_for_a_browser() -> None:
    (client,) = of_type("AWS::Cognito::UserPoolClient").values()
    assert client["GenerateSecret"] is False
    assert client["PreventUserExistenceErrors"] == "ENABLED"
    assert client["EnableTokenRevocation"] is True
    for token in ("AccessToken", "IdToken"):
        assert (client[f"{token}Validity"], client["TokenValidityUnits"][token]) == (1, "hours")
    flows = template("messaging")["Parameters"][client["ExplicitAuthFlows"]["Ref"]]["Default"]
    assert flows.split(",") == ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]


def test_cognito_and_this_pool_alone_may_call_the_trigger() -> None:
    (pool,) = of_type("AWS::Cognito::UserPool").values()
    assert pool["LambdaConfig"] == {"PostConfirmation": {"Fn::GetAtt": ["PostConfirmationFunction", "Arn"]}}
    (permission,) = of_type("AWS::Lambda::Permission").values()
    assert permission == {
        "FunctionName": {"Ref": "PostConfirmationFunction"},
        "Action": "lambda:InvokeFunction",
        "Principal": "cognito-idp.amazonaws.com",
        "SourceAccount": {"Ref": "AWS::AccountId"},
        "SourceArn": {"Fn::GetAtt": ["UserPool", "Arn"]},
    }
    assert function("post_confirmation")["Timeout"] == 5  # Cognito waits no longer
