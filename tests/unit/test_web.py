"""The page's files, where they are served, and what /api/client-config tells a client."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import create_app
from lib.config import ROOT, Settings, SettingsError, load
from services.validation import MESSAGE_MAX_CHARS
from tests.unit.test_app import ENVIRON
from tools.local_stack.cognito import PASSWORD, demo_settings

SCRIPTS = sorted((ROOT / "web").glob("*.js"))
DEMO_SETTINGS = demo_settings(["Augustsz", "bayko", "c@example.com", "d", "too many"])
LOCAL = {"AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": "http://127.0.0.1:4566"}


def client_of(**variables: str) -> FlaskClient:
    with redirect_stdout(io.StringIO()):
        return create_app(load(Settings, ENVIRON | variables)).test_client()


@pytest.mark.parametrize("path", ["/", "/web/main.js", "/web/style.css", "/web/"])
def test_page_is_off_by_default(path: str) -> None:
    response = client_of().get(path)
    assert (response.status_code, response.json) == (404, ["not_found"])


def test_client_config_names_cognito_of_aws_and_no_users() -> None:
    assert client_of().get("/api/client-config").json == {
        "cognito": {
            "endpoint": "https://cognito-idp.us-east-1.amazonaws.com",
            "user_pool_id": ENVIRON["AWS_COGNITO_USER_POOL_ID"],
            "client_id": ENVIRON["AWS_COGNITO_USER_POOL_CLIENT_ID"],
        },
        "message_max_chars": MESSAGE_MAX_CHARS,
        "demo_users": [],
    }


def test_client_config_names_users_of_local_stack() -> None:
    config = client_of(**LOCAL, **DEMO_SETTINGS).get("/api/client-config").json
    assert config["cognito"]["endpoint"] == LOCAL["AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"]
    assert config["demo_users"] == [
        {"username": name, "password": PASSWORD} for name in ("Augustsz", "bayko", "c@example.com", "d")
    ]


@pytest.mark.parametrize("endpoint", ["", "https://cognito.example.com"])
def test_demo_users_need_local_cognito(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="^DEMO_USERS is set, but Cognito is not local"):
        client_of(**LOCAL | {"AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": endpoint}, **DEMO_SETTINGS)


@pytest.mark.parametrize("path", ["/", "/web/main.js", "/web/none.js"])
def test_policy_allows_this_host_and_cognito_alone(path: str) -> None:
    client = client_of(WEB_CLIENT="on", **LOCAL, COGNITO_PUBLIC_ENDPOINT="http://localhost:4566")
    with client.get(path) as response:
        headers = response.headers
    policy = dict(part.partition(" ")[::2] for part in headers["Content-Security-Policy"].split("; "))
    assert policy.pop("connect-src") == "'self' http://localhost:4566/"
    assert {name for name, value in policy.items() if value == "'none'"} == {
        *("default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types")
    }
    assert {name for name, value in policy.items() if value == "'self'"} == {"script-src", "style-src", "img-src"}
    assert policy["require-trusted-types-for"] == "'script'"
    assert (headers["Referrer-Policy"], headers["X-Content-Type-Options"]) == ("no-referrer", "nosniff")


class Document(HTMLParser):
    """Notes what a page loads, and whether it has code of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if source := attributes.get("src") or attributes.get("href"):
            self.loaded.append(source)
        elif tag in ("script", "style"):
            self.inline.append(tag)
        self.inline += [name for name in attributes if name.startswith("on") or name == "style"]


def test_page_loads_files_that_exist_and_has_no_inline_code() -> None:
    document = Document()
    document.feed((ROOT / "web/index.html").read_text())
    assert document.inline == []
    assert len(document.loaded) >= 3
    assert all((ROOT / path).is_file() for path in document.loaded)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_module_imports_files_that_exist_and_names_that_they_export(path: Path) -> None:
    for names, source in re.findall(r'^import \{([^}]+)\} from "([^"]+)";$', path.read_text(), re.MULTILINE):
        exported = re.findall(
            r"^export (?:async )?(?:class|const|function\*?) (\w+)", (path.parent / source).read_text(), re.MULTILINE
        )
        assert {name.strip() for name in names.split(",") if name.strip()} <= set(exported)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_module_makes_no_markup_of_texts_and_stores_no_token_beyond_the_window(path: Path) -> None:
    source = path.read_text()
    assert source.startswith("// ")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage.", "cookie"):
        assert word not in source
    assert max(map(len, source.splitlines())) <= 120
