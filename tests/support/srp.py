"""Sign-in by SRP, as Amplify does it: the password never leaves the client. RFC 5054 with Cognito's key derivation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import Any

# The group of 3072 bits (RFC 3526).
N = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7D"
    "B3970F85A6E1E4C7ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C"
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
    16,
)
G = 2


def sign_in(client: Any, user_pool_id: str, client_id: str, username: str, password: str) -> dict[str, str]:
    """The tokens of a user. `client` is boto3's; it raises what Cognito refuses."""
    private = secrets.randbelow(N)
    public = pow(G, private, N)
    challenge = client.initiate_auth(
        ClientId=client_id, AuthFlow="USER_SRP_AUTH", AuthParameters={"USERNAME": username, "SRP_A": f"{public:x}"}
    )
    assert challenge["ChallengeName"] == "PASSWORD_VERIFIER"
    parameters = challenge["ChallengeParameters"]
    user_id, secret_block = parameters["USER_ID_FOR_SRP"], parameters["SECRET_BLOCK"]
    now = datetime.now(UTC)
    timestamp = f"{now:%a %b} {now.day} {now:%H:%M:%S} UTC {now.year}"
    pool = user_pool_id.partition("_")[2]
    identity = hashlib.sha256(f"{pool}{user_id}:{password}".encode()).digest()
    key = _key(private, public, int(parameters["SRP_B"], 16), int(parameters["SALT"], 16), identity)
    claim = pool.encode() + user_id.encode() + base64.b64decode(secret_block) + timestamp.encode()
    response = client.respond_to_auth_challenge(
        ClientId=client_id,
        ChallengeName="PASSWORD_VERIFIER",
        ChallengeResponses={
            "USERNAME": user_id,
            "TIMESTAMP": timestamp,
            "PASSWORD_CLAIM_SECRET_BLOCK": secret_block,
            "PASSWORD_CLAIM_SIGNATURE": base64.b64encode(hmac.digest(key, claim, "sha256")).decode(),
        },
    )
    tokens: dict[str, str] = response["AuthenticationResult"]
    return tokens


def _key(private: int, public: int, server_public: int, salt: int, identity: bytes) -> bytes:
    """The key that signs the claim of the password."""
    scramble = _hash(_bytes(public), _bytes(server_public))
    secret = _hash(_bytes(salt), identity)
    verifier = _hash(_bytes(N), _bytes(G)) * pow(G, secret, N)
    shared = pow(server_public - verifier, private + scramble * secret, N)
    extracted = hmac.digest(_bytes(scramble), _bytes(shared), "sha256")
    return hmac.digest(extracted, b"Caldera Derived Key\x01", "sha256")[:16]


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"".join(parts)).digest())


def _bytes(number: int) -> bytes:
    """The number in two's complement, as Java's BigInteger has it."""
    return number.to_bytes(number.bit_length() // 8 + 1)
