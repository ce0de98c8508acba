"""bin/aws/restore: the drill of docs/restore.md on an emulator of AWS, and what the script refuses."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from lib.ddb.errors import ReceiverUnavailable
from lib.ddb.idempotency import DuplicateRequest, Idempotency
from lib.ddb.schema import schema_mismatches
from tests.integration.test_deployed import deliver_all_messages
from tests.support import scripts
from tests.support.clocks import eventually
from tests.support.deployed import Account
from tests.support.point_in_time import PointInTimeRecovery
from tests.support.policies import grants
from tests.support.scripts import Run
from tests.support.stores import ANNA, BERT, CARL, DORA, START, SteppingClock, TableContents, blocks_of, stores_on
from tests.support.streamed import streamed_stores_on
from tests.support.users import add_users
from tools.deploy import restore as module
from tools.postgres.migrations import migrate

PREFIX = "drill"
NAMES = {name: f"drill-{name}" for name in ("TableName", "UserPoolName", "MessageStreamName", "PostConfirmationName")}
TABLE = NAMES["TableName"]
POINT = START - timedelta(hours=1)
RESTORED = f"{TABLE}-{POINT:%Y%m%dT%H%M%SZ}"
POLICY = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "%s"}]}'
)


@dataclass(frozen=True)
class System:
    """A deployed system, and the recovery of its tables."""

    account: Account
    dynamodb: Any
    recovery: PointInTimeRecovery

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self.recovery.installed():
            return self.account.script(name, *arguments, "--prefix", PREFIX)

    def outputs(self) -> dict[str, str]:
        return self.account.outputs(f"{PREFIX}-messaging")

    def granted(self, policy: str) -> set[str]:
        """The resources of a managed policy of the stack messaging."""
        stack, iam = self.account.client("cloudformation"), self.account.client("iam")
        place = {"StackName": f"{PREFIX}-messaging", "LogicalResourceId": policy}
        arn = stack.describe_stack_resource(**place)["StackResourceDetail"]["PhysicalResourceId"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return {resource for _, resource in grants(document["Statement"])}

    def describe(self, table: str) -> dict[str, Any]:
        return dict(self.dynamodb.describe_table(TableName=table)["Table"])

    def contents(self, table: str) -> TableContents:
        return TableContents(self.dynamodb, table)


@pytest.fixture
def system(account: Account) -> Iterator[System]:
    """At the end, the fixture deletes the stack, its pool and all tables of the system."""
    process = account.deploy("--prefix", PREFIX, "--yes", Protected="no", **NAMES)
    assert process.returncode == 0, process.stderr
    outputs = account.outputs(f"{PREFIX}-messaging")
    deliver_all_messages(account, outputs["MessageStreamFunctionName"])
    with closing(account.client("dynamodb")) as dynamodb:
        # ministack's CloudFormation leaves it out.
        recovery = {"PointInTimeRecoveryEnabled": True}
        dynamodb.update_continuous_backups(TableName=TABLE, PointInTimeRecoverySpecification=recovery)
        yield System(account, dynamodb, PointInTimeRecovery(dynamodb))
        account.client("cloudformation").delete_stack(StackName=f"{PREFIX}-messaging")
        account.client("cognito-idp").delete_user_pool(UserPoolId=outputs["UserPoolId"])
        for table in dynamodb.list_tables()["TableNames"]:
            if table.startswith(TABLE):
                dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
                dynamodb.delete_table(TableName=table)


@pytest.fixture
def run(
    system: System, new_database: Callable[[], str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs a script of bin/ddb on a table of the system, as the maintenance task does, with these users in Postgres."""
    url = new_database()
    migrate(url)
    add_users(url, ANNA, BERT, CARL, DORA)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", system.account.url)
    monkeypatch.setenv("DATABASE_URL", url)
    in_process = scripts.runner(capsys, "ddb")

    def on_table(table: str, name: str, *arguments: str) -> tuple[int, list[str], str]:
        monkeypatch.setenv("DDB_TABLE", table)
        return in_process(name, *arguments)

    return on_table


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0)


def go_on(system: System, group: str, once: Idempotency) -> str:
    """What people do after the point, in both modes. Returns a new conversation."""
    store = stores_on(system.dynamodb, TABLE)()
    store.send(group_uuid=group, sender=ANNA, text="three", idempotency=once)
    streamed_stores_on(system.dynamodb, TABLE)().send(group_uuid=group, sender=BERT, text="four")
    assert eventually(lambda: system.contents(TABLE).conversation(group).seq == 4)
    blocks_of(store).add(user=BERT, other=DORA)
    return store.send_to_user(sender=CARL, receiver=ANNA, text="hello").group_uuid


def test_drill(system: System, run: Run) -> None:
    clock = SteppingClock(start=START - timedelta(hours=2))
    key = Idempotency("key", "hash")
    store = stores_on(system.dynamodb, TABLE)(clock=clock)
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one", idempotency=key).group_uuid
    streamed_stores_on(system.dynamodb, TABLE)(clock=clock).send(group_uuid=group, sender=BERT, text="two")
    own = system.contents(TABLE)
    assert eventually(lambda: own.conversation(group).seq == 2)
    system.recovery.remember(TABLE, POINT)
    at_point = own.items()

    new = go_on(system, group, once := Idempotency("later", "hash"))
    own.remove(*({"pk": item["pk"], "sk": item["sk"]} for item in at_point if "message_uuid" in item))

    restored = system.script("restore", "--at", POINT.isoformat())
    assert restored.returncode == 0, restored.stderr
    assert run(RESTORED, "doctor")[0] == 0
    assert system.contents(RESTORED).items() == at_point

    # The switch, by the printed command.
    [arguments] = re.findall(r"bin/aws/deploy (messaging .*)", restored.stdout)
    packages = [part for key in system.account.package_keys.items() for part in ("--set", "=".join(key))]
    switched = system.account.script("deploy", *shlex.split(arguments), *packages, "--yes")
    assert switched.returncode == 0, switched.stderr
    outputs = system.outputs()
    assert (outputs["TableName"], outputs["TableStreamArn"]) == (RESTORED, system.describe(RESTORED)["LatestStreamArn"])
    arn = system.describe(RESTORED)["TableArn"]
    assert system.granted("TableAccess") == {arn, f"{arn}/index/message-group-sk-index"}
    deliver_all_messages(system.account, outputs["MessageStreamFunctionName"])
    contents = system.contents(RESTORED)
    streamed = streamed_stores_on(system.dynamodb, RESTORED)()
    streamed.send(group_uuid=group, sender=ANNA, text="after the switch")
    assert eventually(lambda: contents.conversation(group).seq == 3)
    contents.check(group, ["one", "two", "after the switch"])

    again = system.account.script("deploy", "messaging", "--prefix", PREFIX, *packages, "--yes")
    assert f"{PREFIX}-messaging: no changes" in again.stderr

    # What people wrote in between.
    since = ["--since", POINT.isoformat()]
    listed = run(RESTORED, "copy-later", TABLE, *since)
    copied = run(RESTORED, "copy-later", TABLE, *since, "--copy", "prod", "--yes")
    assert sorted(listed[1]) == sorted(copied[1])
    assert run(RESTORED, "copy-later", TABLE, *since)[1] == []
    assert run(RESTORED, "doctor", "--fix", "prod", "--yes")[0] == 0
    assert run(RESTORED, "doctor")[0] == 0
    numbers = {message.text: message.seq for message in contents.messages(group)}
    assert numbers.pop("after the switch") == 3  # clients have seen it
    assert numbers == {"one": 1, "two": 2, "three": 4, "four": 5}
    contents.check(new, ["hello"])
    with pytest.raises(DuplicateRequest):
        stores_on(system.dynamodb, RESTORED)().send(group_uuid=group, sender=ANNA, text="three", idempotency=once)
    with pytest.raises(ReceiverUnavailable):
        stores_on(system.dynamodb, RESTORED)().send_to_user(sender=DORA, receiver=BERT, text="blocked")


def test_restored_table_gets_the_settings_that_a_restore_leaves_out(system: System) -> None:
    arn = system.describe(TABLE)["TableArn"]
    system.dynamodb.put_resource_policy(ResourceArn=arn, Policy=POLICY % arn)
    tags = [{"Key": "team", "Value": "messages"}, {"Key": "aws:cloudformation:stack-name", "Value": "drill"}]
    system.dynamodb.tag_resource(ResourceArn=arn, Tags=tags)
    system.recovery.remember(TABLE, POINT)
    process = system.script("restore")  # the latest time
    assert process.returncode == 0, process.stderr
    restored = system.describe(RESTORED)
    assert (restored["DeletionProtectionEnabled"], restored["StreamSpecification"]["StreamViewType"]) == (
        True,
        "NEW_IMAGE",
    )
    assert schema_mismatches(system.dynamodb, RESTORED) == []
    backups = system.dynamodb.describe_continuous_backups(TableName=RESTORED)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert system.dynamodb.list_tags_of_resource(ResourceArn=restored["TableArn"])["Tags"] == tags[:1]
    policy = system.dynamodb.get_resource_policy(ResourceArn=restored["TableArn"])["Policy"]
    assert policy == POLICY % restored["TableArn"]

    again = system.script("restore", "--to", RESTORED)
    assert (again.returncode, again.stdout) == (0, process.stdout)
    assert system.describe(RESTORED)["LatestStreamArn"] == restored["LatestStreamArn"]


def test_interrupted_restore_goes_on(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    system.recovery.remember(TABLE, POINT)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_copy", Mock(side_effect=KeyboardInterrupt))  # Ctrl-C
        interrupted = system.script("restore")
    [(target, at)] = re.findall(r"--to (\S+) --at (\S+)", interrupted.stderr)
    assert (interrupted.returncode, target, interrupted.stdout) == (130, RESTORED, "")
    process = system.script("restore", "--to", target, "--at", at)
    assert process.returncode == 0, process.stderr
    assert schema_mismatches(system.dynamodb, RESTORED) == []


def test_impossible_restore_is_refused_with_its_reason(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    system.recovery.remember(TABLE, POINT)

    def refusal(*arguments: str) -> str:
        process = system.script("restore", *arguments)
        assert (process.returncode, process.stdout) == (1, "")
        return process.stderr.splitlines()[-1]

    window = f"times from 2026-01-02T08:15:00Z to {POINT:%Y-%m-%dT%H:%M:%SZ}"
    assert refusal("--at", "2026-01-02T08:14:59") == f"{TABLE} can be restored to {window}, not 2026-01-02T08:14:59Z"
    assert f"{window}, not 2100-01-01T00:00:00Z" in refusal("--at", "2100-01-01")
    assert refusal("--to", TABLE) == f"The name of the new table must begin with {TABLE}-"
    system.dynamodb.create_table(**module.table_definition(f"{TABLE}-other"))
    existing = f"{TABLE}-other exists and was not restored from {TABLE}: choose another name by --to"
    assert refusal("--to", f"{TABLE}-other") == existing
    system.recovery.restore(TABLE, RESTORED, POINT)
    assert f"{RESTORED} is of {POINT:%Y-%m-%dT%H:%M:%SZ}, not 2026-06-01T00:00:00Z" in refusal(
        *("--at", "2026-06-01", "--to", RESTORED)
    )
    provisioned = module.table_definition(TABLE) | {"BillingMode": "PROVISIONED"}
    monkeypatch.setattr(module, "table_definition", lambda _: provisioned)
    assert "the billing: PAY_PER_REQUEST instead of PROVISIONED" in refusal("--to", RESTORED)
    recovery = {"PointInTimeRecoveryEnabled": False}
    system.dynamodb.update_continuous_backups(TableName=TABLE, PointInTimeRecoverySpecification=recovery)
    assert refusal() == f"{TABLE} has no point-in-time recovery: only a backup has an earlier state of it"
    other = system.account.script("restore", "--prefix", "nobodys")
    assert other.stderr == "There is no stack nobodys-messaging in AWS account 000000000000, us-east-1\n"
    assert system.account.script("restore", "--at", "yesterday").returncode == 2


def test_restored_backup_of_a_deleted_table_gets_its_settings_without_the_table(system: System) -> None:
    system.recovery.remember(TABLE, POINT)
    system.recovery.restore(TABLE, RESTORED, POINT)
    system.dynamodb.delete_table(TableName=TABLE)
    refused = system.script("restore")
    assert (refused.returncode, "There is no table drill-TableName" in refused.stderr) == (
        1,
        True,
    )
    process = system.script("restore", "--to", RESTORED)
    assert process.returncode == 0, process.stderr
    assert f"resource policy and tags: none, because {TABLE} is gone" in process.stderr
    assert schema_mismatches(system.dynamodb, RESTORED) == []
