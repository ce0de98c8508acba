"""aws/cfn/network.yaml: who can reach whom. No emulator here enforces it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lib.aws.templates import template
from tests.policies import resources

GROUPS = resources("network", "AWS::EC2::SecurityGroup")
INGRESS = resources("network", "AWS::EC2::SecurityGroupIngress").values()
ENDPOINTS = resources("network", "AWS::EC2::VPCEndpoint")
INTERFACES = {name: each for name, each in ENDPOINTS.items() if each["VpcEndpointType"] == "Interface"}
DATABASE = resources("network", "AWS::RDS::DBInstance")["Database"]
OUTPUTS = template("network")["Outputs"]

DYNAMODB, S3, NOWHERE = "DynamoDBPrefixListId", "S3PrefixListId", "127.0.0.1/32"


def ref(value: Any) -> Any:
    return value["Ref"] if isinstance(value, dict) else value


def egress(group: str) -> set[tuple[Any, Any]]:
    """Where a group may connect to: security group, prefix list or addresses, and port."""
    rules = GROUPS[group]["SecurityGroupEgress"]
    kinds = ("DestinationSecurityGroupId", "DestinationPrefixListId", "CidrIp")
    return {(ref(next(rule[kind] for kind in kinds if kind in rule)), rule.get("ToPort")) for rule in rules}


def ingress(group: str) -> set[tuple[Any, Any]]:
    """Who may connect to a group, and at which port."""
    own = {(rule["CidrIp"], rule["ToPort"]) for rule in GROUPS[group].get("SecurityGroupIngress", [])}
    return own | {
        (ref(rule["SourceSecurityGroupId"]), rule["ToPort"]) for rule in INGRESS if ref(rule["GroupId"]) == group
    }


def test_the_private_subnets_have_no_route_to_the_internet() -> None:
    kinds = {resource["Type"] for resource in template("network")["Resources"].values()}
    assert kinds & {"AWS::EC2::NatGateway", "AWS::EC2::EgressOnlyInternetGateway", "AWS::EC2::TransitGateway"} == set()
    routes = resources("network", "AWS::EC2::Route").values()
    assert [(ref(route["RouteTableId"]), route["DestinationCidrBlock"]) for route in routes] == [
        ("PublicRoutes", "0.0.0.0/0")
    ]
    tables = {
        ref(each["SubnetId"]): ref(each["RouteTableId"])
        for each in resources("network", "AWS::EC2::SubnetRouteTableAssociation").values()
    }
    assert tables == {f"{kind}Subnet{zone}": f"{kind}Routes" for kind in ("Public", "Private") for zone in "AB"}


def test_functions_containers_endpoints_and_postgres_are_in_the_private_subnets_and_the_balancer_alone_is_not() -> None:
    private = [{"Ref": "PrivateSubnetA"}, {"Ref": "PrivateSubnetB"}]
    for name in ("FunctionSubnetIds", "ServiceSubnetIds"):
        assert OUTPUTS[name]["Value"] == {"Fn::Join": [",", private]}
    assert [each["SubnetIds"] for each in INTERFACES.values()] == [private] * len(INTERFACES)
    assert resources("network", "AWS::RDS::DBSubnetGroup")["DatabaseSubnets"]["SubnetIds"] == private
    assert DATABASE["DBSubnetGroupName"] == {"Ref": "DatabaseSubnets"}
    assert OUTPUTS["LoadBalancerSubnetIds"]["Value"] == {
        "Fn::Join": [",", [{"Ref": "PublicSubnetA"}, {"Ref": "PublicSubnetB"}]]
    }


@pytest.mark.parametrize(
    ("group", "reaches", "reached_by"),
    [
        ("LoadBalancer", {("ServiceSecurityGroup", 4567)}, {("0.0.0.0/0", 443), ("0.0.0.0/0", 80)}),
        (
            "Service",
            {
                (DYNAMODB, 443),
                (S3, 443),
                ("SecretsEndpointSecurityGroup", 443),
                ("EndpointSecurityGroup", 443),
                ("DatabaseSecurityGroup", 5432),
            },
            {("LoadBalancerSecurityGroup", 4567)},
        ),
        ("MessageStream", {(DYNAMODB, 443)}, set()),
        ("PostConfirmation", {("SecretsEndpointSecurityGroup", 443), ("DatabaseSecurityGroup", 5432)}, set()),
        (
            "SecretsEndpoint",
            {(NOWHERE, None)},
            {("ServiceSecurityGroup", 443), ("PostConfirmationSecurityGroup", 443)},
        ),
        ("Endpoint", {(NOWHERE, None)}, {("ServiceSecurityGroup", 443)}),
        (
            "Database",
            {(NOWHERE, None)},
            {("ServiceSecurityGroup", 5432), ("PostConfirmationSecurityGroup", 5432)},
        ),
    ],
)
def test_who_reaches_whom(group: str, reaches: set[Any], reached_by: set[Any]) -> None:
    assert egress(f"{group}SecurityGroup") == reaches
    assert ingress(f"{group}SecurityGroup") == reached_by


def test_nothing_in_a_subnet_gets_a_public_address_unasked() -> None:
    assert [each for each in resources("network", "AWS::EC2::Subnet").values() if "MapPublicIpOnLaunch" in each] == []


def test_each_is_in_its_own_group() -> None:
    groups = {name: each["SecurityGroupIds"] for name, each in INTERFACES.items()}
    assert groups.pop("SecretsEndpoint") == [{"Ref": "SecretsEndpointSecurityGroup"}]
    assert list(groups.values()) == [[{"Ref": "EndpointSecurityGroup"}]] * len(groups)
    assert DATABASE["VPCSecurityGroups"] == [{"Ref": "DatabaseSecurityGroup"}]
    for name in ("MessageStream", "PostConfirmation", "Service", "LoadBalancer"):
        assert OUTPUTS[f"{name}SecurityGroupId"]["Value"] == {"Ref": f"{name}SecurityGroup"}


def test_every_group_is_accounted_for() -> None:
    (marker,) = test_who_reaches_whom.pytestmark  # type: ignore[attr-defined]
    assert {f"{group}SecurityGroup" for group, *_ in marker.args[1]} == GROUPS.keys()


def test_descriptions_have_only_characters_that_ec2_takes() -> None:
    rules = [
        rule
        for group in GROUPS.values()
        for key in ("SecurityGroupIngress", "SecurityGroupEgress")
        for rule in group.get(key, [])
    ]
    given = [each["Description"] for each in [*rules, *INGRESS]] + [
        each["GroupDescription"] for each in GROUPS.values()
    ]
    assert [text for text in given if not re.fullmatch(r"[\w .:/()#,@\[\]+=&;{}!$*-]{1,255}", text, re.ASCII)] == []


def test_the_gateway_endpoints_are_on_the_private_routes() -> None:
    gateways = {name for name, each in ENDPOINTS.items() if each["VpcEndpointType"] == "Gateway"}
    assert gateways == {"DynamoDBEndpoint", "S3Endpoint"}
    assert all(ENDPOINTS[name]["RouteTableIds"] == [{"Ref": "PrivateRoutes"}] for name in gateways)


def test_the_interface_endpoints_answer_under_the_services_own_names() -> None:
    names = {
        each["ServiceName"]["Fn::Sub"].removeprefix("com.amazonaws.${AWS::Region}.") for each in INTERFACES.values()
    }
    assert names == {"secretsmanager", "cognito-idp", "logs", "ecr.api", "ecr.dkr"}
    assert all(each["PrivateDnsEnabled"] for each in INTERFACES.values())
    assert {name for name, each in ENDPOINTS.items() if "PolicyDocument" not in each} == {"CognitoEndpoint"}


def test_the_pool_has_no_domain_which_would_close_its_endpoint() -> None:
    assert resources("messaging", "AWS::Cognito::UserPoolDomain") == {}


def test_postgres_is_private_encrypted_protected_and_kept_twice() -> None:
    expected = {
        "PubliclyAccessible": False,
        "StorageEncrypted": True,
        "DeletionProtection": True,
        "DeleteAutomatedBackups": False,
        "MultiAZ": True,
        "BackupRetentionPeriod": 14,
        "AutoMinorVersionUpgrade": True,
    }
    assert expected.items() <= DATABASE.items()
    parameters = resources("network", "AWS::RDS::DBParameterGroup")["DatabaseParameters"]
    assert parameters["Parameters"]["rds.force_ssl"] == "1"
    assert DATABASE["DBParameterGroupName"] == {"Ref": "DatabaseParameters"}
    url, _ = resources("network", "AWS::SecretsManager::Secret")["DatabaseUrl"]["SecretString"]["Fn::Sub"]
    assert url.endswith("?sslmode=require")


def test_postgres_logs_no_values_and_forgets_what_it_logs() -> None:
    parameters = resources("network", "AWS::RDS::DBParameterGroup")["DatabaseParameters"]["Parameters"]
    assert parameters["log_error_verbosity"] == "terse"
    group = resources("network", "AWS::Logs::LogGroup")["DatabaseLogGroup"]["LogGroupName"]["Fn::Sub"]
    exported = [f"/aws/rds/instance/${{AWS::StackName}}/{each}" for each in DATABASE["EnableCloudwatchLogsExports"]]
    assert (exported, DATABASE["DBInstanceIdentifier"]) == ([group], {"Ref": "AWS::StackName"})
    assert template("network")["Resources"]["Database"]["DependsOn"] == "DatabaseLogGroup"  # else RDS makes the group


def test_no_password_is_in_the_template_or_typed_by_anybody() -> None:
    secrets = resources("network", "AWS::SecretsManager::Secret")
    assert {name for name, each in secrets.items() if "GenerateSecretString" in each} == {
        "DatabasePassword",
        "SecretKey",
    }
    # What is put into a URL needs no escapes.
    assert all(each.get("GenerateSecretString", {}).get("ExcludePunctuation", True) for each in secrets.values())
    assert DATABASE["MasterUserPassword"] == {"Fn::Sub": "{{resolve:secretsmanager:${DatabasePassword}}}"}
    assert [name for name, each in template("network")["Parameters"].items() if "assword" in name + str(each)] == []
    assert "resolve:" not in str(OUTPUTS)


def test_a_tag_is_for_one_image_for_ever() -> None:
    assert resources("network", "AWS::ECR::Repository")["ImageRepository"]["ImageTagMutability"] == "IMMUTABLE"


def test_every_connection_is_logged() -> None:
    (log,) = resources("network", "AWS::EC2::FlowLog").values()
    assert (log["ResourceId"], log["TrafficType"]) == ({"Ref": "Vpc"}, "ALL")
