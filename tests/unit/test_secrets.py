"""A secret of AWS Secrets Manager, on moto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from lib.aws.secrets_manager import SecretUnavailable, read_secret

REGION = "eu-north-1"  # not the region of the process


@pytest.fixture
def secrets() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("secretsmanager", region_name=REGION)


def test_secret_is_read_in_the_region_of_its_arn(secrets: Any) -> None:
    arn = secrets.create_secret(Name="database", SecretString="first")["ARN"]
    assert read_secret(arn) == "first"
    secrets.put_secret_value(SecretId=arn, SecretString="second")
    assert read_secret(arn) == "second"


def test_missing_secret_is_unavailable(secrets: Any) -> None:
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:missing"
    with pytest.raises(SecretUnavailable, match="missing") as raised:
        read_secret(arn)
    assert isinstance(raised.value.__cause__, ClientError)
