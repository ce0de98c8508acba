"""Signature Version 4 of a request with a body of bytes, with each day's key derived once.

What it gives is what botocore's `SigV4Auth` gives. Knows no service, and takes the credentials as they are now.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from botocore.auth import SIGNED_HEADERS_BLACKLIST
from botocore.utils import normalize_url_path

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED = frozenset(SIGNED_HEADERS_BLACKLIST)


def authorization(
    headers: Mapping[str, str], body: bytes, *, authority: str, path: str, credentials: Any, region: str, service: str
) -> str:
    """The Authorization header of a POST without a query, whose `headers` have its time as X-Amz-Date.

    `authority` is the Host header, `credentials` a frozen set of botocore's.
    """
    signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()} | {"host": authority}
    names = sorted(signed.keys() - _UNSIGNED)
    listed = ";".join(names)
    lines = "\n".join(f"{name}:{signed[name]}" for name in names)
    canonical = f"POST\n{_canonical_path(path)}\n\n{lines}\n\n{listed}\n{sha256(body).hexdigest()}"
    moment = headers["X-Amz-Date"]
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    key = _key(credentials.secret_key, moment[:8], region, service)
    signature = _hmac(key, f"{_ALGORITHM}\n{moment}\n{scope}\n{sha256(canonical.encode()).hexdigest()}").hex()
    credential = f"{credentials.access_key}/{scope}"
    return f"{_ALGORITHM} Credential={credential}, SignedHeaders={listed}, Signature={signature}"


@lru_cache(maxsize=4)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


@lru_cache(maxsize=4)
def _canonical_path(path: str) -> str:
    return quote(normalize_url_path(path), safe="/~")


def _hmac(key: bytes, message: str) -> bytes:
    return hmac.digest(key, message.encode(), "sha256")
