"""The stack of messages, deployed by the scripts and used: what an emulator of AWS can show of it, it shows here."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

import pytest

from lib.config import Settings, load
from lib.ddb.items import Message
from lib.users.directory import User
from tests.support.api import Person, serve
from tests.support.deployed import PASSWORDS, Account, eventually
from tests.support.sign_up_events import event as sign_up_event
from tests.support.stores import ANNA, BERT, CARL, TableContents
from tests.support.streamed import stream_records, streamed_stores_on
from tests.support.tokens import TokenIssuer

STACK = "cruddur-messaging"


@dataclass(frozen=True)
class Deployment:
    """The deployed stack's outputs, and clients of what it made."""

    account: Account
    outputs: dict[str, str]
    database_url: str
    dynamodb: Any
    functions: Any
    contents: TableContents

    @property
    def table(self) -> str:
        return self.outputs["TableName"]

    def new_store(self) -> Any:
        """A store in stream mode."""
        return streamed_stores_on(self.dynamodb, self.table)()

    def call(self, function: str, event: object) -> Any:
        """Call one of the deployed functions, by the output that has its name."""
        answer = self.functions.invoke(FunctionName=self.outputs[function], Payload=json.dumps(event))
        assert "FunctionError" not in answer
        return json.load(answer["Payload"])

    def settled(self, group_uuid: str, texts: list[str]) -> None:
        """Wait for the function, and check the whole conversation: its numbers, its state, and both inbox rows."""
        eventually(lambda: self.contents.conversation(group_uuid).seq == len(texts) or None)
        self.contents.check(group_uuid, texts)


@pytest.fixture(scope="module")
def deployed(account: Account) -> Iterator[Deployment]:
    done = account.deploy("--yes", SignInFlows=PASSWORDS)
    assert done.returncode == 0, done.stderr
    outputs = account.outputs(STACK)
    secret = account.client("secretsmanager").get_secret_value(SecretId=account.database_secret_arn)
    with closing(account.client("dynamodb")) as dynamodb, closing(account.client("lambda")) as functions:
        contents = TableContents(dynamodb, outputs["TableName"])
        yield Deployment(account, outputs, secret["SecretString"], dynamodb, functions, contents)


def test_a_message_put_in_the_table_moves_both_inbox_rows(deployed: Deployment) -> None:
    store = deployed.new_store()
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    second = store.send(group_uuid=group, sender=BERT, text="two")
    assert second.seq is None
    deployed.settled(group, ["one", "two"])
    by_hand = Message(group, "2099-01-01T00:00:00.000000+00:00", str(uuid.uuid4()), "three", ANNA, seq=None)
    deployed.contents.put(by_hand.to_item())
    deployed.settled(group, ["one", "two", "three"])


def test_a_batch_that_is_delivered_again_changes_nothing(deployed: Deployment) -> None:
    store = deployed.new_store()
    group = store.send_to_user(sender=ANNA, receiver=CARL, text="one").group_uuid
    store.send(group_uuid=group, sender=CARL, text="two")
    deployed.settled(group, ["one", "two"])
    before = deployed.contents.items()
    records = stream_records(deployed.dynamodb, deployed.table)
    event = json.loads(json.dumps({"Records": records[-100:]}, default=lambda at: at.timestamp()))
    assert deployed.call("MessageStreamFunctionName", event) == {"batchItemFailures": []}
    assert deployed.contents.items() == before


def test_what_the_function_fails_at_ends_in_the_queue_and_is_caught_up_with_later(deployed: Deployment) -> None:
    store = deployed.new_store()
    group = store.send_to_user(sender=BERT, receiver=CARL, text="one").group_uuid
    name = deployed.outputs["MessageStreamFunctionName"]
    mapping = deployed.functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"][0]
    environment = deployed.functions.get_function_configuration(FunctionName=name)["Environment"]
    out_of_order = {"Variables": {**environment["Variables"], "AWS_ENDPOINT_URL_DYNAMODB": "not a URL"}}
    deployed.functions.update_function_configuration(FunctionName=name, Environment=out_of_order)
    deployed.functions.update_event_source_mapping(UUID=mapping["UUID"], MaximumRecordAgeInSeconds=1)
    store.send(group_uuid=group, sender=BERT, text="two")
    with closing(deployed.account.client("sqs")) as queue:
        place = {"QueueUrl": deployed.outputs["DeadLetterQueueUrl"]}
        (letter,) = eventually(lambda: queue.receive_message(**place).get("Messages"))
    assert json.loads(letter["Body"])["DDBStreamBatchInfo"]["streamArn"] == deployed.outputs["TableStreamArn"]
    assert "two" not in letter["Body"]
    assert deployed.contents.conversation(group).seq == 1
    deployed.functions.update_function_configuration(FunctionName=name, Environment=environment)
    store.send(group_uuid=group, sender=CARL, text="three")
    deployed.settled(group, ["one", "two", "three"])


def test_the_table_refuses_its_deletion(deployed: Deployment) -> None:
    with pytest.raises(deployed.dynamodb.exceptions.ClientError, match="deletion protection"):
        deployed.dynamodb.delete_table(TableName=deployed.table)
    assert deployed.dynamodb.describe_table(TableName=deployed.table)["Table"]["TableStatus"] == "ACTIVE"


def test_the_api_runs_on_what_was_deployed(deployed: Deployment) -> None:
    with closing(deployed.account.client("cognito-idp")) as cognito:
        anna, bert = (sign_up(deployed, cognito, name) for name in ("anna", "bert"))
    with serve(settings(deployed), cast(TokenIssuer, None), None) as api:
        writer, reader = (Person(user, api.app.test_client(), token) for user, token in (anna, bert))
        first = writer.write("Hello Bert", to=reader)
        second = reader.answer("Hello Anna", group=first["message_group_uuid"])
        assert (first["seq"], second["seq"]) == (1, None)
        for person in (writer, reader):
            eventually(lambda person=person: person.inbox()[0]["message"] == "Hello Anna" or None)
            assert [each["seq"] for each in person.messages(first["message_group_uuid"])] == [2, 1]


def sign_up(deployed: Deployment, cognito: Any, name: str) -> tuple[User, str]:
    """A confirmed user of the deployed pool, written to Postgres by the deployed function; and their authorization."""
    email, password = f"{name}@example.com", "Correct-horse-4"
    attributes = {"email": email, "email_verified": "true", "name": name.title(), "preferred_username": name}
    pool, client = deployed.outputs["UserPoolId"], deployed.outputs["UserPoolClientId"]
    made = cognito.admin_create_user(
        UserPoolId=pool,
        Username=email,
        UserAttributes=[{"Name": key, "Value": value} for key, value in attributes.items()],
    )
    cognito.admin_set_user_password(UserPoolId=pool, Username=email, Password=password, Permanent=True)
    sub = next(each["Value"] for each in made["User"]["Attributes"] if each["Name"] == "sub")
    # ministack never calls the trigger.
    deployed.call("PostConfirmationFunctionName", sign_up_event(sub=sub, **attributes))
    signed_in = cognito.initiate_auth(
        ClientId=client, AuthFlow="USER_PASSWORD_AUTH", AuthParameters={"USERNAME": email, "PASSWORD": password}
    )
    return User(sub, name, name.title()), f"Bearer {signed_in['AuthenticationResult']['AccessToken']}"


def settings(deployed: Deployment) -> Settings:
    """The API's settings, from the outputs."""
    url, pool = deployed.account.url, deployed.outputs["UserPoolId"]
    return load(
        Settings,
        {
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_DYNAMODB": url,
            "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": url,
            "COGNITO_JWKS_URL": f"{url}/{pool}/.well-known/jwks.json",
            "DDB_TABLE": deployed.outputs["TableName"],
            "AWS_COGNITO_USER_POOL_ID": pool,
            "AWS_COGNITO_USER_POOL_CLIENT_ID": deployed.outputs["UserPoolClientId"],
            "DATABASE_URL": deployed.database_url,
            "GROUP_UPDATES": "stream",
            "SECRET_KEY": "a secret of these tests",
        },
    )
