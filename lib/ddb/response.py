"""botocore's object for an answer, and its headers, in fewer steps: HeadersDict makes an object of a name at each."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from functools import cached_property
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


class Response(AWSResponse):  # type: ignore[misc]
    """A whole answer."""

    def __init__(self, url: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        # Not by the base, which makes a HeadersDict, and reads a body from a stream.
        self.url = url
        self.status_code = status
        self.headers = Headers(headers)
        self._content = body

    @cached_property
    def raw(self) -> Any:
        """The body, for whoever reads it piece by piece."""
        return _Body(self._content)


class _Body(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield self.read()
