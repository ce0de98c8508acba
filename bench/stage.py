"""What stands under a measurement, from the table to the keys of the tokens, and the servers that are put on it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cores import Cores
from bench.dataset import Dataset
from bench.engines import Engine
from bench.measure import BareLoop
from bench.people import UserPool, add_users
from bench.scenarios import Cast
from bench.servers import API, NAIVE, Server
from lib.config import Settings, load
from lib.db import create_database
from lib.ddb.admin import connect
from lib.ddb.bulk import BulkLoader
from lib.ddb.cursor import CursorSigner
from lib.ddb.schema import create_table
from lib.ddb.table import Table
from lib.local.environment import CREDENTIALS, REGION
from lib.local.processes import LOOPBACK

_TABLE = "cruddur-bench"


@dataclass(frozen=True, slots=True)
class Stage:
    """An engine with a table, Postgres with the users, and the settings of whoever works with them."""

    engine: Engine
    data: Dataset
    pool: UserPool
    cores: Cores
    variables: Mapping[str, str]
    folder: Path

    def load(self, each: Callable[[int], object]) -> float:
        """Load all conversations; messages a second. `each` is told how many are there."""
        settings = load(Settings, self.variables)
        with closing(connect(settings)) as client:
            create_table(client, settings.ddb_table)
            if not self.engine.streams:
                client.update_table(TableName=settings.ddb_table, StreamSpecification={"StreamEnabled": False})
            began = time.perf_counter()
            written = BulkLoader(Table(client, settings.ddb_table)).load(self.data.plan(), each=each)
        return written / (time.perf_counter() - began)

    def server(self, application: str, *, workers: int) -> Server:
        """A server that can be started."""
        log = self.folder / f"{application.partition(':')[0]}-{secrets.token_hex(4)}.log"
        return Server(application, self.variables, workers=workers, log=log)

    @contextmanager
    def cast(self, *, workers: int, own_cores: bool) -> Iterator[Cast]:
        """Both servers with so many workers each, on the measured cores or on all."""
        cores = self.cores.measured if own_cores else self.cores.every
        with self.server(API, workers=workers) as api, self.server(NAIVE, workers=workers) as naive:
            for server in (api, naive):
                server.keep_to(cores)
            yield Cast(
                api=api,
                naive=naive,
                loop=lambda operation, uuid: BareLoop(self.variables, operation, uuid, cores=cores),
                data=self.data,
                pool=self.pool,
                cursors=CursorSigner(self.variables["SECRET_KEY"]),
                folder=self.folder,
            )


def set_up(
    engine: Engine, database_url: str, data: Dataset, passed_on: Mapping[str, str], folder: Path, running: ExitStack
) -> Stage:
    """Users and their keys, before anything is loaded. `passed_on` are settings that the person who measures chose."""
    create_database(database_url)
    add_users(database_url, data.people())
    pool = running.enter_context(UserPool(folder / "keys", log=folder / "keys.log"))
    variables = {
        **passed_on,
        **CREDENTIALS,
        **pool.variables,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_DYNAMODB": engine.url,
        "DDB_TABLE": _TABLE,
        "DATABASE_URL": database_url,
        "SECRET_KEY": secrets.token_hex(),
        "HOST": LOOPBACK,
    }
    return Stage(engine, data, pool, Cores.divided(), variables, folder)
