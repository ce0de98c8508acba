"""Where AWS is asked: in every partition where botocore asks, and never through a proxy."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.exceptions import EndpointVariantError
from botocore.httpsession import get_cert_path
from botocore.session import get_session

from lib.aws.connections import Connections
from lib.aws.dynamodb_client import DynamoDBClient
from lib.aws.endpoints import ca_bundle, endpoint_url
from lib.config import DynamoDBSettings, Settings, SettingsError, load
from tests.unit.test_config import MINIMUM
from tools.local_stack.environment import REGION

CALLS: dict[str, dict[str, Any]] = {"dynamodb": {"list_tables": {}}, "cognito-idp": {"get_user": {"AccessToken": "a"}}}
PARTITIONS = get_session().get_data("partitions")["partitions"]
REGIONS = [[*each["regions"]][-1] for each in PARTITIONS]  # the first is none but in name


def chosen_by_botocore(service: str, region: str) -> str | None:
    """Where a call goes; None where botocore does not know."""
    asked: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        asked.append(request.url.rstrip("/"))
        raise InterruptedError

    with patch("boto3.DEFAULT_SESSION", None):  # it would remember the environment of an earlier test
        try:
            client = boto3.client(service, region_name=region)
        except EndpointVariantError:
            return None
    client.meta.events.register("before-send", stop)
    [(operation, arguments)] = CALLS[service].items()
    with pytest.raises(InterruptedError):
        getattr(client, operation)(**arguments)
    return asked[0]


@pytest.mark.parametrize("service", CALLS)
@pytest.mark.parametrize("variants", [(), ("FIPS",), ("DUALSTACK",), ("FIPS", "DUALSTACK")], ids=str)
def test_every_partition_is_found(monkeypatch: pytest.MonkeyPatch, service: str, variants: tuple[str, ...]) -> None:
    for each in variants:
        monkeypatch.setenv(f"AWS_USE_{each}_ENDPOINT", "true")
    theirs = {region: chosen_by_botocore(service, region) for region in [*REGIONS, "us-east-99"]}
    known, session = {region: url for region, url in theirs.items() if url}, get_session()
    assert len(known) > 6
    assert known == {region: endpoint_url(session, service, region, configured=None) for region in known}


def test_what_is_configured_goes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> str:
        with patch("lib.aws.dynamodb_client.Connections") as connections:
            DynamoDBClient(load(DynamoDBSettings))
        return str(connections.call_args.args[0])

    assert asked() == f"https://dynamodb.{REGION}.amazonaws.com"
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.setenv(name, f"https://{name.lower()}.test")
        assert asked() == f"https://{name.lower()}.test"


def test_certificates_are_those_that_botocore_trusts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    assert ca_bundle(get_session()) == get_cert_path(True)
    for name in ("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):  # the later one goes before
        monkeypatch.setenv(name, f"/{name}.pem")
        assert ca_bundle(get_session()) == f"/{name}.pem"


URL = "https://dynamodb.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    ("url", "variable", "direct", "refused"),
    [
        (URL, "https_proxy", "", "HTTPS_PROXY .* dynamodb.cn-north-1.amazonaws.com.cn to NO_PROXY"),
        (URL, "HTTPS_PROXY", "amazonaws.com.cn", None),
        (URL, "http_proxy", "", None),
        ("http://127.0.0.1:8000", "http_proxy", "", "HTTP_PROXY .* 127.0.0.1 to NO_PROXY"),
        ("http://127.0.0.1:8000", "http_proxy", "127.0.0.1", None),
    ],
)
def test_a_proxy_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, url: str, variable: str, direct: str, refused: str | None
) -> None:
    monkeypatch.setenv(variable, "http://proxy.example.com:3128")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, direct)
    with pytest.raises(SettingsError, match=refused) if refused else nullcontext():
        Connections(url, pool_size=1, ca_bundle=get_cert_path(True))


@pytest.mark.parametrize(
    ("direct", "endpoints", "refused"),
    [
        ("", {}, "dynamodb.eu-central-1.amazonaws.com"),
        ("dynamodb.eu-central-1.amazonaws.com", {}, "cognito-idp.us-east-1.amazonaws.com"),
        ("dynamodb.eu-central-1.amazonaws.com,cognito-idp.us-east-1.amazonaws.com", {}, None),
        ("", {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, None),
        ("", {"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:8000"}, "cognito-idp.us-east-1.amazonaws.com"),
    ],
)
def test_the_settings_refuse_it_too(
    monkeypatch: pytest.MonkeyPatch, direct: str, endpoints: dict[str, str], refused: str | None
) -> None:
    for name, value in {"HTTPS_PROXY": "http://p:1", "NO_PROXY": direct, "no_proxy": direct, **endpoints}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"add {refused} to NO_PROXY") if refused else nullcontext():
        load(Settings, MINIMUM | endpoints)
