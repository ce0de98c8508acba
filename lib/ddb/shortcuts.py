"""A DynamoDB client of botocore's with quicker parts in the places of its own; `DDB_SHORTCUTS=off` does without.

What they are, beginning with what saves a Query of 20 items most: the parser of answers (lib/ddb/wire.py), the HTTP
session (lib/ddb/transport.py), how a request is made and signed (`_Endpoint`, lib/ddb/signing.py), the serializer of
requests, which saves a transaction most (lib/ddb/wire.py), the user agent, which botocore puts together twice a call,
and the endpoint's rules, which botocore asks anew for each call and by every table name in it (`_Rules`). What is
read to make the client is read lean (lib/ddb/lean_data.py), which saves memory.

All else stays botocore's: credentials, retries with their pauses and their quota, checksums, errors, and events but
these: `request-created` and those of signing never come, `before-endpoint-resolution` only at a table's first call.

The parser and the reader are registered as botocore's components. The other places are attributes that botocore does
not promise to keep: tests/unit/test_shortcuts.py fails if it does not. The public place for a transport, `before-send`,
is none: all of its handlers are called, also after one has answered.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import botocore
import botocore.session
from botocore.auth import SIGV4_TIMESTAMP
from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import get_current_datetime
from botocore.config import Config
from botocore.endpoint import Endpoint
from botocore.exceptions import NoCredentialsError
from botocore.handlers import add_retry_headers
from botocore.utils import get_environ_proxies

from lib.ddb.lean_data import lean_loader
from lib.ddb.response import Headers
from lib.ddb.signing import authorization
from lib.ddb.transport import Transport, origin_of
from lib.ddb.wire import Answers, Requests

_USER_AGENT = f"cruddur-messages Botocore/{botocore.__version__}"


def quick_client(config: Config, *, region: str, endpoint_url: str | None) -> Any:
    """A DynamoDB client with all shortcuts; behind a proxy, HTTP is left to botocore."""
    session = botocore.session.get_session()
    session.register_component("response_parser_factory", Answers())
    session.register_component("data_loader", lean_loader(session.get_config_variable("data_path")))
    client = session.create_client(
        "dynamodb",
        region_name=region,
        endpoint_url=endpoint_url,
        config=config.merge(Config(user_agent=_USER_AGENT)),
    )
    client._serializer = Requests(client._serializer)
    client._ruleset_resolver = _Rules(client)
    client._endpoint = _Endpoint(client, _http_session(client, session))
    return client


def _http_session(client: Any, session: botocore.session.Session) -> Any:
    url = client.meta.endpoint_url
    if urlsplit(url).scheme in get_environ_proxies(url):
        return client._endpoint.http_session
    config = client.meta.config
    return Transport(
        connect_timeout=config.connect_timeout,
        read_timeout=config.read_timeout,
        pool_size=config.max_pool_connections,
        verify=session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True,
    )


class _Endpoint(Endpoint):  # type: ignore[misc]
    """Makes and signs requests by itself; sending, parsing and retrying are botocore's."""

    def __init__(self, client: Any, http_session: Any) -> None:
        plain = client._endpoint
        super().__init__(plain.host, "dynamodb", client.meta.events, plain._response_parser_factory, http_session)
        self._signer = client._request_signer

    def create_request(self, params: dict[str, Any], operation_model: Any = None) -> AWSPreparedRequest:
        """A request ready to be sent, as `request-created` and botocore's signer would make it."""
        signer, body, url = self._signer, params["body"], params["url"]
        if not (credentials := _credentials(signer)):
            raise NoCredentialsError
        headers = params["headers"] | {"X-Amz-Date": get_current_datetime().strftime(SIGV4_TIMESTAMP)}
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
        origin, signing = origin_of(url), params["context"].get("signing", {})  # the endpoint may name a region
        headers["Authorization"] = authorization(
            headers,
            body,
            authority=origin.authority,
            path=origin.target,
            credentials=credentials,
            region=signing.get("region") or signer.region_name,
            service=signing.get("signing_name") or signer.signing_name,
        )
        headers["Content-Length"] = str(len(body))
        request = AWSPreparedRequest(params["method"], url, headers, body, False, params["context"])
        add_retry_headers(request)
        request.headers = Headers(headers)
        return request


class _Rules:
    """The endpoint's rules: for each operation, table and account they are asked once, and about no second table."""

    def __init__(self, client: Any) -> None:
        self._plain = client._ruleset_resolver
        self._signer = client._request_signer
        self._found: dict[tuple[str, str, str | None], Any] = {}

    def construct_endpoint(self, operation_model: Any, call_args: dict[str, Any], request_context: Any) -> Any:
        table = _first_table(call_args)
        if table is None:
            return self._plain.construct_endpoint(operation_model, call_args, request_context)
        key = operation_model.name, table, getattr(_credentials(self._signer), "account_id", None)
        if key not in self._found:
            self._found[key] = self._plain.construct_endpoint(operation_model, call_args, request_context)
        return self._found[key]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)


def _first_table(arguments: dict[str, Any]) -> str | None:
    match arguments:
        case {"TableName": str(table)}:
            return table
        case {"TransactItems": [dict(first), *_]}:
            match [*first.values()]:
                case [{"TableName": str(table)}]:
                    return table
    return None


def _credentials(signer: Any) -> Any:
    """As they are now: those of a role are renewed in here. None without any."""
    return signer.get_auth_instance(signer.signing_name, signer.region_name, "v4").credentials
