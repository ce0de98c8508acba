"""A user pool for tests: it signs tokens with RSA keys, and serves their public keys and GetUser on loopback.

It does not use the code under test. An outage is real: `stop()` closes the port, `start()` opens the same one again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt

from tools.local_stack.tokens import SigningKey, access_claims


@functools.cache
def signing_key(kid: str) -> SigningKey:
    """The key pair of that id, generated once per test run."""
    return SigningKey.generate(kid)


def forge(header: Any, claims: str, signature: bytes = b"x" * 256) -> str:
    """A token of any JSON as header, of encoded claims, and of any bytes as signature."""
    encode = jwt.utils.base64url_encode
    return f"{encode(json.dumps(header).encode()).decode()}.{claims}.{encode(signature).decode()}"


class TokenIssuer:
    """A user pool with one app client. As a context manager it listens within the block.

    The JWKS endpoint responds with `jwks` and `status`; `fetches` counts its requests. While `responding` is cleared,
    requests hang. GetUser returns the `attributes` of a token's `sub`, by default only the sub, or the error
    `refusal`; `get_user_requests` counts its requests by sub.
    """

    issuer = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Test00001"
    client_id = "3n4b5urk1ft4fl3mg5e62d9ado"

    def __init__(self) -> None:
        self.key = signing_key("first")
        self.jwks: Any = {"keys": [self.key.jwk]}
        self.status = 200
        self.fetches = 0
        self.responding = threading.Event()
        self.responding.set()
        self.attributes: dict[str, dict[str, str]] = {}
        self.refusal: str | None = None
        self.get_user_requests: Counter[str] = Counter()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/.well-known/jwks.json"

    def token(
        self, sub: str, *, key: SigningKey | None = None, headers: dict[str, Any] | None = None, **overrides: Any
    ) -> str:
        """An access token like Cognito's, valid for an hour.

        `overrides` replace claims; None removes a claim. `headers` add to the token's own.
        """
        key = key or self.key
        claims = access_claims(sub, issuer=self.issuer, client_id=self.client_id) | overrides
        present = {name: value for name, value in claims.items() if value is not None}
        return key.sign(present, **(headers or {}))

    def authorization(self, sub: str, **token: Any) -> str:
        """The Authorization header of such a token."""
        return f"Bearer {self.token(sub, **token)}"

    def get_user(self, token: str) -> tuple[int, Any]:
        """The status and the body of GetUser's response."""
        sub = jwt.decode(token, options={"verify_signature": False})["sub"]
        self.get_user_requests[sub] += 1
        if self.refusal:
            return 500 if self.refusal == "InternalErrorException" else 400, {"__type": self.refusal, "message": token}
        attributes = {"sub": sub, **self.attributes.get(sub, {})}
        listed = [{"Name": name, "Value": value} for name, value in attributes.items()]
        return 200, {"Username": sub, "UserAttributes": listed}

    def rotate(self) -> SigningKey:
        """Sign with a new key from now on and publish it alone."""
        self.key = signing_key("second")
        self.jwks = {"keys": [self.key.jwk]}
        return self.key

    def start(self) -> None:
        """Open the endpoint; after a stop, on the same port."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Close the endpoint: connections are refused."""
        self.responding.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pool = self
        counting = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with counting:
                    pool.fetches += 1
                pool.responding.wait()
                body = pool.jwks if isinstance(pool.jwks, bytes) else json.dumps(pool.jwks).encode()
                self._respond(pool.status, body)

            def do_POST(self) -> None:
                assert self.headers["X-Amz-Target"] == "AWSCognitoIdentityProviderService.GetUser"
                assert "Authorization" not in self.headers, "GetUser is not signed"
                pool.responding.wait()
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, response = pool.get_user(request["AccessToken"])
                self._respond(status, json.dumps(response).encode())

            def _respond(self, status: int, body: bytes) -> None:
                with contextlib.suppress(ConnectionError):  # the client may have given up
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Keep the test output clean."""

        return Handler
