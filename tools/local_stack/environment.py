"""The environment variables of a local stack, and the file in which other processes find them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lib.config import Settings, declarations, is_local
from tools.local_stack.processes import LOOPBACK

REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}  # emulators take any, AWS refuses them

_SETTINGS = declarations(Settings)
_LOCAL_HOSTS = f"{LOOPBACK},localhost"


def is_emulator(url: str | None) -> bool:
    """Whether a URL of DynamoDB or Cognito leads to an emulator of a local stack.

    A tunnel to AWS begins at this machine, too. So the process must have the credentials that only emulators accept.
    """
    return is_local(url) and os.environ.get("AWS_ACCESS_KEY_ID") == CREDENTIALS["AWS_ACCESS_KEY_ID"]


def without_developer(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the settings of this system and without the variables that boto3 and libpq read.

    It adds credentials of no AWS account. It turns `.env` off, and the proxy for loopback addresses.
    """
    rest = {
        name: value
        for name, value in environ.items()
        if name not in _SETTINGS and not name.startswith(("AWS_", "BOTO_", "PG"))
    }
    no_proxy = {name: ",".join(filter(None, [environ.get(name), _LOCAL_HOSTS])) for name in ("NO_PROXY", "no_proxy")}
    no_files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    switches = {"AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true", "PYTHON_DOTENV_DISABLED": "1"}
    return rest | no_proxy | no_files | CREDENTIALS | switches


def variables_of(settings: Settings) -> dict[str, str]:
    """A stack's variables, defaults included, so that no setting of another system fills a gap."""
    return CREDENTIALS | {name: str(getattr(settings, setting.name)) for name, setting in _SETTINGS.items()}


def write_stack_env(folder: Path, variables: Mapping[str, str]) -> None:
    """Write `stack.env`, which lib/config.py reads: the variables without the settings of a single process."""
    lines = [
        f"{name}='{value}'\n"
        for name, value in variables.items()
        if name not in _SETTINGS or _SETTINGS[name].metadata["of_stack"]
    ]
    write_private(folder / "stack.env", "".join(lines))


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step. Only its owner can read it."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)  # in a shared folder it may be a link, or a file of another user
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)
