"""Tokens by which a role of AWS signs in to Postgres on RDS, instead of a password.

A token is a signed URL that nobody fetches. This module computes it without a call. RDS checks the signature, and
whether the role may connect (`rds-db:connect`) as the user.
https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
"""

from __future__ import annotations

from functools import cache
from urllib.parse import quote, urlencode

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError, NoRegionError
from botocore.session import Session, get_session

_SECONDS = 900  # RDS accepts no older token


def sign_in_token(host: str, port: int, user: str) -> str:
    """A token for new connections within 15 minutes, by this process's role. Raises BotoCoreError."""
    session = _session()
    credentials, region = session.get_credentials(), session.get_config_variable("region")
    if credentials is None:
        raise NoCredentialsError
    if not region:
        raise NoRegionError
    scheme, query = "https://", urlencode({"Action": "connect", "DBUser": user})
    request = AWSRequest("GET", f"{scheme}{quote(host, safe='')}:{port}/?{query}")
    SigV4QueryAuth(credentials.get_frozen_credentials(), "rds-db", region, expires=_SECONDS).add_auth(request)
    return str(request.url).removeprefix(scheme)


@cache
def _session() -> Session:
    """The session that finds the role's credentials, and renews them."""
    return get_session()
