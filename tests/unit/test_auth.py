"""Access tokens: what is accepted, what is refused, and as what."""

from __future__ import annotations

import hmac
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lib.identity.tokens import REQUIRED_CLAIMS, TokenExpired, TokenInvalid, TokenMalformed, TokenMissing, TokenVerifier
from tests.support.tokens import SigningKey, TokenIssuer, forge, signing_key
from tests.support.verifiers import SUB, pool, verifier_of

__all__ = ["pool"]


@pytest.fixture
def verifier(pool: TokenIssuer) -> TokenVerifier:
    return verifier_of(pool)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   ", " Bearer "])
def test_a_valid_access_token_gives_its_sub_in_any_case_of_the_scheme(
    pool: TokenIssuer, verifier: TokenVerifier, scheme: str
) -> None:
    assert verifier.verify(scheme + pool.token(SUB)) == SUB


@pytest.mark.parametrize("aud", ["https://api.example.com", ["one", "two"]])
def test_a_token_bound_to_a_resource_is_accepted(pool: TokenIssuer, verifier: TokenVerifier, aud: Any) -> None:
    assert verifier.verify(pool.authorization(SUB, aud=aud)) == SUB


def test_keys_of_other_types_in_the_set_do_no_harm(pool: TokenIssuer, verifier: TokenVerifier) -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(elliptic.public_key(), as_dict=True)
    pool.jwks = {"keys": [{**jwk, "kid": "elliptic"}, {"kid": "strange", "kty": "LMS"}, "no key", pool.key.jwk]}

    assert verifier.verify(pool.authorization(SUB)) == SUB
    signed_by_it = jwt.encode({"sub": SUB}, elliptic, algorithm="ES256", headers={"kid": "elliptic"})
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {signed_by_it}")
    with pytest.raises(TokenInvalid):
        verifier.verify(pool.authorization(SUB, headers={"kid": "elliptic"}))


@pytest.mark.parametrize("header", [None, "", "  ", "\t"])
def test_no_header_is_a_missing_token(verifier: TokenVerifier, header: str | None) -> None:
    with pytest.raises(TokenMissing):
        verifier.verify(header)


@pytest.mark.parametrize(
    "header",
    [
        *("Bearer", "Bearer =", "Bearer a b", "Bearer a,Bearer b", "Basic x", "Bearerx", "Bearer\tx", "Bearer é", "x"),
        *("Bearer \x00", "Bearer a\n", "Bearer \ud800"),
        "Bearer \u212a",  # the Kelvin sign: it equals "k" when case is ignored beyond ASCII
    ],
)
def test_a_header_without_one_bearer_token_is_malformed(verifier: TokenVerifier, header: str) -> None:
    with pytest.raises(TokenMalformed):
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
def test_a_token_with_wrong_claims_is_invalid(
    pool: TokenIssuer, verifier: TokenVerifier, overrides: dict[str, Any]
) -> None:
    with pytest.raises(TokenInvalid):
        verifier.verify(pool.authorization(**{"sub": SUB, **overrides}))


def test_a_token_signed_by_another_key_under_a_known_kid_is_invalid(pool: TokenIssuer, verifier: TokenVerifier) -> None:
    impostor = SigningKey(pool.key.kid, signing_key("second").private)
    with pytest.raises(TokenInvalid):
        verifier.verify(pool.authorization(SUB, key=impostor))


def test_a_token_with_claims_exchanged_after_signing_is_invalid(pool: TokenIssuer, verifier: TokenVerifier) -> None:
    header, _, signature = pool.token(SUB).split(".")
    claims = pool.token("somebody else").split(".")[1]
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {header}.{claims}.{signature}")


@pytest.mark.parametrize("alg", ["none", "None", "", None, ["RS256"], "RS512"])
def test_no_other_algorithm_is_accepted_and_none_costs_a_fetch(
    pool: TokenIssuer, verifier: TokenVerifier, alg: Any
) -> None:
    claims = pool.token(SUB).split(".")[1]
    for signature in (b"", b"x" * 256):
        with pytest.raises(TokenInvalid):
            verifier.verify("Bearer " + forge({"alg": alg, "kid": pool.key.kid}, claims, signature))
    assert pool.fetches == 0


def test_the_public_key_taken_for_an_hmac_secret_is_invalid(pool: TokenIssuer, verifier: TokenVerifier) -> None:
    secret = pool.key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header, claims = {"alg": "HS256", "kid": pool.key.kid}, pool.token(SUB).split(".")[1]
    signed = forge(header, claims).rpartition(".")[0].encode()
    token = forge(header, claims, hmac.digest(secret, signed, "sha256"))
    verifier.verify(pool.authorization(SUB))
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {token}")


@pytest.mark.parametrize("header", [{}, {"kid": None}, {"kid": 7}, {"kid": ["first"]}])
def test_a_token_without_a_usable_kid_is_invalid(pool: TokenIssuer, verifier: TokenVerifier, header: Any) -> None:
    claims = pool.token(SUB).split(".")[1]
    with pytest.raises(TokenInvalid):
        verifier.verify("Bearer " + forge({"alg": "RS256", **header}, claims))
    assert pool.fetches == 0


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_key_too_short_to_be_trusted_verifies_nothing(pool: TokenIssuer, verifier: TokenVerifier) -> None:
    short = SigningKey("short", rsa.generate_private_key(public_exponent=65537, key_size=1024))  # noqa: S505
    pool.jwks = {"keys": [short.jwk]}
    with pytest.raises(TokenInvalid):
        verifier.verify(pool.authorization(SUB, key=short))


@pytest.mark.parametrize("token", ["x", "a.b", "a.b.c", "....", "e30.e30.", "e30.e30.e30", "W10.W10.W10"])
def test_garbage_is_invalid(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {token}")


@pytest.mark.parametrize("age", [0, 1, 86_400])
def test_a_token_is_expired_from_the_second_of_its_exp(pool: TokenIssuer, verifier: TokenVerifier, age: int) -> None:
    with pytest.raises(TokenExpired):
        verifier.verify(pool.authorization(SUB, exp=int(time.time()) - age))


def test_a_rejection_tells_nothing_of_the_token(pool: TokenIssuer, verifier: TokenVerifier) -> None:
    with pytest.raises(TokenInvalid) as rejected:
        verifier.verify(pool.authorization(SUB, iss="https://elsewhere.example"))
    assert str(rejected.value) == "InvalidIssuerError"
    assert rejected.value.__suppress_context__
