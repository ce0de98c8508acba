"""bin/aws: packages, deployments and deletions, in an account that ministack stands for."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.deployed import BUCKET, Account
from tests.support.scripts import load
from tests.support.stores import ANNA, TableContents
from tools.deploy import templates
from tools.deploy.packages import FUNCTIONS, HANDLERS, Package, build
from tools.deploy.protection import protections

PREFIX = "second"
STACK = f"{PREFIX}-messaging"
NAMES = {name: f"second-{name}" for name in ("TableName", "UserPoolName", "MessageStreamName", "PostConfirmationName")}
ITEM = {"pk": {"S": "PAIR#a#b"}, "sk": {"S": "STATE"}, "group_uuid": {"S": ANNA.uuid}}

ALONE = "import sys; sys.path[:] = [each for each in sys.path if 'site-' not in each] + sys.argv[1:]; import handler"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def deploy(account: Account, *arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    """A second system in the account, beside the one of other tests."""
    return account.deploy("--prefix", PREFIX, *arguments, **NAMES | values)


@pytest.fixture
def stack(account: Account) -> Iterator[str]:
    """The second system's stack, deployed; and nothing left of it afterwards."""
    done = deploy(account, "--yes")
    assert done.returncode == 0, done.stderr
    outputs = account.outputs(STACK)
    yield STACK
    unprotect(account, outputs)
    account.client("cloudformation").delete_stack(StackName=STACK)
    account.client("dynamodb").delete_table(TableName=outputs["TableName"])
    account.client("cognito-idp").delete_user_pool(UserPoolId=outputs["UserPoolId"])


def unprotect(account: Account, outputs: dict[str, str]) -> None:
    account.client("dynamodb").update_table(TableName=outputs["TableName"], DeletionProtectionEnabled=False)
    account.client("cognito-idp").update_user_pool(UserPoolId=outputs["UserPoolId"], DeletionProtection="INACTIVE")


def test_the_same_sources_give_the_same_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One small library stands for those of the function, which take seconds to install."""
    source = tmp_path / "message_stream"
    shutil.copytree(HANDLERS / source.name, source)
    (source / "requirements.txt").write_text("six==1.17.0\n")
    monkeypatch.setattr("tools.deploy.packages.HANDLERS", tmp_path)
    first, second = (build(source.name, tmp_path / folder) for folder in ("first", "second"))
    assert first.path.read_bytes() == second.path.read_bytes()
    with (source / "handler.py").open("a") as handler:
        handler.write("CHANGED = True\n")
    changed = build(source.name, tmp_path / "changed")
    assert (first.key == second.key, first.key == changed.key) == (True, False)


def test_a_package_that_is_in_the_bucket_is_not_uploaded_again(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.zip").write_bytes(b"of any content")
    package = Package("message_stream", tmp_path / "a.zip", "a/hash.zip")
    monkeypatch.setattr("tools.deploy.packages.build_all", lambda folder: [package])
    for outcome in ("uploaded", "already there"):
        done = account.script("package", "--bucket", BUCKET, "--output", str(tmp_path))
        assert (done.returncode, f"a/hash.zip: {outcome}" in done.stderr) == (0, True), done.stderr
    parameters = {"MessageStreamKey": package.key, "CodeBucket": BUCKET}
    assert json.loads((tmp_path / "parameters.json").read_text()) == parameters
    with closing(account.client("s3")) as client:
        stored = client.get_object(Bucket=BUCKET, Key=package.key)
        assert (stored["Body"].read(), stored["ServerSideEncryption"]) == (b"of any content", "AES256")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_package_holds_all_that_its_handler_imports_and_its_byte_code(
    packages: dict[str, Package], tmp_path: Path, function: str
) -> None:
    with zipfile.ZipFile(packages[function].path) as archive:
        archive.extractall(tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"handler.py", "lib/config.py", "botocore/__init__.py"} <= names
    assert {
        each
        for each in names
        if each.startswith(("tools/local_stack/", "lib/aws/stacks", "tests/", "botocore/data/ec2"))
    } == set()
    compiled = {path.replace("__pycache__/", "").replace(".cpython-311.pyc", ".py") for path in names if ".pyc" in path}
    assert {each for each in names if each.endswith(".py")} == compiled
    alone = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, tmp_path], capture_output=True, text=True, cwd="/", check=False
    )
    assert (alone.returncode, alone.stderr) == (0, "")


def test_changes_are_shown_and_not_made_without_consent(account: Account) -> None:
    done = deploy(account)
    assert done.returncode == 1
    assert "no terminal to ask at" in done.stderr
    assert ["Add", "Table", "AWS::DynamoDB::Table", "-"] in [line.split() for line in done.stdout.splitlines()]
    stacks = account.client("cloudformation").describe_stacks()["Stacks"]
    assert STACK not in [each["StackName"] for each in stacks]
    assert NAMES["TableName"] not in account.client("dynamodb").list_tables()["TableNames"]


def test_a_deployment_prints_the_outputs_and_a_second_one_has_no_changes(account: Account, stack: str) -> None:
    again = deploy(account, "--yes")
    assert (again.returncode, f"{stack}: no changes" in again.stderr) == (0, True), again.stderr
    outputs = dict(line.split() for line in again.stdout.splitlines())
    assert outputs.items() >= account.outputs(stack).items()


def test_a_change_is_made_and_what_was_given_before_is_kept(account: Account, stack: str) -> None:
    done = account.script("deploy", "messaging", "--prefix", PREFIX, "--set", "LogRetentionDays=30", "--yes")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["Modify", "MessageStreamLogGroup", "AWS::Logs::LogGroup"] in [row[:3] for row in rows]
    assert "Table" not in [row[1] for row in rows]
    groups = account.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/second-")["logGroups"]
    assert {each["retentionInDays"] for each in groups} == {30}


def test_a_replacement_of_the_table_stands_out_and_takes_more_than_a_yes(
    account: Account, stack: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = deploy(account, "--yes", TableName="second-renamed")
    assert done.returncode == 1
    assert ["!!", "Modify", "Table", "AWS::DynamoDB::Table", "True"] in [
        line.split() for line in done.stdout.splitlines()
    ]
    assert "no terminal to ask at, and Table would be replaced or removed" in done.stderr
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.url)
    assert load("aws/deploy")(["messaging", "--prefix", PREFIX, "--set", "TableName=second-renamed"]) == 1
    assert f"Nothing was done: the answer was not {STACK}" in capsys.readouterr().err
    tables = account.client("dynamodb").list_tables()["TableNames"]
    assert (NAMES["TableName"] in tables, "second-renamed" in tables) == (True, False)


def test_what_is_missing_or_unknown_is_named_before_anything_is_made(account: Account) -> None:
    bare = account.script("deploy", "messaging", "--prefix", "third", "--yes", "--parameters", "/nowhere")
    assert bare.returncode == 1
    assert "third-messaging lacks CodeBucket, MessageStreamKey, PostConfirmationKey, FunctionSubnetIds" in bare.stderr
    wrong = deploy(account, "--yes", TableNmae="messages")
    assert (wrong.returncode, wrong.stderr) == (1, "messaging has no parameter TableNmae\n")


@pytest.fixture
def own_templates(account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder for templates in place of aws/cfn; their stacks begin with `third`, and are gone afterwards."""
    monkeypatch.setattr(templates, "TEMPLATES", tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.url)
    templates.template.cache_clear()
    yield tmp_path
    templates.template.cache_clear()
    for name in templates.STACKS:
        account.client("cloudformation").delete_stack(StackName=f"third-{name}")


@pytest.fixture
def deploy_with(own_templates: Path) -> Callable[..., int]:
    """Deploys a template of two resources, one of them given, as the stack third-messaging; the exit status."""

    def run(*arguments: str, **resource: Any) -> int:
        resources = {"Topic": {"Type": "AWS::SNS::Topic"}, "Second": resource | {"DependsOn": "Topic"}}
        (own_templates / "messaging.yaml").write_text(json.dumps({"Parameters": {}, "Resources": resources}))
        return load("aws/deploy")(["messaging", "--prefix", "third", *arguments])

    return run


def test_outputs_become_the_parameters_of_later_stacks_unless_one_is_given(
    account: Account, own_templates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "Name"}}}}
    outputs = {"Name": {"Value": "of the network"}}
    network = {"Parameters": {"Name": {"Type": "String", "Default": "none"}}, "Resources": topic, "Outputs": outputs}
    messaging = {"Parameters": {"Name": {"Type": "String"}}, "Resources": topic}
    (own_templates / "network.yaml").write_text(json.dumps(network))
    (own_templates / "messaging.yaml").write_text(json.dumps(messaging))

    def name(stack: str) -> str:
        found = account.client("cloudformation").describe_stacks(StackName=f"third-{stack}")["Stacks"][0]
        return str(found["Parameters"][0]["ParameterValue"])

    deploy_both = ["messaging", "network", "--prefix", "third", "--yes"]
    assert load("aws/deploy")(deploy_both) == 0, capsys.readouterr().err
    assert (name("network"), name("messaging")) == ("none", "of the network")
    assert load("aws/deploy")([*deploy_both[:1], *deploy_both[2:], "--set", "Name=given"]) == 0
    assert (name("network"), name("messaging")) == ("none", "given")


@pytest.mark.parametrize(
    ("resource", "cause"),
    [
        (
            {"Type": "AWS::Logs::MetricFilter", "Properties": {"LogGroupName": "nowhere"}},
            "third-messaging ended in ROLLBACK_COMPLETE. Second: ",
        ),
        (
            {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": BUCKET}},
            "third-messaging ended in ROLLBACK_COMPLETE. Second: Resource of type 'AWS::S3::Bucket' with identifier",
        ),
    ],
)
def test_a_failed_deployment_names_its_cause_and_the_way_out(
    deploy_with: Callable[..., int], capsys: pytest.CaptureFixture[str], resource: dict[str, Any], cause: str
) -> None:
    assert deploy_with("--yes", **resource) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(cause)
    assert deploy_with("--yes", **resource) == 1
    assert "ROLLBACK_COMPLETE: run bin/aws/delete messaging first" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_a_deployment_is_made_when_it_is_agreed_to(
    account: Account, deploy_with: Callable[..., int], monkeypatch: pytest.MonkeyPatch, typed: str, status: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert deploy_with(Type="AWS::SNS::Topic") == status
    stacks = [each["StackName"] for each in account.client("cloudformation").describe_stacks()["Stacks"]]
    assert ("third-messaging" in stacks) == (status == 0)


def test_a_protected_stack_is_not_deleted_and_what_people_wrote_never_is(account: Account, stack: str) -> None:
    outputs = account.outputs(stack)
    refused = account.script("delete", "messaging", "--prefix", PREFIX, "--yes")
    assert refused.returncode == 1
    assert "aws dynamodb update-table --table-name second-TableName --no-deletion-protection-enabled" in refused.stderr
    assert account.outputs(stack) == outputs

    contents = TableContents(account.client("dynamodb"), NAMES["TableName"])
    contents.put(ITEM)
    unprotect(account, outputs)
    unasked = account.script("delete", "messaging", "--prefix", PREFIX)
    assert (unasked.returncode, "no terminal to ask at" in unasked.stderr) == (1, True)
    deleted = account.script("delete", "messaging", "--prefix", PREFIX, "--yes")
    assert deleted.returncode == 0, deleted.stderr
    assert "Retained, and still billed: AWS::DynamoDB::Table second-TableName" in deleted.stderr
    assert contents.items() == [ITEM]
    account.client("cognito-idp").describe_user_pool(UserPoolId=outputs["UserPoolId"])
    gone = account.script("delete", "messaging", "--prefix", PREFIX, "--yes")
    assert (gone.returncode, "There is no stack second-messaging" in gone.stderr) == (1, True)


def test_a_protected_load_balancer_or_database_stops_a_deletion_before_it_begins(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.url)
    with closing(account.client("elbv2")) as balancers, closing(account.client("rds")) as databases:
        made = balancers.create_load_balancer(Name="front", Subnets=["subnet-1", "subnet-2"])["LoadBalancers"]
        arn = made[0]["LoadBalancerArn"]
        databases.create_db_instance(
            DBInstanceIdentifier="users", DBInstanceClass="db.t4g.micro", Engine="postgres", DeletionProtection=True
        )
        resources = [
            ("AWS::ElasticLoadBalancingV2::LoadBalancer", arn),
            ("AWS::RDS::DBInstance", "users"),
            ("AWS::SNS::Topic", "alarms"),
        ]
        assert [each.split()[0] for each in protections(boto3.Session(), resources)] == ["users"]
        protected = [{"Key": "deletion_protection.enabled", "Value": "true"}]
        balancers.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=protected)
        assert [each.split()[0] for each in protections(boto3.Session(), resources)] == [arn, "users"]
        databases.modify_db_instance(DBInstanceIdentifier="users", DeletionProtection=False)
        assert [each.split()[0] for each in protections(boto3.Session(), resources)] == [arn]


def test_a_stack_is_not_deleted_while_a_later_one_may_use_it(account: Account, stack: str) -> None:
    formation = account.client("cloudformation")
    template = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    formation.create_stack(StackName=f"{PREFIX}-service", TemplateBody=template)
    refused = account.script("delete", "messaging", "--prefix", PREFIX, "--yes")
    formation.delete_stack(StackName=f"{PREFIX}-service")
    assert (refused.returncode, refused.stderr) == (
        1,
        "Refused: second-service may use second-messaging. Delete them first.\n",
    )
