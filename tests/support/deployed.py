"""The system as bin/aws deploys it, on a ministack that stands for an AWS account of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import boto3

from tests.support.scripts import run
from tools.local_stack.ministack import Ministack

BUCKET = "packages-of-the-tests"
NETWORK = {
    "FunctionSubnetIds": "subnet-00000000000000001,subnet-00000000000000002",
    "MessageStreamSecurityGroupId": "sg-00000000000000001",
    "PostConfirmationSecurityGroupId": "sg-00000000000000002",
}
PASSWORDS = "ALLOW_USER_PASSWORD_AUTH,ALLOW_REFRESH_TOKEN_AUTH"  # for want of SRP in boto3
PATIENCE_SECONDS = 15

T = TypeVar("T")


@dataclass(frozen=True)
class Account:
    """An AWS account with the functions' packages in a bucket and the database's URL in a secret."""

    url: str
    parameters: Path
    database_secret_arn: str

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.url)

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A script of bin/aws, working in this account."""
        return run(f"aws/{name}", *arguments, AWS_ENDPOINT_URL=self.url)

    def deploy(self, *arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
        """`bin/aws/deploy messaging`, with these parameters besides those of the network."""
        given = NETWORK | {"DatabaseSecretArn": self.database_secret_arn} | values
        settings = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
        return self.script("deploy", "messaging", "--parameters", str(self.parameters), *settings, *arguments)

    def outputs(self, stack: str) -> dict[str, str]:
        described = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        return {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}


@contextmanager
def open_account(folder: Path, database_url: str) -> Iterator[Account]:
    """A new account, prepared by bin/aws/package and by hand."""
    with Ministack(folder / "account", log=folder / "account.log", persistent=False) as engine:
        boto3.client("s3", endpoint_url=engine.url).create_bucket(Bucket=BUCKET)
        secrets = boto3.client("secretsmanager", endpoint_url=engine.url)
        arn = secrets.create_secret(Name="database", SecretString=database_url)["ARN"]
        account = Account(engine.url, folder / "packages" / "parameters.json", arn)
        packaged = account.script("package", "--bucket", BUCKET, "--output", str(account.parameters.parent))
        assert packaged.returncode == 0, packaged.stderr
        yield account


def eventually(look: Callable[[], T | None]) -> T:
    """What is there after a while, at the latest after PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
