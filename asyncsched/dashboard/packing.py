"""Streams are sent compressed to those who take that: rows are alike, so a changed one takes a tenth of its length."""

from __future__ import annotations

import re
import zlib

from starlette.datastructures import Headers
from starlette.types import Scope

_GZIP = re.compile(r"(^|,)\s*(gzip|\*)\s*(;\s*q\s*=\s*(1|0\.\d*[1-9])\S*\s*)?(,|$)")

_WINDOW, _MEMORY = 13, 6
"""The sizes of the buffers of one stream, in powers of two: 64 KiB in all."""


class Packed:
    """One answer in pieces, each of which can be read as soon as it has come.

    Args:
        scope: of the request, which says whether the answer may be compressed.

    """

    def __init__(self, scope: Scope) -> None:
        taken = ",".join(Headers(scope=scope).getlist("accept-encoding"))
        self.headers: list[tuple[bytes, bytes]] = [(b"vary", b"accept-encoding")]
        self._gzip = (
            zlib.compressobj(6, zlib.DEFLATED, 16 + _WINDOW, _MEMORY) if _GZIP.search(taken) else None
        )
        if self._gzip is not None:
            self.headers.append((b"content-encoding", b"gzip"))

    def pack(self, data: bytes) -> bytes:
        """Return the next piece."""
        if self._gzip is None:
            return data
        return self._gzip.compress(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """Return the end."""
        return b"" if self._gzip is None else self._gzip.flush()
