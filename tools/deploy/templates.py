"""Reads the templates in aws/cfn: the stacks, their order and their parameters."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from lib.config import ROOT

TEMPLATES = ROOT / "aws" / "cfn"

STACKS = ("deployment", "network", "messaging", "tasks", "service", "monitoring", "guardrails", "organization")
"""In the order of deployment: a stack takes parameters from the outputs of earlier ones."""


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as long ones: `!Ref X` is `{"Ref": "X"}`."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any = loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else node.value
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def body(name: str) -> str:
    """The template's text, as CloudFormation takes it."""
    return (TEMPLATES / f"{name}.yaml").read_text()


@cache
def template(name: str) -> dict[str, Any]:
    """The template's content, with every function in its long form."""
    content: dict[str, Any] = yaml.load(body(name), _Loader)  # noqa: S506 - a SafeLoader
    return content


def resources(name: str, kind: str) -> dict[str, dict[str, Any]]:
    """The properties of the template's resources of one type, by their logical ids."""
    declared = template(name)["Resources"].items()
    return {key: resource.get("Properties", {}) for key, resource in declared if resource["Type"] == kind}


def parameters(name: str) -> dict[str, bool]:
    """The template's parameters, and whether each has a default."""
    return {key: "Default" in declaration for key, declaration in template(name)["Parameters"].items()}
