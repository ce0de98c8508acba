"""aws/cfn/service.yaml runs the API with its settings, as the image and the server want it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args, get_type_hints

import yaml

from lib.aws.templates import template
from lib.config import ROOT, Settings
from serve import GRACE_SECONDS, KEEP_ALIVE_SECONDS
from tests.policies import resources

LEFT_OUT = {  # what is for emulators, and an older name
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER",
    "COGNITO_ISSUER",
    "COGNITO_JWKS_URL",
    "MOMENTO_AUTH_TOKEN",
}

TASK = resources("service", "AWS::ECS::TaskDefinition")["Task"]
MAINTENANCE = resources("service", "AWS::ECS::TaskDefinition")["MaintenanceTask"]
(CONTAINER,) = TASK["ContainerDefinitions"]
ENVIRONMENT = {each["Name"]: each["Value"] for each in CONTAINER["Environment"]}
*ALWAYS, MOMENTO = CONTAINER["Secrets"]
SECRETS = {each["Name"]: each["ValueFrom"] for each in (*ALWAYS, MOMENTO["Fn::If"][1])}
SERVICE = resources("service", "AWS::ECS::Service")["Service"]
BALANCER = resources("service", "AWS::ElasticLoadBalancingV2::LoadBalancer")["LoadBalancer"]
LISTENERS = resources("service", "AWS::ElasticLoadBalancingV2::Listener")
TARGETS = resources("service", "AWS::ElasticLoadBalancingV2::TargetGroup")["TargetGroup"]
PARAMETERS = template("service")["Parameters"]
(_START,) = resources("service", "AWS::IAM::Role")["ExecutionRole"]["Policies"]
EXECUTION = _START["PolicyDocument"]["Statement"]
SECRETS_ENDPOINT = resources("network", "AWS::EC2::VPCEndpoint")["SecretsEndpoint"]["PolicyDocument"]["Statement"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def attributes(resource: dict[str, Any], name: str) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in resource[name]}


def test_the_container_gets_every_setting_by_its_name() -> None:
    assert ENVIRONMENT.keys() | SECRETS.keys() == {each.name.upper() for each in fields(Settings)} - LEFT_OUT


def test_what_is_secret_comes_from_secrets_manager() -> None:
    kinds = {each.name.upper(): each.metadata["kind"] for each in fields(Settings)}
    assert SECRETS.keys() == {name for name, kind in kinds.items() if kind in ("secret", "database_url")} - LEFT_OUT
    assert SECRETS == {
        "DATABASE_URL": {"Ref": "DatabaseSecretArn"},
        "SECRET_KEY": {"Ref": "SecretKeyArn"},
        "MOMENTO_API_KEY": {"Ref": "MomentoSecretArn"},
    }


def test_a_secret_that_nobody_named_is_not_asked_for() -> None:
    nothing = {"Ref": "AWS::NoValue"}
    given = {"Fn::If": ["UsesMomento", {"Ref": "MomentoSecretArn"}, nothing]}
    assert (MOMENTO["Fn::If"][0], MOMENTO["Fn::If"][2]) == ("UsesMomento", nothing)
    for stack, statements in (("service", EXECUTION), ("network", SECRETS_ENDPOINT)):
        assert template(stack)["Conditions"]["UsesMomento"] == {
            "Fn::Not": [{"Fn::Equals": [{"Ref": "MomentoSecretArn"}, ""]}]
        }
        (readable,) = [each["Resource"] for each in statements if each["Sid"] == "Secrets"]
        assert readable[-1] == given
        assert len(readable) == 3


def test_a_parameter_takes_what_its_setting_takes() -> None:
    hints = get_type_hints(Settings)
    for each in fields(Settings):
        value = ENVIRONMENT.get(each.name.upper())
        parameter = PARAMETERS.get(value["Ref"], {}) if isinstance(value, dict) else {}
        if "AllowedValues" in parameter:
            assert parameter["AllowedValues"] == list(get_args(hints[each.name]))
        if "Default" in parameter:
            assert parameter["Default"] == each.default
        if "MaxValue" in parameter:
            assert (parameter["MinValue"], parameter["MaxValue"]) == (each.metadata["low"], each.metadata["high"])


def test_the_container_is_nobody_special_and_cannot_write_to_its_disk() -> None:
    assert f"USER {CONTAINER['User']}\n" in DOCKERFILE
    assert CONTAINER["ReadonlyRootFilesystem"] is True
    assert CONTAINER["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert TASK["TaskRoleArn"] == {"Ref": "AppRoleArn"}
    assert SERVICE["EnableExecuteCommand"] is False
    assert SERVICE["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"


def test_a_maintenance_container_has_the_scripts_settings_and_a_role_of_its_own() -> None:
    (script,) = MAINTENANCE["ContainerDefinitions"]
    given = {each["Name"]: each["Value"] for each in script["Environment"]}
    momento = {f"MOMENTO_{name}" for name in ("CACHE_NAME", "TTL_SECONDS", "ENDPOINT")}  # who renames, tells the cache
    assert given == {
        name: ENVIRONMENT[name] for name in {"AWS_DEFAULT_REGION", "ALLOWED_REGIONS", "DDB_TABLE"} | momento
    }
    assert [each.get("Name") for each in script["Secrets"]] == ["DATABASE_URL", None]
    assert script["Secrets"][-1] == MOMENTO
    assert (script["Image"], script["User"]) == (CONTAINER["Image"], CONTAINER["User"])
    assert MAINTENANCE["TaskRoleArn"] == {"Fn::GetAtt": ["MaintenanceRole", "Arn"]}
    assert all((ROOT / each).exists() for each in script["Command"])


def test_the_port_is_one_from_the_balancer_to_the_server() -> None:
    ports = {int(ENVIRONMENT["PORT"]), TARGETS["Port"], CONTAINER["PortMappings"][0]["ContainerPort"]}
    ports |= {each["ContainerPort"] for each in SERVICE["LoadBalancers"]}
    ports |= {rule["ToPort"] for rule in resources("network", "AWS::EC2::SecurityGroupIngress").values()} - {443, 5432}
    assert ports == {4567}
    assert ENVIRONMENT["HOST"] == "0.0.0.0"  # noqa: S104 - inside a container


def test_the_balancer_asks_a_path_that_the_api_has() -> None:
    paths = yaml.safe_load((ROOT / "openapi.yaml").read_text())["paths"]
    assert TARGETS["HealthCheckPath"] in paths
    assert TARGETS["Matcher"] == {"HttpCode": "200"}


def test_the_balancer_closes_idle_connections_before_the_server_does() -> None:
    assert int(attributes(BALANCER, "LoadBalancerAttributes")["idle_timeout.timeout_seconds"]) < KEEP_ALIVE_SECONDS


def test_a_container_is_given_the_time_that_the_server_takes_to_end() -> None:
    assert CONTAINER["StopTimeout"] > GRACE_SECONDS


def test_the_balancer_is_public_the_containers_are_not_and_each_is_in_its_own_group() -> None:
    placed = SERVICE["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert (placed["Subnets"], placed["SecurityGroups"]) == (
        {"Ref": "ServiceSubnetIds"},
        [{"Ref": "ServiceSecurityGroupId"}],
    )
    assert (BALANCER["Subnets"], BALANCER["SecurityGroups"]) == (
        {"Ref": "LoadBalancerSubnetIds"},
        [{"Ref": "LoadBalancerSecurityGroupId"}],
    )


def test_the_balancer_is_protected_and_takes_no_malformed_request() -> None:
    kept = attributes(BALANCER, "LoadBalancerAttributes")
    assert kept["deletion_protection.enabled"] == "true"
    assert kept["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert kept["routing.http.desync_mitigation_mode"] == "strictest"


def test_https_is_spoken_and_http_leads_there() -> None:
    https, http = LISTENERS["HttpsListener"], LISTENERS["HttpListener"]
    assert (https["Protocol"], https["Port"]) == ("HTTPS", 443)
    assert https["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    assert https["Certificates"] == [{"CertificateArn": {"Ref": "CertificateArn"}}]
    (answer,) = http["DefaultActions"]
    assert (answer["Type"], answer["RedirectConfig"]["Protocol"]) == ("redirect", "HTTPS")
    assert LISTENERS.keys() == {"HttpsListener", "HttpListener"}


def test_a_deployment_that_fails_is_rolled_back_and_costs_no_container() -> None:
    deployment = SERVICE["DeploymentConfiguration"]
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert deployment["MinimumHealthyPercent"] == 100


def test_containers_follow_cpu_and_requests_and_are_never_fewer_than_two() -> None:
    (range_,) = resources("service", "AWS::ApplicationAutoScaling::ScalableTarget").values()
    assert (range_["MinCapacity"], range_["MaxCapacity"]) == ({"Ref": "LeastContainers"}, {"Ref": "MostContainers"})
    assert "DesiredCount" not in SERVICE  # a deployment would go back to it
    policies = resources("service", "AWS::ApplicationAutoScaling::ScalingPolicy").values()
    metrics = [each["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"] for each in policies]
    assert {each["PredefinedMetricType"] for each in metrics} == {
        "ECSServiceAverageCPUUtilization",
        "ALBRequestCountPerTarget",
    }
    assert (PARAMETERS["LeastContainers"]["Default"], PARAMETERS["LeastContainers"]["MinValue"]) == (2, 2)


def test_an_alarm_goes_off_at_five_errors_a_minute_an_unhealthy_container_or_none_at_all() -> None:
    alarms = resources("service", "AWS::CloudWatch::Alarm")
    thresholds = {
        name: (each["Threshold"], each["ComparisonOperator"], each["TreatMissingData"]) for name, each in alarms.items()
    }
    at_least = "GreaterThanOrEqualToThreshold"
    assert thresholds == {
        "ErrorsAlarm": (5, at_least, "notBreaching"),
        "UnhealthyAlarm": (1, at_least, "notBreaching"),
        "NoContainersAlarm": (1, "LessThanThreshold", "breaching"),
    }
    assert {name: [part["Name"] for part in each["Dimensions"]] for name, each in alarms.items()} == {
        "ErrorsAlarm": ["LoadBalancer"],
        "UnhealthyAlarm": ["LoadBalancer", "TargetGroup"],
        "NoContainersAlarm": ["LoadBalancer", "TargetGroup"],
    }


def test_alarms_go_where_all_go() -> None:
    for stack in ("service", "guardrails"):
        for alarm in resources(stack, "AWS::CloudWatch::Alarm").values():
            assert alarm["AlarmActions"] == [{"Ref": "AlarmTopicArn"}]
