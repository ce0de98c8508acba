"""AWS Secrets Manager. It has the secrets that too many people could read in a function's environment."""

from __future__ import annotations

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

_SECONDS = 1  # to connect, and again for the response


class SecretUnavailable(Exception):
    """The secret cannot be read; `__cause__` says why."""


def read_secret(arn: str) -> str:
    """The text of the secret with this ARN, which also names the region. Raises SecretUnavailable."""
    config = Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"total_max_attempts": 1})
    try:
        client = get_session().create_client("secretsmanager", region_name=arn.split(":")[3], config=config)
        return str(client.get_secret_value(SecretId=arn)["SecretString"])
    except (BotoCoreError, ClientError) as error:
        raise SecretUnavailable(arn) from error
