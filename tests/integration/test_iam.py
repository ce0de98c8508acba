"""The roles of the templates with IAM enforced: the code of each role needs all that the role allows, and no more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lib.config import DynamoDBSettings
from lib.ddb.idempotency import DuplicateRequest, Idempotency
from lib.ddb.items import Message
from lib.ddb.schema import create_table
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.table import Table
from tests.support.corruptions import corruptions
from tests.support.doctor_fixtures import run_doctor, sound_table
from tests.support.old_data import GROUP, TIMES, old_conversation
from tests.support.policies import ENDPOINT_ID, grants, resolved
from tests.support.stores import ANNA, BERT, CARL, DORA, TableContents, blocks_of, positions_of, stores_on
from tests.support.streamed import streamed_stores_on
from tools.deploy.templates import STACKS, template
from tools.explain.recorder import Call, record
from tools.local_stack.environment import REGION
from tools.local_stack.ministack import ALL_SERVICES, Ministack

ROLES = ["AppRole", "MessageStreamRole", "MaintenanceRole"]
PARTS = [*ROLES, "RoleBoundary", "Table", "TableAccess", "FunctionInVpc", "DeadLetterQueue", "MessageStreamLogGroup"]
RESOURCES = {
    name: resource
    for stack in ("deployment", "messaging", "tasks")
    for name, resource in template(stack)["Resources"].items()
}
PARAMETERS = {name: value for stack in STACKS[::-1] for name, value in template(stack)["Parameters"].items()}
TABLE = DynamoDBSettings.ddb_table
TABLE_ARN = f"arn:aws:dynamodb:{REGION}:000000000000:table/{TABLE}"
OTHER = "somebody-elses"
ONCE = Idempotency("key", "hash")
KEY = {"pk": {"S": "any"}, "sk": {"S": "any"}}
ACTIONS = {kind: f"{kind}Item" for kind in ("Put", "Update", "Delete", "ConditionCheck")}
ACTIONS["TransactGetItems"] = "GetItem"

DENIED: dict[str, Callable[[Any], object]] = {
    "Scan": lambda client: client.scan(TableName=TABLE),
    "GetItem elsewhere": lambda client: client.get_item(TableName=OTHER, Key=KEY),
    "PutItem elsewhere": lambda client: client.put_item(TableName=OTHER, Item=KEY),
    "a transaction with another table": lambda client: client.transact_write_items(
        TransactItems=[{"Put": {"TableName": TABLE, "Item": KEY}}, {"Put": {"TableName": OTHER, "Item": KEY}}]
    ),
    "PartiQL": lambda client: client.execute_statement(Statement=f"SELECT * FROM \"{TABLE}\" WHERE pk = 'any'"),
    "BatchGetItem": lambda client: client.batch_get_item(RequestItems={TABLE: {"Keys": [KEY]}}),
    "ListTables": lambda client: client.list_tables(),
    "UpdateTable": lambda client: client.update_table(TableName=TABLE, DeletionProtectionEnabled=False),
    "DeleteTable": lambda client: client.delete_table(TableName=TABLE),
}
REFUSALS = [(role, name) for role in ROLES for name in DENIED if (role, name) != ("MaintenanceRole", "Scan")]


@dataclass(frozen=True)
class Account:
    """An AWS account that enforces IAM, with parts of the stack in it: the physical ids by the logical ones."""

    url: str
    ids: dict[str, str]

    def client(self, service: str, **credentials: str) -> Any:
        """A client with these credentials, else the root's."""
        return boto3.client(service, endpoint_url=self.url, **credentials)

    def assume(self, role: str, **credentials: str) -> dict[str, str]:
        """Temporary credentials of a role. The root by default."""
        with closing(self.client("iam")) as iam, closing(self.client("sts", **credentials)) as sts:
            arn = iam.get_role(RoleName=self.ids[role])["Role"]["Arn"]
            temporary = sts.assume_role(RoleArn=arn, RoleSessionName="tests")["Credentials"]
        return {
            "aws_access_key_id": temporary["AccessKeyId"],
            "aws_secret_access_key": temporary["SecretAccessKey"],
            "aws_session_token": temporary["SessionToken"],
        }

    def trust(self, role: str, document: object) -> None:
        with closing(self.client("iam")) as iam:
            iam.update_assume_role_policy(RoleName=self.ids[role], PolicyDocument=json.dumps(document))

    def trust_everybody(self, role: str) -> None:
        """Let every principal assume the role. On AWS a service assumes it, but ministack's services do not."""
        statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        self.trust(role, {"Statement": [statement]})


@pytest.fixture(scope="module")
def account(engine_folder: Path) -> Iterator[Account]:
    with Ministack(
        engine_folder / "iam", log=engine_folder / "iam.log", persistent=False, services=ALL_SERVICES, AUTH="true"
    ) as engine:
        declared = {name: parameter for name, parameter in PARAMETERS.items() if "Default" in parameter}
        declared["TableArn"] = {"Type": "String", "Default": TABLE_ARN}
        declared["DynamoDBEndpointId"] = {"Type": "String", "Default": ENDPOINT_ID}
        conditions = {"UsesOwnTable": template("messaging")["Conditions"]["UsesOwnTable"]}
        parts = {
            "Parameters": declared,
            "Conditions": conditions,
            "Resources": {name: RESOURCES[name] for name in PARTS},
        }
        body = json.dumps(parts)
        with closing(boto3.client("cloudformation", endpoint_url=engine.url)) as stacks:
            stacks.create_stack(StackName="part", TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
            stacks.get_waiter("stack_create_complete").wait(StackName="part", WaiterConfig={"Delay": 0.1})
            created = stacks.describe_stack_resources(StackName="part")["StackResources"]
        ids = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in created}
        account = Account(engine.url, ids)
        with closing(account.client("iam")) as iam:
            for role in ROLES:  # ministack's CloudFormation leaves the boundary out
                iam.put_role_permissions_boundary(RoleName=ids[role], PermissionsBoundary=ids["RoleBoundary"])
        with closing(account.client("dynamodb")) as dynamodb:
            create_table(dynamodb, OTHER)
        yield account


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(account: Account, role: str) -> Iterator[Any]:
    """DynamoDB with the credentials of the role."""
    account.trust_everybody(role)
    with closing(account.client("dynamodb", **account.assume(role))) as client:
        yield client


@pytest.fixture
def contents(account: Account) -> Iterator[TableContents]:
    with closing(account.client("dynamodb")) as root:
        yield TableContents(root, TABLE)


def test_role_is_assumed_by_its_service_alone(account: Account, role: str) -> None:
    account.trust(role, resolved(RESOURCES[role]["Properties"]["AssumeRolePolicyDocument"]))
    with closing(account.client("iam")) as iam:
        iam.create_user(UserName=role)
        key = iam.create_access_key(UserName=role)["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    with pytest.raises(ClientError, match="AccessDenied"):
        account.assume(role, **keys)


def test_role_grants_exactly_the_calls_of_its_code(role: str, client: Any, contents: TableContents) -> None:
    contents.clear()
    calls = record(client)
    WORK[role](client, contents)
    assert access(calls) == granted(role)


@pytest.mark.parametrize(("role", "name"), REFUSALS, indirect=["role"])
def test_other_call_of_a_role_is_denied(client: Any, contents: TableContents, name: str) -> None:
    contents.clear()
    contents.put(KEY)
    with pytest.raises(ClientError) as raised:
        DENIED[name](client)
    assert raised.value.response["Error"]["Code"] == "AccessDeniedException"
    assert contents.items() == [KEY]


def test_role_of_the_stream_function_sends_to_the_dead_letter_queue_and_cannot_receive(account: Account) -> None:
    """Lambda sends with this role. ministack and AWS name its stream by different ARNs, so unit tests check that."""
    account.trust_everybody("MessageStreamRole")
    with closing(account.client("sqs", **account.assume("MessageStreamRole"))) as queue:
        queue.send_message(QueueUrl=account.ids["DeadLetterQueue"], MessageBody="{}")
        with pytest.raises(ClientError, match="AccessDenied"):
            queue.receive_message(QueueUrl=account.ids["DeadLetterQueue"])


def application_at_work(client: Any, contents: TableContents) -> None:
    """All calls of the API to the table, in both modes, also in a conversation of an older backend."""
    contents.put(*old_conversation(*TIMES))
    store, streamed = stores_on(client, TABLE)(), streamed_stores_on(client, TABLE)()
    positions = positions_of(store)
    group = store.send_to_user(sender=ANNA, receiver=CARL, text="one", idempotency=ONCE).group_uuid
    with pytest.raises(DuplicateRequest):
        store.send(group_uuid=group, sender=ANNA, text="one", idempotency=ONCE)
    assert store.receipt(user=ANNA, key=ONCE.key)
    store.send(group_uuid=group, sender=CARL, text="two")
    streamed.send(group_uuid=group, sender=ANNA, text="three")
    positions.mark_read(group_uuid=group, user=ANNA, seq=2)
    positions.mark_unread(group_uuid=group, user=ANNA)
    assert positions.unread_count(user_uuid=ANNA.uuid, at_most=99) == 1
    page = store.list_messages(group_uuid=group, user=ANNA, limit=20)
    assert [message.text for message in page.items] == ["three", "two", "one"]
    inbox = store.list_inbox(user_uuid=BERT.uuid, limit=20)
    assert inbox.feed_cursor
    store.send(group_uuid=GROUP, sender=ANNA, text="after three old ones")
    moved = store.list_changed(user_uuid=BERT.uuid, limit=20, since=inbox.feed_cursor)
    assert [row.text for row in moved.items] == ["after three old ones"]
    blocks = blocks_of(store)
    for other in (BERT, DORA):  # with a conversation, and without one
        blocks.add(user=ANNA, other=other)
        blocks.remove(user=ANNA, other=other)
    assert blocks.page(user_uuid=ANNA.uuid, limit=20).items == []
    Table(client, TABLE).ping()


def function_at_work(client: Any, contents: TableContents) -> None:
    """Pattern D in a conversation of an older backend: its migration, then the number of another message."""
    first, second = (
        Message(GROUP, f"2026-01-02T12:00:0{second}.000000+00:00", f"uuid-{second}", "new", ANNA, seq=None)
        for second in range(2)
    )
    contents.put(*old_conversation(*TIMES), first.to_item())
    SequenceNumbers(Table(client, TABLE)).update(GROUP, [first])
    contents.put(second.to_item())
    assert SequenceNumbers(Table(client, TABLE)).update(GROUP, [second]) == 1


def doctor_at_work(client: Any, contents: TableContents) -> None:
    """Every repair of the doctor."""
    root = stores_on(contents._client, TABLE)
    for corruption in corruptions.values():
        contents.clear()
        corruption.corrupt(contents, sound_table(root))
        run_doctor(client, TABLE, fix=True)


WORK: dict[str, Callable[[Any, TableContents], None]] = {
    "AppRole": application_at_work,
    "MessageStreamRole": function_at_work,
    "MaintenanceRole": doctor_at_work,
}


def access(calls: list[Call]) -> set[tuple[str, str]]:
    """The actions and resources that recorded calls need."""
    needed = set()
    for call in calls:
        index = f"/index/{call.arguments['IndexName']}" if "IndexName" in call.arguments else ""
        names = [kind for kind, _ in call.writes] or [call.operation]
        needed |= {(f"dynamodb:{ACTIONS.get(name, name)}", f"{TABLE_ARN}{index}") for name in names}
    return needed


def granted(role: str) -> set[tuple[str, str]]:
    """The actions and resources that all policies of a role allow at the table and its index."""
    properties = RESOURCES[role]["Properties"]
    managed = [RESOURCES[reference["Ref"]]["Properties"] for reference in properties.get("ManagedPolicyArns", [])]
    policies = [policy["PolicyDocument"] for policy in [*managed, *properties.get("Policies", [])]]
    statements = [statement for policy in policies for statement in policy["Statement"]]
    actions = grants(resolved(statements, {"Table.Arn": TABLE_ARN, "TableArn": TABLE_ARN}))
    return {(action, arn) for action, arn in actions if arn.startswith(TABLE_ARN) and "/stream/" not in arn}
