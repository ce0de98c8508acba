"""Runs scripts of the image on AWS: each in a container of its own, by the task definitions of the stack `tasks`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from botocore.exceptions import ClientError

from tools.deploy.stacks import Stack

MIGRATE = ("bin/db/migrate", "prod", "--yes")

_OWN_TASKS = {"bin/db/migrate": "migrations", "bin/db/roles": "roles"}  # other scripts run as maintenance
_CONTAINER = "script"
_POLL_SECONDS = 2.0


class TaskError(Exception):
    """A script did not run; the message says why."""


def run_script(
    session: Any, prefix: str, command: Sequence[str], show: Callable[[str], None], *, table: str | None = None
) -> int:
    """Run a script of the image, wait for its end, and return its exit status.

    `table` is a table instead of the one in use. Calls `show` with each line of its log. Raises TaskError, ClientError.
    """
    outputs = {**_outputs(session, prefix, "network"), **_outputs(session, prefix, "tasks")}
    task = _OWN_TASKS.get(command[0].removeprefix("./"), "maintenance")
    ecs, cluster = session.client("ecs"), outputs["ClusterName"]
    network = {
        "subnets": outputs["ServiceSubnetIds"].split(","),
        "securityGroups": [outputs["ServiceSecurityGroupId"]],
        "assignPublicIp": "DISABLED",
    }
    container: dict[str, Any] = {"name": _CONTAINER, "command": list(command)}
    if table:
        container["environment"] = [{"name": "DDB_TABLE", "value": table}]
    started = ecs.run_task(
        cluster=cluster,
        taskDefinition=outputs[f"{task.title()}TaskArn"],
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
        overrides={"containerOverrides": [container]},
    )
    if started["failures"]:
        raise TaskError(f"{command[0]} did not start: {started['failures'][0]['reason']}")
    arn = started["tasks"][0]["taskArn"]
    log = _Log(session, outputs["LogGroupName"], f"{task}/{_CONTAINER}/{arn.rpartition('/')[2]}")
    state: dict[str, Any] = {}
    is_stopped = False
    while not is_stopped:
        time.sleep(_POLL_SECONDS)
        # ECS may not know a new task at first.
        state = next(iter(ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]), {})
        is_stopped = state.get("lastStatus") == "STOPPED"  # read before the log, which is complete then
        for line in log.new_lines():
            show(line)
    # GuardDuty may put a container of its own beside the script's.
    ended = next(container for container in state["containers"] if container["name"] == _CONTAINER)
    if "exitCode" not in ended:
        raise TaskError(f"{command[0]} did not start: {ended.get('reason') or state.get('stoppedReason')}")
    return int(ended["exitCode"])


def _outputs(session: Any, prefix: str, template: str) -> dict[str, str]:
    stack = Stack(session.client("cloudformation"), prefix, template)
    outputs = stack.outputs()
    if not outputs:
        raise TaskError(f"There is no stack {stack.name}: run bin/aws/deploy {template} first")
    return outputs


class _Log:
    """The log of a container, which exists from its first line on."""

    def __init__(self, session: Any, group: str, stream: str) -> None:
        self._client = session.client("logs")
        self._place = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}

    def new_lines(self) -> Iterator[str]:
        """The lines since the last call."""
        while True:
            try:
                page = self._client.get_log_events(**self._place)
            except ClientError as error:
                if error.response["Error"]["Code"] == "ResourceNotFoundException":
                    return
                raise
            yield from (event["message"] for event in page["events"])
            if page["nextForwardToken"] == self._place.get("nextToken"):
                return
            self._place["nextToken"] = page["nextForwardToken"]
