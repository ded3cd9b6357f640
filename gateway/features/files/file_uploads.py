"""Uploads of files, in which the provider's ids replace the client's.

The field ``purpose`` may follow the file, which then waits in a ``Spool``. A batch file waits to its end, because a
mistake in its last line rejects the whole file."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import attrs

from gateway.http.offload import offload
from gateway.relay.relaying import InboundRequest
from gateway.relay.spool import Spool
from gateway.relay.uploads import ChainedPieces, EditedPieces, open_spool
from gateway.upstream.request import UploadedBody
from providers.endpoints.batch_lines import BatchLines
from providers.endpoints.multipart import (
    MultipartBoundary,
    MultipartData,
    MultipartEvent,
    MultipartHead,
    MultipartParser,
    parse_boundary,
)
from streams.errors import invalid

if TYPE_CHECKING:
    from gateway.seams.open_response import Transform
    from gateway.seams.plan import BatchChecks

_FIELD: Final = "file_id"
_LONGEST_ID: Final = 1024


class IdReplacer:
    """An editor that replaces the field ``file_id`` in a multipart body: ``native`` returns the provider's id.

    Its methods raise ``GatewayError`` for invalid bodies and ids."""

    def __init__(self, boundary: bytes, native: Callable[[str], str]) -> None:
        self._parser = MultipartParser(boundary)
        self._native = native
        self._id: bytes | None = None  # the part of an id that has arrived

    def feed(self, piece: bytes) -> bytes:
        return b"".join(map(self._edit_event, self._parser.feed(piece)))

    def close(self) -> None:
        self._parser.close()

    def _edit_event(self, event: MultipartEvent) -> bytes:
        if isinstance(event, MultipartHead):
            self._id = b"" if event.name.lower() == _FIELD else None
            return event.raw
        if self._id is None:
            return event.raw
        if isinstance(event, MultipartData):
            self._id += event.raw
            if len(self._id) > _LONGEST_ID:
                raise invalid(f"{_FIELD} must be the id of a file", _FIELD)
            return b""
        id, self._id = self._id, None
        return self._native(id.decode("utf-8", "replace")).encode() + event.raw


PURPOSE: Final = "purpose"
FOR_BATCHES: Final = b"batch"
FILE: Final = "file"
MAX_PURPOSE: Final = 100  # bytes of a purpose


class _PurposeSearch:
    """A search for the field ``purpose`` in the events of a multipart body.

    Duplicates, and forms that servers read differently, are rejected: the provider could use the file for something
    else."""

    def __init__(self) -> None:
        self.value: bytes | None = None
        self._arrived: bytes | None = None

    def search(self, events: Iterable[MultipartEvent]) -> bytes:
        """Search ``events``, and return their bytes. Raises ``GatewayError``."""
        found = list(events)
        for event in found:
            self._read(event)
        return b"".join([event.raw for event in found])

    def _read(self, event: MultipartEvent) -> None:
        match event:
            case MultipartHead():
                if event.name == PURPOSE and (self.value is not None or event.file_name is not None or event.encoding):
                    raise invalid("send the field purpose exactly once, as plain text", PURPOSE)
                self._arrived = b"" if event.name == PURPOSE else None
            case MultipartData(raw) if self._arrived is not None:
                self._arrived = (self._arrived + raw)[:MAX_PURPOSE]
            case MultipartBoundary() if self._arrived is not None:
                self.value, self._arrived = self._arrived.strip().lower(), None


@attrs.frozen(eq=False)
class FileUpload:
    """The body of a file upload; for a batch file, also the reader that has read all ``lines``."""

    body: UploadedBody
    lines: BatchLines | None = None


async def read_file_upload(
    inbound: InboundRequest, lines: Callable[[], BatchLines], checks: "BatchChecks | None" = None
) -> FileUpload:
    """Read the client's file upload up to its purpose, and return its body for a provider.

    A batch file is read completely, by a new reader from ``lines``, after the operator's ``checks``.

    Raises ``GatewayError``: 400 for an invalid multipart body or line, 403 for a model in one, 413, 503."""
    boundary = parse_boundary(inbound.header("content-type") or "")
    arriving, length = inbound.arriving_pieces(), inbound.stated_length
    parser, purpose, spool = MultipartParser(boundary), _PurposeSearch(), open_spool(inbound)
    async for piece in arriving:
        await spool.add(purpose.search(parser.feed(piece)))
        if purpose.value is not None and FOR_BATCHES not in purpose.value:
            if checks is not None:
                checks.refuse_file()
            await spool.rewind()
            rest = EditedPieces(arriving, lambda piece: purpose.search(parser.feed(piece)), parser.close)
            return FileUpload(UploadedBody(ChainedPieces(spool, rest), length))
    parser.close()
    await spool.rewind()
    if FOR_BATCHES not in (purpose.value or b""):
        if checks is not None:
            checks.refuse_file()
        return FileUpload(UploadedBody(spool, spool.size))
    reader = lines()
    checked = None
    if checks is not None:
        checked = checks.request_lines()
    return FileUpload(await _rewrite_lines(inbound, spool, MultipartParser(boundary), reader, checked), reader)


async def _rewrite_lines(
    inbound: InboundRequest, source: Spool, parser: MultipartParser, lines: BatchLines, checked: "Transform | None"
) -> UploadedBody:
    """Return the body in ``source``, whose file ``lines`` rewrites line by line, after the steps of ``checked``."""
    spool, size, in_file = open_spool(inbound, source), 0, False
    async for piece in source:
        for event in parser.feed(piece):
            out = event.raw
            if isinstance(event, MultipartHead):
                in_file = event.file_name is not None
                if event.name == FILE and not in_file:  # lines that were not read
                    raise invalid("the part file of the multipart body needs a file name: add filename=", FILE)
            elif isinstance(event, MultipartData) and in_file:
                data = event.raw if checked is None else await checked.feed(event.raw)
                out = await offload(lines.size_of_work(data), lines.feed, data)
            elif in_file:
                last = b"" if checked is None else lines.feed(await checked.end())
                out, in_file = last + await offload(lines.held_size, lines.close) + event.raw, False
            size += len(out)
            await spool.add(out)
    source.close()
    await spool.rewind()
    return UploadedBody(spool, size)
