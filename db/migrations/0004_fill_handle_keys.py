"""Write the keys of the handles that are in the table."""

import psycopg

from tools.postgres.handles import fill_handle_keys


def migrate(connection: psycopg.Connection) -> None:
    fill_handle_keys(connection)
