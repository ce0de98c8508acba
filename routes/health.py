"""Health checks: liveness of the process, and readiness of its dependencies."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from lib.version import VERSION
from routes.dependencies import dependencies

health = Blueprint("health", __name__, url_prefix="/api")


@health.get("/health-check")
def get_health() -> ResponseReturnValue:
    return jsonify({"success": True, "version": VERSION})


@health.get("/ready")
def get_readiness() -> ResponseReturnValue:
    dependencies().readiness.check()
    return jsonify({"success": True, "keys_from": dependencies().verifier.keys_from})
