"""Cursors: signed positions in a list.

A cursor holds no partition key: the server builds the key from the caller and the path. The signature covers the
cursor's purpose and its partition key. So the server refuses a cursor that is forged, altered or of another list.

A feed cursor is also one of its table. A restored table has gone back in time, so that a client must list its inbox
again: its `seq` may be ahead, and it would take new messages for old ones.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Any, Literal

import orjson
from itsdangerous import BadData, Signer, URLSafeSerializer
from itsdangerous.encoding import base64_decode, base64_encode, want_bytes

from lib.ddb.errors import CursorInvalid

Purpose = Literal["cursor", "feed"]
"""`cursor` leads to the next page of a list, `feed` to the conversations that change later."""

_SHORT = 128  # bytes; zlib hardly shortens such a payload, and takes longer than the signature


class CursorSigner:
    """Signs cursors with the deployment's secret, so that every process of the deployment accepts them.

    The last key signs. A signature by any key is valid. Feed cursors are valid for this table alone.
    """

    def __init__(self, *secret_keys: str, table: str = "") -> None:
        self._table = table
        # The library's own default is this digest too, by a slower way.
        self._serializer = _Serializer(secret_keys, signer_kwargs={"digest_method": sha1})

    def sign(self, purpose: Purpose, payload: object, *, pk: str) -> str:
        """A cursor that holds a JSON payload, as URL-safe text."""
        return str(self._serializer.dumps(payload, salt=self._salt(purpose, pk)))

    def verify(self, purpose: Purpose, cursor: str, *, pk: str) -> Any:
        """The payload. Raises CursorInvalid."""
        try:
            return self._serializer.loads(cursor, salt=self._salt(purpose, pk))
        except BadData as error:
            raise CursorInvalid from error

    def _salt(self, purpose: Purpose, pk: str) -> str:
        return f"feed {self._table} {pk}" if purpose == "feed" else f"{purpose} {pk}"


class _Signer(Signer):
    """Refuses other texts of a valid signature: Base64 ignores appended characters and the last bits."""

    def verify_signature(self, value: str | bytes, sig: str | bytes) -> bool:
        text = want_bytes(sig)
        return super().verify_signature(value, text) and base64_encode(base64_decode(text)) == text


class _Serializer(URLSafeSerializer):
    """Compresses long payloads only. Its base class reads both forms."""

    default_signer = _Signer

    def dump_payload(self, obj: Any) -> bytes:
        payload = orjson.dumps(obj)
        return base64_encode(payload) if len(payload) <= _SHORT else super().dump_payload(obj)
