"""Passwords for scripts. A password on the command line is visible to other users of the machine."""

from __future__ import annotations

import getpass
import secrets
import sys

from tools.cli.console import Refused

VARIABLE = "CRUDDUR_PASSWORD"
"""The environment variable with a password."""


def ask_password() -> str:
    """The password that a person types without echo, or without a terminal the next line of standard input."""
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ", stream=sys.stderr)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise Refused("The password is empty")
    return password


def generate_password() -> str:
    """A random password with the kinds of characters that user pools require."""
    return f"Aa1-{secrets.token_urlsafe(16)}"
