"""aws/cfn/service.yaml runs the API with its settings, as the image and the server want it."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args, get_type_hints

import yaml

from lib.config import ROOT, Settings
from serve import GRACE_SECONDS, KEEP_ALIVE_SECONDS
from tests.support.policies import resources
from tools.deploy.templates import template

LEFT_OUT = {  # what is for emulators, and an older name
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER",
    "COGNITO_ISSUER",
    "COGNITO_JWKS_URL",
    "MOMENTO_AUTH_TOKEN",
}

TASKS = resources("service", "AWS::ECS::TaskDefinition")
(CONTAINER,) = TASKS["Task"]["ContainerDefinitions"]
ENVIRONMENT = {each["Name"]: each["Value"] for each in CONTAINER["Environment"]}
*ALWAYS, MOMENTO = CONTAINER["Secrets"]
SECRETS = {each["Name"] for each in (*ALWAYS, MOMENTO["Fn::If"][1])}
SERVICE = resources("service", "AWS::ECS::Service")["Service"]
BALANCER = resources("service", "AWS::ElasticLoadBalancingV2::LoadBalancer")["LoadBalancer"]
TARGETS = resources("service", "AWS::ElasticLoadBalancingV2::TargetGroup")["TargetGroup"]


def test_the_container_gets_every_setting_by_its_name() -> None:
    assert ENVIRONMENT.keys() | SECRETS == {each.name.upper() for each in fields(Settings)} - LEFT_OUT


def test_what_is_secret_comes_from_secrets_manager() -> None:
    kinds = {each.name.upper(): each.metadata["kind"] for each in fields(Settings)}
    assert {name for name, kind in kinds.items() if kind in ("secret", "database_url")} - LEFT_OUT == SECRETS


def test_a_parameter_takes_what_its_setting_takes() -> None:
    hints, parameters = get_type_hints(Settings), template("service")["Parameters"]
    for each in fields(Settings):
        value = ENVIRONMENT.get(each.name.upper())
        parameter = parameters.get(value["Ref"], {}) if isinstance(value, dict) else {}
        if "AllowedValues" in parameter:
            assert parameter["AllowedValues"] == list(get_args(hints[each.name]))
        if "Default" in parameter:
            assert parameter["Default"] == each.default
        if "MaxValue" in parameter:
            assert (parameter["MinValue"], parameter["MaxValue"]) == (each.metadata["low"], each.metadata["high"])


def test_the_containers_are_the_images_user_and_the_maintenance_has_settings_of_the_api() -> None:
    assert f"USER {CONTAINER['User']}\n" in (ROOT / "Dockerfile").read_text()
    (script,) = TASKS["MaintenanceTask"]["ContainerDefinitions"]
    assert (script["Image"], script["User"]) == (CONTAINER["Image"], CONTAINER["User"])
    assert {each["Name"]: each["Value"] for each in script["Environment"]}.items() <= ENVIRONMENT.items()
    assert script["Secrets"][-1] == MOMENTO  # who renames, tells the cache
    assert all((ROOT / each).exists() for each in script["Command"])


def test_the_port_is_one_from_the_balancer_to_the_server() -> None:
    ports = {int(ENVIRONMENT["PORT"]), TARGETS["Port"], CONTAINER["PortMappings"][0]["ContainerPort"]}
    ports |= {each["ContainerPort"] for each in SERVICE["LoadBalancers"]}
    ports |= {rule["ToPort"] for rule in resources("network", "AWS::EC2::SecurityGroupIngress").values()} - {443, 5432}
    assert ports == {4567}


def test_the_balancer_asks_a_path_that_the_api_has() -> None:
    assert TARGETS["HealthCheckPath"] in yaml.safe_load((ROOT / "openapi.yaml").read_text())["paths"]


def test_the_balancer_and_the_container_have_the_patience_of_the_server() -> None:
    attributes = {each["Key"]: each["Value"] for each in BALANCER["LoadBalancerAttributes"]}
    assert int(attributes["idle_timeout.timeout_seconds"]) < KEEP_ALIVE_SECONDS
    assert CONTAINER["StopTimeout"] > GRACE_SECONDS
