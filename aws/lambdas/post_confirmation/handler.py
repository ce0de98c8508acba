"""AWS Lambda that Cognito calls after a confirmed sign-up: the new user gets a row in Postgres.

Cognito waits five seconds for this function and shows its error to the user, who is confirmed all the same. So the
function returns in time and never fails; a user who gets no row here gets one at their first request to the API.
https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-lambda-post-confirmation.html
"""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any

from lib.aws.secrets_manager import read_secret
from lib.config import PostgresSettings, load
from lib.logs import configure, log
from lib.postgres.database import Database
from lib.users.directory import UserDirectory
from services.errors import ServiceError, Unavailable
from services.provisioning import provision_user

STEP_SECONDS = 1  # the secret, the connection and the statement: each within the five seconds of all three


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Provision the user after a sign-up, but not after a new password. Returns the event, as Cognito requires."""
    if event["triggerSource"] == "PostConfirmation_ConfirmSignUp":
        attributes = event["request"]["userAttributes"]
        try:
            provision_user(_users(), attributes)
        except ServiceError as refusal:
            _refused(attributes, codes=refusal.codes, cause=repr(refusal.__cause__))
            if isinstance(refusal, Unavailable):
                _users.cache_clear()  # the password in the secret may be another by now
        except Exception as error:
            _refused(attributes, error=error, cause=repr(error.__cause__))
    return event


@cache
def _users() -> UserDirectory:
    configure("info")
    arn = os.environ.get("DATABASE_SECRET_ARN")
    variables = {**os.environ, "DATABASE_URL": read_secret(arn)} if arn else os.environ
    url = load(PostgresSettings, variables).database_url
    return UserDirectory(Database(url, pool_size=1, seconds=STEP_SECONDS))


def _refused(attributes: dict[str, str], **why: Any) -> None:
    log("user_not_provisioned", level=logging.WARNING, sub=attributes.get("sub"), **why)
