"""Cursors: where a reading ended, signed for its purpose and for the partition it was made on.

A cursor holds no partition key; the server rebuilds it from who is asking. The signature covers the purpose and the
partition key, so a cursor that was made up, altered, or given out for another list is refused.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson
from itsdangerous import BadData, URLSafeSerializer
from itsdangerous.encoding import base64_encode

from lib.ddb.errors import CursorInvalid

Purpose = Literal["cursor", "feed"]
"""What it is for: the next page of a list, or what moves in an inbox from then on."""

_SHORT = 128  # bytes: what is no longer, zlib would hardly make shorter, and trying costs more than all the rest


class CursorSigner:
    """Signs with the deployment's secret: every process understands every other's cursors."""

    def __init__(self, secret_key: str) -> None:
        self._serializer = _Serializer(secret_key)

    def sign(self, purpose: Purpose, payload: object, *, pk: str) -> str:
        """The cursor that holds a payload, which is JSON: URL-safe text."""
        return str(self._serializer.dumps(payload, salt=_salt(purpose, pk)))

    def verify(self, purpose: Purpose, cursor: str, *, pk: str) -> Any:
        """The payload. Raises CursorInvalid."""
        try:
            return self._serializer.loads(cursor, salt=_salt(purpose, pk))
        except BadData as error:
            raise CursorInvalid from error


def _salt(purpose: Purpose, pk: str) -> str:
    return f"{purpose} {pk}"


class _Serializer(URLSafeSerializer):
    """Compresses what is long alone; it reads both, as its base does."""

    def dump_payload(self, obj: Any) -> bytes:
        payload = orjson.dumps(obj)
        return base64_encode(payload) if len(payload) <= _SHORT else super().dump_payload(obj)
