"""The system as bin/aws deploys it, on a ministack that emulates an AWS account."""

from __future__ import annotations

import fcntl
import io
import subprocess
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3

from tests.support.scripts import load
from tools.deploy.packages import FUNCTIONS, build, key, logical_name, upload
from tools.local_stack.ministack import ALL_SERVICES, Ministack

BUCKET = "packages-of-the-tests"
NETWORK = {
    "FunctionSubnetIds": "subnet-00000000000000001,subnet-00000000000000002",
    "MessageStreamSecurityGroupId": "sg-00000000000000001",
    "PostConfirmationSecurityGroupId": "sg-00000000000000002",
    "LogRetentionDays": "90",
    "DatabaseResourceId": "db-ABCDEFGHIJKL01234",
    "DynamoDBEndpointId": "vpce-00000000000000001",
}


@dataclass(frozen=True)
class Account:
    """An AWS account with the functions' packages in a bucket. `database_url` is the superuser's, for the tests."""

    url: str
    local_dir: Path
    database_url: str
    package_keys: dict[str, str]

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.url)

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A script of bin/aws on this account, called in this process, without a terminal."""
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.dict("os.environ", AWS_ENDPOINT_URL=self.url, LOCAL_DIR=str(self.local_dir)),
            patch("sys.stdin", io.StringIO()),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            status = load(f"aws/{name}")(list(arguments))
        return subprocess.CompletedProcess([name, *arguments], status, out.getvalue(), err.getvalue())

    def deploy(self, *arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
        """`bin/aws/deploy messaging`, with these parameters besides the packages and those of the network."""
        # The URL of a function then leads to the socket of the embedded Postgres, which accepts any token.
        parameters = NETWORK | {"CodeBucket": BUCKET, "DatabaseHost": self.database_url.partition("?host=")[2]}
        parameters |= self.package_keys | values
        options = [part for name, value in parameters.items() for part in ("--set", f"{name}={value}")]
        return self.script("deploy", "messaging", *options, *arguments)

    def outputs(self, stack: str) -> dict[str, str]:
        (description,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in description["Outputs"]}


def shared_packages(folder: Path) -> dict[str, Path]:
    """The functions' packages. The first process of a test run builds them; others wait."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return {
            function: path if (path := folder / f"{function}.zip").exists() else build(function, folder)
            for function in FUNCTIONS
        }


@contextmanager
def open_account(folder: Path, packages: Collection[Path], database_url: str) -> Iterator[Account]:
    """A new account with these packages in its bucket."""
    with Ministack(folder / "account", log=folder / "account.log", persistent=False, services=ALL_SERVICES) as engine:
        with closing(boto3.client("s3", endpoint_url=engine.url)) as storage:
            storage.create_bucket(Bucket=BUCKET)
            for package in packages:
                upload(storage, package, BUCKET)
        keys = {f"{logical_name(package.stem)}Key": key(package) for package in packages}
        yield Account(engine.url, folder, database_url, keys)
