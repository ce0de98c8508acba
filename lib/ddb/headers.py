"""HTTP headers as botocore's HeadersDict has them, which makes an object of a name at each step: this makes none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.awsrequest import AWSResponse, HeadersDict


class Headers(HeadersDict):  # type: ignore[misc]
    """A mapping whose names are the same in any case; each keeps the spelling that it had first."""

    def __init__(self, headers: Mapping[str, Any]) -> None:
        self._fields = {name.lower(): (name, value) for name, value in headers.items()}

    def __setitem__(self, name: str, value: Any) -> None:
        lower = name.lower()
        first, _ = self._fields.get(lower, (name, None))
        self._fields[lower] = first, value

    def __getitem__(self, name: str) -> Any:
        return self._fields[name.lower()][1]

    def __delitem__(self, name: str) -> None:
        del self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._fields.values())

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return repr(dict(self))

    def items(self) -> list[tuple[str, Any]]:
        """As a list, which can be looped over while values change."""
        return list(self._fields.values())

    def copy(self) -> Headers:
        return Headers(self)


def response(url: str, status: int, headers: Mapping[str, str], body: Any) -> AWSResponse:
    """botocore's object for an answer; `body` has a `stream()`."""
    made = AWSResponse(url, status, {}, body)
    made.headers = Headers(headers)
    return made
