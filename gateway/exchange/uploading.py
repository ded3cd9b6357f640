"""The body of a request that is sent as it comes, under the watch over its provider."""

from collections.abc import AsyncIterator

import attrs

from gateway.upstream.request import UploadedBody
from streams.pipe import Watch


class _Watched:
    """While a piece is waited for the client is the slow one; while it is sent, the provider."""

    def __init__(self, pieces: AsyncIterator[bytes], watch: Watch) -> None:
        self._pieces = pieces
        self._watch = watch

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> bytes:
        self._watch.pause()
        try:
            return await anext(self._pieces)
        finally:
            self._watch.asked()


def watched(upload: UploadedBody, watch: Watch) -> UploadedBody:
    """``upload`` under ``watch``, which counts the provider's silence alone."""
    return attrs.evolve(upload, pieces=_Watched(upload.pieces, watch))
