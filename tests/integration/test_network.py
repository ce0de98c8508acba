"""The network where it can be made: ministack knows no flow logs and no separate ingress rules, and filters nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from tools.deploy.templates import template
from tools.local_stack.ministack import Ministack

UNKNOWN = {"AWS::EC2::FlowLog", "AWS::EC2::SecurityGroupIngress"}
PREFIX_LISTS = {"DynamoDBPrefixListId": "pl-00000001", "S3PrefixListId": "pl-00000002"}


class Made:
    """What the template made, and clients to look at it."""

    def __init__(self, url: str, outputs: dict[str, str]) -> None:
        self._url = url
        self.outputs = outputs

    def ask(self, service: str, operation: str, **arguments: Any) -> Any:
        with closing(boto3.client(service, endpoint_url=self._url)) as client:
            return getattr(client, operation)(**arguments)

    def routes(self, subnets: str) -> list[set[str]]:
        """Where each of the subnets has routes to."""
        tables = self.ask("ec2", "describe_route_tables")["RouteTables"]
        by_subnet = {each.get("SubnetId"): table for table in tables for each in table["Associations"]}
        return [
            {route["DestinationCidrBlock"] for route in by_subnet[subnet]["Routes"]}
            for subnet in self.outputs[subnets].split(",")
        ]


@pytest.fixture(scope="module")
def made(engine_folder: Path) -> Iterator[Made]:
    content = template("network")
    known = {name: each for name, each in content["Resources"].items() if each["Type"] not in UNKNOWN}
    with Ministack(engine_folder / "network", log=engine_folder / "network.log", persistent=False) as engine:
        with closing(boto3.client("cloudformation", endpoint_url=engine.url)) as stacks:
            stacks.create_stack(
                StackName="network",
                TemplateBody=json.dumps({**content, "Resources": known}),
                Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in PREFIX_LISTS.items()],
                Capabilities=["CAPABILITY_NAMED_IAM"],
            )
            patience = {"Delay": 0.1, "MaxAttempts": 100}
            stacks.get_waiter("stack_create_complete").wait(StackName="network", WaiterConfig=patience)
            outputs = stacks.describe_stacks(StackName="network")["Stacks"][0]["Outputs"]
        yield Made(engine.url, {each["OutputKey"]: each["OutputValue"] for each in outputs})


@pytest.mark.parametrize("subnets", ["FunctionSubnetIds", "ServiceSubnetIds"])
def test_what_handles_messages_has_no_route_out_of_the_vpc(made: Made, subnets: str) -> None:
    assert made.routes(subnets) == [{"10.20.0.0/16"}] * 2


def test_the_load_balancer_has(made: Made) -> None:
    assert made.routes("LoadBalancerSubnetIds") == [{"10.20.0.0/16", "0.0.0.0/0"}] * 2


def test_subnets_are_in_two_zones_and_do_not_overlap(made: Made) -> None:
    inside = [{"Name": "vpc-id", "Values": [made.outputs["VpcId"]]}]
    subnets = made.ask("ec2", "describe_subnets", Filters=inside)["Subnets"]
    assert sorted(each["CidrBlock"] for each in subnets) == [f"10.20.{number}.0/24" for number in range(4)]
    zones = {each["SubnetId"]: each["AvailabilityZone"] for each in subnets}
    for name in ("FunctionSubnetIds", "LoadBalancerSubnetIds"):
        assert len({zones[subnet] for subnet in made.outputs[name].split(",")}) == 2


def test_the_tables_endpoint_is_on_the_functions_routes(made: Made) -> None:
    endpoints = made.ask("ec2", "describe_vpc_endpoints")["VpcEndpoints"]
    (endpoint,) = (each for each in endpoints if each["ServiceName"].endswith(".dynamodb"))
    (table,) = (
        table
        for table in made.ask("ec2", "describe_route_tables")["RouteTables"]
        if table["RouteTableId"] in endpoint["RouteTableIds"]
    )
    assert {each["SubnetId"] for each in table["Associations"]} == set(made.outputs["FunctionSubnetIds"].split(","))


def test_the_databases_secret_leads_to_the_database_by_tls(made: Made) -> None:
    (database,) = made.ask("rds", "describe_db_instances")["DBInstances"]
    secret = made.ask("secretsmanager", "get_secret_value", SecretId=made.outputs["DatabaseSecretArn"])["SecretString"]
    assert secret.startswith("postgresql://cruddur:")
    assert secret.rpartition("@")[2].startswith(f"{database['Endpoint']['Address']}:5432/cruddur?")
    assert parse_qs(urlsplit(secret.rpartition("@")[2]).query) == {"sslmode": ["require"]}
    assert database["PubliclyAccessible"] is False
