"""Page cursors: where a page ended, signed for the partition it was read from.

A cursor holds the sort key alone; the server rebuilds the partition key from who is asking. The signature covers
the partition key, so a cursor that was made up, altered, or given out for another partition is refused.
"""

from __future__ import annotations

from itsdangerous import BadData, URLSafeSerializer

from lib.ddb.errors import CursorInvalid


class CursorSigner:
    """Signs with the deployment's secret: every process understands every other's cursors."""

    def __init__(self, secret_key: str) -> None:
        self._secret_key = secret_key

    def sign(self, *, pk: str, sk: str) -> str:
        """The cursor of a page that ended at `sk`: URL-safe text."""
        return str(self._serializer(pk).dumps(sk))

    def verify(self, *, pk: str, cursor: str) -> str:
        """The sort key at which the page ended. Raises CursorInvalid."""
        try:
            sk = self._serializer(pk).loads(cursor)
        except BadData as error:
            raise CursorInvalid from error
        return str(sk)

    def _serializer(self, pk: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._secret_key, salt=f"cursor {pk}")
