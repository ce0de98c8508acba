"""The user pool's client: where it asks. What it asks: tests/integration."""

from __future__ import annotations

from lib.cognito import UserInfo, UserPool
from lib.config import CognitoSettings


def test_a_pool_is_asked_in_its_own_region_whatever_the_tables_is() -> None:
    settings = CognitoSettings(
        aws_default_region="us-east-1",
        aws_cognito_user_pool_id="eu-west-1_Test00001",
        aws_cognito_user_pool_client_id="a client",
    )
    assert UserPool(settings)._client.meta.endpoint_url == "https://cognito-idp.eu-west-1.amazonaws.com"
    assert UserInfo(settings).host == "cognito-idp.eu-west-1.amazonaws.com"
