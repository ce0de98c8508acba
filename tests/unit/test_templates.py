"""The templates of aws/cfn beside the code: parameters, table, functions, alarms; and what cfn-lint says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lib.config import ROOT, Settings
from lib.ddb import keys
from lib.ddb.items import EXPIRES_AT
from lib.ddb.schema import table_definition
from tests.support.policies import resources
from tools.deploy.packages import FUNCTIONS, HANDLERS, RUNTIME
from tools.deploy.templates import STACKS, TEMPLATES, parameters, template

BY_HAND = {
    "network": {"DynamoDBPrefixListId", "S3PrefixListId"},
    "messaging": set(),
    "service": {"ImageTag", "CertificateArn", "FrontendUrl", "BackendUrl", "AllowedRegions"},
    "guardrails": set(),
}
BY_PACKAGE = {"CodeBucket", "MessageStreamKey", "PostConfirmationKey"}
MESSAGING: dict[str, dict[str, Any]] = template("messaging")["Resources"]

EVERY_STACK = pytest.mark.parametrize("stack", STACKS)


def outputs(stack: str) -> set[str]:
    return set(template(stack)["Outputs"])


def test_cfn_lint_has_nothing_to_say() -> None:
    command = [Path(sys.executable).parent / "cfn-lint", *TEMPLATES.glob("*.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


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


# Messaging


def test_the_table_is_that_of_the_code() -> None:
    table = MESSAGING["Table"]["Properties"]
    definition = table_definition("cruddur-messages")
    assert definition.pop("TableName") == template("messaging")["Parameters"]["TableName"]["Default"]
    assert definition.pop("StreamSpecification") == {"StreamEnabled": True} | table["StreamSpecification"]
    assert {name: table[name] for name in definition} == definition
    assert table["TimeToLiveSpecification"] == {"AttributeName": EXPIRES_AT, "Enabled": True}


def test_the_mapping_delivers_new_messages_alone_and_reads_the_handlers_answer() -> None:
    (mapping,) = resources("messaging", "AWS::Lambda::EventSourceMapping").values()
    (pattern,) = (json.loads(each["Pattern"]) for each in mapping["FilterCriteria"]["Filters"])
    assert pattern == {"eventName": ["INSERT"], "dynamodb": {"Keys": {"pk": {"S": [{"prefix": keys.message_pk("")}]}}}}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


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
