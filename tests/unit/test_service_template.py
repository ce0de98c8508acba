"""aws/cfn/service.yaml beside the settings, the image and the server of the API."""

from __future__ import annotations

from typing import get_args, get_type_hints

import yaml

from lib.config import ROOT, Settings, declarations
from routes.events import HEARTBEAT_SECONDS
from serve import GRACE_SECONDS, KEEP_ALIVE_SECONDS, KILL_SECONDS
from tests.support.policies import resources
from tools.deploy.templates import template

LEFT_OUT = {  # for emulators, a pooler, a Redis, the page of local stacks, and an older name
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER",
    "COGNITO_ISSUER",
    "COGNITO_JWKS_URL",
    "COGNITO_PUBLIC_ENDPOINT",
    "DEMO_PASSWORD",
    "DEMO_USERS",
    "LIVE_DATABASE_URL",
    "RATE_LIMIT_STORAGE_URL",
    "WEB_CLIENT",
    "MOMENTO_AUTH_TOKEN",
}

RELAY_CONNECTIONS = 2  # one to LISTEN and one to NOTIFY

TASKS = resources("service", "AWS::ECS::TaskDefinition")
(CONTAINER,) = TASKS["Task"]["ContainerDefinitions"]
ENVIRONMENT = {variable["Name"]: variable["Value"] for variable in CONTAINER["Environment"]}
MOMENTO = CONTAINER["Secrets"][-1]
SECRETS = {secret.get("Fn::If", [None, secret])[1]["Name"] for secret in CONTAINER["Secrets"]}
SERVICE = resources("service", "AWS::ECS::Service")["Service"]
BALANCER = resources("service", "AWS::ElasticLoadBalancingV2::LoadBalancer")["LoadBalancer"]
TARGETS = resources("service", "AWS::ElasticLoadBalancingV2::TargetGroup")["TargetGroup"]


def test_container_has_every_setting_and_secrets_come_from_secrets_manager() -> None:
    kinds = {name: setting.metadata["kind"] for name, setting in declarations(Settings).items()}
    assert ENVIRONMENT.keys() | SECRETS == kinds.keys() - LEFT_OUT
    secret_kinds = ("secret", "secrets", "database_url", "storage_url")
    assert {name for name, kind in kinds.items() if kind in secret_kinds} - LEFT_OUT == SECRETS


def test_parameter_has_the_values_of_its_setting() -> None:
    hints, parameters = get_type_hints(Settings), template("service")["Parameters"]
    for name, field in declarations(Settings).items():
        value = ENVIRONMENT.get(name)
        parameter = parameters.get(value["Ref"], {}) if isinstance(value, dict) else {}
        if "AllowedValues" in parameter:
            assert parameter["AllowedValues"] == list(get_args(hints[field.name]))
        if "Default" in parameter:
            assert parameter["Default"] == field.default
        if "MaxValue" in parameter:
            assert (parameter["MinValue"], parameter["MaxValue"]) == (field.metadata["low"], field.metadata["high"])


def test_containers_run_as_the_user_of_the_image_and_maintenance_has_settings_of_the_api() -> None:
    assert f"USER {CONTAINER['User']}\n" in (ROOT / "Dockerfile").read_text()
    (script,) = TASKS["MaintenanceTask"]["ContainerDefinitions"]
    assert (script["Image"], script["User"]) == (CONTAINER["Image"], CONTAINER["User"])
    assert {variable["Name"]: variable["Value"] for variable in script["Environment"]}.items() <= ENVIRONMENT.items()
    assert script["Secrets"][-1] == MOMENTO  # bin/db/rename-user invalidates the shared cache
    assert all((ROOT / path).exists() for path in script["Command"])


def test_port_is_the_same_from_the_load_balancer_to_the_server() -> None:
    ports = {int(ENVIRONMENT["PORT"]), TARGETS["Port"], CONTAINER["PortMappings"][0]["ContainerPort"]}
    ports |= {balancer["ContainerPort"] for balancer in SERVICE["LoadBalancers"]}
    ports |= {rule["ToPort"] for rule in resources("network", "AWS::EC2::SecurityGroupIngress").values()} - {443, 5432}
    assert ports == {4567}


def test_address_of_a_client_comes_from_the_load_balancer_alone() -> None:
    assert ENVIRONMENT["TRUSTED_PROXIES"] == "1"
    header = attributes(BALANCER["LoadBalancerAttributes"]).get("routing.http.xff_header_processing.mode", "append")
    assert header == "append"  # its default


def test_load_balancer_fits_the_paths_and_timeouts_of_the_server() -> None:
    assert TARGETS["HealthCheckPath"] in yaml.safe_load((ROOT / "openapi.yaml").read_text())["paths"]
    idle_seconds = int(attributes(BALANCER["LoadBalancerAttributes"])["idle_timeout.timeout_seconds"])
    assert 2 * HEARTBEAT_SECONDS < idle_seconds < KEEP_ALIVE_SECONDS
    assert CONTAINER["StopTimeout"] > GRACE_SECONDS + KILL_SECONDS


def test_deployment_waits_for_requests_and_not_for_streams() -> None:
    delay = int(attributes(TARGETS["TargetGroupAttributes"])["deregistration_delay.timeout_seconds"])
    assert GRACE_SECONDS < delay < 2 * GRACE_SECONDS


def test_streams_and_requests_spread_evenly_over_the_containers() -> None:
    values = attributes(TARGETS["TargetGroupAttributes"])
    assert values["load_balancing.algorithm.type"] == "round_robin"  # slow start needs it, too
    assert int(values["slow_start.duration_seconds"]) >= 30  # the least that AWS takes
    assert values["stickiness.enabled"] == "false"


def test_parameter_counts_the_connections_of_a_container_to_postgres() -> None:
    pool, workers = int(ENVIRONMENT["DATABASE_POOL_SIZE"]), int(ENVIRONMENT["WEB_CONCURRENCY"])
    connections = workers * (pool + RELAY_CONNECTIONS)
    assert f"up to {connections} connections" in template("service")["Parameters"]["MostContainers"]["Description"]


def attributes(pairs: list[dict[str, str]]) -> dict[str, str]:
    return {pair["Key"]: pair["Value"] for pair in pairs}
