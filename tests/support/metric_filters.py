"""Metric filters of CloudWatch Logs: whether a pattern counts a JSON event. No emulator evaluates such patterns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ministack.core.iam_evaluator import fnmatch_iam_cs

_TOKENS = re.compile(
    r'\$\.(?P<path>[\w.]+) *(?:(?P<is>IS|NOT) (?P<word>TRUE|FALSE|NULL|EXISTS)|(?P<operator>!?=) *"(?P<text>[^"]*)")'
    r"|(?P<and>&&)|(?P<or>\|\|)|(?P<bracket>[()])|(?P<space> +)"
)
_WORDS = {"TRUE": True, "FALSE": False, "NULL": None}


def counts(pattern: str, event: Mapping[str, Any]) -> bool:
    """Whether a pattern in braces selects the event. Raises ValueError for syntax that this function does not know.

    AWS does not say whether `!=` selects an event without the field. Here it does not.
    """
    body = pattern.strip().removeprefix("{").removesuffix("}")
    parts: list[str] = []
    position = 0
    while position < len(body):
        token = _TOKENS.match(body, position)
        if token is None:
            raise ValueError(body[position:])
        position = token.end()
        if token["path"]:
            parts.append(str(_term(token, event)))
        else:
            parts.append({"&&": " and ", "||": " or "}.get(token[0], token[0]))
    return bool(eval("".join(parts), {"__builtins__": {}}))  # noqa: S307 - True, False, and, or, brackets


def _term(token: re.Match[str], event: Mapping[str, Any]) -> bool:
    value: Any = event
    for name in token["path"].split("."):
        if not isinstance(value, Mapping) or name not in value:
            return token["is"] == "NOT"
        value = value[name]
    if token["is"] == "NOT":
        return False
    if token["is"]:
        return value is _WORDS[token["word"]]
    return fnmatch_iam_cs(str(value), token["text"]) == (token["operator"] == "=")
