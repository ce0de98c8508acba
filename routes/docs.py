"""The API's reference: `openapi.yaml` as JSON for programs, and a page of Swagger UI for people.

The page sends its requests to the host that serves it. The server reads the files at the first request.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, abort
from flask.typing import ResponseReturnValue

from lib.config import ROOT
from routes.etags import with_etag

docs = Blueprint("docs", __name__, url_prefix="/api")

OWN_FOLDER = Path(__file__).parent / "static"
OWN_FILES = {"docs.js": "text/javascript"}
SWAGGER_UI_FILES = {
    "favicon-32x32.png": "image/png",
    "index.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # icons within swagger-ui.css
        "connect-src 'self'",  # openapi.json and "Try it out"
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


@docs.get("/openapi.json")
def get_openapi() -> ResponseReturnValue:
    return with_etag(Response(_openapi_json(), mimetype="application/json"), cache_control="no-cache")


@docs.get("/docs")
def get_docs() -> ResponseReturnValue:
    response = _serve_file(OWN_FOLDER / "docs.html", "text/html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


@docs.get("/docs/<name>")
def get_docs_file(name: str) -> ResponseReturnValue:
    """A script, a style or an image of the page."""
    if name in OWN_FILES:
        return _serve_file(OWN_FOLDER / name, OWN_FILES[name])
    if name not in SWAGGER_UI_FILES:
        abort(404)
    return _serve_file(_swagger_ui_folder() / name, SWAGGER_UI_FILES[name])


def _serve_file(path: Path, mimetype: str) -> Response:
    response = Response(path.read_bytes(), mimetype=mimetype)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return with_etag(response, cache_control="no-cache")


@cache
def _openapi_json() -> str:
    import yaml  # only processes that serve the document need it

    document = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    return json.dumps(document, ensure_ascii=False)


@cache
def _swagger_ui_folder() -> Path:
    """The package's folder of static files; does not import the package."""
    package = find_spec("flask_swagger_ui")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("The package flask-swagger-ui is not installed", name="flask_swagger_ui")
    return Path(package.origin).parent / "dist"
