"""The cache of verified tokens: for a minute, never past their `exp`, and not as tokens."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import jwt
import pytest

from lib.identity import tokens
from lib.identity.tokens import TokenExpired, TokenInvalid, TokenVerifier
from tests.support.clocks import FrozenTime
from tests.support.tokens import TokenIssuer
from tests.support.verifiers import SUB, clock, pool, verifier, verifier_of

__all__ = ["clock", "pool", "verifier"]


@pytest.fixture
def decode(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Counts the verifications that miss the cache."""
    decode = Mock(wraps=jwt.decode)
    monkeypatch.setattr(jwt, "decode", decode)
    return decode


def test_token_is_verified_once_a_minute(
    pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime, decode: Mock
) -> None:
    token = pool.token(SUB)
    for _ in range(5):
        assert verifier.verify(f"Bearer {token}") == SUB
    clock.ahead = tokens.MAX_REMEMBERED_SECONDS - 1
    verifier.verify(f"Bearer {token}")
    assert decode.call_count == 1
    clock.ahead = tokens.MAX_REMEMBERED_SECONDS
    verifier.verify(f"Bearer {token}")
    assert decode.call_count == 2


@pytest.mark.parametrize("kind", [int, str, float])
def test_token_is_not_cached_past_its_exp(
    pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime, decode: Mock, kind: Callable[[int], Any]
) -> None:
    token = pool.token(SUB, exp=kind(int(clock.time()) + 30))
    verifier.verify(f"Bearer {token}")
    clock.ahead = 20
    verifier.verify(f"Bearer {token}")
    assert decode.call_count == 1
    clock.ahead = 30
    verifier.verify(f"Bearer {token}")
    assert decode.call_count == 2


def test_cached_token_that_expires_is_expired(pool: TokenIssuer) -> None:
    verifier = verifier_of(pool)  # by the real time, as PyJWT
    exp = int(time.time()) + 2
    token = pool.token(SUB, exp=exp)
    assert verifier.verify(f"Bearer {token}") == SUB
    time.sleep(exp - time.time())
    with pytest.raises(TokenExpired):
        verifier.verify(f"Bearer {token}")


def test_rejected_token_is_not_cached(pool: TokenIssuer, verifier: TokenVerifier, decode: Mock) -> None:
    for _ in range(3):
        with pytest.raises(TokenInvalid):
            verifier.verify(pool.authorization(SUB, token_use="id"))
    assert decode.call_count == 3


def test_cache_is_bounded_and_holds_no_token(
    pool: TokenIssuer, clock: FrozenTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED_TOKENS", 4)
    verifier = verifier_of(pool)
    issued = [pool.token(f"user {number}") for number in range(10)]
    for token in issued:
        verifier.verify(f"Bearer {token}")
    assert list(verifier._remembered._cache) == [hashlib.sha256(token.encode()).digest() for token in issued[-4:]]
