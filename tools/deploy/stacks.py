"""Stacks of CloudFormation: parameters, change sets, progress and outputs.

The scripts handle botocore's errors and ask for confirmation.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from botocore.exceptions import ClientError

from tools.deploy.templates import STACKS, body, parameters

PRECIOUS = ("AWS::DynamoDB::Table", "AWS::Cognito::UserPool", "AWS::RDS::DBInstance", "AWS::RDS::DBCluster")
"""Types that hold user data: a replacement is empty."""

_POLL_SECONDS = 2.0
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "DELETE_COMPLETE")
_NOT_CREATED = ("REVIEW_IN_PROGRESS", None)  # the first: the stack has a change set and no resources
_NOT_UPDATABLE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")
_DELETED = ("DELETE_COMPLETE", "DELETE_SKIPPED")  # DELETE_FAILED still exists


class StackError(Exception):
    """A stack did not reach the requested state; the message says why."""


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """The changes of a deployment: CloudFormation's ResourceChange of each resource."""

    id: str
    changes: list[Mapping[str, Any]]


def is_loss(change: Mapping[str, Any]) -> bool:
    """Whether a ResourceChange may lose user data."""
    is_gone = change["Action"] in ("Remove", "Dynamic")  # Dynamic: CloudFormation cannot say beforehand
    return change["ResourceType"] in PRECIOUS and (is_gone or change.get("Replacement") in ("True", "Conditional"))


class Stack:
    """One of the system's stacks, named `<prefix>-<template>`."""

    def __init__(self, client: Any, prefix: str, template: str) -> None:
        self._client = client
        self._prefix = prefix
        self.template = template
        self.name = f"{prefix}-{template}"

    def status(self) -> str | None:
        """The StackStatus; None if there is no such stack."""
        stack = self._describe(self.name)
        return stack["StackStatus"] if stack else None

    def outputs(self) -> dict[str, str]:
        """Its outputs; none if there is no such stack."""
        stack = self._describe(self.name) or {}
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def before(self) -> list[Stack]:
        """The stacks that this one takes values from."""
        return [Stack(self._client, self._prefix, name) for name in STACKS[: STACKS.index(self.template)]]

    def after(self) -> list[Stack]:
        """The stacks that may take values from this one."""
        return [Stack(self._client, self._prefix, name) for name in STACKS[STACKS.index(self.template) + 1 :]]

    def parameters(self, values: Mapping[str, str]) -> list[dict[str, Any]]:
        """The template's parameters, from `values`, else an earlier stack's outputs, the last deployment, the default.

        Raises StackError with the names of missing parameters.
        """
        values = {name: value for stack in self.before() for name, value in stack.outputs().items()} | dict(values)
        deployed = self._describe(self.name) or {}
        previous = {parameter["ParameterKey"] for parameter in deployed.get("Parameters", [])}
        arguments: list[dict[str, Any]] = []
        missing: list[str] = []
        for name, has_default in parameters(self.template).items():
            if name in values:
                arguments.append({"ParameterKey": name, "ParameterValue": values[name]})
            elif name in previous:
                arguments.append({"ParameterKey": name, "UsePreviousValue": True})
            elif not has_default:
                missing.append(name)
        if missing:
            raise StackError(
                f"{self.name} lacks {', '.join(missing)}: give --set NAME=VALUE, or deploy an earlier stack"
            )
        return arguments

    def prepare(self, values: Mapping[str, str]) -> ChangeSet | None:
        """A change set that creates or updates the stack; None if nothing would change. Raises StackError."""
        status = self.status()
        if status in _NOT_UPDATABLE:
            raise StackError(f"{self.name} is in {status}: run bin/aws/delete {self.template} first")
        created = self._client.create_change_set(
            StackName=self.name,
            ChangeSetName=f"deploy-{uuid.uuid4().hex}",
            ChangeSetType="CREATE" if status in _NOT_CREATED else "UPDATE",
            TemplateBody=body(self.template),
            Parameters=self.parameters(values),
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        )
        place = {"StackName": self.name, "ChangeSetName": created["Id"]}
        while (change_set := self._client.describe_change_set(**place))["Status"].endswith(("PENDING", "IN_PROGRESS")):
            time.sleep(_POLL_SECONDS)
        if change_set["Status"] == "FAILED":
            if any(reason in change_set["StatusReason"] for reason in _NO_CHANGES):
                self._client.delete_change_set(**place)
                return None
            causes = self._validation_errors(ChangeSetName=created["Id"]) or [change_set["StatusReason"]]
            raise StackError(f"{self.name} cannot be changed. {'; '.join(causes)}")
        pages = self._client.get_paginator("describe_change_set").paginate(**place)
        return ChangeSet(created["Id"], [change["ResourceChange"] for page in pages for change in page["Changes"]])

    def execute(self, change_set: ChangeSet) -> Iterator[str]:
        """Execute a change set; yield a line for each finished resource. Raises StackError if it fails."""
        token = uuid.uuid4().hex
        self._client.execute_change_set(StackName=self.name, ChangeSetName=change_set.id, ClientRequestToken=token)
        return self._follow(self.name, token)

    def discard(self, change_set: ChangeSet) -> None:
        """Delete a change set, and the empty stack that a first change set creates."""
        self._client.delete_change_set(StackName=self.name, ChangeSetName=change_set.id)
        if self.status() == "REVIEW_IN_PROGRESS":
            self._client.delete_stack(StackName=self.name)

    def delete(self) -> Iterator[str]:
        """Delete the stack, except retained resources. Raises StackError as `execute` does."""
        token = uuid.uuid4().hex
        stack_id = self._client.describe_stacks(StackName=self.name)["Stacks"][0]["StackId"]
        self._client.delete_stack(StackName=self.name, ClientRequestToken=token)
        return self._follow(stack_id, token)  # CloudFormation finds a deleted stack only by its id

    def resources(self) -> dict[str, tuple[str, str]]:
        """Type and physical name of everything that belongs to the stack, by logical id."""
        pages = self._client.get_paginator("list_stack_resources").paginate(StackName=self.name)
        return {
            summary["LogicalResourceId"]: (summary["ResourceType"], summary["PhysicalResourceId"])
            for page in pages
            for summary in page["StackResourceSummaries"]
            if "PhysicalResourceId" in summary and summary["ResourceStatus"] not in _DELETED
        }

    def _follow(self, stack: str, token: str) -> Iterator[str]:
        events: list[Mapping[str, Any]] = []
        while True:
            # Read the state first: CloudFormation writes a final state after the last event.
            status = (self._describe(stack) or {}).get("StackStatus", "DELETE_COMPLETE")
            shown, events = len(events), self._events(stack, token)
            for event in events[shown:]:
                yield f"{event['ResourceStatus']:<24} {event['LogicalResourceId']} {_reason(event)}".rstrip()
            if not status.endswith("_IN_PROGRESS"):
                break
            time.sleep(_POLL_SECONDS)
        if status not in _DONE:
            causes = self._validation_errors(StackName=stack)
            causes += [f"{event['LogicalResourceId']}: {_reason(event)}" for event in events if is_cause(event)]
            raise StackError(f"{self.name} ended in {status}. {'; '.join(causes)}")

    def _events(self, stack: str, token: str) -> list[Mapping[str, Any]]:
        """The finished steps of an operation, oldest first. No two operations overlap, so its events are the newest."""
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack)
        newest_first = (event for page in pages for event in page["StackEvents"])
        events = list(takewhile(lambda event: event.get("ClientRequestToken") == token, newest_first))[::-1]
        return [event for event in events if not event["ResourceStatus"].endswith("_IN_PROGRESS")]

    def _validation_errors(self, **place: str) -> list[str]:
        """The validation errors of the last operation."""
        failed = self._client.describe_events(**place, Filters={"FailedEvents": True})["OperationEvents"]
        return [
            f"{event['LogicalResourceId']}: {event['ValidationStatusReason']}"
            for event in failed
            if event["OperationId"] == failed[0]["OperationId"] and event["EventType"] == "VALIDATION_ERROR"
        ]

    def _describe(self, stack: str) -> dict[str, Any] | None:
        try:
            description: dict[str, Any] = self._client.describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return description


def is_cause(event: Mapping[str, Any]) -> bool:
    """Whether the resource itself failed, rather than was cancelled after another failure."""
    return event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in _reason(event).lower()


def _reason(event: Mapping[str, Any]) -> str:
    return str(event.get("ResourceStatusReason", ""))
