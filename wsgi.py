"""The application for `flask run`, which looks for this module first. serve.py is the server for production."""

from __future__ import annotations

from flask.cli import NoAppException

from app import create_app
from lib.config import SettingsError

try:
    app = create_app()
except SettingsError as error:
    raise NoAppException(str(error)) from None  # `flask run` shows its message instead of a traceback
