"""What the text of a setting may be: choices, numbers, secrets and URLs, and which URLs stay on this machine.

Knows no setting; each says of itself what it takes (lib/config.py).
"""

from __future__ import annotations

import re
from dataclasses import Field
from typing import Any, Literal, get_args
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

Kind = Literal["text", "url", "endpoint", "database_url", "secret"]

# What parsers of URLs read differently, so that one could see another host than the next.
_AMBIGUOUS = re.compile(r"[\\\s\x00-\x1f\x7f]")


def is_local(url: str | None) -> bool:
    """Whether a URL leads to a local stack: loopback, a unix socket, or a host of the compose file.

    The compose file gives its services names under `.test`, which RFC 6761 keeps from ever being public.
    No URL means AWS itself, which is not local.
    """
    if not url or _AMBIGUOUS.search(url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if host is None:
        return parts.scheme.startswith("postgres")
    return host in ("localhost", "127.0.0.1", "::1") or host.endswith(".test")


def proxy_for(url: str) -> str | None:
    """The variable of the environment that names a proxy for this URL, if one does."""
    parts = urlsplit(url)
    if parts.scheme not in getproxies() or proxy_bypass(parts.netloc):
        return None
    return f"{parts.scheme}_proxy".upper()


def parse(text: str, hint: Any, declared: Field[Any]) -> Any:
    """The value that a text stands for, by its type and what is declared of it. ValueError says what it takes."""
    if choices := [choice for choice in get_args(hint) if isinstance(choice, str)]:
        if text not in choices:
            raise ValueError(f"is {text!r}; it takes {' or '.join(choices)}")
        return text
    if hint is int:
        low, high = declared.metadata["low"], declared.metadata["high"]
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"is {text!r}; it takes a whole number from {low} to {high}")
        return int(text)
    kind = declared.metadata["kind"]
    if kind in ("url", "endpoint"):
        return _parse_url(text, plain="anywhere" if kind == "url" else "local")
    if kind == "database_url" and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("is not a postgresql:// URL")  # the value holds a password: it is not repeated
    if kind == "secret" and len(text) < 16:
        raise ValueError("is too short; it takes 16 characters or more")
    return text


def _parse_url(text: str, *, plain: Literal["anywhere", "local"]) -> str:
    """An http or https URL without a last slash; `plain` says where http may lead."""
    parts = urlsplit(text)
    complete = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
    if not complete or _AMBIGUOUS.search(text):
        raise ValueError(f"is {text!r}; it takes a URL that begins with http:// or https://")
    if plain == "local" and parts.scheme == "http" and not is_local(text):
        raise ValueError(f"is {text!r}; it takes https:// for any host but this machine's own")
    return text.rstrip("/")
