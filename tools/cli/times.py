"""Times among the arguments of scripts."""

from __future__ import annotations

from datetime import datetime

import click

from lib.clock import from_timestamp


def parse_time(ctx: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    """The callback of an option with a time of ISO 8601, in UTC if it has no offset. Raises BadParameter."""
    try:
        return from_timestamp(text) if text else None
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no time of ISO 8601, such as 2026-11-29T17:45:00Z") from error
