"""The page at /api/docs in a real browser; it needs chromium and chromedriver."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, run_api
from tests.support.api_server import ApiServer
from tools.local_stack.processes import LOOPBACK, Child, bare_environment, free_port, responds

pytestmark = pytest.mark.browser

CAPABILITIES = {
    "goog:chromeOptions": {"args": ["--headless", "--no-sandbox", "--window-size=1200,1600"]},
    "goog:loggingPrefs": {"browser": "ALL"},
    "timeouts": {"implicit": 20_000},  # how long to look for an element, in milliseconds
}

api = pytest.fixture(scope="module")(run_api)


def webdriver(url: str, body: dict[str, Any] | None = None) -> Any:
    """The value in chromedriver's response to a GET, or with a body to a POST (W3C WebDriver)."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data, timeout=60) as response:  # noqa: S310
        return json.load(response)["value"]


def test_reader_authorizes_and_tries_a_request_out(api: Api, tmp_path: Path) -> None:
    anna, bert = api.couple()
    anna.write("Hello Bert!", to=bert)
    driver = f"http://{LOOPBACK}:{(port := free_port())}"
    command, log = ["chromedriver", f"--port={port}"], tmp_path / "chromedriver.log"
    chromedriver = Child("chromedriver", command, env=bare_environment(), ready=responds(f"{driver}/status"), log=log)
    with ApiServer(tmp_path / "api.log", **api.server_variables()) as server, chromedriver:
        session = webdriver(f"{driver}/session", {"capabilities": {"alwaysMatch": CAPABILITIES}})
        browser = f"{driver}/session/{session['sessionId']}"

        def find(css: str) -> str:
            [element] = webdriver(f"{browser}/element", {"using": "css selector", "value": css}).values()
            return f"{browser}/element/{element}"

        webdriver(f"{browser}/url", {"url": f"http://{LOOPBACK}:{server.port}/api/docs"})
        webdriver(f"{find('.btn.authorize')}/click", {})
        webdriver(f"{find('.auth-container input')}/value", {"text": anna.authorization.removeprefix("Bearer ")})
        operation = "#operations-Conversations-listMessageGroups .opblock-summary-control"
        for css in (".auth-container .authorize", ".auth-container .btn-done", operation, ".try-out__btn", ".execute"):
            webdriver(f"{find(css)}/click", {})
        assert webdriver(f"{find('tbody .response-col_status')}/text") == "200"
        assert "Hello Bert!" in webdriver(f"{find('tbody .response-col_description')}/text")
        assert webdriver(f"{browser}/se/log", {"type": "browser"}) == []  # the policy forbade nothing
