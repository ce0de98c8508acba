"""ministack without all that the local stack does not need, as a program of its own.

ministack's SERVICES leaves S3 by host name, ECR, SES and ministack's own paths, such as the one that erases all data.
Every local program reaches the port, and so does every web page in a browser. This server passes on:

  - calls of DynamoDB, its streams and Cognito without an Origin, so not from a page
  - from pages of the front end and of the API: the operations of Cognito that need no AWS credentials
  - the public keys of the user pool, and ministack's health

A Host other than this machine's is refused: a page of another site sends it by DNS rebinding.
"""

from __future__ import annotations

import asyncio
import os

from botocore.session import get_session
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from ministack.app import app as ministack

_TARGETS = ("DynamoDB_20120810.", "DynamoDBStreams_20120810.", "AWSCognitoIdentityProviderService.")
_WELL_KNOWN = ("/.well-known/jwks.json", "/.well-known/openid-configuration")
_REFUSAL = b'{"__type": "AccessDeniedException", "message": "The local stack does not serve this request"}'


class Server:
    """The ASGI application."""

    def __init__(self, port: str, origins: str) -> None:
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._origins = origins.split(",")
        cognito = get_session().get_service_model("cognito-idp")
        names = [name for name in cognito.operation_names if cognito.operation_model(name).auth_type == "none"]
        self._public = {f"AWSCognitoIdentityProviderService.{name}" for name in names}

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and self._serves(scope)):
            await ministack(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"content-type", b"application/x-amz-json-1.1")]
            await send({"type": "http.response.start", "status": 403, "headers": headers, "trailers": False})
            await send({"type": "http.response.body", "body": _REFUSAL, "more_body": False})

    def _serves(self, scope: HTTPScope) -> bool:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method, path, origin = scope["method"], scope["path"], headers.get("origin")
        if headers.get("host") not in self._hosts or (origin is not None and origin not in self._origins):
            return False
        if method in ("GET", "HEAD"):
            return path == "/_ministack/health" or path.endswith(_WELL_KNOWN)
        if path != "/" or scope["query_string"]:
            return False
        if origin is None:
            return method == "POST" and headers.get("x-amz-target", "").startswith(_TARGETS)
        return method == "OPTIONS" or (method == "POST" and headers.get("x-amz-target") in self._public)


def main() -> None:
    port = os.environ["GATEWAY_PORT"]
    config = Config()
    config.bind = [f"{os.environ['BIND_HOST']}:{port}"]
    config.keep_alive_timeout = 75  # as ministack's own server; clients keep their connections
    config.loglevel = os.environ["LOG_LEVEL"]
    asyncio.run(serve(Server(port, os.environ["ORIGINS"]), config))


if __name__ == "__main__":
    main()
