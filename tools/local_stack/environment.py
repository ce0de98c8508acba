"""The variables of a local stack: nothing of what a developer has set for other systems, and a file that holds them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from lib.config import Settings
from tools.local_stack.processes import LOOPBACK

REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}  # what emulators take; not secret

_SETTINGS = {each.name.upper(): each for each in fields(Settings)}
_LOCAL_HOSTS = f"{LOOPBACK},localhost"


def without_developer(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings of this system and without whatever boto3 and libpq would read.

    In their place come credentials that no AWS account knows; `.env` stays unread, and loopback is asked without a
    proxy.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _SETTINGS and not name.startswith(("AWS_", "BOTO_", "PG"))
    }
    direct = {name: ",".join(filter(None, [environ.get(name), _LOCAL_HOSTS])) for name in ("NO_PROXY", "no_proxy")}
    nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    switches = {"AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true", "PYTHON_DOTENV_DISABLED": "1"}
    return kept | direct | nowhere | CREDENTIALS | switches


def write_stack_env(folder: Path, variables: Mapping[str, str]) -> None:
    """Leave the settings that lead to this stack to whoever works with it; lib/config.py reads them."""
    lines = [
        f"{name}='{value}'\n"
        for name, value in variables.items()
        if name not in _SETTINGS or _SETTINGS[name].metadata["of_stack"]
    ]
    write_private(folder / "stack.env", "".join(lines))


def write_private(path: Path, text: str) -> None:
    """Write a file that holds secrets, whole or not at all, for its owner alone."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)
