"""The dependencies of the routes: app.py creates them, and routes pass them to services."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from flask import current_app

from lib.config import Settings
from lib.ddb.blocks import Blocks
from lib.ddb.read_positions import ReadPositions
from lib.ddb.store import MessageStore
from lib.identity.tokens import TokenVerifier
from lib.live.hub import Hub
from lib.users.directory import UserDirectory
from lib.users.reports import Reports
from services.provisioning import Newcomers
from services.readiness import Readiness


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The dependencies of one application."""

    settings: Settings
    store: MessageStore
    read_positions: ReadPositions
    blocks: Blocks
    users: UserDirectory
    reports: Reports
    newcomers: Newcomers
    verifier: TokenVerifier
    readiness: Readiness
    hub: Hub
    live_threads: ThreadPoolExecutor


def dependencies() -> Dependencies:
    """The dependencies of the current request's application."""
    deps: Dependencies = current_app.extensions["dependencies"]
    return deps
