"""Who signs in during a measurement: rows in Postgres, access tokens, and the JWKS on loopback that judges them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg

from lib.db import Database
from lib.local.processes import LOOPBACK, Child, answers, bare_environment, free_port
from lib.local.tokens import SigningKey, access_claims
from lib.users import User

_ISSUER = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Bench0001"
_CLIENT_ID = "bench"
_LIFETIME_SECONDS = 24 * 3600  # a token must outlive the measurement


class UserPool(Child):
    """A pool of which nothing exists but its keys."""

    def __init__(self, folder: Path, *, log: Path) -> None:
        self._key = SigningKey.generate("bench")
        folder.mkdir()
        (folder / "jwks.json").write_text(json.dumps({"keys": [self._key.jwk]}))
        port = free_port()
        url = f"http://{LOOPBACK}:{port}"
        self.variables = {
            "AWS_COGNITO_USER_POOL_ID": _ISSUER.rpartition("/")[2],
            "AWS_COGNITO_USER_POOL_CLIENT_ID": _CLIENT_ID,
            "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": url,
            "COGNITO_JWKS_URL": f"{url}/jwks.json",
        }
        super().__init__(
            "the JWKS",
            [sys.executable, "-m", "http.server", str(port), "--bind", LOOPBACK, "--directory", folder],
            env=bare_environment(),
            ready=answers(self.variables["COGNITO_JWKS_URL"]),
            log=log,
        )

    def token(self, user: User) -> str:
        """An access token of this user."""
        claims = access_claims(_sub(user), issuer=_ISSUER, client_id=_CLIENT_ID)
        return self._key.sign(claims | {"exp": claims["iat"] + _LIFETIME_SECONDS})


def add_users(database_url: str, users: Sequence[User]) -> None:
    """The schema, and a row for each user."""
    with Database(database_url) as database:
        database.script("db/schema.sql")
    rows = [(user.uuid, user.handle, user.display_name, f"{user.handle}@example.com", _sub(user)) for user in users]
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO users (uuid, handle, display_name, email, cognito_user_id) VALUES (%s, %s, %s, %s, %s)", rows
        )


def _sub(user: User) -> str:
    return f"sub-{user.uuid}"
