"""Who may do what in aws/cfn/messaging.yaml: what the code does, at exact places, and nothing else."""

from __future__ import annotations

import json
import re
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import pytest

from lib.aws.packages import HANDLERS
from lib.aws.templates import template
from lib.config import ROOT
from lib.ddb.schema import MESSAGE_GROUP_INDEX

RESOURCES: dict[str, dict[str, Any]] = template("messaging")["Resources"]

ACTIONS = {
    "get_item": "GetItem",
    "query": "Query",
    "put_item": "PutItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
}
"""IAM's action for a call, and for a part of a transaction, which has no action of its own."""


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed(name: str) -> list[dict[str, Any]]:
    """The statements that allow something, of a policy; or of a role, with those of the policies that it shares."""
    properties = RESOURCES[name]["Properties"]
    shared = [RESOURCES[each["Ref"]]["Properties"] for each in properties.get("ManagedPolicyArns", [])]
    policies = [*shared, *properties.get("Policies", []), *([properties] if "PolicyDocument" in properties else [])]
    found = [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]
    return [each for each in found if each["Effect"] == "Allow"]


def grants(name: str) -> set[tuple[str, str]]:
    """A role's actions, each with its place."""
    return {
        (action, json.dumps(statement["Resource"]))
        for statement in allowed(name)
        for action in as_list(statement["Action"])
    }


def get_att(name: str) -> str:
    return json.dumps({"Fn::GetAtt": name.split(".")})


def sub(text: str) -> str:
    return json.dumps({"Fn::Sub": text})


AT_THE_TABLE = {(f"dynamodb:{action}", get_att("Table.Arn")) for action in ACTIONS.values()} | {
    ("dynamodb:Query", sub(f"${{Table.Arn}}/index/{MESSAGE_GROUP_INDEX}"))
}
LOGS = ("logs:CreateLogStream", "logs:PutLogEvents")
IN_VPC = {(action, '"*"') for action in allowed("FunctionInVpc")[0]["Action"]}


def test_the_api_may_do_at_the_table_what_its_code_does_and_nothing_else() -> None:
    assert grants("AppRole") == AT_THE_TABLE


def test_message_stream_may_do_that_and_read_its_stream() -> None:
    of_stream = {
        *(
            (f"dynamodb:{action}", get_att("Table.StreamArn"))
            for action in ("DescribeStream", "GetRecords", "GetShardIterator")
        ),
        ("dynamodb:ListStreams", sub("${Table.Arn}/stream/*")),
        ("sqs:SendMessage", get_att("DeadLetterQueue.Arn")),
        *((action, get_att("MessageStreamLogGroup.Arn")) for action in LOGS),
    }
    assert grants("MessageStreamRole") == AT_THE_TABLE | of_stream | IN_VPC


def test_post_confirmation_may_read_the_secret_of_the_database() -> None:
    own = {
        ("secretsmanager:GetSecretValue", json.dumps({"Ref": "DatabaseSecretArn"})),
        *((action, get_att("PostConfirmationLogGroup.Arn")) for action in LOGS),
    }
    assert grants("PostConfirmationRole") == own | IN_VPC


@pytest.mark.parametrize(
    "program", [ROOT / "app.py", HANDLERS / "message_stream" / "handler.py"], ids=lambda path: path.stem
)
def test_the_table_is_asked_for_what_the_roles_are_allowed(program: Path) -> None:
    finder = ModuleFinder(path=[str(ROOT)])
    finder.run_script(str(program))
    files = {getattr(module, "__file__", None) for module in finder.modules.values()}
    source = "".join(Path(file).read_text() for file in files if file and "lib/ddb" in file)
    assert ".put_batch(" not in source  # only the bulk loader does, which no role runs
    calls = set(re.findall(r"\b_client\.([a-z_]+)\(", source)) - {"transact_write_items", "batch_write_item"}
    parts = set(re.findall(r'Write\(\s*\{"([A-Z][a-z]+)":', source))
    assert {"get_item", "query"} <= calls
    assert {ACTIONS[each] for each in calls | parts} == set(ACTIONS.values())
