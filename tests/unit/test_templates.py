"""The templates of aws/cfn beside the code and docs/aws.md: parameters, table, functions, alarms; and cfn-lint."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lib.config import ROOT, Settings
from lib.ddb.items import EXPIRES_AT
from lib.ddb.schema import table_definition
from tests.support.documents import AWS
from tools.deploy.packages import FUNCTIONS, HANDLERS, RUNTIME, logical_name
from tools.deploy.templates import STACKS, TEMPLATES, parameters, resources, template

PACKAGE_PARAMETERS = {"CodeBucket", "MessageStreamKey", "PostConfirmationKey"}
RETENTION = {
    "AWS::DynamoDB::Table": "Retain",
    "AWS::Cognito::UserPool": "Retain",
    "AWS::S3::Bucket": "Retain",
    "AWS::ECR::Repository": "Retain",
    "AWS::RDS::DBInstance": "Snapshot",
}
FILLED_AT_ONCE = {"AccessLogBucket"}  # the load balancer writes a file, and a rollback could not delete the bucket
PROTECTED = {"network": ["Database"], "messaging": ["Table", "UserPool"], "service": ["LoadBalancer"]}
MESSAGING: dict[str, dict[str, Any]] = template("messaging")["Resources"]


def test_cfn_lint_finds_no_problem() -> None:
    command = [Path(sys.executable).parent / "cfn-lint", *TEMPLATES.glob("*.yaml")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (0, "")


@pytest.mark.parametrize("stack", STACKS)
def test_required_parameter_is_an_earlier_output_or_set_in_the_documented_deployment(stack: str) -> None:
    required = {name for name, has_default in parameters(stack).items() if not has_default}
    outputs = {name for earlier in STACKS[: STACKS.index(stack)] for name in template(earlier)["Outputs"]}
    commands = re.findall(rf"bin/aws/deploy {stack} ((?:\\\n|.)*)", AWS.read_text())
    documented = set(re.findall(r"--set (\w+)=", "".join(commands)))
    assert required - outputs - PACKAGE_PARAMETERS <= documented <= parameters(stack).keys()


@pytest.mark.parametrize("stack", STACKS)
def test_stack_deletion_retains_the_data_but_a_failed_creation_does_not(stack: str) -> None:
    for name, resource in template(stack)["Resources"].items():
        if policy := RETENTION.get(resource["Type"]):
            assert resource["UpdateReplacePolicy"] == policy, name
            kept = policy if name in FILLED_AT_ONCE else policy.replace("Retain", "RetainExceptOnCreate")
            assert resource["DeletionPolicy"] == kept, name


@pytest.mark.parametrize(("stack", "names"), PROTECTED.items())
def test_one_parameter_protects_what_holds_data_and_the_way_in(stack: str, names: list[str]) -> None:
    content = template(stack)
    assert content["Parameters"]["Protected"]["Default"] == "yes"
    assert content["Conditions"]["IsProtected"] == {"Fn::Equals": [{"Ref": "Protected"}, "yes"]}
    conditional = {name for name, resource in content["Resources"].items() if "IsProtected" in str(resource)}
    assert conditional == set(names)


def test_table_has_the_schema_of_the_code() -> None:
    table = MESSAGING["Table"]["Properties"]
    definition = table_definition("cruddur-messages")
    assert definition.pop("TableName") == template("messaging")["Parameters"]["TableName"]["Default"]
    assert definition.pop("StreamSpecification") == {"StreamEnabled": True} | table["StreamSpecification"]
    (index,) = definition["GlobalSecondaryIndexes"]
    default = template("messaging")["Parameters"]["IndexProjection"]["Default"]
    assert index["Projection"] == {"ProjectionType": default}
    index["Projection"] = {"ProjectionType": {"Ref": "IndexProjection"}}
    assert {name: table[name] for name in definition} == definition
    assert table["TimeToLiveSpecification"] == {"AttributeName": EXPIRES_AT, "Enabled": True}


def test_mapping_reads_the_response_of_the_handler() -> None:
    (mapping,) = resources("messaging", "AWS::Lambda::EventSourceMapping").values()
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_has_variables_that_its_code_reads_and_libraries_of_the_tested_versions(name: str) -> None:
    def pins(path: Path) -> set[str]:
        return {line.partition("#")[0].strip() for line in path.read_text().splitlines() if "==" in line}

    properties = MESSAGING[f"{logical_name(name)}Function"]["Properties"]
    assert (properties["Runtime"], properties["Handler"]) == (f"python{RUNTIME[0]}.{RUNTIME[1]}", "handler.handler")
    source = (HANDLERS / name / "handler.py").read_text()
    settings = {field.upper() for field in Settings.__dataclass_fields__}
    variables = set(properties["Environment"]["Variables"])
    assert {variable for variable in variables - settings if f'"{variable}"' not in source} == set()
    assert variables & {"AWS_REGION", "AWS_DEFAULT_REGION", "SECRET_KEY"} == set()
    group = MESSAGING[properties["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
    assert group["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/${{{properties['FunctionName']['Ref']}}}"}
    assert set() < pins(HANDLERS / name / "requirements.txt") <= pins(ROOT / "requirements-runtime.txt")


@pytest.mark.parametrize(
    ("name", "source", "level"),
    [
        ("GroupUpdatesFailed", "services/update_group.py", "ERROR"),
        ("UsersNotProvisioned", "aws/lambdas/post_confirmation/handler.py", "WARNING"),
    ],
)
def test_alarm_counts_every_failure_that_a_function_logs(name: str, source: str, level: str) -> None:
    pattern = MESSAGING[name]["Properties"]["FilterPattern"]
    logged = re.findall(rf'log\("(\w+)", level=logging.{level}', (ROOT / source).read_text())
    assert logged
    assert re.findall(r'\$\.event = "(\w+)"', pattern) == sorted(logged)


def test_function_that_wakes_streams_has_both_ends_of_its_connection_to_postgres() -> None:
    ends: dict[str, set[tuple[int, str, str]]] = {"Egress": set(), "Ingress": set()}
    for rule in template("network")["Resources"].values():
        if rule.get("Condition") != "WakesStreams":
            continue
        properties, direction = rule["Properties"], rule["Type"].removeprefix("AWS::EC2::SecurityGroup")
        groups = [properties["GroupId"], properties.get("DestinationSecurityGroupId")]
        if direction == "Ingress":
            groups = [properties["SourceSecurityGroupId"], properties["GroupId"]]
        ends[direction].add((properties["FromPort"], *(group["Ref"] for group in groups)))
    assert ends["Egress"] == ends["Ingress"]
    assert ends["Egress"] == {(5432, "MessageStreamSecurityGroup", "DatabaseSecurityGroup")}
