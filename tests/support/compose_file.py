"""The compose file as compose reads it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from lib.config import ROOT


def services(**variables: str) -> dict[str, dict[str, Any]]:
    """The services, if the caller of compose sets these variables."""
    text = (ROOT / "docker-compose.yml").read_text()
    text = re.sub(r"\$\{(\w+):-(.*?)\}", lambda match: variables.get(match[1]) or match[2], text)
    return yaml.safe_load(text)["services"]  # type: ignore[no-any-return]


SERVICES = services()


def environment(service: str) -> dict[str, str]:
    """A service's variables, if the caller of compose sets none that the file refers to."""
    return {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}
