"""The compose file as compose reads it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from lib.config import ROOT

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def environment(service: str, **given: str) -> dict[str, str]:
    """A service's variables, when those that the file takes over from the caller are `given`."""
    variables: dict[str, str] = SERVICES[service].get("environment", {})
    return {
        name: re.sub(r"\$\{(\w+):-(.*?)\}", lambda found: given.get(found[1], found[2]), value)
        for name, value in variables.items()
    }
