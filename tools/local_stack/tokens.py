"""Access tokens like Cognito's, signed with a generated key, so that tests and measurements need no user pool.

The caller publishes the public key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm


@dataclass(frozen=True)
class SigningKey:
    """An RSA key pair and its id."""

    kid: str
    private: rsa.RSAPrivateKey

    @classmethod
    def generate(cls, kid: str) -> SigningKey:
        return cls(kid, rsa.generate_private_key(public_exponent=65537, key_size=2048))

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key as an entry of a JWKS."""
        public = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "use": "sig", "alg": "RS256"}

    def sign(self, claims: Mapping[str, Any], **headers: Any) -> str:
        """A token with these claims. PyJWT gets bytes, because its encoder refuses the invalid claims of tests."""
        return jwt.api_jws.encode(
            json.dumps(claims).encode(), self.private, algorithm="RS256", headers={"kid": self.kid, **headers}
        )


def access_claims(sub: str, *, issuer: str, client_id: str) -> dict[str, Any]:
    """The claims of an access token that is valid for an hour."""
    now = int(time.time())
    return {
        "sub": sub,
        "iss": issuer,
        "client_id": client_id,
        "token_use": "access",
        "scope": "aws.cognito.signin.user.admin",
        "auth_time": now,
        "iat": now,
        "exp": now + 3600,
        "username": sub,
    }
