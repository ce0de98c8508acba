"""The endpoints of AWS: those of botocore in every partition, and never through a proxy."""

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
from lib.config import DynamoDBSettings, SettingsError, load
from tools.local_stack.environment import REGION

CALLS: dict[str, dict[str, Any]] = {"dynamodb": {"list_tables": {}}, "cognito-idp": {"get_user": {"AccessToken": "a"}}}
URL = "https://dynamodb.cn-north-1.amazonaws.com.cn"
PARTITIONS = get_session().get_data("partitions")["partitions"]
REGIONS = [[*partition["regions"]][-1] for partition in PARTITIONS]  # the first may be a pseudo-region


def chosen_by_botocore(service: str, region: str) -> str | None:
    """The URL of a call; None if botocore knows none."""
    urls: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        urls.append(request.url.rstrip("/"))
        raise InterruptedError

    with patch("boto3.DEFAULT_SESSION", None):  # it has the environment of an earlier test
        try:
            client = boto3.client(service, region_name=region)
        except EndpointVariantError:
            return None
    client.meta.events.register("before-send", stop)
    [(operation, arguments)] = CALLS[service].items()
    with pytest.raises(InterruptedError):
        getattr(client, operation)(**arguments)
    return urls[0]


@pytest.mark.parametrize("service", CALLS)
@pytest.mark.parametrize("variants", [(), ("FIPS",), ("DUALSTACK",), ("FIPS", "DUALSTACK")], ids=str)
def test_endpoint_equals_that_of_botocore(
    monkeypatch: pytest.MonkeyPatch, service: str, variants: tuple[str, ...]
) -> None:
    for variant in variants:
        monkeypatch.setenv(f"AWS_USE_{variant}_ENDPOINT", "true")
    theirs = {region: chosen_by_botocore(service, region) for region in [*REGIONS, "us-east-99"]}
    known, session = {region: url for region, url in theirs.items() if url}, get_session()
    assert len(known) > 6
    assert known == {region: endpoint_url(session, service, region, configured=None) for region in known}


def test_configured_endpoint_precedes_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    def url() -> str:
        with patch("lib.aws.dynamodb_client.Connections") as connections:
            DynamoDBClient(load(DynamoDBSettings))
        return str(connections.call_args.args[0])

    assert url() == f"https://dynamodb.{REGION}.amazonaws.com"
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.setenv(name, f"https://{name.lower()}.test")
        assert url() == f"https://{name.lower()}.test"


def test_ca_bundle_equals_that_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    assert ca_bundle(get_session()) == get_cert_path(True)
    for name in ("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):  # the second precedes the first
        monkeypatch.setenv(name, f"/{name}.pem")
        assert ca_bundle(get_session()) == f"/{name}.pem"


@pytest.mark.parametrize(
    ("url", "variable", "no_proxy", "problem"),
    [
        (URL, "https_proxy", "", "HTTPS_PROXY .* dynamodb.cn-north-1.amazonaws.com.cn to NO_PROXY"),
        (URL, "HTTPS_PROXY", "amazonaws.com.cn", None),
        (URL, "http_proxy", "", None),
        ("http://127.0.0.1:8000", "http_proxy", "", "HTTP_PROXY .* 127.0.0.1 to NO_PROXY"),
        ("http://127.0.0.1:8000", "http_proxy", "127.0.0.1", None),
    ],
)
def test_connections_refuse_a_proxy(
    monkeypatch: pytest.MonkeyPatch, url: str, variable: str, no_proxy: str, problem: str | None
) -> None:
    for name, value in {variable: "http://proxy.example.com:3128", "no_proxy": no_proxy, "NO_PROXY": no_proxy}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=problem) if problem else nullcontext():
        Connections(url, pool_size=1, ca_bundle=get_cert_path(True))
