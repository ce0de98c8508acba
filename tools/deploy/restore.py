"""Restores the table to a point in time: DynamoDB makes a new table, and `complete` gives it what a restore leaves out.

Every step looks at what is there. So after an interruption, the same steps go on. Knows nothing of stacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from lib.ddb.items import EXPIRES_AT
from lib.ddb.schema import schema_mismatches, table_definition

_POLL_SECONDS = 5.0
_MOST_POLLS = 17_280  # a day


class RestoreError(Exception):
    """The table cannot be restored, or the restored one differs; the message says why."""


def restorable_time(client: Any, table: str, at: datetime | None) -> datetime:
    """The whole second to restore: that of `at`, or the latest one. Raises RestoreError."""
    if _describe(client, table) is None:
        raise RestoreError(f"There is no table {table}: see 'A deleted table' in docs/restore.md")
    backups = client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    recovery = backups.get("PointInTimeRecoveryDescription", {})
    if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
        raise RestoreError(f"{table} has no point-in-time recovery: only a backup has an earlier state of it")
    first, last = (recovery[f"{end}RestorableDateTime"].astimezone(UTC) for end in ("Earliest", "Latest"))
    moment = (at or last).astimezone(UTC).replace(microsecond=0)
    if not first.replace(microsecond=0) <= moment <= last:
        times = f"times from {format_time(first)} to {format_time(last)}"
        raise RestoreError(f"{table} can be restored to {times}, not {format_time(moment)}")
    return moment


def start(client: Any, source: str, target: str, at: datetime | None) -> datetime:
    """Begin the restore, unless the target is there; return its time. Raises RestoreError."""
    if (existing := _describe(client, target)) is None:
        moment = restorable_time(client, source, at)
        client.restore_table_to_point_in_time(SourceTableName=source, TargetTableName=target, RestoreDateTime=moment)
        return moment
    summary = existing.get("RestoreSummary", {})
    if not summary.get("SourceTableArn", "").endswith(f":table/{source}"):
        raise RestoreError(f"{target} exists and was not restored from {source}: choose another name by --to")
    restored_to: datetime = summary["RestoreDateTime"].astimezone(UTC)
    if at and at.replace(microsecond=0) != restored_to.replace(microsecond=0):
        raise RestoreError(
            f"{target} is of {format_time(restored_to)}, not {format_time(at)}: choose another name by --to"
        )
    return restored_to


def complete(client: Any, source: str, target: str) -> Iterator[str]:
    """Give the restored table the settings that a restore leaves out; yield a line for each.

    Raises RestoreError if the table then differs from the schema or from the source.
    """
    restored, original = _wait_until_active(client, target), _describe(client, source)
    if not restored.get("DeletionProtectionEnabled"):
        client.update_table(TableName=target, DeletionProtectionEnabled=True)
    yield "deletion protection: on"
    if original:
        yield from _copy(client, original["TableArn"], restored["TableArn"])
    else:
        yield f"resource policy and tags: none, because {source} is gone"
    if not _wait_until_active(client, target).get("StreamSpecification", {}).get("StreamEnabled"):
        stream = table_definition(target)["StreamSpecification"]
        client.update_table(TableName=target, StreamSpecification=stream)
        _wait_until_active(client, target)
    yield f"stream: {stream_arn(client, target)}"
    if client.describe_time_to_live(TableName=target)["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
        ttl = {"AttributeName": EXPIRES_AT, "Enabled": True}
        client.update_time_to_live(TableName=target, TimeToLiveSpecification=ttl)
    yield f"TTL: {EXPIRES_AT}"
    _enable_recovery(client, target)
    yield "point-in-time recovery: on"
    if mismatches := schema_mismatches(client, target) + list(_differences(original or restored, restored)):
        raise RestoreError(f"{target} has another schema: {'; '.join(mismatches)}")
    yield "keys, index, encryption and billing: as they should be"


def stream_arn(client: Any, table: str) -> str:
    """The ARN of the table's present stream."""
    arn: str = client.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    return arn


def _wait_until_active(client: Any, table: str) -> Mapping[str, Any]:
    """The table's description, as soon as it is active; a new table may not be visible at first."""
    waiter = client.get_waiter("table_exists")
    waiter.wait(TableName=table, WaiterConfig={"Delay": _POLL_SECONDS, "MaxAttempts": _MOST_POLLS})
    description: Mapping[str, Any] = client.describe_table(TableName=table)["Table"]
    return description


def _copy(client: Any, source_arn: str, target_arn: str) -> Iterator[str]:
    """Copy the resource policy and the tags, except AWS's own, such as those of a stack."""
    try:
        policy = client.get_resource_policy(ResourceArn=source_arn)["Policy"]
    except client.exceptions.PolicyNotFoundException:
        yield "resource policy: none"
    else:
        client.put_resource_policy(ResourceArn=target_arn, Policy=policy.replace(source_arn, target_arn))
        yield "resource policy: copied"
    pages = client.get_paginator("list_tags_of_resource").paginate(ResourceArn=source_arn)
    tags = [tag for page in pages for tag in page["Tags"] if not tag["Key"].startswith("aws:")]
    if tags:
        client.tag_resource(ResourceArn=target_arn, Tags=tags)
    yield f"tags: {', '.join(tag['Key'] for tag in tags) or 'none'}"


def _enable_recovery(client: Any, table: str) -> None:
    while True:
        try:
            client.update_continuous_backups(
                TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
            )
            return
        except client.exceptions.ContinuousBackupsUnavailableException:  # for some minutes after a restore
            time.sleep(_POLL_SECONDS)


def _differences(original: Mapping[str, Any], restored: Mapping[str, Any]) -> Iterator[str]:
    billing = restored.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if billing != (expected := table_definition("any")["BillingMode"]):
        yield f"the billing: {billing} instead of {expected}"
    keys = [table.get("SSEDescription", {}).get("KMSMasterKeyArn") for table in (restored, original)]
    if keys[0] != keys[1]:
        yield f"the encryption key: {keys[0]} instead of {keys[1]}"


def _describe(client: Any, table: str) -> Mapping[str, Any] | None:
    try:
        description: Mapping[str, Any] = client.describe_table(TableName=table)["Table"]
    except client.exceptions.ResourceNotFoundException:
        return None
    return description


def format_time(moment: datetime) -> str:
    """In UTC, to the second, as `2026-11-29T17:45:00Z`."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
