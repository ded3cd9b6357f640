"""Uploads of files.

The field ``purpose`` may follow the file, which then waits in a ``Spool``. A batch file waits to its end, because a
mistake in its last line rejects the whole file."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs

from gateway.http.offload import offload
from gateway.relay.relaying import InboundRequest
from gateway.relay.spool import Spool
from gateway.relay.uploads import ChainedPieces, EditedPieces, open_spool
from gateway.upstream.request import UploadedBody
from providers.endpoints.batch_lines import BatchLines
from providers.endpoints.multipart import (
    FieldReplacer,
    MultipartData,
    MultipartHead,
    MultipartParser,
    parse_boundary,
)
from streams.errors import invalid

if TYPE_CHECKING:
    from gateway.seams.open_response import Transform
    from gateway.seams.plan import BatchChecks

PURPOSE: Final = "purpose"
FOR_BATCHES: Final = b"batch"
FILE: Final = "file"
MAX_PURPOSE: Final = 100  # bytes of a purpose


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
    found: list[bytes] = []

    def note(purpose: bytes) -> bytes:
        found.append(purpose.strip().lower())
        if len(found) > 1:  # the provider could use the file for something else
            raise invalid("send the field purpose exactly once, as plain text", PURPOSE)
        return purpose

    search, spool = FieldReplacer(boundary, PURPOSE, note, MAX_PURPOSE), open_spool(inbound)
    async for piece in arriving:
        await spool.add(search.feed(piece))
        if found and FOR_BATCHES not in found[0]:
            if checks is not None:
                checks.refuse_file()
            await spool.rewind()
            rest = EditedPieces(arriving, search.feed, search.close)
            return FileUpload(UploadedBody(ChainedPieces(spool, rest), length))
    search.close()
    await spool.rewind()
    if not found or FOR_BATCHES not in found[0]:
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
