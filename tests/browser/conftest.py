"""Fixtures of the tests in a browser. Each worker of a run has one Chromium and one site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Windows, run_chromium
from tests.support.site import Site, run_site


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with run_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def site(engine_folder: Path, new_database: Callable[[], str]) -> Iterator[Site]:
    with run_site(engine_folder, new_database()) as running:
        yield running


@pytest.fixture
def windows(chromium: Browser, site: Site) -> Iterator[Windows]:
    """Opens windows. At the end, nothing may have happened that must not."""
    windows = Windows(chromium, site)
    yield windows
    try:
        windows.check()
    finally:
        windows.close()
