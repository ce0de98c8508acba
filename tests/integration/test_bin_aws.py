"""bin/aws: packages, deployments and deletions, in an AWS account that ministack emulates."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployed import BUCKET, Account
from tests.support.scripted_server import HTML, ScriptedServer, response, send
from tests.support.scripts import load
from tests.support.stores import ANNA, TableContents
from tools.deploy import readiness, tasks, templates
from tools.deploy.packages import FUNCTIONS, HANDLERS, build, key, logical_name, publish, upload

PREFIX = "second"
STACK = f"{PREFIX}-messaging"
NAMES = {name: f"second-{name}" for name in ("TableName", "UserPoolName", "MessageStreamName", "PostConfirmationName")}
ITEM = {"pk": {"S": "PAIR#a#b"}, "sk": {"S": "STATE"}, "group_uuid": {"S": ANNA.uuid}}

ISOLATED = "import sys; sys.path[:] = [p for p in sys.path if 'site-' not in p] + sys.argv[1:]; import handler"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def deploy(account: Account, *arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    """Deploy a second system in the account, beside the one of other tests."""
    return account.deploy("--prefix", PREFIX, *arguments, **NAMES | values)


def delete(account: Account, *arguments: str) -> subprocess.CompletedProcess[str]:
    return account.script("delete", "messaging", "--prefix", PREFIX, *arguments)


@pytest.fixture
def stack(account: Account) -> Iterator[dict[str, str]]:
    """The outputs of the second system's stack. At the end, the fixture deletes the stack."""
    process = deploy(account, "--yes")
    assert process.returncode == 0, process.stderr
    outputs = account.outputs(STACK)
    yield outputs
    if STACK in stack_names(account):
        assert deploy(account, "--yes", Protected="no").returncode == 0
        account.client("cloudformation").delete_stack(StackName=STACK)
    account.client("dynamodb").delete_table(TableName=outputs["TableName"])
    account.client("cognito-idp").delete_user_pool(UserPoolId=outputs["UserPoolId"])


def stack_names(account: Account) -> list[str]:
    return [stack["StackName"] for stack in account.client("cloudformation").describe_stacks()["Stacks"]]


def test_package_is_the_same_for_the_same_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One small library stands for those of the function, which take seconds to install."""
    source = tmp_path / "message_stream"
    shutil.copytree(HANDLERS / source.name, source)
    (source / "requirements.txt").write_text("six==1.17.0\n")
    monkeypatch.setattr("tools.deploy.packages.HANDLERS", tmp_path)
    first, second = (build(source.name, tmp_path / folder) for folder in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    with (source / "handler.py").open("a") as handler:
        handler.write("CHANGED = True\n")
    changed = build(source.name, tmp_path / "changed")
    assert (key(first) == key(second), key(first) == key(changed)) == (True, False)


def test_package_is_uploaded_once_and_only_if_its_key_is_not_given(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "post_confirmation.zip"
    package.write_bytes(b"of any content")
    built: list[str] = []
    monkeypatch.setattr("tools.deploy.packages.build", lambda function, folder: built.append(function) or package)
    with closing(account.client("s3")) as client:
        for _ in range(2):
            keys = publish(client, BUCKET, tmp_path, given={"MessageStreamKey": "of an older package"})
            assert keys == {"PostConfirmationKey": key(package)}
        stored = client.get_object(Bucket=BUCKET, Key=key(package))
        assert (stored["Body"].read(), stored["ServerSideEncryption"]) == (b"of any content", "AES256")
        client.put_object(Bucket=BUCKET, Key=key(package), Body=b"as it was uploaded first")
        upload(client, package, BUCKET)
        assert client.get_object(Bucket=BUCKET, Key=key(package))["Body"].read() == b"as it was uploaded first"
    assert built == ["post_confirmation"] * 2


@pytest.mark.parametrize("function", FUNCTIONS)
def test_package_holds_the_imports_of_its_handler_and_their_byte_code(
    packages: dict[str, Path], tmp_path: Path, function: str
) -> None:
    with zipfile.ZipFile(packages[function]) as archive:
        archive.extractall(tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"handler.py", "lib/config.py", "botocore/__init__.py"} <= names
    assert [name for name in names if name.startswith(("tools/", "tests/", "botocore/data/ec2"))] == []
    compiled = {path.replace("__pycache__/", "").replace(".cpython-311.pyc", ".py") for path in names if ".pyc" in path}
    assert {name for name in names if name.endswith(".py")} == compiled
    command = [sys.executable, "-I", "-c", ISOLATED, tmp_path]
    process = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_libraries_of_a_package_load_on_the_runtime(packages: dict[str, Path], function: str) -> None:
    machine, newest = {"x86_64": 62, "arm64": 183}, (2, 26)  # of an ELF file; glibc of Amazon Linux 2, for python3.11
    resources = templates.template("messaging")["Resources"]
    [architecture] = resources[f"{logical_name(function)}Function"]["Properties"]["Architectures"]
    with zipfile.ZipFile(packages[function]) as archive:
        libraries = {name: archive.read(name) for name in archive.namelist()}
    libraries = {name: content for name, content in libraries.items() if content.startswith(b"\x7fELF")}
    assert libraries
    for name, content in libraries.items():
        assert int.from_bytes(content[18:20], "little") == machine[architecture], name
        assert all(
            (int(major), int(minor)) <= newest for major, minor in re.findall(rb"GLIBC_(\d+)\.(\d+)", content)
        ), name


def test_changes_are_shown_but_not_applied_without_consent(account: Account) -> None:
    process = deploy(account)
    assert process.returncode == 1
    assert "no terminal to ask at" in process.stderr
    assert ["Add", "Table", "AWS::DynamoDB::Table", "-"] in [line.split() for line in process.stdout.splitlines()]
    assert STACK not in stack_names(account)
    assert NAMES["TableName"] not in account.client("dynamodb").list_tables()["TableNames"]


def test_later_deployments_keep_the_values_of_earlier_ones(account: Account, stack: dict[str, str]) -> None:
    again = deploy(account, "--yes")
    assert (again.returncode, f"{STACK}: no changes" in again.stderr) == (0, True), again.stderr
    assert dict(line.split() for line in again.stdout.splitlines()).items() >= stack.items()

    change = account.script("deploy", "messaging", "--prefix", PREFIX, "--set", "LogRetentionDays=30", "--yes")
    assert change.returncode == 0, change.stderr
    rows = [line.split() for line in change.stdout.splitlines()]
    assert ["Modify", "MessageStreamLogGroup", "AWS::Logs::LogGroup"] in [row[:3] for row in rows]
    assert "Table" not in [row[1] for row in rows]
    groups = account.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/second-")["logGroups"]
    assert {group["retentionInDays"] for group in groups} == {30}


def test_replacement_of_the_table_needs_the_name_of_the_stack(
    account: Account, stack: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = deploy(account, "--yes", TableName="second-renamed")
    assert process.returncode == 1
    row = ["!!", "Modify", "Table", "AWS::DynamoDB::Table", "True"]
    assert row in [line.split() for line in process.stdout.splitlines()]
    assert "no terminal to ask at, and Table would be replaced or removed" in process.stderr
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.url)
    assert load("aws/deploy")(["messaging", "--prefix", PREFIX, "--set", "TableName=second-renamed"]) == 1
    assert f"Nothing was done: the answer was not {STACK}" in capsys.readouterr().err
    tables = account.client("dynamodb").list_tables()["TableNames"]
    assert (NAMES["TableName"] in tables, "second-renamed" in tables) == (True, False)


def test_missing_and_unknown_parameters_are_named_before_any_change(account: Account) -> None:
    missing = account.script("deploy", "messaging", "--prefix", "third", "--yes")
    assert missing.returncode == 1
    assert (
        "third-messaging lacks CodeBucket, MessageStreamKey, PostConfirmationKey, FunctionSubnetIds" in missing.stderr
    )
    unknown = deploy(account, "--yes", TableNmae="messages")
    assert (unknown.returncode, unknown.stderr) == (1, "messaging has no parameter TableNmae\n")
    malformed = account.script("deploy", "messaging", "--set", "TableName")
    assert (malformed.returncode, "'TableName' is not NAME=VALUE" in malformed.stderr) == (2, True)


@pytest.fixture
def own_templates(account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder in place of aws/cfn. Its stacks are named third-…; at the end, the fixture deletes them."""
    monkeypatch.setattr(templates, "TEMPLATES", tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.url)
    templates.template.cache_clear()
    yield tmp_path
    templates.template.cache_clear()
    for name in templates.STACKS:
        account.client("cloudformation").delete_stack(StackName=f"third-{name}")


@pytest.fixture
def deploy_with(own_templates: Path) -> Callable[..., int]:
    """Deploys a resource and its dependency as the stack third-messaging; returns the exit status."""

    def run(*arguments: str, **resource: Any) -> int:
        resources = {"Topic": {"Type": "AWS::SNS::Topic"}, "Second": resource | {"DependsOn": "Topic"}}
        (own_templates / "messaging.yaml").write_text(json.dumps({"Parameters": {}, "Resources": resources}))
        return load("aws/deploy")(["messaging", "--prefix", "third", *arguments])

    return run


def test_output_becomes_the_parameter_of_a_later_stack_unless_set_overrides_it(
    account: Account, own_templates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "Name"}}}}
    outputs = {"Name": {"Value": "of the network"}}
    network = {"Parameters": {"Name": {"Type": "String", "Default": "none"}}, "Resources": topic, "Outputs": outputs}
    messaging = {"Parameters": {"Name": {"Type": "String"}}, "Resources": topic}
    (own_templates / "network.yaml").write_text(json.dumps(network))
    (own_templates / "messaging.yaml").write_text(json.dumps(messaging))

    def name(stack: str) -> str:
        (description,) = account.client("cloudformation").describe_stacks(StackName=f"third-{stack}")["Stacks"]
        return str(description["Parameters"][0]["ParameterValue"])

    options = ["--prefix", "third", "--yes"]
    assert load("aws/deploy")(["messaging", "network", *options]) == 0, capsys.readouterr().err
    assert (name("network"), name("messaging")) == ("none", "of the network")
    assert load("aws/deploy")(["messaging", *options, "--set", "Name=set"]) == 0
    assert (name("network"), name("messaging")) == ("none", "set")


def test_service_gets_the_keys_of_the_pool_and_its_deployment_ends_when_the_api_is_ready(
    account: Account, own_templates: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks, "run_script", lambda *arguments: 0)  # the migrations
    monkeypatch.setattr(readiness, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(readiness, "READY_SECONDS", 1)
    monkeypatch.setenv("NO_PROXY", "*")
    pool = account.client("cognito-idp").create_user_pool(PoolName="third")["UserPool"]["Id"]
    parameters = {
        name: {"Type": "String", "Default": ""} for name in ("ImageTag", "UserPoolId", "JwksFallback", "BackendUrl")
    }
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "UserPoolId"}}}
    outputs = {"BackendUrl": {"Value": {"Ref": "BackendUrl"}}, "LoadBalancerDnsName": {"Value": "balancer"}}
    content = {"Parameters": parameters, "Resources": {"Topic": topic}, "Outputs": outputs}
    (own_templates / "service.yaml").write_text(json.dumps(content))
    image = {
        "Parameters": {"ImageTag": {"Type": "String", "Default": "1"}},
        "Resources": {"Topic": {"Type": topic["Type"]}},
    }
    (own_templates / "tasks.yaml").write_text(
        json.dumps(image | {"Outputs": {"ImageTag": {"Value": {"Ref": "ImageTag"}}}})
    )

    def deploy(**values: str) -> tuple[int, str, dict[str, str]]:
        assignments = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
        status = load("aws/deploy")(["tasks", "service", "--prefix", "third", "--yes", *assignments])
        [stack] = account.client("cloudformation").describe_stacks(StackName="third-service")["Stacks"]
        deployed = {given["ParameterKey"]: given.get("ParameterValue", "") for given in stack["Parameters"]}
        return status, capsys.readouterr().err, deployed

    with ScriptedServer() as api:
        api.script[:] = [send(HTML % 503), send(response(b'{"success": true, "keys_from": "user_pool"}'))]
        status, messages, deployed = deploy(UserPoolId=pool, BackendUrl=api.url)
        assert (status, "no container is healthy yet" in messages) == (0, True), messages
        keys = json.loads(deployed["JwksFallback"])["keys"]
        assert {key["kty"] for key in keys} == {"RSA"}

        status, messages, later = deploy(UserPoolId="us-east-1_missing0")
        assert "The public keys of the user pool cannot be fetched" in messages
        assert later["JwksFallback"] == deployed["JwksFallback"]
        api.respond = lambda body: response(b'["postgres_unavailable"]', status=b"503 Any")
        status, messages, _ = deploy(JwksFallback="{}")
        assert (status, "Not ready after 1 s" in messages) == (1, True), messages
        assert "postgres_unavailable" in messages


def test_monitoring_is_deployed_with_its_alarms_and_its_dashboard(account: Account) -> None:
    """Without an address, so without the budget, which ministack does not know."""
    account.client("logs").create_log_group(logGroupName="third")
    required = [name for name, has_default in templates.parameters("monitoring").items() if not has_default]
    values = dict.fromkeys(required, "third") | {"AlarmTopicArn": "arn:aws:sns:us-east-2:000000000000:third"}
    assignments = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    process = account.script("deploy", "monitoring", "--prefix", "third", "--yes", *assignments)
    assert process.returncode == 0, process.stderr
    watch = account.client("cloudwatch")
    created = {alarm["AlarmArn"] for alarm in watch.describe_alarms(AlarmNamePrefix="third-monitoring")["MetricAlarms"]}
    widgets = json.loads(watch.get_dashboard(DashboardName="third-monitoring")["DashboardBody"])["widgets"]
    [shown] = [widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm"]
    assert set(shown) == created
    account.client("cloudformation").delete_stack(StackName="third-monitoring")


@pytest.mark.parametrize(
    ("resource", "cause"),
    [
        ({"Type": "AWS::Logs::MetricFilter", "Properties": {"LogGroupName": "nowhere"}}, ""),
        (
            {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": BUCKET}},
            "Resource of type 'AWS::S3::Bucket' with identifier",
        ),
    ],
)
def test_failed_deployment_names_its_cause_and_the_remedy(
    deploy_with: Callable[..., int], capsys: pytest.CaptureFixture[str], resource: dict[str, Any], cause: str
) -> None:
    assert deploy_with("--yes", **resource) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"third-messaging ended in ROLLBACK_COMPLETE. Second: {cause}")
    assert deploy_with("--yes", **resource) == 1
    assert "ROLLBACK_COMPLETE: run bin/aws/delete messaging first" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_deployment_waits_for_consent_at_the_terminal(
    account: Account, deploy_with: Callable[..., int], monkeypatch: pytest.MonkeyPatch, typed: str, status: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert deploy_with(Type="AWS::SNS::Topic") == status
    assert ("third-messaging" in stack_names(account)) == (status == 0)


def test_protected_stack_is_not_deleted_and_a_deletion_retains_table_and_pool(
    account: Account, stack: dict[str, str]
) -> None:
    service = {"StackName": f"{PREFIX}-service"}
    template = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    account.client("cloudformation").create_stack(**service, TemplateBody=template)
    refused = delete(account, "--yes")
    assert refused.returncode == 1
    assert "Refused: second-messaging is protected" in refused.stderr
    assert "to lift it: bin/aws/deploy messaging --prefix second --set Protected=no" in refused.stderr
    assert account.outputs(STACK) == stack

    contents = TableContents(account.client("dynamodb"), NAMES["TableName"])
    contents.put(ITEM)
    unprotected = deploy(account, "--yes", Protected="no")
    assert ["Protected", "yes", "no"] in [line.split() for line in unprotected.stdout.splitlines()]
    in_use = delete(account, "--yes")
    account.client("cloudformation").delete_stack(**service)
    message = "Refused: second-service may use second-messaging. Delete them first.\n"
    assert (in_use.returncode, in_use.stderr) == (1, message)
    no_terminal = delete(account)
    assert (no_terminal.returncode, "no terminal to ask at" in no_terminal.stderr) == (1, True)

    deleted = delete(account, "--yes")
    assert deleted.returncode == 0, deleted.stderr
    assert "Table (second-TableName) is retained, and still billed" in deleted.stderr
    assert contents.items() == [ITEM]
    account.client("cognito-idp").describe_user_pool(UserPoolId=stack["UserPoolId"])
    missing = delete(account, "--yes")
    assert (missing.returncode, "There is no stack second-messaging" in missing.stderr) == (1, True)
