"""The functions' packages. A package is a zip of a handler, the modules that it imports, and the pinned libraries.

The same input gives the same bytes. A package's key is its content's hash, so only a changed function is uploaded and
deployed. Knows nothing of stacks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Container, Iterator
from modulefinder import ModuleFinder
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lib.config import ROOT

HANDLERS = ROOT / "aws" / "lambdas"

FUNCTIONS: dict[str, set[str]] = {"message_stream": {"dynamodb"}, "post_confirmation": set()}
"""Functions, and the AWS services that each calls."""

RUNTIME = (3, 11)  # the same as in aws/cfn/messaging.yaml
_PLATFORM = "manylinux2014_x86_64"
_DATA = {  # data files of a module
    "lib.postgres.database": list((ROOT / "db" / "sql").rglob("*.sql")),
    "lib.postgres.database_url": [ROOT / "db" / "rds-roots.pem"],
}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time in a zip


class PackageError(Exception):
    """The package could not be built; the message says why."""


def build(function: str, folder: Path) -> Path:
    """Build a function's package, `<folder>/<function>.zip`. Raises PackageError."""
    source = HANDLERS / function
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="cruddur-package-") as name:
        staging = Path(name)
        _install(source / "requirements.txt", staging)
        _trim(staging, FUNCTIONS[function])
        for path in _program(source):
            target = staging / path.relative_to(source if path.is_relative_to(source) else ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        if sys.version_info[:2] == RUNTIME:  # the function's Python ignores other byte code
            _compile(staging)
        package = folder / f"{function}.zip"
        _zip(staging, package)
    return package


def logical_name(function: str) -> str:
    """The function's name in the template, such as `MessageStream`."""
    return function.title().replace("_", "")


def key(package: Path) -> str:
    """The package's key in its bucket, which names its content."""
    return f"{package.stem}/{hashlib.sha256(package.read_bytes()).hexdigest()}.zip"


def upload(client: Any, package: Path, bucket: str) -> None:
    """Put a package into a bucket, encrypted, unless the bucket has it."""
    if not client.list_objects_v2(Bucket=bucket, Prefix=key(package))["KeyCount"]:
        client.put_object(Bucket=bucket, Key=key(package), Body=package.read_bytes(), ServerSideEncryption="AES256")


def publish(client: Any, bucket: str, folder: Path, *, given: Container[str]) -> dict[str, str]:
    """Build and upload the packages of this checkout. Raises PackageError.

    Returns the template's parameters, such as `MessageStreamKey`, without those that are given.
    """
    functions = {f"{logical_name(function)}Key": function for function in FUNCTIONS}
    packages = {name: build(function, folder) for name, function in functions.items() if name not in given}
    for package in packages.values():
        upload(client, package, bucket)
    return {name: key(package) for name, package in packages.items()}


def _install(requirements: Path, target: Path) -> None:
    """Install the pinned libraries, and no others, for the function's platform."""
    _run(
        "the libraries could not be installed",
        *("pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--no-compile", "--only-binary=:all:", "--implementation=cp"),
        *(f"--platform={_PLATFORM}", f"--python-version={RUNTIME[0]}.{RUNTIME[1]}"),
        *(f"--target={target}", f"--requirement={requirements}"),
    )


def _trim(staging: Path, services: set[str]) -> None:
    """Remove unused files: commands, and botocore's data of other services (23 of 24 MB)."""
    shutil.rmtree(staging / "bin", ignore_errors=True)
    for record in staging.glob("*.dist-info/RECORD"):  # it lists the removed commands with their hashes
        record.unlink()
    for service in (staging / "botocore" / "data").glob("*/"):
        if service.name not in services:
            shutil.rmtree(service)


def _program(source: Path) -> Iterator[Path]:
    """The function's own files: the handler, the modules of this checkout that it imports, and their data files."""
    finder = ModuleFinder(path=[str(source), str(ROOT)])
    finder.run_script(str(source / "handler.py"))
    for name, module in finder.modules.items():
        if path := getattr(module, "__file__", None):
            yield Path(path)
        yield from _DATA.get(name, [])


def _compile(staging: Path) -> None:
    """Compile all modules: a function cannot write byte code, and would compile again at every cold start."""
    options = ("-q", "--invalidation-mode=unchecked-hash", f"-s{staging}", "-p/var/task")
    _run("the modules could not be compiled", "compileall", *options, str(staging))


def _run(failure: str, *module: str) -> None:
    """Run a module of Python with its arguments. With a fixed hash seed, byte code is reproducible."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", *module]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if process.returncode:
        raise PackageError(f"{failure}: {(process.stderr or process.stdout).strip()}")


def _zip(folder: Path, target: Path) -> None:
    """Zip all files in the order of their names, with one time and one mode."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(str(path.relative_to(folder)), _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, path.read_bytes())
