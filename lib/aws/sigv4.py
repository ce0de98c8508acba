"""Signature Version 4 of a POST without a query, equal to botocore's SigV4Auth. It derives the key once a day."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from botocore.utils import normalize_url_path

_ALGORITHM = "AWS4-HMAC-SHA256"


def authorization(
    headers: Mapping[str, str], body: bytes, *, path: str, credentials: Any, region: str, service: str
) -> str:
    """The Authorization header of a request. It signs all `headers`; Host and X-Amz-Date must be among them.

    `credentials` are botocore's frozen ones.
    """
    signed = sorted((name.lower(), " ".join(value.split())) for name, value in headers.items())
    names = ";".join(name for name, _ in signed)
    lines = "\n".join(f"{name}:{value}" for name, value in signed)
    canonical = f"POST\n{_canonical_path(path)}\n\n{lines}\n\n{names}\n{sha256(body).hexdigest()}"
    moment = headers["X-Amz-Date"]
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    key = _day_key(credentials.secret_key, moment[:8], region, service)
    signature = _hmac(key, f"{_ALGORITHM}\n{moment}\n{scope}\n{sha256(canonical.encode()).hexdigest()}").hex()
    return f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"


@lru_cache(maxsize=4)
def _day_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


@lru_cache(maxsize=4)
def _canonical_path(path: str) -> str:
    return quote(normalize_url_path(path), safe="/~")


def _hmac(key: bytes, message: str) -> bytes:
    return hmac.digest(key, message.encode(), sha256)  # by its name, the digest takes longer
