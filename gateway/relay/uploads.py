"""Uploads: multipart bodies that go on to a provider as they come, with another ``model``."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from gateway.relay.relaying import Relaying
from gateway.relay.spool import Spool
from gateway.serving.fast_route import too_large
from gateway.upstream.request import UploadedBody
from providers.endpoints.model_field import MultipartEditor, ignored
from providers.endpoints.multipart import boundary_of
from streams.errors import GatewayError

LOOKED_AHEAD: Final = 64 * 1024
"""Bytes behind ``model`` in which further fields are looked for before a provider is asked: SDKs send files last."""

NOTED: Final = frozenset(("stream", "response_format", "size", "quality", "n", "partial_images", "input_fidelity"))
"""Fields that say something of the answer, or of what it costs."""


class ArrivingUpload:
    """An upload of which as much has come as tells where it goes; ``length`` is that of its body, where it is known."""

    def __init__(
        self, editor: MultipartEditor, spool: Spool, arriving: AsyncIterator[bytes], kind: str, length: int | None
    ) -> None:
        self.kind = kind
        self._editor = editor
        self._spool = spool
        self._arriving = arriving
        self._length = length

    @property
    def model(self) -> str | None:
        """The model's name in the client's words, ``None`` where the body has none."""
        return self._editor.model

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields that have come by, of those that are noted."""
        return self._editor.fields

    async def body(self, model: str) -> UploadedBody:
        """The body as it goes to a provider that calls the model ``model``. It is called once."""
        await self._spool.rewind()
        if self._editor.model is None:
            before, behind = self._editor.added(model), b""
        else:
            before, behind = b"", self._editor.replace(model)
        length = None if self._length is None else self._length + self._editor.difference
        return UploadedBody(_UploadPieces(before, self._spool, behind, self), length)

    async def as_it_came(self) -> UploadedBody:
        """The same in place of ``body``, with the model, or none, that the client names."""
        if self._editor.model is not None:
            return await self.body(self._editor.model)
        await self._spool.rewind()
        self._editor.leave_out()
        length = None if self._length is None else self._length + self._editor.difference
        return UploadedBody(_UploadPieces(b"", self._spool, b"", self), length)

    async def more(self) -> bytes:
        """What goes out next of what arrives, ``b""`` at the end. Raises ``GatewayError``."""
        async for piece in self._arriving:
            if out := self._editor.feed(piece):
                return out
        self._editor.close()
        return b""


class _UploadPieces:
    """The pieces of a body: what stands before all, what was kept, what stands in its place, what still arrives."""

    def __init__(self, before: bytes, spool: Spool, behind: bytes, upload: ArrivingUpload) -> None:
        self._before = before
        self._spool = spool
        self._behind = behind
        self._upload = upload

    def __aiter__(self) -> "_UploadPieces":
        return self

    async def __anext__(self) -> bytes:
        if piece := self._before:
            self._before = b""
            return piece
        if piece := await self._spool.read():
            return piece
        if piece := self._behind:
            self._behind = b""
            return piece
        if piece := await self._upload.more():
            return piece
        raise StopAsyncIteration


async def arriving_upload(relaying: Relaying, on_file: Callable[[bytes], object] = ignored) -> ArrivingUpload:
    """Read the client's body until its model is known, or to its end. Raises ``GatewayError``: 400 for what is no
    multipart body, 413, 415, and 503 where there is no room for what comes before the model."""
    kind = relaying.header("content-type") or ""
    if (coding := relaying.header("content-encoding")) not in (None, "", "identity"):
        raise GatewayError(
            "invalid_request", f"an upload cannot be compressed as a whole (content-encoding: {coding})", status=415
        )
    editor = MultipartEditor(boundary_of(kind), NOTED, on_file)
    most, length = relaying.most, relaying.stated_length
    if length is not None and length > most:
        raise too_large(most)
    service = relaying.context.service
    spool = Spool(relaying.held_body(), service.admission.shares, service.limits.spool)
    relaying.scope.on_close(lambda left: spool.close())
    arriving = relaying.arrival.pieces(most)
    size = 0
    async for piece in arriving:
        size += len(piece)
        await spool.add(editor.feed(piece))
        if editor.model is not None and (editor.has_file or editor.waiting > LOOKED_AHEAD):
            break
    else:
        editor.close()
        length = size
    return ArrivingUpload(editor, spool, arriving, kind, length)
