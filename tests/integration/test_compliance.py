"""Config tells somebody: the rule of aws/cfn/guardrails.yaml and the topic of the alarms, on ministack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.policies import ACCOUNT, REGION
from tools.deploy.templates import template
from tools.local_stack.ministack import ALL_SERVICES, Ministack

RULE: dict[str, Any] = template("guardrails")["Resources"]["ComplianceRule"]
TOPIC: dict[str, Any] = template("messaging")["Resources"]["AlarmTopic"]


def compliance_change(compliance: str) -> dict[str, Any]:
    """An event of Config, with the fields that AWS documents."""
    return {
        "messageType": "ComplianceChangeNotification",
        "configRuleName": "TableProtected",
        "resourceId": "cruddur-messages",
        "newEvaluationResult": {"complianceType": compliance},
    }


@pytest.fixture
def client(engine_folder: Path) -> Iterator[Callable[[str], Any]]:
    """Makes clients of an AWS account for the test."""
    log = engine_folder / "compliance.log"
    with Ministack(engine_folder / "compliance", log=log, persistent=False, services=ALL_SERVICES) as engine:
        yield lambda service: boto3.client(service, endpoint_url=engine.url)


@pytest.mark.parametrize(
    ("source", "compliance", "told"),
    [
        ("aws.config", "NON_COMPLIANT", True),
        ("aws.config", "COMPLIANT", False),
        ("aws.config", "NOT_APPLICABLE", False),
        ("aws.ec2", "NON_COMPLIANT", False),
    ],
)
def test_rule_selects_settings_that_no_longer_comply(
    client: Callable[[str], Any], source: str, compliance: str, told: bool
) -> None:
    event = {
        "id": "1",
        "account": ACCOUNT,
        "region": REGION,
        "time": "2026-01-02T08:15:00Z",
        "source": source,
        "detail-type": "Config Rules Compliance Change",
        "resources": [],
        "detail": compliance_change(compliance),
    }
    pattern = json.dumps(RULE["Properties"]["EventPattern"])
    with closing(client("events")) as events:
        assert events.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"] is told


def test_subscriber_of_the_alarms_reads_which_setting_it_is(client: Callable[[str], Any]) -> None:
    rule = deepcopy(RULE)
    rule["Properties"]["EventPattern"]["source"] = ["tests"]  # AWS alone may send events of aws.config
    rule["Properties"]["Targets"][0]["Arn"] = {"Ref": "AlarmTopic"}
    subscription = {"TopicArn": {"Ref": "AlarmTopic"}, "Protocol": "sqs", "Endpoint": {"Fn::GetAtt": ["Inbox", "Arn"]}}
    parts = {
        "AlarmTopic": TOPIC,
        "ComplianceRule": rule,
        "Inbox": {"Type": "AWS::SQS::Queue"},
        "Subscription": {"Type": "AWS::SNS::Subscription", "Properties": subscription},
    }
    with (
        closing(client("cloudformation")) as stacks,
        closing(client("events")) as events,
        closing(client("sqs")) as queues,
    ):
        stacks.create_stack(StackName="part", TemplateBody=json.dumps({"Resources": parts}))
        stacks.get_waiter("stack_create_complete").wait(StackName="part", WaiterConfig={"Delay": 0.1})
        resource = stacks.describe_stack_resource(StackName="part", LogicalResourceId="Inbox")["StackResourceDetail"]
        entry = {"Source": "tests", "DetailType": "Config Rules Compliance Change"}
        entries = [entry | {"Detail": json.dumps(compliance_change("NON_COMPLIANT"))}]
        assert events.put_events(Entries=entries)["FailedEntryCount"] == 0
        received = queues.receive_message(QueueUrl=resource["PhysicalResourceId"], WaitTimeSeconds=10)
    (message,) = received["Messages"]
    text = json.loads(message["Body"])["Message"]
    assert text.strip('"').startswith(
        "cruddur-messages does not comply with the rule TableProtected of AWS Config since"
    )
