"""A verifier whose clocks stand still, and the pool whose tokens it judges: fixtures for the tests of lib/auth.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib import auth
from lib.auth import TokenVerifier
from tests.clocks import FrozenTime
from tests.tokens import TokenIssuer

SUB = "f73f4b05-a59e-468b-8a29-a1c39e7a2222"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenTime:
    clock = FrozenTime()
    monkeypatch.setattr(auth, "time", clock.time)
    monkeypatch.setattr(auth, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def pool() -> Iterator[TokenIssuer]:
    with TokenIssuer() as pool:
        yield pool


@pytest.fixture
def verifier(pool: TokenIssuer, clock: FrozenTime) -> TokenVerifier:
    return verifier_of(pool)


def verifier_of(pool: TokenIssuer) -> TokenVerifier:
    return TokenVerifier(issuer=pool.issuer, client_id=pool.client_id, jwks_url=pool.jwks_url)
