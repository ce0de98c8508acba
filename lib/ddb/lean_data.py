"""botocore's description of DynamoDB without what a client never looks at: documentation, other services' endpoints.

botocore keeps what it read to make a client; whole, it is a tenth of a worker's memory. Knows nothing of clients.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import IO, Any, Literal

from botocore.loaders import JSONFileLoader, Loader, create_loader

_OPENERS: dict[str, Callable[[str, Literal["rb"]], IO[bytes] | gzip.GzipFile]] = {".json": open, ".json.gz": gzip.open}


def lean_loader(search_path: str | None) -> Loader:
    """A loader for a session's component `data_loader`; the path is that of its setting `data_path`."""
    loader = create_loader(search_path)
    loader.file_loader = _LeanFiles()
    return loader


class _LeanFiles(JSONFileLoader):  # type: ignore[misc]
    def load_file(self, file_path: str) -> Any:
        """What a file holds, given without its suffix; None if there is none."""
        lean = _endpoints if file_path.endswith("endpoints") else _model
        for suffix, opener in _OPENERS.items():
            try:
                with opener(file_path + suffix, "rb") as file:
                    return json.load(file, object_pairs_hook=lean)
            except FileNotFoundError:
                continue
        return None


def _model(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a service's model, or of another small file."""
    return {name: value for name, value in pairs if not (name == "documentation" and isinstance(value, str))}


def _endpoints(pairs: list[tuple[str, Any]]) -> Any:
    """An object of the file that has every endpoint of every service.

    Objects come before what they are in: until its name is known, a service is kept as text, which is a fifth as large.
    """
    found = dict(pairs)
    if "services" in found:  # a partition
        text = found["services"].get("dynamodb")
        found["services"] = {"dynamodb": json.loads(text)} if text else {}
    elif "endpoints" in found:  # a service
        return json.dumps(found)
    return found
