"""Access tokens: the valid ones, and the error of each kind of invalid ones. No input causes another error."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.identity.tokens import (
    CLOCK_SKEW_SECONDS,
    REQUIRED_CLAIMS,
    TokenExpired,
    TokenInvalid,
    TokenMalformed,
    TokenMissing,
    TokenRejected,
    TokenVerifier,
)
from tests.support.tokens import SigningKey, TokenIssuer, forge, signing_key
from tests.support.verifiers import SUB, pool, verifier_of

__all__ = ["pool"]


@pytest.fixture
def verifier(pool: TokenIssuer) -> TokenVerifier:
    return verifier_of(pool)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   ", " Bearer "])
def test_valid_token_has_its_sub(pool: TokenIssuer, verifier: TokenVerifier, scheme: str) -> None:
    assert verifier.verify(scheme + pool.token(SUB)).sub == SUB


@pytest.mark.parametrize(("iat", "issued_at"), [(1767428100, 1767428100), (1767428100.9, 1767428100), (None, 0)])
def test_token_says_when_it_was_issued(
    pool: TokenIssuer, verifier: TokenVerifier, iat: float | None, issued_at: int
) -> None:
    assert verifier.verify(pool.authorization(SUB, iat=iat)).iat == issued_at


@pytest.mark.parametrize("aud", ["https://api.example.com", ["one", "two"]])
def test_token_bound_to_a_resource_is_valid(pool: TokenIssuer, verifier: TokenVerifier, aud: Any) -> None:
    assert verifier.verify(pool.authorization(SUB, aud=aud)).sub == SUB


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_token_of_an_issuer_whose_clock_is_ahead_is_valid(
    pool: TokenIssuer, verifier: TokenVerifier, claim: str
) -> None:
    now = int(time.time())
    for ahead in (1, CLOCK_SKEW_SECONDS):
        assert verifier.verify(pool.authorization(SUB, **{claim: now + ahead})).sub == SUB
    with pytest.raises(TokenInvalid):
        verifier.verify(pool.authorization(SUB, **{claim: now + CLOCK_SKEW_SECONDS + 5}))


def test_key_of_another_type_is_ignored(pool: TokenIssuer, verifier: TokenVerifier) -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(elliptic.public_key(), as_dict=True)
    pool.jwks = {"keys": [{**jwk, "kid": "elliptic"}, {"kid": "strange", "kty": "LMS"}, "no key", pool.key.jwk]}

    assert verifier.verify(pool.authorization(SUB)).sub == SUB
    by_elliptic_key = jwt.encode({"sub": SUB}, elliptic, algorithm="ES256", headers={"kid": "elliptic"})
    for token in (by_elliptic_key, pool.token(SUB, headers={"kid": "elliptic"})):
        with pytest.raises(TokenInvalid):
            verifier.verify(f"Bearer {token}")


MISSING = [None, "", "  ", "\t"]
MALFORMED = [
    *("Bearer", "Bearer =", "Bearer a b", "Bearer a,Bearer b", "Basic x", "Bearerx", "Bearer\tx", "Bearer é", "x"),
    *("Bearer \x00", "Bearer a\n", "Bearer \ud800"),
    "Bearer \u212a",  # the Kelvin sign: it equals "k" when case is ignored beyond ASCII
]


@pytest.mark.parametrize("header", [*MISSING, *MALFORMED])
def test_header_without_one_bearer_token_is_missing_or_malformed(verifier: TokenVerifier, header: str | None) -> None:
    with pytest.raises(TokenMissing if header in MISSING else TokenMalformed):
        verifier.verify(header)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Other0001"}, id="wrong issuer"),
        pytest.param({"iss": [TokenIssuer.issuer]}, id="list of issuers"),
        pytest.param({"client_id": "another"}, id="wrong client"),
        pytest.param({"client_id": [TokenIssuer.client_id]}, id="list of clients"),
        pytest.param({"token_use": "id", "aud": TokenIssuer.client_id}, id="ID token with a client"),
        pytest.param({"token_use": "id", "aud": TokenIssuer.client_id, "client_id": None}, id="ID token"),
        pytest.param({"nbf": int(time.time()) + 7200}, id="not yet valid"),
        pytest.param({"iat": int(time.time()) + 7200}, id="issued in the future"),
        pytest.param({"sub": 42}, id="sub is a number"),
        pytest.param({"sub": {"a": 1}}, id="sub is an object"),
        pytest.param({"exp": "tomorrow"}, id="exp is a word"),
        pytest.param({"exp": float("inf")}, id="exp is infinite"),
        *(pytest.param({claim: None}, id=f"no {claim}") for claim in REQUIRED_CLAIMS),
    ],
)
def test_token_with_wrong_claims_is_invalid(
    pool: TokenIssuer, verifier: TokenVerifier, overrides: dict[str, Any]
) -> None:
    with pytest.raises(TokenInvalid):
        verifier.verify(pool.authorization(**{"sub": SUB, **overrides}))


def by_impostor(pool: TokenIssuer) -> str:
    return pool.token(SUB, key=SigningKey(pool.key.kid, signing_key("second").private))


def with_claims_of_another_user(pool: TokenIssuer) -> str:
    header, _, signature = pool.token(SUB).split(".")
    return f"{header}.{claims_of(pool, 'another user')}.{signature}"


def by_public_key_as_hmac_secret(pool: TokenIssuer) -> str:
    secret = pool.key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "kid": pool.key.kid}
    signed = forge(header, claims_of(pool)).rpartition(".")[0].encode()
    return forge(header, claims_of(pool), hmac.digest(secret, signed, "sha256"))


def by_short_key(pool: TokenIssuer) -> str:
    short = SigningKey("short", rsa.generate_private_key(public_exponent=65537, key_size=1024))  # noqa: S505
    pool.jwks = {"keys": [pool.key.jwk, short.jwk]}
    return pool.token(SUB, key=short)


def claims_of(pool: TokenIssuer, sub: str = SUB) -> str:
    return pool.token(sub).split(".")[1]


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(
    "forgery", [by_impostor, with_claims_of_another_user, by_public_key_as_hmac_secret, by_short_key]
)
def test_forged_token_is_invalid(
    pool: TokenIssuer, verifier: TokenVerifier, forgery: Callable[[TokenIssuer], str]
) -> None:
    token = forgery(pool)
    assert verifier.verify(pool.authorization(SUB)).sub == SUB
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {token}")


@pytest.mark.parametrize(
    "header",
    [
        *({"alg": alg, "kid": "first"} for alg in ("none", "None", "", None, ["RS256"], "RS512")),
        *({"alg": "RS256", **kid} for kid in ({}, {"kid": None}, {"kid": 7}, {"kid": ["first"]})),
    ],
)
def test_token_with_another_algorithm_or_no_kid_is_invalid_without_a_fetch(
    pool: TokenIssuer, verifier: TokenVerifier, header: Any
) -> None:
    for signature in (b"", b"x" * 256):
        with pytest.raises(TokenInvalid):
            verifier.verify("Bearer " + forge(header, claims_of(pool), signature))
    assert pool.fetches == 0


@pytest.mark.parametrize("token", ["x", "a.b", "a.b.c", "....", "e30.e30.", "e30.e30.e30", "W10.W10.W10"])
def test_malformed_token_is_invalid(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {token}")


@pytest.mark.parametrize("age", [0, 1, 86_400])
def test_token_is_expired_from_the_second_of_its_exp(pool: TokenIssuer, verifier: TokenVerifier, age: int) -> None:
    with pytest.raises(TokenExpired):
        verifier.verify(pool.authorization(SUB, exp=int(time.time()) - age))


def test_rejection_does_not_quote_the_token(pool: TokenIssuer, verifier: TokenVerifier) -> None:
    with pytest.raises(TokenInvalid) as rejected:
        verifier.verify(pool.authorization(SUB, iss="https://elsewhere.example"))
    assert str(rejected.value) == "InvalidIssuerError"
    assert rejected.value.__suppress_context__


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=2)
)
fuzzing = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzzing
@given(header=st.text() | st.text().map("Bearer {}".format) | st.text("abe.-_=09", max_size=30).map("Bearer {}".format))
def test_any_header_is_rejected(verifier: TokenVerifier, header: str) -> None:
    with pytest.raises(TokenRejected):
        verifier.verify(header)


@fuzzing
@given(header=JSON | st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ"]), JSON))
def test_any_json_as_token_header_is_rejected(verifier: TokenVerifier, header: Any) -> None:
    with pytest.raises(TokenRejected):
        verifier.verify("Bearer " + forge(header, "e30"))


@fuzzing
@given(claims=st.dictionaries(st.sampled_from([*REQUIRED_CLAIMS, "nbf", "iat", "jti", "aud"]), JSON, min_size=1))
def test_any_signed_claims_are_valid_or_rejected(
    pool: TokenIssuer, verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    token = pool.token(**{"sub": SUB, **claims})
    try:
        assert isinstance(verifier.verify(f"Bearer {token}").sub, str)
    except TokenRejected:
        assert claims.keys() != {"aud"}, "the verifier ignores aud"
