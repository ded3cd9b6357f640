"""Records exchanges for ``trigate serve --record``.

Collects the bytes of both sides while an exchange runs. After its end a thread writes them, which no exchange waits
for. If the thread is too slow, exchanges are dropped and counted."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import trio

from gateway.features.recording.buckets import Bucket
from gateway.features.recording.recorded import Folder, Side
from gateway.http.headers import Headers, translated_headers
from gateway.http.redaction import FETCHED, Secrets, search_forms
from gateway.ledger.record import ArrivedRequest, Record
from gateway.request.client_request import ClientRequest
from gateway.seams.observe import ExchangeObserver
from gateway.seams.observed_stream import PublicStream
from gateway.shared.owned_entries import OwnedEntries
from gateway.upstream.request import UpstreamRequest
from providers.recordings import answer_path
from streams.events import Api

log = logging.getLogger("trigate")

MOST: Final = 4 * 2**20
"""Bytes stored of one body; a longer one is cut, and its meta file reports that."""
HELD: Final = 64 * 2**20
"""Bytes of all exchanges that are not written yet; beyond it the client with the most loses its oldest one."""
QUEUED: Final = 256

_REFUSED: Final = "a step refused the request, and masks replace its findings"
_RECORDED_HEADERS = frozenset(("anthropic-version", "anthropic-beta", "openai-beta"))
_CREDENTIALS = frozenset(
    ("authorization", "x-api-key", "x-goog-api-key", "api-key", "x-trigate-key", "cookie", "x-amz-security-token")
)


class Recording(ExchangeObserver):
    """The recording of a running exchange, also of its stream as a ``StreamListener``.

    It stores nothing before ``note_request``, which some exchanges never call. It is not written if a step masks a part
    of the exchange. After a refusal it has only the client's side, with masks."""

    keeps_texts = keeps_refused = True

    def __init__(self, recorder: "Recorder", record: Record) -> None:
        self._recorder = recorder
        self._record = record
        self._has_begun = self._is_done = False
        self.client = Side("client", record.api)
        self.provider: Side | None = None
        self._sent: list[tuple[object, Side]] = []
        self._stream: PublicStream | None = None
        self.secrets: Secrets = ()
        self.size = 0
        self.is_dropped = False
        self.is_withheld = False

    # The client's side

    def note_request(self, client_request: ClientRequest, body: bytes | None, *, is_turn: bool) -> None:
        self._has_begun = is_turn
        path = client_request.path
        self.client.path = answer_path(self.client.api, path.model, path.stream).partition("?")[0]
        self.client.request_headers = _recorded_headers(client_request.headers)
        values = (value.partition(" ")[2] or value for name, value in client_request.headers if name in _CREDENTIALS)
        self.secrets = tuple(dict.fromkeys((*[text for value in values if (text := value.strip())], *self.secrets)))
        self._set_request(self.client, body or b"")

    def note_response(self, status: int, headers: Headers, body: bytes | None, *, is_answer: bool) -> None:
        """Record the response to the client; ``None`` for a stream, which is observed."""
        if self._is_done:  # a background turn responded to its client long ago
            return
        self.client.status, self.client.content_type = status, dict(headers).get("content-type")
        self.client.response_headers = translated_headers(headers)
        if body is not None:
            self._is_done = True
            self._set_response(self.client, body)  # without the start of a stream that was never sent

    # The provider's side

    def note_sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        """Record another request to a provider, and drop the earlier ones except a concurrent one."""
        self.is_withheld = self.is_withheld or _REFUSED in self.client.notes  # a hedge: it is refused elsewhere
        self.secrets = tuple(dict.fromkeys((*self.secrets, *secrets())))
        path = urlsplit(request.url).path  # a query may contain a credential
        before, headers = self.provider, _recorded_headers(request.headers)
        self.provider = Side("provider", api, path, request_headers=headers, provider=provider)
        self._sent = [one for one in self._sent if one[1] is before]
        self._sent.append((request.identity, self.provider))
        self._set_request(self.provider, request.body)

    def note_head(self, request: UpstreamRequest, status: int, headers: Headers) -> None:
        if (half := self._select(request.identity)) is not None:
            half.status, half.content_type = status, dict(headers).get("content-type")
            half.response_headers = translated_headers(headers)

    def note_body(self, identity: object, status: int, body: bytes) -> None:
        selected = self.provider
        if (half := self._select(identity)) is not None and half.status == status:
            self._set_response(half, body)  # without that of an earlier attempt, which steps held back
        if status >= 400:  # perhaps of a hedge, or held back: the last head decides
            self.provider = selected

    def _select(self, identity: object) -> Side | None:
        """Return the side of the last request with this ``identity``, which is that of the response from now on."""
        for sent, half in reversed(self._sent):
            if sent == identity:
                self.provider = half
                return half
        return None

    # Both sides

    def observe(self, received: bytes, public: bytes, note: str = "") -> None:
        if self._stream is not None:
            self._select(self._stream.identity)
        if self.provider is not None:
            self._add_response(self.provider, received)
        if not self._is_done:
            self._add_response(self.client, public)

    def note_stream(self, stream: PublicStream) -> None:
        self._stream = stream
        stream.listen(self)

    def note_hidden(self) -> None:
        self.is_withheld = True
        self._recorder.free(self)

    def note_refused(self, body: bytes | None) -> None:
        if body is None:
            return
        self.is_withheld, self.provider, self._sent = False, None, []
        self.client.notes += (_REFUSED,)
        self._set_request(self.client, body)

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        has_texts = self.provider is not None or self.client.request or self.is_dropped
        if self._has_begun and has_texts and not self.is_withheld:  # without texts it failed before the steps
            self._recorder.queue(self, line)

    def _set_request(self, side: Side, body: bytes) -> None:
        side.request = self._keep(side, "request", body, MOST)

    def _set_response(self, side: Side, body: bytes) -> None:
        side.response, side.notes = b"", tuple(note for note in side.notes if "response" not in note)
        self._add_response(side, body)

    def _add_response(self, side: Side, data: bytes) -> None:
        if kept := self._keep(side, "response", data, MOST - len(side.response)):
            side.response = bytearray(side.response) if isinstance(side.response, bytes) else side.response
            side.response += kept

    def _keep(self, side: Side, name: str, data: bytes, most: int) -> bytes:
        """Return the first ``most`` bytes of ``data``, which are stored from now on; none if nothing may be stored."""
        if not self._has_begun or self.is_dropped or self.is_withheld:
            return b""
        kept, note = data[:most], f"the {name} was truncated at {MOST} bytes"
        if len(kept) < len(data) and note not in side.notes:
            side.notes += (note,)
        if kept:
            self.size += len(kept)
            self._recorder.kept.put(self.owner, self, self, self.size)
        return b"" if self.is_dropped else kept

    def drop(self) -> None:
        """Drop the bodies for those of other exchanges."""
        self.is_dropped = True
        self.clear()

    def clear(self) -> None:
        for side in self.sides():
            side.request, side.response = b"", b""

    @property
    def owner(self) -> str | None:
        return self._record.client

    def sides(self) -> list[Side]:
        return [self.client] if self.provider is None else [self.provider, self.client]


class Recorder:
    """Writes recordings to a folder or bucket.

    Used from the trio thread only. ``run`` writes everything; ``finish`` ends it when all is
    written."""

    def __init__(self, target: Folder | Bucket, secrets: Secrets = ()) -> None:
        self._target = target
        self.secrets = secrets  # of the configuration
        self.kept: OwnedEntries[str | None, Recording, Recording] = OwnedEntries(HELD, on_drop=Recording.drop)
        self._lost = 0
        self._has_failed = False  # the last write
        self._to, self._queue = trio.open_memory_channel[tuple[Recording, Mapping[str, Any]]](QUEUED)
        self._over = trio.Event()
        self._running = False

    def observe(self, record: Record, arrival: ArrivedRequest | None = None) -> Recording | None:
        """Return the recording of the exchange of ``record`` if that may be a conversation."""
        return None if record.endpoint is not None else Recording(self, record)

    def hide(self, secrets: Secrets) -> None:
        """Remove ``secrets`` as well from everything written from now on."""
        self.secrets = tuple(dict.fromkeys((*self.secrets, *secrets)))

    def queue(self, recording: Recording, line: Mapping[str, Any]) -> None:
        """Write ``recording`` with the log ``line`` of its exchange, which has ended."""
        try:
            if recording.is_dropped:
                raise trio.WouldBlock
            self._to.send_nowait((recording, line))
        except (trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
            self._lost += 1
            self.free(recording)

    def free(self, recording: Recording) -> None:
        """Drop the bodies of ``recording``, because they were written or must not be."""
        self.kept.remove(recording.owner, recording)
        recording.clear()

    async def run(self) -> None:
        """Write ended exchanges until ``finish``. Raises only for cancellation."""
        self._running = True
        try:
            async with self._queue, trio.open_nursery() as nursery:
                for _ in range(self._target.writers):
                    nursery.start_soon(self._write_all)
            self._report_lost()
        finally:
            self._over.set()

    async def _write_all(self) -> None:
        async for recording, line in self._queue:
            await self._write(recording, line)

    async def finish(self) -> None:
        """Wait until everything is written."""
        self._to.close()
        if self._running:
            await self._over.wait()
        else:
            self._queue.close()

    async def _write(self, recording: Recording, line: Mapping[str, Any]) -> None:
        if recording.is_dropped:  # since it was queued
            self._lost += 1
            return
        secrets = search_forms((*recording.secrets, *self.secrets, *FETCHED.words))
        sides = [attrs.evolve(one, response=bytes(one.response)) for one in recording.sides()]  # others may drop them
        try:
            write = partial(self._target.write, sides, line, secrets)
            await trio.to_thread.run_sync(write, abandon_on_cancel=True)
        except OSError as error:
            self._lost += 1
            if not self._has_failed:  # a full disk must not fill the log as well
                log.warning("could not record an exchange: %s", error)
            self._has_failed = True
        else:
            self._report_lost()
        self.free(recording)

    def _report_lost(self) -> None:
        if self._lost:
            cause = "the disk or bucket failed" if self._has_failed else "recording is too slow, or its memory is full"
            log.warning("%d exchanges were not recorded: %s", self._lost, cause)
        self._lost, self._has_failed = 0, False


def _recorded_headers(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if name in _RECORDED_HEADERS)
