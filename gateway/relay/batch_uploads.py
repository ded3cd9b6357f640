"""Uploads of files, of which those for batches are read line by line before a provider is asked.

What a file is for stands in the field ``purpose``, before it or behind it: until that is known the file waits in the
spool, as one for a batch does to its end, because a mistake in its last line is one of the whole file.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

import attrs

from gateway.relay.relaying import Relaying
from gateway.relay.spool import Spool
from gateway.serving.fast_route import too_large
from gateway.upstream.request import UploadedBody
from providers.endpoints.batch_lines import BatchLines
from providers.endpoints.multipart import (
    MultipartBoundary,
    MultipartData,
    MultipartEvent,
    MultipartHead,
    MultipartParser,
    boundary_of,
)
from streams.errors import invalid

PURPOSE: Final = "purpose"
FOR_BATCHES: Final = b"batch"
FILE: Final = "file"
_LONGEST: Final = 100  # bytes of a purpose


class _Purpose:
    """Looks for the field in the events of a multipart body. One that is there twice, or in a way that not everybody
    reads, is refused: the file would be for something else at the provider."""

    def __init__(self) -> None:
        self.value: bytes | None = None
        self._coming: bytes | None = None

    def passed(self, events: Iterable[MultipartEvent]) -> bytes:
        """The bytes of ``events``, which are looked through. Raises ``GatewayError``."""
        found = list(events)
        for event in found:
            self.see(event)
        return b"".join([event.raw for event in found])

    def see(self, event: MultipartEvent) -> None:
        match event:
            case MultipartHead():
                if event.name == PURPOSE and (self.value is not None or event.file_name is not None or event.encoding):
                    raise invalid("send the field purpose once, and plainly", PURPOSE)
                self._coming = b"" if event.name == PURPOSE else None
            case MultipartData(raw) if self._coming is not None:
                self._coming = (self._coming + raw)[:_LONGEST]
            case MultipartBoundary() if self._coming is not None:
                self.value, self._coming = self._coming.strip().lower(), None


@attrs.frozen(eq=False)
class FileUpload:
    """An upload of which it is known what it is for: ``lines`` have read it whole where that is a batch."""

    body: UploadedBody
    lines: BatchLines | None = None


async def file_upload(relaying: Relaying, lines: Callable[[], BatchLines]) -> FileUpload:
    """The client's upload as it goes to a provider; ``lines`` makes the reader of a batch's file. Raises
    ``GatewayError``: 400 for what is no multipart body or a line that is wrong, 403 for a model in one, 413, 503."""
    kind, most, length = relaying.header("content-type") or "", relaying.most, relaying.stated_length
    boundary = boundary_of(kind)
    if length is not None and length > most:
        raise too_large(most)
    parser, purpose, spool = MultipartParser(boundary), _Purpose(), _spool(relaying)
    arriving = relaying.arrival.pieces(most)
    async for piece in arriving:
        await spool.add(purpose.passed(parser.feed(piece)))
        if purpose.value is not None and FOR_BATCHES not in purpose.value:
            await spool.rewind()
            length = None if length is None else length - parser.preamble
            return FileUpload(UploadedBody(_Chained(spool, _OnePurpose(arriving, parser, purpose)), length))
    parser.close()
    await spool.rewind()
    if FOR_BATCHES not in (purpose.value or b""):
        return FileUpload(UploadedBody(_Chained(spool, None), spool.size))
    reader = lines()
    return FileUpload(await _rewritten(relaying, spool, MultipartParser(boundary), reader), reader)


def _spool(relaying: Relaying, source: Spool | None = None) -> Spool:
    service = relaying.context.service
    spool = Spool(relaying.held_body(), service.admission.shares, service.limits.spool, source)
    relaying.scope.on_close(lambda left: spool.close())
    return spool


async def _rewritten(relaying: Relaying, source: Spool, parser: MultipartParser, lines: BatchLines) -> UploadedBody:
    """The body of which ``source`` holds the client's, with the lines of its file as ``lines`` says."""
    spool, size, in_file = _spool(relaying, source), 0, False
    while piece := await source.read():
        for event in parser.feed(piece):
            out = event.raw
            if isinstance(event, MultipartHead):
                in_file = event.file_name is not None
                if event.name == FILE and not in_file:  # lines that nobody has read
                    raise invalid("give the part of the body that has the lines a file name", FILE)
            elif isinstance(event, MultipartData) and in_file:
                out = lines.feed(event.raw)
            elif in_file:
                out, in_file = lines.close() + event.raw, False
            size += len(out)
            await spool.add(out)
    source.close()
    await spool.rewind()
    return UploadedBody(_Chained(spool, None), size)


class _OnePurpose:
    """The rest of a body, in which no other purpose may stand."""

    def __init__(self, arriving: AsyncIterator[bytes], parser: MultipartParser, purpose: _Purpose) -> None:
        self._arriving = arriving
        self._parser = parser
        self._purpose = purpose

    def __aiter__(self) -> "_OnePurpose":
        return self

    async def __anext__(self) -> bytes:
        async for piece in self._arriving:
            if out := self._purpose.passed(self._parser.feed(piece)):
                return out
        self._parser.close()
        raise StopAsyncIteration


class _Chained:
    """What a spool holds, and then what still arrives."""

    def __init__(self, spool: Spool, arriving: AsyncIterator[bytes] | None) -> None:
        self._spool = spool
        self._arriving = arriving

    def __aiter__(self) -> "_Chained":
        return self

    async def __anext__(self) -> bytes:
        if piece := await self._spool.read():
            return piece
        if self._arriving is None:
            raise StopAsyncIteration
        return await anext(self._arriving)
