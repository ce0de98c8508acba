"""The shortcuts in the DynamoDB client give what botocore's own parts give: answers, errors, requests, tries."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ParamValidationError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from botocore.model import Shape
from botocore.parsers import ResponseParserFactory
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.ddb import errors
from lib.ddb.signing import authorization
from lib.ddb.table import TRIES
from lib.ddb.transport import Transport, origin_of
from lib.ddb.wire import Answers, Requests
from tests.both_clients import QUERY, TRANSACTION, answering, both_clients, outcome, said

SERVICE = botocore.session.get_session().get_service_model("dynamodb")
OPERATIONS = [
    *("BatchGetItem", "BatchWriteItem", "CreateTable", "DeleteItem", "DeleteTable", "DescribeContinuousBackups"),
    *("DescribeTable", "DescribeTimeToLive", "ExecuteStatement", "GetItem", "ListTables", "PutItem", "Query", "Scan"),
    *("TransactGetItems", "TransactWriteItems", "UpdateItem", "UpdateTable", "UpdateTimeToLive"),
]
TEXTS = st.text(max_size=6) | st.sampled_from(["null", '"B"', "B", "M", "ä\u2028🐻", "\\u0000"])
MOMENT = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)

Clients = tuple[Any, Any]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")


@pytest.fixture
def clients() -> Iterator[Clients]:
    with both_clients() as clients:
        yield clients


def values(shape: Shape, *, wire: bool, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a shape: as JSON that an answer holds (`wire`), or as a caller gives them."""
    if depth > 12:
        return st.nothing()
    kind = shape.type_name
    if kind == "structure":
        return st.deferred(lambda: structures(shape, wire=wire, depth=depth))
    if kind == "list":
        return st.lists(values(shape.member, wire=wire, depth=depth + 1), max_size=2)
    if kind == "map":
        return st.dictionaries(TEXTS, values(shape.value, wire=wire, depth=depth + 1), max_size=2)
    if kind == "blob":
        blobs = st.binary(max_size=4)
        return blobs.map(lambda blob: base64.b64encode(blob).decode()) if wire else blobs
    if kind == "timestamp":
        return st.integers(0, 2**31) if wire else st.just(MOMENT)
    if kind in ("integer", "long"):
        return st.integers(-(2**63), 2**63 - 1 if wire else 2**70)  # a long of AWS has 64 bits
    return {"string": TEXTS, "boolean": st.booleans(), "double": st.floats(0, 1e9), "float": st.floats(0, 9)}[kind]


def structures(shape: Shape, *, wire: bool, depth: int) -> st.SearchStrategy[Any]:
    required = set(shape.metadata.get("required", ()))
    members = {name: values(each, wire=wire, depth=depth + 1) for name, each in shape.members.items()}
    if depth > 6:
        members = {name: each for name, each in members.items() if name in required or name in ("S", "N")}
    if wire:
        members = {name: each | st.none() if name in ("NULL", "Table") else each for name, each in members.items()}
    names = st.lists(st.sampled_from(sorted(members)), max_size=3, unique=True) if members else st.just([])
    return names.flatmap(lambda chosen: st.fixed_dictionaries({n: members[n] for n in {*chosen, *required}}))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_parsed_as_botocore_parses_it(operation: str) -> None:
    shape = SERVICE.operation_model(operation).output_shape

    @settings(max_examples=40, deadline=None)
    @given(values(shape, wire=True), st.booleans(), st.booleans())
    def check(answer: Any, escaped: bool, unknown: bool) -> None:
        body = json.dumps(answer | ({"Unheard": {"of": 1}} if unknown else {}), ensure_ascii=escaped).encode()
        assert parsed(Answers(), body, shape) == parsed(ResponseParserFactory(), body, shape)

    check()


ODD_BODIES = [
    *(b"", b"{}", b"[]", b'"text"', b"not json", b'{"Items": [{"a": {"S": "\\ud800"}}]}', b'\xef\xbb\xbf{"Count": 1}'),
    *(b'{"Count": NaN}', b'{"Count": 1, "Count": 2}', b'{"Item": null}', b'{"Items": [{"a": {"B": "eA=="}}]}'),
    *(b'{"Items": [{"a": {"L": [{"M": {"b": {"BS": ["eA=="]}}}]}}]}', b'{"Items": [{"a": {"N": "1e999"}}]} '),
    *(b'{"Items": [{"a": {"S": "\xff"}}]}', b'{"ConsumedCapacity": {"CapacityUnits": 2.5, "TableName": "t"}}'),
]


@pytest.mark.parametrize("body", ODD_BODIES)
@pytest.mark.parametrize("operation", ["Query", "GetItem"])
def test_odd_answers_are_parsed_as_botocore_parses_them(operation: str, body: bytes) -> None:
    shape = SERVICE.operation_model(operation).output_shape
    assert parsed(Answers(), body, shape) == parsed(ResponseParserFactory(), body, shape)


def parsed(factory: Any, body: bytes, shape: Shape, status: int = 200) -> Any:
    response = {"status_code": status, "headers": {"x-amzn-requestid": "R1", "X-Other": "o"}, "body": body}
    try:
        return factory.create_parser("json").parse(response, shape)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_request_is_serialized_as_botocore_serializes_it(operation: str) -> None:
    model = SERVICE.operation_model(operation)
    plain = create_serializer("json", include_validation=True)
    quick = Requests(plain)
    wrong = st.sampled_from([None, 1, 1.5, True, "", b"x", [], [None], {}, {"S": 1}, {"Unheard": "of"}, {1: "a"}])

    @settings(max_examples=40, deadline=None)
    @given(values(model.input_shape, wire=False), st.data())
    def check(arguments: dict[str, Any], data: st.DataObject) -> None:
        assert serialized(quick, arguments, model) == serialized(plain, arguments, model)
        if arguments:  # with a mistake somewhere
            place: Any = arguments
            while True:
                key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
                if not (isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans())):
                    break
                place = place[key]
            place[key] = data.draw(wrong)
            assert serialized(quick, arguments, model) == serialized(plain, arguments, model)

    check()


def serialized(serializer: Any, arguments: dict[str, Any], model: Any) -> Any:
    try:
        request = serializer.serialize_to_request(arguments, model)
    except Exception as error:
        return type(error), str(error)
    return request | {"body": json.loads(request["body"])}


def test_a_request_that_is_made_from_another_shares_nothing_with_it() -> None:
    model = SERVICE.operation_model("Query")
    requests = Requests(create_serializer("json", include_validation=True))
    first, second, third = (requests.serialize_to_request(QUERY, model) for _ in range(3))
    second["headers"]["User-Agent"] = second["url"] = "changed"
    assert third == {**first, "body": third["body"]}
    assert requests.serialize_to_request(QUERY, model) == third


@pytest.mark.parametrize("odd", [{"Limit": 2**70}, {"TableName": "\ud800"}])
def test_what_only_botocore_can_write_as_json_is_left_to_it(odd: dict[str, Any]) -> None:
    model = SERVICE.operation_model("Query")
    plain = create_serializer("json", include_validation=True)
    quick = Requests(plain)
    for arguments in (QUERY, QUERY | odd):  # the first teaches it the operation
        assert serialized(quick, arguments, model) == serialized(plain, arguments, model)


def test_what_is_usual_takes_the_shortcuts(monkeypatch: pytest.MonkeyPatch, clients: Clients) -> None:
    """Otherwise the comparisons here would compare botocore with itself."""
    on, _ = clients
    with answering(on, repeat(said(200, {}))):
        on.query(**QUERY)
        on.transact_write_items(**TRANSACTION)

    def fail(*_: Any) -> None:
        raise AssertionError("botocore's own part was asked")

    monkeypatch.setattr("botocore.validate.ParamValidationDecorator.serialize_to_request", fail)
    monkeypatch.setattr("botocore.parsers.JSONParser._do_parse", fail)
    monkeypatch.setattr("botocore.signers.RequestSigner.sign", fail)
    monkeypatch.setattr("botocore.regions.EndpointRulesetResolver.construct_endpoint", fail)
    with answering(on, repeat(said(200, {"Items": [{"pk": {"S": "a"}}], "Count": 1}))):
        assert on.query(**QUERY)["Items"] == [{"pk": {"S": "a"}}]
        on.transact_write_items(**TRANSACTION)
    assert isinstance(on._endpoint.http_session, Transport)


def test_switched_off_the_client_is_botocores_alone(clients: Clients) -> None:
    _, off = clients
    modules = {type(part).__module__.partition(".")[0] for part in vars(off).values() if hasattr(part, "__module__")}
    assert "lib" not in modules
    assert isinstance(off._endpoint.http_session, URLLib3Session)


CODES = [
    *sorted(errors._NOT_OUR_REQUEST),
    *("ConditionalCheckFailedException", "InternalServerError", "RequestTimeout", "SerializationException"),
    *("ServiceUnavailable", "SlowDown", "Unheard", "ValidationException", "IdempotentParameterMismatchException"),
]
ITEM = {"pk": {"S": "a"}, "b": {"B": "eA=="}, "m": {"M": {"n": {"N": "9" * 38}, "x": {"NULL": True}}}}
REASONS = [
    {"Code": "None"},
    {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed", "Item": ITEM},
    {"Code": "TransactionConflict", "Message": "ongoing"},
]
ERRORS: dict[str, Any] = {
    **{code: said(400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}) for code in CODES},
    **{f"{code} as 500": said(500, {"__type": code, "Message": "no"}) for code in CODES},
    "cancelled": said(
        400, {"__type": "TransactionCanceledException", "Message": "cancelled", "CancellationReasons": REASONS}
    ),
    "with the item in the way": said(400, {"__type": "ConditionalCheckFailedException", "Item": ITEM, "message": "no"}),
    "of a query": said(400, {"__type": "A:B#C", "message": "no"}, x_amzn_query_error="Other;Sender"),
    "without a type": said(400, {"message": "no"}),
    "two messages": said(400, {"__type": "X", "message": "lower", "Message": "upper"}),
    "HTML": said(503, b"<html><body><b>Http/1.1 Service Unavailable</b></body></html>"),
    "HTML of a 400": said(403, b"<html>no</html>"),
    "empty 400": said(400, b""),
    "empty 500": said(500, b" "),
    "broken JSON": said(400, b'{"__type": "Thr'),
    "broken JSON of a 500": said(500, b'{"__type": "Thr'),
    "wrong checksum": said(200, {"Items": []}, crc=1),
    "wrong checksum of an error": said(400, {"__type": "ThrottlingException"}, crc=1),
    "300": said(300, {"Items": []}),
    "301": said(301, b"moved"),
    "a success that is no JSON": said(200, b"<html>"),
    "a success that is broken off": said(200, b'{"Items": [{"pk": {"S": "a"}}, {"p'),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_and_tries_are_botocores(clients: Clients, name: str) -> None:
    for operation, arguments in (("query", QUERY), ("transact_write_items", TRANSACTION)):
        for times in (1, TRIES):
            outcomes = []
            for client in clients:
                with answering(client, [*repeat(ERRORS[name], times), *repeat(said(200, {"Items": []}), TRIES)]):
                    outcomes.append(outcome(client, operation, arguments))
            assert outcomes[0] == outcomes[1]
    tokens = {json.loads(request.body)["ClientRequestToken"] for request in outcomes[0].requests}
    assert tokens == {"the same each time"}


def test_a_mistake_is_refused_before_it_is_sent(clients: Clients) -> None:
    for client in clients:
        for _ in range(2):
            with pytest.raises(ParamValidationError, match="Invalid type for parameter Limit"):
                client.query(**QUERY | {"Limit": "20"})


@pytest.mark.parametrize("operation", ["query", "transact_write_items"])
@pytest.mark.parametrize("environ", [{}, {"AWS_SESSION_TOKEN": "a token"}, {"_X_AMZN_TRACE_ID": "Root=1"}])
def test_requests_are_those_that_botocore_sends(
    monkeypatch: pytest.MonkeyPatch, operation: str, environ: dict[str, str]
) -> None:
    for name, value in {**environ, "AWS_LAMBDA_FUNCTION_NAME": "f"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("uuid.uuid4", lambda: "the same")
    sent = []
    with both_clients() as clients:
        for client in clients:
            retried = said(500, b" ", Date="Sat, 21 Nov 2026 10:30:00 GMT")
            with answering(client, [retried, said(200, {}), said(200, {})]):
                arguments = QUERY if operation == "query" else TRANSACTION
                sent.append([each for _ in range(2) for each in outcome(client, operation, arguments).requests])
    assert [len(requests) for requests in sent] == [3, 3]
    for quick, plain in zip(*sent, strict=True):
        assert (quick.method, quick.url, quick.stream_output) == (plain.method, plain.url, plain.stream_output)
        assert json.loads(quick.body) == json.loads(plain.body)
        ours, theirs = headers_of(quick), headers_of(plain)
        assert ours.keys() == theirs.keys()
        own = {"authorization", "user-agent", "content-length", "x-amz-date", "amz-sdk-request"}
        assert {name: ours[name] for name in ours.keys() - own} == {name: theirs[name] for name in ours.keys() - own}
        assert ours["amz-sdk-request"].split("attempt")[1] == theirs["amz-sdk-request"].split("attempt")[1]
        assert ours["content-length"] == str(len(quick.body))
        assert ours["user-agent"].startswith("cruddur-messages Botocore/")


def headers_of(request: Any) -> dict[str, str]:
    return {
        name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
    }


WORDS = st.text("abcXYZ019-_/. ", min_size=1, max_size=12)


@given(
    body=st.binary(max_size=50),
    headers=st.dictionaries(st.sampled_from(["X-Amz-Target", "Content-Type", "User-Agent", "X-Amzn-Trace-Id"]), WORDS),
    secret=st.text(min_size=1, max_size=40),
    token=st.none() | st.text("abc+/=", min_size=1),
    region=st.sampled_from(["us-east-1", "eu-central-1"]),
    url=st.sampled_from(
        ["https://dynamodb.us-east-1.amazonaws.com/", "http://127.0.0.1:8000/", "http://[::1]:1/a%20b/../c//d~"]
    ),
)
@settings(deadline=None)
def test_signatures_are_those_that_botocore_makes(
    body: bytes, headers: dict[str, str], secret: str, token: str | None, region: str, url: str
) -> None:
    given_credentials = Credentials("AKIDEXAMPLE", secret, token).get_frozen_credentials()
    request = AWSRequest("POST", url, headers, body)
    SigV4Auth(given_credentials, "dynamodb", region).add_auth(request)
    made = {name: value for name, value in request.headers.items() if name != "Authorization"}
    origin = origin_of(url)
    ours = authorization(
        made,
        body,
        authority=origin.authority,
        path=origin.target,
        credentials=given_credentials,
        region=region,
        service="dynamodb",
    )
    assert ours == request.headers["Authorization"]


def test_credentials_that_change_are_taken_at_the_next_request(clients: Clients) -> None:
    for client in clients:
        for turn, token in enumerate(["first", "second"]):
            account = str(turn) * 12
            known = client._request_signer._credentials
            known.access_key, known.token, known.account_id = f"KEY{turn}", token, account
            with answering(client, [said(200, {})]):
                [request] = outcome(client, "query", QUERY).requests
            assert headers_of(request)["x-amz-security-token"] == token
            assert f"Credential=KEY{turn}/" in headers_of(request)["authorization"]
            assert request.url == f"https://{account}.ddb.us-east-1.amazonaws.com/"


def test_without_credentials_both_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with both_clients() as clients:
        assert [outcome(client, "query", QUERY).error for client in clients] == ["NoCredentialsError"] * 2


ARN = "arn:aws:dynamodb:us-east-1:444455556666:table/messages"


@pytest.mark.parametrize("environ", [{}, {"AWS_ACCOUNT_ID": "111122223333"}, {"AWS_USE_FIPS_ENDPOINT": "true"}])
@pytest.mark.parametrize("endpoint_url", [None, "http://127.0.0.1:1/base"])
def test_endpoints_are_those_that_botocore_chooses(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], endpoint_url: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    put, delete = TRANSACTION["TransactItems"]
    by_arn = {"Put": {**put["Put"], "TableName": ARN}}  # type: ignore[dict-item,index]
    calls: list[tuple[str, dict[str, Any]]] = [
        ("query", QUERY),
        ("query", QUERY | {"TableName": ARN}),
        ("transact_write_items", TRANSACTION),
        ("transact_write_items", TRANSACTION | {"TransactItems": [by_arn, delete]}),
        ("transact_write_items", TRANSACTION | {"TransactItems": [delete, by_arn]}),
        ("batch_get_item", {"RequestItems": {ARN: {"Keys": [{"pk": {"S": "a"}}]}}}),
        ("list_tables", {}),
    ]
    with both_clients(aws_endpoint_url_dynamodb=endpoint_url) as clients:
        for operation, arguments in [*calls, *calls]:
            found = []
            for client in clients:
                with answering(client, repeat(said(200, {}))):
                    called = outcome(client, operation, arguments)
                found.append((called.error, [request.url for request in called.requests]))
            assert found[0] == found[1]


EVENTS = ("before-call", "before-send", "before-parse", "response-received", "needs-retry", "after-call")


@pytest.mark.parametrize("region", ["us-east-1", "local", "cn-north-1", "us-gov-west-1"])
def test_requests_are_signed_for_the_region_that_botocore_chooses(region: str) -> None:
    scopes = []
    with both_clients(aws_default_region=region) as clients:
        for client in clients:
            with answering(client, repeat(said(200, {}))):
                requests = [*outcome(client, "query", QUERY).requests, *outcome(client, "query", QUERY).requests]
            signed = [headers_of(request)["authorization"].split(",")[0].split("/")[2:] for request in requests]
            scopes.append([(request.url, scope) for request, scope in zip(requests, signed, strict=True)])
    assert scopes[0] == scopes[1]
    assert scopes[0][0] == scopes[0][1]


def test_hooks_are_called_as_by_botocore(clients: Clients) -> None:
    seen: list[str] = []

    def note(event_name: str, **_: Any) -> None:
        seen.append(event_name.partition(".")[0])

    for client in clients:
        seen.clear()
        for event in EVENTS:
            client.meta.events.register(f"{event}.dynamodb", note)
        with answering(client, [said(500, b" "), said(200, {"Items": []})]):
            assert outcome(client, "query", QUERY).tries == 2
        assert seen == [EVENTS[0], *EVENTS[1:5], *EVENTS[1:]]


def test_a_hook_that_raises_is_retried_as_by_botocore(clients: Clients) -> None:
    def fail(_: Any) -> Any:
        raise ReadTimeoutError(endpoint_url="DynamoDB")

    outcomes = []
    for client in clients:
        with answering(client, repeat(fail)):
            outcomes.append(outcome(client, "query", QUERY))
    assert outcomes[0] == outcomes[1]
    assert (outcomes[0].error, outcomes[0].tries) == ("ReadTimeoutError", TRIES)
