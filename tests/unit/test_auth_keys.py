"""The caches of the verifier: the pool's public keys, through rotations and outages, and verified tokens."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import jwt
import pytest

from lib.config import SettingsError
from lib.identity import tokens
from lib.identity.tokens import KeysUnavailable, TokenExpired, TokenInvalid, TokenVerifier
from tests.support.clocks import FrozenTime, eventually, time_limit
from tests.support.scripted_server import ScriptedServer, response, send
from tests.support.tokens import TokenIssuer
from tests.support.verifiers import SUB, clock, pool, verifier, verifier_of

__all__ = ["clock", "pool", "verifier"]


def test_unknown_kids_cost_one_fetch_per_cooldown(
    pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime
) -> None:
    verifier.verify(pool.authorization(SUB))
    for expected in (2, 3, 4):
        clock.ahead += tokens.COOLDOWN_SECONDS
        with pytest.raises(TokenInvalid):
            verifier.verify(pool.authorization(SUB, headers={"kid": "fetched for this one"}))
        for number in range(5):
            with pytest.raises(KeysUnavailable):
                verifier.verify(pool.authorization(SUB, headers={"kid": f"unknown {number}"}))
        assert pool.fetches == expected


def test_token_with_wrong_claims_and_an_unknown_kid_is_rejected_without_a_fetch(
    pool: TokenIssuer, verifier: TokenVerifier
) -> None:
    verifier.verify(pool.authorization(SUB))
    now = int(time.time())
    for overrides in ({"iss": "other"}, {"client_id": "other"}, {"token_use": "id"}, {"jti": 1}, {"iat": now + 60}):
        with pytest.raises(TokenInvalid):
            verifier.verify(pool.authorization(SUB, headers={"kid": "unknown"}, **overrides))
    with pytest.raises(TokenExpired):
        verifier.verify(pool.authorization(SUB, headers={"kid": "unknown"}, exp=now - 1))
    assert pool.fetches == 1


def test_user_of_a_new_key_waits_for_the_cooldown_whatever_forgers_do(
    pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime
) -> None:
    verifier.verify(pool.authorization(SUB))
    forged = pool.authorization(SUB, headers={"kid": "forged"})
    clock.ahead += tokens.COOLDOWN_SECONDS
    with pytest.raises(TokenInvalid):
        verifier.verify(forged)
    pool.rotate()
    for authorization in (pool.authorization(SUB), forged):
        with pytest.raises(KeysUnavailable):
            verifier.verify(authorization)
    clock.ahead += tokens.COOLDOWN_SECONDS
    with pytest.raises(TokenInvalid):
        verifier.verify(forged)
    assert verifier.verify(pool.authorization(SUB)).sub == SUB


def test_rotation_retires_the_old_key(pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime) -> None:
    old = pool.key
    verifier.verify(pool.authorization(SUB))
    pool.rotate()
    clock.ahead += tokens.COOLDOWN_SECONDS

    assert verifier.verify(pool.authorization(SUB)).sub == SUB
    clock.ahead += tokens.COOLDOWN_SECONDS
    with pytest.raises(TokenInvalid):
        verifier.verify(pool.authorization("of the old key", key=old))


def test_retired_key_is_dropped_after_the_lifespan(
    pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime
) -> None:
    old = pool.key
    verifier.verify(pool.authorization(SUB))
    pool.rotate()
    clock.ahead += tokens.KEYS_LIFESPAN_SECONDS - 1
    assert verifier.verify(pool.authorization("within the lifespan", key=old)).sub == "within the lifespan"
    clock.ahead += 1
    with pytest.raises(TokenInvalid):
        verifier.verify(pool.authorization("after it", key=old))
    assert pool.fetches == 2


def test_outage_rejects_unknown_keys_alone(pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime) -> None:
    old = pool.key
    verifier.verify(pool.authorization(SUB))
    pool.rotate()
    token = pool.token(SUB)
    pool.stop()
    for number in range(3):
        clock.ahead += tokens.KEYS_LIFESPAN_SECONDS
        known = pool.authorization(f"user {number}", key=old)
        assert verifier.verify(known).sub == f"user {number}"
        with pytest.raises(KeysUnavailable):
            verifier.verify(f"Bearer {token}")
    pool.start()
    clock.ahead += tokens.COOLDOWN_SECONDS
    assert verifier.verify(f"Bearer {token}").sub == SUB


def test_late_host_is_found_at_the_next_try(pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime) -> None:
    pool.stop()
    with pytest.raises(KeysUnavailable):
        verifier.verify(pool.authorization(SUB))
    pool.start()
    with pytest.raises(KeysUnavailable):
        verifier.verify(pool.authorization(SUB))
    assert pool.fetches == 0, "a failed fetch is not repeated at once"
    clock.ahead += tokens.COOLDOWN_SECONDS
    assert verifier.verify(pool.authorization(SUB)).sub == SUB


def test_outage_costs_one_fetch_per_retry_interval(
    pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime
) -> None:
    verifier.verify(pool.authorization(SUB))
    pool.status = 503
    clock.ahead += tokens.KEYS_LIFESPAN_SECONDS
    for number in range(5):
        verifier.verify(pool.authorization(f"user {number}"))
        with pytest.raises(KeysUnavailable):
            verifier.verify(pool.authorization(SUB, headers={"kid": "unknown"}))
    assert pool.fetches == 2


@pytest.mark.parametrize(
    "response",
    [
        *(b"", b"<html>", b"\xff\xfe\xfd", b"[" * 100_000, b"[]", b"{}", {"keys": []}, {"keys": "none"}),
        *({"keys": [key]} for key in ({"kty": "RSA"}, {"kty": "RSA", "alg": ["RS256"], "kid": "first"})),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_malformed_response_is_an_outage(pool: TokenIssuer, verifier: TokenVerifier, response: Any) -> None:
    pool.jwks = response
    with pytest.raises(KeysUnavailable):
        verifier.verify(pool.authorization(SUB))
    assert pool.fetches == 1


def test_fallback_is_in_use_from_the_first_failed_fetch_until_a_fetch_succeeds(
    pool: TokenIssuer, clock: FrozenTime
) -> None:
    old, verifier = pool.key, verifier_of(pool, json.dumps(pool.jwks))
    new = pool.rotate()
    pool.stop()
    assert verifier.keys_from is None
    assert verifier.verify(pool.authorization(SUB, key=old)).sub == SUB
    assert verifier.keys_from == "fallback"
    with pytest.raises(KeysUnavailable):
        verifier.verify(pool.authorization(SUB, key=new))
    pool.start()
    clock.ahead += tokens.COOLDOWN_SECONDS
    assert verifier.verify(pool.authorization(SUB, key=new)).sub == SUB
    assert verifier.keys_from == "user_pool"
    pool.stop()
    clock.ahead += tokens.KEYS_LIFESPAN_SECONDS
    with pytest.raises(KeysUnavailable):
        verifier.verify(pool.authorization("of the old key", key=old))
    assert verifier.keys_from == "user_pool"


def test_key_of_the_fallback_alone_is_not_accepted_while_the_first_fetch_is_under_way(pool: TokenIssuer) -> None:
    old, verifier = pool.key, verifier_of(pool, json.dumps(pool.jwks))
    pool.rotate()
    pool.responding.clear()
    with ThreadPoolExecutor(4) as threads:
        verified = [threads.submit(verifier.verify, pool.authorization(SUB, key=old)) for _ in range(4)]
        time.sleep(0.1)
        assert not any(future.done() for future in verified)
        pool.responding.set()
        causes = {type(future.exception()) for future in verified}
    assert causes <= {TokenInvalid, KeysUnavailable}


def test_hanging_host_delays_one_request_per_cooldown_while_the_fallback_is_in_use(
    pool: TokenIssuer, clock: FrozenTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "FETCH_TIMEOUT_SECONDS", 0.3)
    verifier = verifier_of(pool, json.dumps(pool.jwks))
    pool.responding.clear()
    verifier.verify(pool.authorization(SUB))
    with time_limit(0.2):
        for number in range(20):
            verifier.verify(pool.authorization(f"user {number}"))
    assert pool.fetches == 1


@pytest.mark.parametrize("text", ["x", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "RSA"}]}', "[" * 100_000])
def test_malformed_fallback_stops_the_start(pool: TokenIssuer, text: str) -> None:
    with pytest.raises(SettingsError, match="COGNITO_JWKS_FALLBACK is not a set of signing keys"):
        verifier_of(pool, text)


def test_check_fetches_the_first_keys_and_no_others(pool: TokenIssuer, clock: FrozenTime) -> None:
    verifier = verifier_of(pool)
    verifier.check_keys()
    clock.ahead += tokens.KEYS_LIFESPAN_SECONDS
    pool.stop()
    verifier.check_keys()
    assert (pool.fetches, verifier.keys_from) == (1, "user_pool")


def test_check_without_keys_fails_and_costs_one_fetch_per_cooldown(pool: TokenIssuer, clock: FrozenTime) -> None:
    verifier = verifier_of(pool)
    pool.status = 404
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            verifier.check_keys()
    assert pool.fetches == 1
    clock.ahead += tokens.COOLDOWN_SECONDS
    pool.status = 200
    verifier.check_keys()
    assert pool.fetches == 2


def test_hanging_host_is_an_outage_after_the_timeout(
    pool: TokenIssuer, monkeypatch: pytest.MonkeyPatch, clock: FrozenTime
) -> None:
    monkeypatch.setattr(tokens, "FETCH_TIMEOUT_SECONDS", 0.05)
    pool.responding.clear()
    with time_limit(1), pytest.raises(KeysUnavailable):
        verifier_of(pool).verify(pool.authorization(SUB))


@pytest.mark.parametrize("dripping_part", ["head", "body"])
def test_dripping_host_holds_no_thread_past_the_timeout(
    pool: TokenIssuer, monkeypatch: pytest.MonkeyPatch, dripping_part: str
) -> None:
    monkeypatch.setattr(tokens, "FETCH_TIMEOUT_SECONDS", 0.3)
    parts = response(json.dumps(pool.jwks).encode()).partition(b"\r\n\r\n")
    head, body = (b"", b"".join(parts)) if dripping_part == "head" else (b"".join(parts[:2]), parts[2])
    drip = send(head, *(bytes([byte]) for byte in body), pause=0.05)
    with ScriptedServer() as host:
        host.script[:] = [drip]
        verifier = TokenVerifier(issuer=pool.issuer, client_id=pool.client_id, jwks_url=host.url)

        def verify(number: int) -> None:
            with time_limit(1), pytest.raises(KeysUnavailable):
                verifier.verify(pool.authorization(f"user {number}"))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(verify, range(16)))
        assert len(host.requests) == 1


def test_unknown_kids_occupy_one_thread_while_the_host_hangs(
    pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime
) -> None:
    verifier.verify(pool.authorization(SUB))
    clock.ahead += tokens.COOLDOWN_SECONDS
    pool.responding.clear()
    forged = [pool.authorization(SUB, headers={"kid": f"forged {number}"}) for number in range(9)]

    def is_rejected_at_once(authorization: str) -> bool:
        start = time.monotonic()
        with pytest.raises((KeysUnavailable, TokenInvalid)):
            verifier.verify(authorization)
        return time.monotonic() - start < 0.3

    with ThreadPoolExecutor(9) as threads:
        rejected = threads.map(is_rejected_at_once, forged)
        time.sleep(0.5)
        assert verifier.verify(pool.authorization("another user")).sub == "another user"
        pool.responding.set()
        assert sorted(rejected) == [False] + [True] * 8
    assert pool.fetches == 2


def test_threads_share_the_first_fetch(pool: TokenIssuer, verifier: TokenVerifier) -> None:
    subs = [f"user {number % 10}" for number in range(200)]
    headers = [pool.authorization(sub) for sub in subs]
    pool.responding.clear()
    with ThreadPoolExecutor(16) as threads:
        verified = threads.map(verifier.verify, headers)
        time.sleep(0.05)
        pool.responding.set()
        assert [claims.sub for claims in verified] == subs
    assert pool.fetches == 1


def test_threads_use_the_known_key_while_one_thread_refreshes(
    pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime
) -> None:
    verifier.verify(pool.authorization(SUB))
    clock.ahead += tokens.KEYS_LIFESPAN_SECONDS
    pool.responding.clear()
    refreshing = threading.Thread(target=verifier.verify, args=(pool.authorization("another user"),))
    refreshing.start()
    assert eventually(lambda: pool.fetches == 2)

    with time_limit(tokens.FETCH_TIMEOUT_SECONDS / 2):
        for number in range(5):
            verifier.verify(pool.authorization(f"user {number}"))
    assert refreshing.is_alive()

    pool.responding.set()
    refreshing.join(timeout=5)
    assert pool.fetches == 2


@pytest.fixture
def decode(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Counts the verifications that miss the cache."""
    decode = Mock(wraps=jwt.decode)
    monkeypatch.setattr(jwt, "decode", decode)
    return decode


def test_token_is_verified_once_a_minute(
    pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime, decode: Mock
) -> None:
    verifier.verify(pool.authorization("another user"))  # fetches the keys
    decode.reset_mock()
    token = pool.token(SUB)
    for _ in range(5):
        assert verifier.verify(f"Bearer {token}").sub == SUB
    clock.ahead = tokens.MAX_CACHED_SECONDS - 1
    verifier.verify(f"Bearer {token}")
    assert decode.call_count == 1
    clock.ahead = tokens.MAX_CACHED_SECONDS
    verifier.verify(f"Bearer {token}")
    assert decode.call_count == 2


@pytest.mark.parametrize("kind", [int, str, float])
def test_token_is_not_cached_past_its_exp(
    pool: TokenIssuer, verifier: TokenVerifier, clock: FrozenTime, decode: Mock, kind: Callable[[int], Any]
) -> None:
    verifier.verify(pool.authorization("another user"))  # fetches the keys
    decode.reset_mock()
    token = pool.token(SUB, exp=kind(int(clock.time()) + 30))
    verifier.verify(f"Bearer {token}")
    clock.ahead = 20
    verifier.verify(f"Bearer {token}")
    assert decode.call_count == 1
    clock.ahead = 30
    with pytest.raises(TokenExpired):
        verifier.verify(f"Bearer {token}")
    assert decode.call_count == 2


def test_cached_token_expires(pool: TokenIssuer) -> None:
    verifier = verifier_of(pool)  # by the real time, as PyJWT
    exp = int(time.time()) + 2
    token = pool.token(SUB, exp=exp)
    assert verifier.verify(f"Bearer {token}").sub == SUB
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
    monkeypatch.setattr(tokens, "MAX_CACHED_TOKENS", 4)
    verifier = verifier_of(pool)
    issued = [pool.token(f"user {number}") for number in range(10)]
    for token in issued:
        verifier.verify(f"Bearer {token}")
    assert list(verifier._cached_tokens._cache) == [hashlib.sha256(token.encode()).digest() for token in issued[-4:]]
