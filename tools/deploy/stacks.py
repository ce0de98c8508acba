"""Stacks of CloudFormation: parameters, change sets, progress and outputs.

The scripts handle botocore's errors and ask for confirmation.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

from botocore.exceptions import WaiterError

from tools.deploy.templates import STACKS, body, parameters

PRECIOUS = ("AWS::DynamoDB::Table", "AWS::Cognito::UserPool", "AWS::RDS::DBInstance", "AWS::RDS::DBCluster")
"""Types that hold user data: a replacement is empty."""

_POLL_SECONDS = 2.0
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "DELETE_COMPLETE")
_NOT_CREATED = "REVIEW_IN_PROGRESS"  # the stack has a change set and no resources
_NOT_UPDATABLE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")


class StackError(Exception):
    """A stack did not reach the requested state; the message says why."""


class ChangeSet(NamedTuple):
    """The changes of a deployment: each parameter's name, old and new value, and CloudFormation's ResourceChanges."""

    id: str
    parameters: list[tuple[str, str | None, str]]
    resources: list[Mapping[str, Any]]


def is_loss(change: Mapping[str, Any]) -> bool:
    """Whether a ResourceChange may lose user data."""
    is_gone = change["Action"] in ("Remove", "Dynamic")  # Dynamic: CloudFormation cannot say beforehand
    return change["ResourceType"] in PRECIOUS and (is_gone or change.get("Replacement") in ("True", "Conditional"))


class Stack:
    """One of the system's stacks, named `<prefix>-<template>`."""

    def __init__(self, client: Any, prefix: str, template: str) -> None:
        self._client = client
        self._order = [f"{prefix}-{name}" for name in STACKS]
        self.template = template
        self.name = f"{prefix}-{template}"

    def describe(self) -> dict[str, Any]:
        """CloudFormation's description; empty if there is no such stack."""
        return self._stacks().get(self.name, {})

    def outputs(self) -> dict[str, str]:
        """The stack's outputs; none if there is no such stack."""
        return _outputs(self.describe())

    def dependents(self) -> list[str]:
        """The names of the existing stacks that may take values from this one."""
        return [name for name in self._stacks() if name in self._order[self._order.index(self.name) + 1 :]]

    def resolve_parameters(self, given: Mapping[str, str]) -> dict[str, str]:
        """The values of the template's parameters: `given`, else an earlier stack's outputs, else the last deployment.

        The result lacks a parameter that has none of these.
        """
        stacks = self._stacks()
        known = _parameters(stacks.get(self.name, {}))
        for name in self._order[: self._order.index(self.name)]:
            known |= _outputs(stacks.get(name, {}))
        known |= given
        return {name: known[name] for name in parameters(self.template) if name in known}

    def prepare(self, values: Mapping[str, str]) -> ChangeSet | None:
        """A change set that creates or updates the stack; None if nothing would change. Raises StackError."""
        required = [name for name, has_default in parameters(self.template).items() if not has_default]
        if missing := ", ".join(name for name in required if name not in values):
            raise StackError(f"{self.name} lacks {missing}: give --set NAME=VALUE, or deploy an earlier stack")
        deployed = self.describe()
        status = deployed.get("StackStatus", _NOT_CREATED)
        if status in _NOT_UPDATABLE:
            raise StackError(f"{self.name} is in {status}: run bin/aws/delete {self.template} first")
        if status == "UPDATE_ROLLBACK_FAILED":
            raise StackError(f"{self.name} is in {status}: aws cloudformation continue-update-rollback (docs/aws.md)")
        created = self._client.create_change_set(
            StackName=self.name,
            ChangeSetName=f"deploy-{uuid.uuid4().hex}",
            ChangeSetType="CREATE" if status == _NOT_CREATED else "UPDATE",
            TemplateBody=body(self.template),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        )
        place = {"StackName": self.name, "ChangeSetName": created["Id"]}
        try:
            waiter = self._client.get_waiter("change_set_create_complete")
            waiter.wait(**place, WaiterConfig={"Delay": _POLL_SECONDS, "MaxAttempts": 300})
        except WaiterError as error:
            reason = error.last_response["StatusReason"]
            if any(text in reason for text in _NO_CHANGES):
                self._client.delete_change_set(**place)
                return None
            causes = self._validation_errors(ChangeSetName=created["Id"]) or [reason]
            raise StackError(f"{self.name} cannot be changed. {'; '.join(causes)}") from error
        old = _parameters(deployed)
        changed = [(name, old.get(name), value) for name, value in values.items() if value != old.get(name)]
        changes = self._read("describe_change_set", "Changes", **place)
        return ChangeSet(created["Id"], changed, [change["ResourceChange"] for change in changes])

    def execute(self, change_set: ChangeSet) -> Iterator[str]:
        """Execute a change set; yield a line for each finished resource. Raises StackError if it fails."""
        token = uuid.uuid4().hex
        self._client.execute_change_set(StackName=self.name, ChangeSetName=change_set.id, ClientRequestToken=token)
        return self._follow(self.name, token)

    def protect(self, *, enabled: bool) -> None:
        """Switch the stack's termination protection on or off."""
        self._client.update_termination_protection(StackName=self.name, EnableTerminationProtection=enabled)

    def discard(self, change_set: ChangeSet) -> None:
        """Delete a change set, and the empty stack that a first change set creates."""
        self._client.delete_change_set(StackName=self.name, ChangeSetName=change_set.id)
        if self.describe().get("StackStatus") == _NOT_CREATED:
            self._client.delete_stack(StackName=self.name)

    def delete(self) -> Iterator[str]:
        """Delete the stack, except retained resources. Yields and raises as `execute` does."""
        token = uuid.uuid4().hex
        stack_id = self.describe()["StackId"]
        self._client.delete_stack(StackName=self.name, ClientRequestToken=token)
        return self._follow(stack_id, token)  # CloudFormation finds a deleted stack only by its id

    def _follow(self, stack: str, token: str) -> Iterator[str]:
        events: list[Mapping[str, Any]] = []
        while True:
            # Read the state first: CloudFormation writes a final state after the last event.
            status = self.describe().get("StackStatus", "DELETE_COMPLETE")
            shown, events = len(events), self._events(stack, token)
            yield from map(_line, events[shown:])
            if not status.endswith("_IN_PROGRESS"):
                break
            time.sleep(_POLL_SECONDS)
        if status not in _DONE:
            causes = self._validation_errors(StackName=stack)
            causes += [f"{event['LogicalResourceId']}: {_reason(event)}" for event in events if is_cause(event)]
            raise StackError(f"{self.name} ended in {status}. {'; '.join(causes)}")

    def _events(self, stack: str, token: str) -> list[Mapping[str, Any]]:
        """The finished steps of an operation, oldest first. No two operations overlap, so its events are the newest."""
        newest_first = self._read("describe_stack_events", "StackEvents", StackName=stack)
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

    def _stacks(self) -> dict[str, dict[str, Any]]:
        """CloudFormation's descriptions of the account's stacks, by their names."""
        return {stack["StackName"]: stack for stack in self._read("describe_stacks", "Stacks")}

    def _read(self, operation: str, key: str, **arguments: str) -> Iterator[Any]:
        """The elements of all pages of a response."""
        for page in self._client.get_paginator(operation).paginate(**arguments):
            yield from page[key]


def is_cause(event: Mapping[str, Any]) -> bool:
    """Whether the resource itself failed, rather than was cancelled after another failure."""
    return event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in _reason(event).lower()


def _outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _parameters(stack: Mapping[str, Any]) -> dict[str, str]:
    return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in stack.get("Parameters", [])}


def _line(event: Mapping[str, Any]) -> str:
    reason = _reason(event)
    if event["ResourceStatus"] == "DELETE_SKIPPED":
        reason = f"({event['PhysicalResourceId']}) is retained, and still billed"
    return f"{event['ResourceStatus']:<24} {event['LogicalResourceId']} {reason}".rstrip()


def _reason(event: Mapping[str, Any]) -> str:
    return str(event.get("ResourceStatusReason", ""))
