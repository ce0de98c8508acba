"""The messaging stack at work on an emulator of AWS, deployed by bin/aws/deploy."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from lib.config import ROOT, Settings, load
from lib.users.accounts import User
from tests.support.api import Person, serve
from tests.support.clocks import eventually
from tests.support.deployed import Account
from tests.support.relays import heard
from tests.support.roles import by_token
from tests.support.sign_up_events import event as sign_up_event
from tests.support.srp import sign_in
from tests.support.stores import ANNA, BERT, CARL, TableContents
from tests.support.streamed import stream_records, streamed_stores_on
from tests.support.tokens import TokenIssuer

STACK = "cruddur-messaging"


@dataclass(frozen=True)
class Deployment:
    """The deployed stack's outputs, and clients of its resources."""

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

    def call(self, output: str, event: object) -> Any:
        """Call the function whose name is this output."""
        response = self.functions.invoke(FunctionName=self.outputs[output], Payload=json.dumps(event))
        assert "FunctionError" not in response
        return json.load(response["Payload"])

    def wait_and_check(self, group_uuid: str, texts: list[str]) -> None:
        """Wait for the function, and check the whole conversation: its numbers, its state, and both inbox rows."""
        assert eventually(lambda: self.contents.conversation(group_uuid).seq == len(texts))
        self.contents.check(group_uuid, texts)


@pytest.fixture(scope="module")
def deployed(account: Account) -> Iterator[Deployment]:
    process = account.deploy("--yes", MessageStreamWakesStreams="yes")
    assert process.returncode == 0, process.stderr
    outputs = account.outputs(STACK)
    deliver_all_messages(account, outputs["MessageStreamFunctionName"])
    with closing(account.client("dynamodb")) as dynamodb, closing(account.client("lambda")) as functions:
        contents = TableContents(dynamodb, outputs["TableName"])
        yield Deployment(account, outputs, account.database_url, dynamodb, functions, contents)


def deliver_all_messages(account: Account, function: str) -> None:
    """Take `exists` out of the mapping's filter: ministack then delivers no message. test_event_filter.py tests it."""
    with closing(account.client("lambda")) as client:
        [mapping] = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        [rule] = mapping["FilterCriteria"]["Filters"]
        pattern = json.loads(rule["Pattern"])
        del pattern["dynamodb"]["NewImage"]
        criteria = {"Filters": [{"Pattern": json.dumps(pattern)}]}
        client.update_event_source_mapping(UUID=mapping["UUID"], FilterCriteria=criteria)


def test_new_message_moves_both_inbox_rows_and_repeated_delivery_changes_nothing(deployed: Deployment) -> None:
    store = deployed.new_store()
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    assert store.send(group_uuid=group, sender=BERT, text="two").seq is None
    deployed.wait_and_check(group, ["one", "two"])
    before = deployed.contents.items()
    records = stream_records(deployed.dynamodb, deployed.table)
    event = json.loads(json.dumps({"Records": records[-100:]}, default=lambda time: time.timestamp()))
    assert deployed.call("MessageStreamFunctionName", event) == {"batchItemFailures": []}
    assert deployed.contents.items() == before


def test_function_signs_in_and_wakes_the_streams_of_both_members(deployed: Deployment) -> None:
    hints = heard(deployed.database_url)
    store = deployed.new_store()
    group = store.send_to_user(sender=ANNA, receiver=CARL, text="one").group_uuid
    store.send(group_uuid=group, sender=CARL, text="two")
    deployed.wait_and_check(group, ["one", "two"])
    assert eventually(lambda: {frozenset(hint.user_uuids) for hint in hints} >= {frozenset([ANNA.uuid, CARL.uuid])})


def test_packages_have_the_roots_of_rds(packages: dict[str, Path]) -> None:
    """The socket of the embedded Postgres needs none."""
    for package in packages.values():
        with zipfile.ZipFile(package) as archive:
            assert archive.read("db/rds-roots.pem") == (ROOT / "db/rds-roots.pem").read_bytes()


def test_failed_batch_goes_to_the_dead_letter_queue_and_the_next_message_numbers_it(deployed: Deployment) -> None:
    store = deployed.new_store()
    group = store.send_to_user(sender=BERT, receiver=CARL, text="one").group_uuid
    name = deployed.outputs["MessageStreamFunctionName"]
    mapping = deployed.functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"][0]
    environment = deployed.functions.get_function_configuration(FunctionName=name)["Environment"]
    broken = {"Variables": {**environment["Variables"], "AWS_ENDPOINT_URL_DYNAMODB": "not a URL"}}
    deployed.functions.update_function_configuration(FunctionName=name, Environment=broken)
    deployed.functions.update_event_source_mapping(UUID=mapping["UUID"], MaximumRecordAgeInSeconds=1)
    store.send(group_uuid=group, sender=BERT, text="two")
    with closing(deployed.account.client("sqs")) as queue:
        url = deployed.outputs["DeadLetterQueueUrl"]
        (letter,) = eventually(lambda: queue.receive_message(QueueUrl=url).get("Messages"))
    assert json.loads(letter["Body"])["DDBStreamBatchInfo"]["streamArn"] == deployed.outputs["TableStreamArn"]
    assert "two" not in letter["Body"]
    assert deployed.contents.conversation(group).seq == 1
    deployed.functions.update_function_configuration(FunctionName=name, Environment=environment)
    store.send(group_uuid=group, sender=CARL, text="three")
    deployed.wait_and_check(group, ["one", "two", "three"])


def test_api_runs_on_the_deployed_resources_and_adds_a_user_whom_the_function_missed(deployed: Deployment) -> None:
    with closing(deployed.account.client("cognito-idp")) as cognito:
        (anna, anna_token), (bert, bert_token) = (sign_up(deployed, cognito, name) for name in ("anna", "bert"))
    # ministack never calls the trigger.
    deployed.call("PostConfirmationFunctionName", sign_up_event(sub=anna.uuid, **attributes_of("anna")))
    with serve(settings(deployed), cast(TokenIssuer, None), None) as api:
        writer = Person(anna, api.app.test_client(), anna_token)
        reader = Person(bert, api.app.test_client(), bert_token)
        assert writer.get("/api/users/@bert/short").status_code == 404
        assert reader.inbox() == []
        first = writer.write("Hello Bert", to=reader)
        second = reader.reply("Hello Anna", group=first["message_group_uuid"])
        assert (first["seq"], second["seq"]) == (1, None)
        for person in (writer, reader):
            assert eventually(lambda person=person: person.inbox()[0]["message"] == "Hello Anna")
            assert [message["seq"] for message in person.messages(first["message_group_uuid"])] == [2, 1]


def attributes_of(name: str) -> dict[str, str]:
    email = f"{name}@example.com"
    return {"email": email, "email_verified": "true", "name": name.title(), "preferred_username": name}


def sign_up(deployed: Deployment, cognito: Any, name: str) -> tuple[User, str]:
    """A confirmed user of the deployed pool, with the Cognito id as uuid, and their Authorization header.

    They sign in as the React client does: by e-mail address and SRP.
    """
    email, password = f"{name}@example.com", "Correct-horse-4"
    pool, client = deployed.outputs["UserPoolId"], deployed.outputs["UserPoolClientId"]
    attributes = [{"Name": key, "Value": value} for key, value in attributes_of(name).items()]
    created = cognito.admin_create_user(UserPoolId=pool, Username=email, UserAttributes=attributes)
    cognito.admin_set_user_password(UserPoolId=pool, Username=email, Password=password, Permanent=True)
    tokens = sign_in(cognito, pool, client, email, password)
    (sub,) = (attribute["Value"] for attribute in created["User"]["Attributes"] if attribute["Name"] == "sub")
    return User(sub, name, name.title()), f"Bearer {tokens['AccessToken']}"


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
            "DATABASE_URL": by_token(deployed.database_url, "cruddur_api"),
            "GROUP_UPDATES": "stream",
            "SECRET_KEY": "a secret key of 32 characters or more",
        },
    )
