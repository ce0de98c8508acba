"""The system as bin/aws deploys it, on a ministack that stands for an AWS account of its own."""

from __future__ import annotations

import fcntl
import io
import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import boto3

from tests.support.scripts import load, run
from tools.deploy.packages import FUNCTIONS, Package, upload
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
        """A script of bin/aws on this account, called in this process, without a terminal."""
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.dict("os.environ", AWS_ENDPOINT_URL=self.url),
            patch("sys.stdin", io.StringIO()),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            status = load(f"aws/{name}")(list(arguments))
        return subprocess.CompletedProcess([name, *arguments], status, out.getvalue(), err.getvalue())

    def deploy(self, *arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
        """`bin/aws/deploy messaging`, with these parameters besides those of the network."""
        given = NETWORK | {"DatabaseSecretArn": self.database_secret_arn} | values
        settings = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
        return self.script("deploy", "messaging", "--parameters", str(self.parameters), *settings, *arguments)

    def outputs(self, stack: str) -> dict[str, str]:
        described = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        return {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}


def shared_packages(folder: Path) -> dict[str, Package]:
    """The functions' packages in `folder`, made by bin/aws/package for the first process that asks; others wait."""
    folder.mkdir(exist_ok=True)
    parameters = folder / "parameters.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not parameters.exists():
            # Without a bucket the script asks nothing of AWS, so an endpoint that refuses connections is enough.
            packaged = run("aws/package", "--output", str(folder), AWS_ENDPOINT_URL="http://127.0.0.1:9")
            assert packaged.returncode == 0, packaged.stderr
    keys = json.loads(parameters.read_text())
    unnamed = [Package(function, folder / f"{function}.zip", "") for function in FUNCTIONS]
    return {package.function: replace(package, key=keys[package.parameter]) for package in unnamed}


@contextmanager
def open_account(folder: Path, packages: Iterable[Package], database_url: str) -> Iterator[Account]:
    """A new account with these packages in its bucket."""
    with Ministack(folder / "account", log=folder / "account.log", persistent=False) as engine:
        with closing(boto3.client("s3", endpoint_url=engine.url)) as storage:
            storage.create_bucket(Bucket=BUCKET)
            assert all(upload(storage, package, BUCKET) for package in packages)
        with closing(boto3.client("secretsmanager", endpoint_url=engine.url)) as secrets:
            arn = secrets.create_secret(Name="database", SecretString=database_url)["ARN"]
        parameters = {package.parameter: package.key for package in packages} | {"CodeBucket": BUCKET}
        path = folder / "parameters.json"
        path.write_text(json.dumps(parameters))
        yield Account(engine.url, path, arn)


def eventually(look: Callable[[], T | None]) -> T:
    """What is there after a while, at the latest after PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
