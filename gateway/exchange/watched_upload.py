"""Uploads that a client sends while the provider receives them. Their watch counts only the provider's silence."""

from collections.abc import Callable

import attrs

from gateway.upstream.request import UploadedBody
from streams.pipe import Watch


class _WatchedPieces:
    """The pieces of an upload, as an iterator that pauses the provider's time limits while the client sends."""

    def __init__(self, upload: UploadedBody, watch: Watch, before_end: Callable[[], object] | None) -> None:
        self._pieces = upload.pieces
        self._left = upload.length
        self._watch = watch
        self._before_end = before_end

    def __aiter__(self) -> "_WatchedPieces":
        return self

    async def __anext__(self) -> bytes:
        self._watch.await_upload()
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._call_before_end()
            raise
        finally:
            self._watch.restart_first_byte_limit()
        if self._left is not None:
            self._left -= len(piece)
            if self._left <= 0:
                self._call_before_end()
        return piece

    def _call_before_end(self) -> None:
        # Called once, though the end follows the last piece.
        before_end, self._before_end = self._before_end, None
        if before_end is not None:
            before_end()


def watch_upload(upload: UploadedBody, watch: Watch, before_end: Callable[[], object] | None = None) -> UploadedBody:
    """Return ``upload`` under ``watch``, which only counts the provider's silence.

    ``before_end()`` is called right before its last bytes are written."""
    return attrs.evolve(upload, pieces=_WatchedPieces(upload, watch, before_end))
