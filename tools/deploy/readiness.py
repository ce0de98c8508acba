"""Asks the deployed API whether it is ready, from this machine, and says what to do while it is not.

Also fetches the public keys of the user pool: a deployment hands them to the API as JwksFallback.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

READY_SECONDS = 600.0  # long enough to create the CNAME meanwhile
_ATTEMPT_SECONDS = 5
_PAUSE_SECONDS = 5.0
_ADVICE = "docs/troubleshooting.md says what to do"


class NotReady(Exception):
    """The API did not become ready; the message says why."""


class KeysNotFetched(Exception):
    """The public keys of the user pool cannot be fetched; the message says why."""


def published_keys(session: Any, user_pool_id: str) -> str:
    """The user pool's public keys as JSON: the same text for the same keys. Raises KeysNotFetched."""
    url = f"{session.client('cognito-idp').meta.endpoint_url}/{user_pool_id}/.well-known/jwks.json"
    try:
        keys = sorted(_get(url)["keys"], key=lambda key: str(key["kid"]))
        if not keys:
            raise ValueError("no keys")
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        raise KeysNotFetched(f"The public keys of the user pool cannot be fetched from {url}: {error!r}") from error
    return json.dumps({"keys": keys}, sort_keys=True, separators=(",", ":"))


def wait_until_ready(url: str, balancer: str) -> Iterator[str]:
    """Ask `/api/ready` until it is 200; yield why it is not whenever that changes, and at last that it is.

    `url` is the API's own, `balancer` the host name of its load balancer. Raises NotReady after READY_SECONDS.
    """
    end = time.monotonic() + READY_SECONDS
    shown = ""
    while True:
        try:
            keys_from = _get(f"{url}/api/ready").get("keys_from")
            break
        except (OSError, HTTPException, ValueError) as error:
            cause = f"{url}/api/ready: {_cause(error, str(urlsplit(url).hostname), balancer)}"
        if time.monotonic() >= end:
            raise NotReady(f"Not ready after {READY_SECONDS:.0f} s. {cause}")
        if cause != shown:
            yield f"{cause}. Waiting …"
            shown = cause
        time.sleep(_PAUSE_SECONDS)
    yield f"{url} is ready"
    if keys_from == "fallback":
        yield f"But it cannot fetch the public keys of the user pool, and uses those of this deployment: {_ADVICE}"


def _get(url: str) -> dict[str, Any]:
    """The JSON object at this URL. Raises OSError, HTTPException, ValueError."""
    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310 - https, or a test's loopback
    with urlopen(request, timeout=_ATTEMPT_SECONDS) as response:  # noqa: S310
        content = json.load(response)
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    return content


def _cause(error: Exception, host: str, balancer: str) -> str:
    reason = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    match reason:
        case socket.gaierror():
            return f"{host} has no address; make it a CNAME of {balancer}"
        case ssl.SSLCertVerificationError():
            return (
                f"the certificate is not valid for {host} ({reason.verify_message}); is CertificateArn the right one?"
            )
        case HTTPError(code=403):
            return "status 403; the firewall refuses this address"
        case HTTPError(code=502 | 503 | 504 as code):
            codes = _codes(reason)
            return (
                f"status {code} {', '.join(codes)}; {_ADVICE}"
                if codes
                else f"status {code}; no container is healthy yet"
            )
        case HTTPError(code=code):
            return f"status {code}; does {host} lead to {balancer}?"
    return f"no response ({reason!r}); does {host} lead to {balancer}?"


def _codes(error: HTTPError) -> list[str]:
    """The codes of the API; none if the load balancer responded itself."""
    try:
        return [str(code) for code in json.load(error)]
    except ValueError:
        return []
