"""The body of a request that is sent as it comes, under the watch over its provider."""

from collections.abc import Callable

import attrs

from gateway.upstream.request import UploadedBody
from streams.pipe import Watch


class _Watched:
    """While a piece is waited for the client is the slow one; while it is sent, the provider."""

    def __init__(self, upload: UploadedBody, watch: Watch, before_end: Callable[[], object] | None) -> None:
        self._pieces = upload.pieces
        self._left = upload.length
        self._watch = watch
        self._before_end = before_end

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> bytes:
        self._watch.pause()
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._ends()
            raise
        finally:
            self._watch.asked()
        if self._left is not None:
            self._left -= len(piece)
            if self._left <= 0:
                self._ends()
        return piece

    def _ends(self) -> None:
        if self._before_end is not None:
            self._before_end()


def watched(upload: UploadedBody, watch: Watch, before_end: Callable[[], object] | None = None) -> UploadedBody:
    """Return ``upload`` under ``watch``, which counts the provider's silence alone. ``before_end()`` is called right
    before the last of it is written."""
    return attrs.evolve(upload, pieces=_Watched(upload, watch, before_end))
