"""Where a script of bin/aws works: the account and region of boto3's own chain. No file of a local stack is read."""

from __future__ import annotations

import os
from typing import Any

import boto3

from lib.config import AwsSettings, SettingsError, load


def open_session() -> Any:
    """A boto3 session. Raises SettingsError without a region, or outside ALLOWED_REGIONS."""
    session = boto3.Session()
    if not session.region_name:
        raise SettingsError(["No AWS region: set AWS_DEFAULT_REGION, or AWS_PROFILE to a profile with one"])
    load(AwsSettings, {**os.environ, "AWS_DEFAULT_REGION": session.region_name})
    return session


def where(session: Any) -> str:
    """The account and region, for people."""
    return f"AWS account {session.client('sts').get_caller_identity()['Account']}, {session.region_name}"
