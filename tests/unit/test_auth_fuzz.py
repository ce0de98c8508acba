"""Access tokens: any input of a client ends in a rejection, never in another error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.identity.tokens import REQUIRED_CLAIMS, TokenRejected, TokenVerifier
from tests.support.tokens import TokenIssuer, forge
from tests.support.verifiers import SUB, verifier_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=2)
)


@pytest.fixture(scope="module")
def pool() -> Iterator[TokenIssuer]:
    with TokenIssuer() as pool:
        yield pool


@pytest.fixture(scope="module")
def verifier(pool: TokenIssuer) -> TokenVerifier:
    return verifier_of(pool)


@settings(max_examples=100, deadline=None)
@given(header=st.text() | st.text().map("Bearer {}".format) | st.text("abe.-_=09", max_size=30).map("Bearer {}".format))
def test_any_header_is_rejected(verifier: TokenVerifier, header: str) -> None:
    with pytest.raises(TokenRejected):
        verifier.verify(header)


@settings(max_examples=80, deadline=None)
@given(header=JSON | st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ"]), JSON))
def test_any_json_as_token_header_is_rejected(verifier: TokenVerifier, header: Any) -> None:
    with pytest.raises(TokenRejected):
        verifier.verify("Bearer " + forge(header, "e30"))


@settings(max_examples=80, deadline=None)
@given(claims=st.dictionaries(st.sampled_from([*REQUIRED_CLAIMS, "nbf", "iat", "jti", "aud"]), JSON, min_size=1))
def test_any_signed_claims_are_valid_or_rejected(
    pool: TokenIssuer, verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    token = pool.token(**{"sub": SUB, **claims})
    try:
        assert isinstance(verifier.verify(f"Bearer {token}"), str)
    except TokenRejected:
        assert claims.keys() != {"aud"}, "the verifier ignores aud"
