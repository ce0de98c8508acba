"""For tests of lib/identity/tokens.py: a verifier with a stopped clock, and the pool whose tokens it checks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.identity import tokens
from lib.identity.tokens import TokenVerifier
from tests.support.clocks import FrozenTime
from tests.support.tokens import TokenIssuer

SUB = "f73f4b05-a59e-468b-8a29-a1c39e7a2222"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenTime:
    clock = FrozenTime()
    monkeypatch.setattr(tokens, "time", clock.time)
    monkeypatch.setattr(tokens, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def pool() -> Iterator[TokenIssuer]:
    with TokenIssuer() as pool:
        yield pool


@pytest.fixture
def verifier(pool: TokenIssuer, clock: FrozenTime) -> TokenVerifier:
    return verifier_of(pool)


def verifier_of(pool: TokenIssuer, jwks_fallback: str = "") -> TokenVerifier:
    return TokenVerifier(
        issuer=pool.issuer, client_id=pool.client_id, jwks_url=pool.jwks_url, jwks_fallback=jwks_fallback
    )
