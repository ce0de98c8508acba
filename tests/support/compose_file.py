"""The compose file as compose reads it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from lib.config import ROOT

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def environment(service: str) -> dict[str, str]:
    """A service's variables, if the caller of compose sets none that the file refers to."""
    variables: dict[str, str] = SERVICES[service].get("environment", {})
    return {name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value) for name, value in variables.items()}
