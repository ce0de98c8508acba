"""The network's routes and outputs on ministack, which supports no flow logs and no separate ingress rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest

from tools.deploy.templates import template
from tools.local_stack.ministack import ALL_SERVICES, Ministack

UNKNOWN = {"AWS::EC2::FlowLog", "AWS::EC2::SecurityGroupIngress"}
MASTER_SECRET = {"Fn::GetAtt": ["Database", "MasterUserSecret.SecretArn"]}  # ministack makes none
PREFIX_LISTS = {"DynamoDBPrefixListId": "pl-00000001", "S3PrefixListId": "pl-00000002"}


@pytest.fixture
def client(engine_folder: Path) -> Iterator[Callable[[str], Any]]:
    """Makes clients of an AWS account for the test."""
    with Ministack(
        engine_folder / "network", log=engine_folder / "network.log", persistent=False, services=ALL_SERVICES
    ) as engine:
        yield lambda service: boto3.client(service, endpoint_url=engine.url)


def deploy_network(client: Any, **values: str) -> dict[str, str]:
    """Deploy the parts of the network that ministack supports, with these parameters; return the outputs."""
    content = template("network")
    known = {name: resource for name, resource in content["Resources"].items() if resource["Type"] not in UNKNOWN}
    body = json.dumps({**content, "Resources": known}).replace(json.dumps(MASTER_SECRET), '"arn:aws:secretsmanager:x"')
    client.create_stack(
        StackName="network",
        TemplateBody=body,
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in (PREFIX_LISTS | values).items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    client.get_waiter("stack_create_complete").wait(StackName="network", WaiterConfig={"Delay": 0.1})
    (stack,) = client.describe_stacks(StackName="network")["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def test_only_load_balancers_have_a_route_out_and_outputs_name_the_database(client: Callable[[str], Any]) -> None:
    with (
        closing(client("cloudformation")) as stacks,
        closing(client("ec2")) as network,
        closing(client("rds")) as databases,
    ):
        outputs = deploy_network(stacks, FirstZone="us-east-1c", SecondZone="us-east-1b")
        zones = {subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in network.describe_subnets()["Subnets"]}
        tables = network.describe_route_tables()["RouteTables"]
        endpoints = network.describe_vpc_endpoints()["VpcEndpoints"]
        (database,) = databases.describe_db_instances()["DBInstances"]

    routes = {
        association.get("SubnetId"): {route["DestinationCidrBlock"] for route in table["Routes"]}
        for table in tables
        for association in table["Associations"]
    }
    inside = {"10.20.0.0/16"}
    for name, expected in {
        "FunctionSubnetIds": inside,
        "ServiceSubnetIds": inside,
        "LoadBalancerSubnetIds": inside | {"0.0.0.0/0"},
    }.items():
        subnets = outputs[name].split(",")
        assert [routes[subnet] for subnet in subnets] == [expected] * 2
        assert [zones[subnet] for subnet in subnets] == ["us-east-1c", "us-east-1b"]

    (endpoint,) = (endpoint for endpoint in endpoints if endpoint["ServiceName"].endswith(".dynamodb"))
    (table,) = (table for table in tables if table["RouteTableId"] in endpoint["RouteTableIds"])
    served = {association["SubnetId"] for association in table["Associations"]}
    assert served == set(outputs["FunctionSubnetIds"].split(","))

    assert outputs["DatabaseHost"] == database["Endpoint"]["Address"]
    assert outputs["DatabaseResourceId"] == database["DbiResourceId"]
    assert database["PubliclyAccessible"] is False
