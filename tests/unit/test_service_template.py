"""aws/cfn/service.yaml beside the settings, the image and the server of the API."""

from __future__ import annotations

import json
import re
from secrets import token_bytes
from typing import Any, get_args, get_type_hints

import yaml

from lib.clock import now, to_timestamp
from lib.config import ROOT, Settings, declarations
from lib.ddb.cursors import CursorSigner
from lib.ddb.feed import MAX_HASHES, FeedPosition
from lib.ddb.keys import inbox_pk
from lib.rate_limits import parse_windows
from routes.events import HEARTBEAT_SECONDS
from serve import GRACE_SECONDS, KEEP_ALIVE_SECONDS, KILL_SECONDS
from services.errors import Code
from services.validation import MAX_LIMIT
from tests.support.api_server import SETTINGS
from tests.support.documents import AWS
from tools.deploy.templates import STACKS, resources, template

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

READ_A_TEXT = {  # rules of AWS that read bodies, and refuse what people may write about
    *("CrossSiteScripting_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY", "SizeRestrictions_BODY"),
    *("JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"),
}
LONGEST_QUERY = 2048  # characters; AWS's rule SizeRestrictions_QUERYSTRING refuses longer ones

RELAY_CONNECTIONS = 2  # one to LISTEN and one to NOTIFY

TASKS = resources("service", "AWS::ECS::TaskDefinition")
(CONTAINER,) = TASKS["Task"]["ContainerDefinitions"]
ENVIRONMENT = {variable["Name"]: variable["Value"] for variable in CONTAINER["Environment"]}
SECRETS = {secret.get("Fn::If", [None, secret])[1]["Name"] for secret in CONTAINER["Secrets"]}
SERVICE = resources("service", "AWS::ECS::Service")["Service"]
BALANCER = resources("service", "AWS::ElasticLoadBalancingV2::LoadBalancer")["LoadBalancer"]
FIREWALL = resources("service", "AWS::WAFv2::WebACL")["Firewall"]
RULES: dict[str, dict[str, Any]] = {rule["Name"]: rule for rule in FIREWALL["Rules"]}
TARGETS = resources("service", "AWS::ElasticLoadBalancingV2::TargetGroup")["TargetGroup"]


def test_container_has_every_setting_and_secrets_come_from_secrets_manager() -> None:
    kinds = {name: setting.metadata["kind"] for name, setting in declarations(Settings).items()}
    assert ENVIRONMENT.keys() | SECRETS == kinds.keys() - LEFT_OUT
    secret_kinds = ("secret", "secrets", "storage_url")  # a database_url of AWS has no password
    assert {name for name, kind in kinds.items() if kind in secret_kinds} - LEFT_OUT == SECRETS


def test_parameter_has_the_values_of_its_setting() -> None:
    hints, parameters = get_type_hints(Settings), template("service")["Parameters"]
    for name, field in declarations(Settings).items():
        value = ENVIRONMENT.get(name)
        parameter = parameters.get(value.get("Ref"), {}) if isinstance(value, dict) else {}
        if "AllowedValues" in parameter:
            assert parameter["AllowedValues"] == list(get_args(hints[field.name]))
        if "Default" in parameter:
            assert parameter["Default"] == field.default
        if "MaxValue" in parameter:
            assert (parameter["MinValue"], parameter["MaxValue"]) == (field.metadata["low"], field.metadata["high"])


def test_containers_run_as_the_user_of_the_image() -> None:
    assert f"USER {CONTAINER['User']}\n" in (ROOT / "Dockerfile").read_text()


def test_every_task_runs_on_the_platform_of_the_documented_image() -> None:
    [platform] = set(re.findall(r"docker build --platform (\S+)", AWS.read_text()))
    for stack in STACKS:
        for name, task in resources(stack, "AWS::ECS::TaskDefinition").items():
            declared = task["RuntimePlatform"]
            assert "/".join(declared.values()).lower() == platform, name


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


def test_firewall_admits_what_the_least_containers_admit() -> None:
    parameters = template("service")["Parameters"]
    processes = parameters["LeastContainers"]["Default"] * int(ENVIRONMENT["WEB_CONCURRENCY"])

    def a_minute(name: str) -> int:
        return next(limit.amount for limit in parse_windows(parameters[name]["Default"]) if limit.get_expiry() == 60)

    by_user = a_minute("RateLimitSends") + a_minute("RateLimitChanges")
    by_address = max(a_minute("RateLimitAnonymous"), a_minute("RateLimitProfiles"))
    assert parameters["PostsPerAddress"]["Default"] >= processes * by_user
    assert parameters["RequestsPerAddress"]["Default"] >= processes * by_address
    assert parameters["RequestsPerAddress"]["Default"] > parameters["PostsPerAddress"]["Default"]


def test_firewall_counts_requests_of_an_address_for_a_minute_and_posts_apart() -> None:
    limits = {name: RULES[name]["Statement"]["RateBasedStatement"] for name in ("requests", "posts")}
    assert {name: limit["Limit"]["Ref"] for name, limit in limits.items()} == {
        "requests": "RequestsPerAddress",
        "posts": "PostsPerAddress",
    }
    assert {(limit["AggregateKeyType"], limit["EvaluationWindowSec"]) for limit in limits.values()} == {("IP", 60)}
    assert "ScopeDownStatement" not in limits["requests"]
    assert limits["posts"]["ScopeDownStatement"]["ByteMatchStatement"]["SearchString"] == "POST"


def test_refusal_of_a_flood_has_the_form_of_the_contract() -> None:
    bodies = FIREWALL["CustomResponseBodies"]
    for rule in (RULES["requests"], RULES["posts"]):
        refusal = rule["Action"]["Block"]["CustomResponse"]
        body = bodies[refusal["CustomResponseBodyKey"]]
        headers = {header["Name"]: header["Value"] for header in refusal["ResponseHeaders"]}
        assert (refusal["ResponseCode"], json.loads(body["Content"])) == (429, [Code.RATE_LIMITED])
        assert body["ContentType"] == "APPLICATION_JSON"
        assert int(headers["Retry-After"]) == rule["Statement"]["RateBasedStatement"]["EvaluationWindowSec"]
        assert headers["Access-Control-Allow-Origin"] == "*"


def test_no_rule_of_aws_refuses_a_message_for_its_text_or_a_profile_for_its_handle() -> None:
    groups = [rule["Statement"]["ManagedRuleGroupStatement"] for rule in RULES.values() if "OverrideAction" in rule]
    overrides = [override for group in groups for override in group.get("RuleActionOverrides", [])]
    assert all(override["ActionToUse"] == {"Count": {}} for override in overrides)
    counted = {override["Name"] for override in overrides}
    assert {name for name in counted if name.endswith("_BODY")} == READ_A_TEXT
    assert counted >= {
        "NoUserAgent_HEADER",
        "RestrictedExtensions_QUERYARGUMENTS",  # a cursor has dots
        "RestrictedExtensions_URIPATH",
        "SizeRestrictions_URIPATH",
    }
    assert {group["Name"] for group in groups} == {
        "AWSManagedRulesAmazonIpReputationList",
        "AWSManagedRulesKnownBadInputsRuleSet",
        "AWSManagedRulesCommonRuleSet",
    }


def test_longest_cursor_passes_the_firewall() -> None:
    position = FeedPosition(to_timestamp(now()), tuple(token_bytes(6) for _ in range(MAX_HASHES)), late_updates=10**9)
    cursor = CursorSigner(SETTINGS["SECRET_KEY"]).sign("feed", position.to_payload(), pk=inbox_pk("anna"))
    assert len(f"since={cursor}&limit={MAX_LIMIT}") < LONGEST_QUERY


def test_firewall_records_refusals_without_tokens_cookies_queries_and_texts() -> None:
    log = resources("service", "AWS::WAFv2::LoggingConfiguration")["FirewallLog"]
    headers = {field["SingleHeader"]["Name"] for field in log["RedactedFields"] if "SingleHeader" in field}
    assert headers == {"authorization", "cookie"}
    assert {"QueryString": {}} in log["RedactedFields"]
    assert log["LoggingFilter"]["DefaultBehavior"] == "DROP"
    [kept] = log["LoggingFilter"]["Filters"]
    assert (kept["Behavior"], kept["Conditions"]) == ("KEEP", [{"ActionCondition": {"Action": "BLOCK"}}])
    [protected] = FIREWALL["DataProtectionConfig"]["DataProtections"]
    assert protected == {"Field": {"FieldType": "BODY"}, "Action": "SUBSTITUTION"}
    settings = [FIREWALL["VisibilityConfig"], *(rule["VisibilityConfig"] for rule in RULES.values())]
    assert {setting["SampledRequestsEnabled"] for setting in settings} == {False}
    [destination] = log["LogDestinationConfigs"]
    assert destination["Fn::Sub"].endswith(":log-group:${FirewallLogGroup}")
    group = resources("service", "AWS::Logs::LogGroup")["FirewallLogGroup"]
    assert group["LogGroupName"]["Fn::Sub"].startswith("aws-waf-logs-")


def test_load_balancer_is_behind_the_firewall_and_keeps_its_log_for_two_weeks() -> None:
    association = resources("service", "AWS::WAFv2::WebACLAssociation")["FirewallAssociation"]
    assert association["ResourceArn"] == {"Ref": "LoadBalancer"}
    assert association["WebACLArn"] == {"Fn::GetAtt": ["Firewall", "Arn"]}
    values = attributes(BALANCER["LoadBalancerAttributes"])
    assert (values["access_logs.s3.enabled"], values["access_logs.s3.bucket"]) == ("true", {"Ref": "AccessLogBucket"})
    assert template("service")["Resources"]["LoadBalancer"]["DependsOn"] == "AccessLogBucketPolicy"
    bucket = resources("service", "AWS::S3::Bucket")["AccessLogBucket"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert [rule["ExpirationInDays"] for rule in bucket["LifecycleConfiguration"]["Rules"]] == [14]


def test_load_balancer_alone_writes_its_log() -> None:
    refuse, allow = resources("service", "AWS::S3::BucketPolicy")["AccessLogBucketPolicy"]["PolicyDocument"][
        "Statement"
    ]
    assert refuse["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert allow["Principal"] == {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}
    assert allow["Action"] == "s3:PutObject"
    assert allow["Resource"]["Fn::Sub"] == "${AccessLogBucket.Arn}/AWSLogs/${AWS::AccountId}/*"


def attributes(pairs: list[dict[str, str]]) -> dict[str, str]:
    return {pair["Key"]: pair["Value"] for pair in pairs}
