"""The account and region of the scripts in bin/aws, from boto3's own chain. Reads no file of a local stack."""

from __future__ import annotations

import os
from typing import Any

import boto3

from lib.config import AwsSettings, SettingsError, load


def open_session() -> Any:
    """A boto3 session. Raises SettingsError if it has no region or one outside ALLOWED_REGIONS."""
    session = boto3.Session()
    if not session.region_name:
        raise SettingsError(["No AWS region: set AWS_DEFAULT_REGION, or AWS_PROFILE to a profile with one"])
    load(AwsSettings, {**os.environ, "AWS_DEFAULT_REGION": session.region_name})
    return session


def where(session: Any) -> str:
    """The account and region, for messages."""
    return f"AWS account {session.client('sts').get_caller_identity()['Account']}, {session.region_name}"
