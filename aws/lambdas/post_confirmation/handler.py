"""AWS Lambda that Cognito calls after a confirmed sign-up: it gives the new user a row in Postgres.

Cognito waits five seconds and shows the function's error to the user, although the sign-up stands. So the function
returns in time and never fails. If it cannot add the row, the API adds it at the user's first request.
https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-lambda-post-confirmation.html
"""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any

from lib.config import PostgresSettings, load
from lib.logs import configure, log
from lib.postgres.database import Database
from lib.users.directory import UserDirectory
from services.errors import ServiceError
from services.provisioning import provision_user

STEP_SECONDS = 1  # for each step: connect, run a statement; a new user needs one statement


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Provision the user after a sign-up, but not after a new password. Returns the event, as Cognito requires."""
    if event["triggerSource"] == "PostConfirmation_ConfirmSignUp":
        attributes = event["request"]["userAttributes"]
        try:
            provision_user(_users(), attributes)
        except Exception as error:
            reason = {"codes": error.codes} if isinstance(error, ServiceError) else {"error": error}
            names = {"sub": attributes.get("sub"), "cause": repr(error.__cause__)}
            log("user_not_provisioned", level=logging.WARNING, **names, **reason)
    return event


@cache
def _users() -> UserDirectory:
    configure("info")
    url = load(PostgresSettings, os.environ).database_url
    return UserDirectory(Database(url, pool_size=1, seconds=STEP_SECONDS))
