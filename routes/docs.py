"""The API's reference: `openapi.yaml` as JSON for programs, and a page of Swagger UI for people.

The page sends its requests to the host that serves it. The server reads and compresses each file at its first request.
All responses share the file's bytes, so clients that do not read cost no memory of the process.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, abort, request
from flask.typing import ResponseReturnValue

from lib.config import ROOT
from routes.etags import make_etag, with_etag

docs = Blueprint("docs", __name__, url_prefix="/api")

OWN_FOLDER = Path(__file__).parent / "static"
OWN_FILES = {"docs.js": "text/javascript"}
OPENAPI_JSON = "openapi.json"
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
    return _serve_file(OPENAPI_JSON, "application/json")


@docs.get("/docs")
def get_docs() -> ResponseReturnValue:
    response = _serve_file("docs.html", "text/html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


@docs.get("/docs/<name>")
def get_docs_file(name: str) -> ResponseReturnValue:
    """A script, a style or an image of the page."""
    mimetype = OWN_FILES.get(name) or SWAGGER_UI_FILES.get(name) or abort(404)
    return _serve_file(name, mimetype)


def _serve_file(name: str, mimetype: str) -> Response:
    is_compressed = request.accept_encodings.best_match(["gzip", "identity"]) == "gzip"
    content, etag = _content(name, is_compressed)
    response = Response(content, mimetype=mimetype)
    response.vary.add("Accept-Encoding")
    if is_compressed:
        response.content_encoding = "gzip"
    return with_etag(response, cache_control="no-cache", etag=etag)


@cache
def _content(name: str, is_compressed: bool) -> tuple[bytes, str]:
    """The bytes of a file, and their ETag."""
    content = gzip.compress(_read(name), mtime=0) if is_compressed else _read(name)
    return content, make_etag(content)


@cache
def _read(name: str) -> bytes:
    if name == OPENAPI_JSON:
        import yaml  # only processes that serve the document need it

        document = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
        return json.dumps(document, ensure_ascii=False).encode()
    folder = _swagger_ui_folder() if name in SWAGGER_UI_FILES else OWN_FOLDER
    return (folder / name).read_bytes()


def _swagger_ui_folder() -> Path:
    """The package's folder of static files; does not import the package."""
    package = find_spec("flask_swagger_ui")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("The package flask-swagger-ui is not installed", name="flask_swagger_ui")
    return Path(package.origin).parent / "dist"
