"""The engine: it starts the databases and the servers, and lets the subjects take turns.

They take turns in short rounds, so a drift of the machine's speed affects all of them alike.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import boto3
import psycopg

from bench import flood, live, scenarios
from bench.baselines import run_loop
from bench.results import Rounds, Sample
from bench.scenarios import BUSY, FLOOD, FLOOR, LIVE, LOOP, NAIVE, SCENARIOS, STARTUP, Request, Scale, Scenario
from bench.server import Server
from lib.aws.dynamodb_client import DynamoDBClient
from lib.config import ROOT, Settings, load
from lib.ddb.schema import create_table
from lib.ddb.table import Table
from lib.postgres.database import create_database
from tools.cli.console import print_status
from tools.deploy.packages import build
from tools.local_stack.environment import CREDENTIALS, REGION
from tools.local_stack.npm_engines import Dynoxide
from tools.local_stack.postgres import Postgres
from tools.local_stack.processes import LOOPBACK, Child, EngineError, bare_environment, free_port, responds
from tools.postgres.migrations import migrate
from tools.seed.bulk import BulkLoader

_MANY = 1_000_000
_INSERT = "INSERT INTO users (uuid, handle, display_name, email, cognito_user_id) VALUES (%s, %s, %s, %s, %s)"


def run(scale: Scale, names: Collection[str], folder: Path, engines: Path) -> dict[str, Rounds]:
    """Measure scenarios. Files go below `folder`, a downloaded engine below `engines`.

    Raises EngineError, PackageError, SubprocessError.
    """
    results: dict[str, Rounds] = {}
    if STARTUP in names:
        print_status(f"{STARTUP} …")
        results[STARTUP] = _measure_startup(folder, scale.rounds)
    if set(names) - {STARTUP}:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, halve(cores)[1])  # child processes inherit the cores
        with _engines(scale, folder, engines) as variables:
            for name in [name for name in SCENARIOS if name in names]:
                print_status(f"{name} …")
                results[name] = _measure(SCENARIOS[name], scale, variables, folder, cores)
            os.sched_setaffinity(0, cores)
            for name, measure in ((LIVE, live.measure), (FLOOD, flood.measure)):
                if name in names:
                    print_status(f"{name} …")
                    results[name] = measure(scale, variables, folder)
        os.sched_setaffinity(0, cores)
    return results


def halve(cores: list[int]) -> tuple[list[int], list[int]]:
    """The cores of the servers, and those of engine, Postgres and wrk: the halves, or the only core for both."""
    half = len(cores) // 2
    return cores[:half] or cores, cores[half:]


@contextmanager
def _engines(scale: Scale, folder: Path, downloads: Path) -> Iterator[dict[str, str]]:
    """Start DynamoDB, Postgres and the host of the JWKS, load the data, and yield the settings of the servers."""
    keys, port = folder / "keys", free_port()
    keys.mkdir()
    (keys / "jwks.json").write_text(json.dumps({"keys": [scenarios.KEY.jwk]}))
    jwks_url = f"http://{LOOPBACK}:{port}/jwks.json"
    command = [sys.executable, "-m", "http.server", str(port), "--bind", LOOPBACK, "--directory", str(keys)]
    with (
        Dynoxide(downloads, log=folder / "dynoxide.log") as dynoxide,
        Postgres(folder / "postgres", log=folder / "postgres.log", durable=False) as postgres,
        Child("the JWKS host", command, env=bare_environment(), ready=responds(jwks_url), log=folder / "keys.log"),
    ):
        variables = {
            **CREDENTIALS,
            "AWS_COGNITO_USER_POOL_ID": f"{REGION}_Bench0001",
            "AWS_COGNITO_USER_POOL_CLIENT_ID": scenarios.CLIENT_ID,
            "COGNITO_ISSUER": scenarios.ISSUER,
            "COGNITO_JWKS_URL": jwks_url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_DYNAMODB": dynoxide.url,
            "DDB_TABLE": "cruddur-bench",
            "DATABASE_URL": postgres.url("bench"),
            "SECRET_KEY": scenarios.SECRET_KEY,
            "HOST": LOOPBACK,
            # Limits that count every request and refuse none.
            "RATE_LIMIT_SENDS": f"{_MANY} per minute; {_MANY} per 10 seconds",
            "RATE_LIMIT_ANONYMOUS": f"{_MANY} per minute",
        }
        print_status("Loading the data …")
        _load(scale, load(Settings, variables))
        yield variables


def _load(scale: Scale, settings: Settings) -> None:
    create_database(settings.database_url)
    migrate(settings.database_url)
    users = {member for conversation in scenarios.conversations(scale) for member in conversation.members}
    rows = [(user.uuid, user.handle, user.display_name, f"{user.handle}@example.com", user.uuid) for user in users]
    with psycopg.connect(settings.database_url) as connection, connection.cursor() as cursor:
        cursor.executemany(_INSERT, rows)
    with closing(boto3.client("dynamodb", endpoint_url=settings.aws_endpoint_url_dynamodb)) as client:
        create_table(client, settings.ddb_table)
        # dynoxide gets slower with every record that a stream keeps.
        client.update_table(TableName=settings.ddb_table, StreamSpecification={"StreamEnabled": False})
    with closing(DynamoDBClient(settings)) as client:
        BulkLoader(Table(client, settings.ddb_table)).load(scenarios.conversations(scale))


def _measure(scenario: Scenario, scale: Scale, variables: dict[str, str], folder: Path, cores: list[int]) -> Rounds:
    """Raises EngineError when a request fails before the first round."""
    server_cores, other_cores = halve(cores)
    os.sched_setaffinity(0, cores if scenario.all_cores else server_cores)
    serve = partial(Server, variables=variables | {"WEB_CONCURRENCY": str(scenario.workers)}, folder=folder)
    with serve("app:create_app") as api, serve("bench.baselines:create_app") as baseline:
        os.sched_setaffinity(0, other_cores)
        baselines = {NAIVE: [Request(f"/newest/{quote(scenario.pk)}")], FLOOR: [Request("/floor")]}
        turns: dict[str, Callable[[int], Sample]] = {}
        for subject, requests in (baselines | scenario.subjects(scale)).items():
            server, waiting = baseline if subject in baselines else api, 3 if subject == BUSY else 0
            turns[subject] = partial(server.measure, requests, clients=scenario.clients, waiting=waiting)
            sample = turns[subject](1 + len(requests) // 200)  # fills the caches
            if sample["failed"] or not sample["requests"]:
                raise EngineError(f"{subject}: {sample['failed']} of {sample['requests']} requests failed")
        if scenario.loop:
            turns[LOOP] = partial(run_loop, variables, scenario.pk, server_cores)
        return [{subject: turn(scale.seconds) for subject, turn in turns.items()} for _ in range(scale.rounds)]


def _measure_startup(folder: Path, rounds: int) -> Rounds:
    """Measure three starts. The function runs from its package, without this environment's libraries (-S)."""
    shutil.unpack_archive(build("message_stream", folder), folder / "function")
    _dev_seconds(folder)  # the first start makes the data
    return [
        {
            "app": {"seconds": _import_seconds("app", ROOT)},
            "function": {"seconds": _import_seconds("handler", folder / "function", "-S")},
            "dev": {"seconds": _dev_seconds(folder)},
        }
        for _ in range(rounds)
    ]


def _import_seconds(module: str, folder: Path, *options: str) -> float:
    """Seconds of an import in a fresh process, without the interpreter's own start."""
    command = [sys.executable, *options, *("-m", "timeit", "-n", "1", "-r", "1", "-u", "sec", f"import {module}")]
    output = subprocess.check_output(command, env=bare_environment(PYTHONPATH=str(folder)), text=True)
    return float(output.split()[5])  # 1 loop, best of 1: 0.5 sec per loop


def _dev_seconds(folder: Path) -> float:
    """Seconds until ./bin/dev runs its command."""
    variables = {"LOCAL_DIR": str(folder / "dev"), "PORT": str(free_port()), "CRUDDUR_PYTHON": sys.executable}
    command: list[str | Path] = [ROOT / "bin/dev", "--once", "--", "date", "+%s.%N"]
    start = time.time()
    return float(subprocess.check_output(command, env=bare_environment(**variables), stderr=subprocess.DEVNULL)) - start
