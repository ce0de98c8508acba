"""Scripts of the image on AWS: their tasks, logs and exit statuses, with stubs that check requests by AWS's models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import boto3
import click
import pytest
from botocore.stub import Stubber

from tests.support import scripts
from tools.deploy import tasks
from tools.deploy.tasks import TaskError, run_script

ID = "0123456789abcdef0123456789abcdef"
ARN = f"arn:aws:ecs:us-east-1:123456789012:task/cluster/{ID}"
OUTPUTS = {
    "ServiceSubnetIds": "subnet-1,subnet-2",
    "ServiceSecurityGroupId": "sg-1",
    "ClusterName": "cluster",
    "LogGroupName": "group",
    "MaintenanceTaskArn": "maintenance:7",
    "MigrationsTaskArn": "migrations:7",
    "RolesTaskArn": "roles:7",
    "ImageTag": "7",
}


class Account:
    """A session with stubbed clients of ECS and of the logs, and with deployed stacks."""

    def __init__(self) -> None:
        self.clients = {name: boto3.client(name, region_name="us-east-1") for name in ("ecs", "logs")}
        self.ecs, self.logs = (Stubber(client) for client in self.clients.values())

    def client(self, name: str) -> Any:
        return self.clients.get(name)

    def starts(self, task: str, *command: str, overrides: dict[str, Any] | None = None, **response: Any) -> None:
        """Expect a script in this task definition, with these values besides its command."""
        network = {"subnets": ["subnet-1", "subnet-2"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
        request = {
            "cluster": "cluster",
            "taskDefinition": task,
            "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": network},
            "overrides": {"containerOverrides": [{"name": "script", "command": list(command), **(overrides or {})}]},
        }
        self.ecs.add_response("run_task", {"tasks": [{"taskArn": ARN}], "failures": []} | response, request)

    def is_in(self, state: str, **container: Any) -> None:
        containers = [{"name": "aws-guardduty-agent", "exitCode": 143}, {"name": "script", **container}]
        task = {"lastStatus": state, "containers": containers, "stoppedReason": "Task failed to start"}
        self.ecs.add_response("describe_tasks", {"tasks": [task]}, {"cluster": "cluster", "tasks": [ARN]})

    def logs_lines(self, stream: str, *pages: list[str], after: str | None = None) -> None:
        """Expect reads of the log until a page has no new token."""
        request = {"logGroupName": "group", "logStreamName": f"{stream}/script/{ID}", "startFromHead": True}
        for number, lines in enumerate([*pages, []]):
            token = f"{stream}-{min(number, len(pages) - 1)}" if pages else after
            page = {"events": [{"message": line} for line in lines], "nextForwardToken": token}
            self.logs.add_response("get_log_events", page, request | ({"nextToken": after} if after else {}))
            after = token


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    account = Account()
    monkeypatch.setattr(tasks, "_POLL_SECONDS", 0)
    monkeypatch.setattr("tools.deploy.stacks.Stack.outputs", lambda stack: OUTPUTS)
    with account.ecs, account.logs:
        yield account
    account.ecs.assert_no_pending_responses()
    account.logs.assert_no_pending_responses()


def test_log_is_shown_while_the_script_runs_and_its_exit_status_returned(account: Account) -> None:
    account.starts("maintenance:7", "bin/ddb/doctor", "--fix", "prod", "--yes")
    account.is_in("PENDING")
    account.logs.add_client_error("get_log_events", "ResourceNotFoundException")
    account.is_in("RUNNING")
    account.logs_lines("maintenance", ["one", "two"], ["three"])
    account.is_in("STOPPED", exitCode=1)
    account.logs_lines("maintenance", ["four"], after="maintenance-1")
    lines: list[str] = []
    assert run_script(account, "cruddur", ["bin/ddb/doctor", "--fix", "prod", "--yes"], lines.append) == 1
    assert lines == ["one", "two", "three", "four"]


def test_new_task_that_ecs_does_not_know_yet_is_waited_for(account: Account) -> None:
    account.starts("migrations:7", "bin/db/migrate")
    missing = {"tasks": [], "failures": [{"arn": ARN, "reason": "MISSING"}]}
    account.ecs.add_response("describe_tasks", missing, {"cluster": "cluster", "tasks": [ARN]})
    account.logs.add_client_error("get_log_events", "ResourceNotFoundException")
    account.is_in("STOPPED", exitCode=0)
    account.logs_lines("migrations", ["done"])
    assert run_script(account, "cruddur", ["bin/db/migrate"], lambda line: None) == 0


@pytest.mark.parametrize(
    ("script", "task"),
    [
        ("bin/db/migrate", "migrations"),
        ("./bin/db/migrate", "migrations"),
        ("bin/db/roles", "roles"),
        ("bin/db/reports", "maintenance"),
    ],
)
def test_script_runs_with_its_own_role(account: Account, script: str, task: str) -> None:
    account.starts(f"{task}:7", script)
    account.is_in("STOPPED", exitCode=0)
    account.logs_lines(task, ["done"])
    assert run_script(account, "cruddur", [script], lambda line: None) == 0


def test_container_that_did_not_start_is_an_error_with_the_reason(account: Account) -> None:
    account.starts("migrations:7", "bin/db/migrate")
    account.is_in("STOPPED", reason="CannotPullContainerError: not found")
    account.logs.add_client_error("get_log_events", "ResourceNotFoundException")
    with pytest.raises(TaskError, match="bin/db/migrate did not start: CannotPullContainerError"):
        run_script(account, "cruddur", ["bin/db/migrate"], lambda line: None)


def test_task_that_finds_no_place_is_an_error_with_the_reason(account: Account) -> None:
    account.starts("migrations:7", "bin/db/migrate", tasks=[], failures=[{"reason": "RESOURCE:ENI"}])
    with pytest.raises(TaskError, match="bin/db/migrate did not start: RESOURCE:ENI"):
        run_script(account, "cruddur", ["bin/db/migrate"], lambda line: None)


def test_missing_stack_is_named(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.deploy.stacks.Stack.outputs", lambda stack: {})
    with pytest.raises(TaskError, match="no stack second-network: run bin/aws/deploy network first"):
        run_script(account, "second", ["bin/db/migrate"], lambda line: None)


def test_command_passes_options_and_exit_status_on(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    account.starts("maintenance:7", "bin/ddb/doctor", "--help")
    account.is_in("STOPPED", exitCode=3)
    account.logs_lines("maintenance", ["a finding"])
    script = scripts.load("aws/run")
    with patch.multiple(script.module, open_session=lambda: account, where=lambda session: "here"):
        assert script(["bin/ddb/doctor", "--help"]) == 3
    assert capsys.readouterr().out == "a finding\n"


def test_command_runs_a_script_on_another_table(account: Account) -> None:
    environment = [{"name": "DDB_TABLE", "value": "restored"}]
    account.starts("maintenance:7", "bin/ddb/doctor", overrides={"environment": environment})
    account.is_in("STOPPED", exitCode=0)
    account.logs_lines("maintenance", ["no finding"])
    script = scripts.load("aws/run")
    with patch.multiple(script.module, open_session=lambda: account, where=lambda session: "here"):
        assert script(["--table", "restored", "bin/ddb/doctor"]) == 0


class FakeStack:
    """A stack `cruddur-service` with a change that is ready; `done` lists what the deployment does with it."""

    template, name = "service", "cruddur-service"

    def __init__(self, done: list[str], image_tag: str) -> None:
        self._done, self._image_tag = done, image_tag

    def resolve_parameters(self, given: dict[str, str]) -> dict[str, str]:
        return {"ImageTag": self._image_tag, "Protected": "no"}

    def prepare(self, values: dict[str, str]) -> Any:
        return scripts.load("aws/deploy").module.ChangeSet("id", [], [])

    def execute(self, changes: object) -> list[str]:
        self._done.append("executed")
        return []

    def discard(self, changes: object) -> None:
        self._done.append("discarded")

    def protect(self, *, enabled: bool) -> None:
        pass


def test_containers_start_only_after_the_migrations(account: Account) -> None:
    account.starts("migrations:7", "bin/db/migrate", "prod", "--yes")
    account.is_in("STOPPED", exitCode=0)
    account.logs_lines("migrations", ["the schema is up to date"])
    assert deploy_service(account, image_tag="7") == ["executed"]


def test_failed_migrations_stop_the_deployment_and_their_log_says_why(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.starts("migrations:7", "bin/db/migrate", "prod", "--yes")
    account.is_in("STOPPED", exitCode=1)
    account.logs_lines("migrations", ["0008_more.sql was not applied: a view uses the column"])
    done: list[str] = []
    with pytest.raises(click.ClickException, match="bin/db/migrate ended with the exit status 1"):
        deploy_service(account, done, image_tag="7")
    assert done == ["discarded"]
    assert "0008_more.sql was not applied: a view uses the column" in capsys.readouterr().err


def test_migrations_of_another_image_do_not_count(account: Account) -> None:
    done: list[str] = []
    with pytest.raises(click.ClickException, match="cruddur-tasks has another image than 8"):
        deploy_service(account, done, image_tag="8")
    assert done == ["discarded"]


def deploy_service(account: Account, done: list[str] | None = None, *, image_tag: str) -> list[str]:
    """Deploy service with an image; return what the deployment did with its changes, also in `done`."""
    done = [] if done is None else done
    scripts.load("aws/deploy").module.deploy(account, "cruddur", FakeStack(done, image_tag), {}, yes=True)
    return done
