"""Multipart uploads: passed to a provider as they arrive, with the provider's model names.

The field ``model`` may follow the file, which then waits in a ``Spool``."""

import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Final, TypeAlias

from gateway.relay.outputs import NOTED_FIELDS
from gateway.relay.relaying import InboundRequest
from gateway.relay.spool import Spool
from gateway.upstream.request import UploadedBody
from providers.endpoints.multipart import (
    MultipartEditor,
    MultipartEvent,
    MultipartHead,
    MultipartParser,
    ignore_bytes,
    parse_boundary,
)
from streams.errors import invalid


class ChainedPieces:
    """An iterator over the pieces of several parts of a body, in order."""

    def __init__(self, *parts: bytes | AsyncIterator[bytes]) -> None:
        self._parts = deque(parts)

    def __aiter__(self) -> "ChainedPieces":
        return self

    async def __anext__(self) -> bytes:
        while self._parts:
            part = self._parts[0]
            if not isinstance(part, bytes) and (piece := await anext(part, b"")):
                return piece
            self._parts.popleft()
            if isinstance(part, bytes) and part:
                return part
        raise StopAsyncIteration


class EditedPieces:
    """An iterator over pieces converted by ``feed``; it calls ``close`` at the end. Both may raise ``GatewayError``."""

    def __init__(
        self, pieces: AsyncIterator[bytes], feed: Callable[[bytes], bytes], close: Callable[[], object]
    ) -> None:
        self._pieces = pieces
        self._feed = feed
        self._close = close

    def __aiter__(self) -> "EditedPieces":
        return self

    async def __anext__(self) -> bytes:
        async for piece in self._pieces:
            if out := self._feed(piece):
                return out
        self._close()
        raise StopAsyncIteration


def open_spool(inbound: InboundRequest, source: Spool | None = None) -> Spool:
    """Return a spool that is closed with the request. If it is written from ``source``, both count as one upload."""
    spool = Spool(inbound.held_body(), inbound.spool_account() if source is None else source.account)
    inbound.scope.on_close(lambda left: spool.close())
    return spool


# Another model


LOOKAHEAD: Final = 64 * 1024
"""Bytes after ``model`` that are searched for more fields before a request is sent: SDKs send files last."""


class ArrivingUpload:
    """An upload that may still be arriving, but whose model is known, or known to be missing.

    ``kind`` is its content type, ``length`` the length of its body, if known. ``spool`` has what arrived before the
    model, ``rest`` what arrived after it if the body was read to its end (``is_whole``)."""

    def __init__(
        self,
        editor: MultipartEditor,
        spool: Spool,
        arriving: AsyncIterator[bytes],
        kind: str,
        length: int | None,
        rest: Spool | None = None,
        *,
        is_whole: bool = False,
    ) -> None:
        self.kind = kind
        self._editor = editor
        self._spool = spool
        self._arriving = arriving
        self._length = length
        self._rest = rest
        self.is_whole = is_whole

    @property
    def model(self) -> str | None:
        """The client's name for the model, ``None`` if the upload has none."""
        return self._editor.model

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields in ``NOTED_FIELDS`` that have arrived."""
        return self._editor.fields

    async def body_for(self, model: str) -> UploadedBody:
        """Return the body with ``model``, the provider's name. Call once."""
        await self._spool.rewind()
        if self._rest is not None:
            await self._rest.rewind()
        if self._editor.model is None:
            before, behind = self._editor.model_part(model), b""
        else:
            before, behind = b"", self._editor.replace(model)
        return self._edited_body(before, behind)

    async def unchanged_body(self) -> UploadedBody:
        """Return the body with the client's model, or without a model. Call instead of ``body_for``."""
        if self._editor.model is not None:
            return await self.body_for(self._editor.model)
        await self._spool.rewind()
        return self._edited_body(b"", b"")

    def _edited_body(self, before: bytes, behind: bytes) -> UploadedBody:
        editor = self._editor
        length = None if self._length is None else self._length + editor.difference
        rest = b"" if self._rest is None else self._rest
        arriving = EditedPieces(self._arriving, editor.feed, editor.close)
        return UploadedBody(ChainedPieces(editor.preamble or b"", before, self._spool, behind, rest, arriving), length)


async def read_priced_upload(
    inbound: InboundRequest, on_file: Callable[[bytes], object] = ignore_bytes
) -> ArrivingUpload:
    """Read the client's body as ``read_upload`` does, or to its end if the gateway has any limits.

    A field may follow the file, and the file's own length may be its price: both determine what to reserve."""
    return await read_upload(inbound, on_file, whole=inbound.context.service.allowances.has_limits)


async def read_upload(
    inbound: InboundRequest,
    on_file: Callable[[bytes], object] = ignore_bytes,
    *,
    whole: bool = False,
    is_limited: bool = False,
) -> ArrivingUpload:
    """Read the client's body until its model is known; to its end without a model, or if it is needed ``whole``.

    Raises ``GatewayError``: 400 for an invalid multipart body, and for a model in another field than ``model`` if the
    client ``is_limited`` to some; 413, 415, and 503 without room for what precedes the model."""
    kind = inbound.header("content-type") or ""
    boundary = parse_boundary(kind)
    editor = MultipartEditor(boundary, NOTED_FIELDS, on_file)
    arriving, length = inbound.arriving_pieces(), inbound.stated_length
    for checks in inbound.context.service.hooks.request_checks:
        arriving, length = await checks.check_form(inbound, arriving, length, boundary, open_spool(inbound))
    client = inbound.context.client_request.client
    refuses_ids = any(kept.refuses_native_ids(client) for kept in inbound.context.service.hooks.kept)
    if refused := [*([_ID_FIELD] if refuses_ids else []), *([_MODEL_FIELD] if is_limited else [])]:
        fields = MultipartParser(boundary)
        arriving = EditedPieces(arriving, lambda piece: _refuse_fields(fields.feed(piece), refused), fields.close)
    spool, size = open_spool(inbound), 0
    rest: Spool | None = None
    async for piece in arriving:
        size += len(piece)
        await (spool if rest is None else rest).add(editor.feed(piece))
        if editor.model is None or rest is not None:
            continue
        if whole:
            rest = open_spool(inbound, spool)
            await rest.add(editor.release_rest())
        elif editor.has_file or editor.waiting > LOOKAHEAD:
            break
    else:
        editor.close()
        return ArrivingUpload(editor, spool, arriving, kind, size, rest, is_whole=True)
    return ArrivingUpload(editor, spool, arriving, kind, length)


# Refused fields


_Refusal: TypeAlias = tuple[re.Pattern[str], str]
"""A pattern of fields' names, and the rest of the message about one."""

_ID_FIELD: Final[_Refusal] = (
    re.compile(r"(?i)(?:^|\[)(?:file_ids?|container(?:_id)?|vector_store_ids?)\]?(?:\[\d*\])?$"),
    "has an id: refer to stored files in a JSON body",
)
"""A provider's ids, such as ``images[][file_id]``, which could be those of another client's files."""
_MODEL_FIELD: Final[_Refusal] = (
    re.compile(r"(?i)^(?!(?-i:model)$)(?:models?(?:\[\d*\])?|model_?(?:id|name)|deployment|session)$"),
    "may have a model, and this key is limited to some models: remove it",
)


def _refuse_fields(events: Iterable[MultipartEvent], refused: Iterable[_Refusal]) -> bytes:
    """Return the bytes of a form's ``events``. Raises ``GatewayError`` (400) for one of the ``refused`` fields."""
    found = list(events)
    for event in found:
        if isinstance(event, MultipartHead):
            for names, problem in refused:
                if names.search(event.name):
                    name = event.name[:100]
                    raise invalid(f"the form field {name!r} {problem}", name)
    return b"".join([event.raw for event in found])
