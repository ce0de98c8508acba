"""Verifies the access tokens of a Cognito user pool by the pool's public keys.

This module owns the rules for valid tokens, the pool's keys and the cache of verified tokens. It knows neither HTTP nor
users: its result is the token's `sub`, and each kind of rejection is an exception class.

https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import threading
from contextlib import suppress
from time import monotonic, time
from typing import Literal, NamedTuple

import jwt
import orjson
from botocore.session import get_session
from cachetools import TLRUCache
from jwt.types import Options

from lib.aws.connections import Connections
from lib.aws.endpoints import ca_bundle
from lib.aws.errors import NoResponse
from lib.cache.base import InMemoryCache
from lib.circuit_breaker import CircuitBreaker, CircuitOpen
from lib.config import SettingsError
from lib.logs import log

ALGORITHM = "RS256"
REQUIRED_CLAIMS = ["exp", "iss", "sub", "token_use", "client_id"]
_CLAIM_CHECKS: Options = {
    "require": REQUIRED_CLAIMS,
    "verify_aud": False,  # an access token has an `aud` only under resource binding; its audience is `client_id`
    "verify_exp": True,
    "verify_iat": True,
    "verify_iss": True,
    "verify_jti": True,
    "verify_nbf": True,
    "verify_sub": True,
}
CLOCK_SKEW_SECONDS = 30  # for `iat` and `nbf`: the issuer's clock may be ahead of this one

MAX_CACHED_TOKENS = 4096
MAX_CACHED_SECONDS = 60

FETCH_TIMEOUT_SECONDS = 2  # for the whole response
KEYS_LIFESPAN_SECONDS = 300  # after this time the verifier fetches the keys again and drops retired ones
# Between two fetches: forged kids cause few requests to the JWKS host, and an outage causes few timeouts. It is as long
# as the `Retry-After` of a 503, so that a client's next try can succeed.
COOLDOWN_SECONDS = 1

# RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1).
_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9\-._~+/]+=*)")


class TokenRejected(Exception):
    """The client is not signed in. The message never quotes the token."""


class TokenMissing(TokenRejected):
    """There is no Authorization header, or an empty one."""


class TokenMalformed(TokenRejected):
    """The header is not `Bearer <one token>`."""


class TokenInvalid(TokenRejected):
    """The token is not a valid access token of this pool and this client."""


class TokenExpired(TokenRejected):
    """The token has expired."""


class KeysUnavailable(Exception):
    """The verifier cannot fetch the key of a token now, so it cannot verify the token."""


KeySource = Literal["user_pool", "fallback"]


class TokenClaims(NamedTuple):
    """Claims of a valid token: the user's Cognito id, and the token's end and beginning in epoch seconds.

    A token without `iat` counts as older than any other.
    """

    sub: str
    exp: int
    iat: int = 0


class TokenVerifier:
    """Verifies access tokens that one issuer signed for one app client. Safe to share between threads."""

    def __init__(
        self, *, issuer: str, client_id: str, jwks_url: str, jwks_fallback: str = "", waiting: float = math.inf
    ) -> None:
        """`jwks_fallback` is a key set as JSON. At most `waiting` threads wait for the first keys.

        Raises SettingsError as _PublicKeys does.
        """
        self._issuer = issuer
        self._client_id = client_id
        self._keys = _PublicKeys(jwks_url, jwks_fallback, waiting)
        # The keys are fingerprints, so that a core dump holds no token.
        self._cached_tokens: InMemoryCache[bytes, TokenClaims] = InMemoryCache(
            TLRUCache(
                MAX_CACHED_TOKENS,
                ttu=lambda _, verified, now: min(now + MAX_CACHED_SECONDS, verified.exp),
                timer=time,
            )
        )

    def verify(self, authorization: str | None) -> TokenClaims:
        """The claims of the token in an Authorization header.

        The result is cached for up to a minute, never past the token's `exp`.
        Raises a TokenRejected, or KeysUnavailable.
        """
        token = bearer_token(authorization)
        fingerprint = hashlib.sha256(token.encode()).digest()
        verified = self._cached_tokens.get(fingerprint)
        if verified is None:
            verified = self._check(token)
            self._cached_tokens.put(fingerprint, verified)
        return verified

    def check_keys(self) -> None:
        """Fetch the keys if there is none yet. Raises KeysUnavailable if there is still none."""
        self._keys.check()

    @property
    def keys_from(self) -> KeySource | None:
        """Where the keys in use come from; None if there is none yet."""
        return self._keys.source

    def _check(self, token: str) -> TokenClaims:
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid")
            if header.get("alg") != ALGORITHM or kid is None:
                raise TokenInvalid("no kid or another alg")
            if kid not in self._keys:  # a token with wrong claims must not cause a fetch
                self._decode(token, None)
            key = self._keys.get(kid)
            if key is None:
                raise TokenInvalid("unknown kid")
            return self._decode(token, key)
        except jwt.ExpiredSignatureError:
            raise TokenExpired("exp is over") from None
        except jwt.PyJWTError as error:
            raise TokenInvalid(type(error).__name__) from None

    def _decode(self, token: str, key: jwt.PyJWK | None) -> TokenClaims:
        """Check the claims and, if there is a key, the signature. Raises TokenInvalid, jwt.PyJWTError."""
        claims = jwt.decode(
            token,
            key or "",
            algorithms=[ALGORITHM],
            issuer=self._issuer,
            leeway=CLOCK_SKEW_SECONDS,
            options={**_CLAIM_CHECKS, "verify_signature": key is not None, "enforce_minimum_key_length": True},
        )
        if claims["token_use"] != "access":  # noqa: S105
            raise TokenInvalid("not an access token")
        if claims["client_id"] != self._client_id:
            raise TokenInvalid("another client's token")
        exp = int(claims["exp"])
        if exp <= time():  # without the leeway
            raise jwt.ExpiredSignatureError
        return TokenClaims(claims["sub"], exp, int(claims.get("iat", 0)))


class _PublicKeys:
    """The pool's public keys by key id (`kid`), from the last successful fetch from the JWKS host.

    They survive an outage of the host. If the first fetch fails, the fallback is in use until a fetch succeeds.
    """

    def __init__(self, jwks_url: str, fallback: str, waiting: float) -> None:
        """Raises SettingsError if a proxy is set, the CA bundle is unreadable or the fallback malformed."""
        try:
            self._fallback = _signing_keys(fallback) if fallback else {}
        except Exception as error:
            raise SettingsError([f"COGNITO_JWKS_FALLBACK is not a set of signing keys: {error!r}"]) from error
        self._breaker = CircuitBreaker("jwks", lambda error: isinstance(error, NoResponse), limit=waiting, quiet=True)
        self._connections = Connections(jwks_url, pool_size=0, ca_bundle=ca_bundle(get_session()))
        self._by_kid: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._attempted_at = float("-inf")  # monotonic
        self._fetching = threading.Lock()

    def __contains__(self, kid: str) -> bool:
        return kid in self._by_kid

    @property
    def source(self) -> KeySource | None:
        if not self._by_kid:
            return None
        return "fallback" if self._by_kid is self._fallback else "user_pool"

    def check(self) -> None:
        """Fetch the keys if there is none. Raises KeysUnavailable if there is still none."""
        if not self._by_kid:
            self._refresh("")
        if not self._by_kid:
            raise KeysUnavailable("no keys, and no fetch")

    def get(self, kid: str) -> jwt.PyJWK | None:
        """The key of that id, or None if a fetch for this call shows that the pool has none.

        Raises KeysUnavailable for an unknown kid without a fetch: the pool may have a new key.
        """
        has_fetched = self._refresh(kid)
        key = self._by_kid.get(kid)
        if key is None and not has_fetched:
            raise KeysUnavailable("unknown kid, and no fetch")
        return key

    def _refresh(self, kid: str) -> bool:
        """Fetch the keys if that is due for this kid; return whether this thread got keys.

        One thread fetches at a time. The others wait only while there is no key at all: forged kids must not occupy
        the threads.
        """
        has_fetched = False
        if self._is_due(kid):
            with suppress(CircuitOpen, NoResponse), self._breaker.call():
                has_fetched = self._fetch_once(kid)
                if not self._by_kid:
                    raise NoResponse
        return has_fetched

    def _fetch_once(self, kid: str) -> bool:
        """Fetch the keys, unless another thread does or has just done so; return whether this thread got keys."""
        if not self._fetching.acquire(blocking=not self._by_kid):
            return False
        try:
            return self._is_due(kid) and self._fetch()
        finally:
            self._fetching.release()

    def _is_due(self, kid: str) -> bool:
        now = monotonic()
        is_outdated = kid not in self._by_kid or now - self._fetched_at >= KEYS_LIFESPAN_SECONDS
        return is_outdated and now - self._attempted_at >= COOLDOWN_SECONDS

    def _fetch(self) -> bool:
        """Replace the keys; return whether the host responded with keys."""
        try:
            status, _, body = self._connections.get(seconds=FETCH_TIMEOUT_SECONDS)
            if status != 200:
                raise ValueError(f"status {status}")
            by_kid = _signing_keys(body)
        except Exception as error:  # a malformed response counts as an outage, too
            self._by_kid = self._by_kid or self._fallback
            log("jwks_fetch_failed", level=logging.WARNING, cause=repr(error), keys_from=self.source)
            self._attempted_at = monotonic()
            return False
        # Keys before times, because `get` reads without the lock: when it sees a new time, it must see the new keys.
        self._by_kid = by_kid
        self._fetched_at = self._attempted_at = monotonic()
        return True


def _signing_keys(jwks: str | bytes) -> dict[str, jwt.PyJWK]:
    """The keys of a key set (RFC 7517) by their ids. Raises any Exception if it is malformed or has no signing key."""
    keys = jwt.PyJWKSet.from_dict(orjson.loads(jwks)).keys
    # Keys for other algorithms do no harm: PyJWT uses a key for its own algorithm only.
    by_kid = {str(key.key_id): key for key in keys if key.key_id and key.public_key_use in ("sig", None)}
    if not by_kid:
        raise ValueError("no signing key")
    return by_kid


def bearer_token(authorization: str | None) -> str:
    """The token in an Authorization header. Raises TokenMissing, TokenMalformed."""
    credentials = (authorization or "").strip(" \t")
    if not credentials:
        raise TokenMissing("no Authorization header")
    match = _BEARER.fullmatch(credentials)
    if match is None:
        raise TokenMalformed("not `Bearer <one token>`")
    return match[1]


def scopes(verified_token: str) -> list[str]:
    """The scopes that the token's user granted the client (RFC 6749 section 3.3), by Cognito's names."""
    claims = jwt.decode(verified_token, options={"verify_signature": False})
    return str(claims.get("scope", "")).split()
