"""Ids in fields of multipart bodies, which pass while they come."""

from collections.abc import AsyncIterator, Callable
from typing import Final, Self

from providers.endpoints.multipart import MultipartData, MultipartEvent, MultipartHead, MultipartParser
from streams.errors import invalid

_FIELD: Final = "file_id"
_LONGEST: Final = 1024


class NativeFields:
    """The ``pieces`` of a body with that ``boundary``, in which ``native`` stands for each id. Raises ``GatewayError``,
    also of ``native``."""

    def __init__(self, pieces: AsyncIterator[bytes], boundary: bytes, native: Callable[[str], str]) -> None:
        self._pieces = pieces
        self._parser = MultipartParser(boundary)
        self._native = native
        self._id: bytes | None = None  # what has come of one

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        async for piece in self._pieces:
            if out := b"".join(map(self._changed, self._parser.feed(piece))):
                return out
        self._parser.close()
        raise StopAsyncIteration

    def _changed(self, event: MultipartEvent) -> bytes:
        if isinstance(event, MultipartHead):
            self._id = b"" if event.name.lower() == _FIELD else None
            return event.raw
        if self._id is None:
            return event.raw
        if isinstance(event, MultipartData):
            self._id += event.raw
            if len(self._id) > _LONGEST:
                raise invalid(f"{_FIELD} must be the id of a file", _FIELD)
            return b""
        id, self._id = self._id, None
        return self._native(id.decode("utf-8", "replace")).encode() + event.raw
