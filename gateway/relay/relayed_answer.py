"""The response of one attempt to a relayed request, read through its filter."""

from typing import TYPE_CHECKING, Final

import attrs
import trio

from gateway.access.body_memory import UNCOUNTED
from gateway.exchange.answering import correct_content_type
from gateway.exchange.attempt import Attempt
from gateway.exchange.attempt_answer import StartedAnswer, read_rest
from gateway.exchange.delivery import END_GRACE
from gateway.exchange.target_request import AnswerSource
from gateway.exchange.transformed import ProviderWait, transformed_pieces
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.pieces import join_pieces
from gateway.http.redaction import may_be_error
from gateway.http.request_scope import RequestScope
from gateway.relay.answers import MAX_HELD_JSON, bad_answer_error
from gateway.relay.relaying import RelayedRequest
from gateway.seams.open_response import OpenedResponse
from gateway.upstream.response import UpstreamResponse
from providers.catalog.prices import cost_of
from streams.errors import GatewayError
from streams.events import Usage
from streams.framing import FramingError
from streams.sse import SSE, is_blank

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SEARCH: Final = 16
"""The work of a search for credentials in many small events, as a multiple of that on JSON."""

_TEXT_TYPES: Final = ("application/json", "text/")
"""Content types of JSON and streams, and of each other's if a provider labels them wrongly."""

_BODY_HEADERS: Final = frozenset(("content-length", "content-range", "accept-ranges", "etag"))
"""Headers about a body that a transform has changed."""


class RelayedAnswer(StartedAnswer):
    """The filtered response of one attempt.

    ``begin`` reads until more than ``filter.hold_limit`` bytes are ready for the client (``first``), or to the end
    (``is_held``). ``status`` and ``client_headers`` are those of the client's response."""

    client_headers: Headers = ()

    def __init__(self, request: RelayedRequest, source: AnswerSource, scope: RequestScope) -> None:
        super().__init__(source, scope)
        made = source.target_request
        self.filter = request.filter(made.target)
        self.first = b""
        self.status = 200
        self._on_complete = request.on_complete
        self._own_headers = made.request.headers
        self._later_bodies = iter(made.prepared.later_bodies)
        self._buffered = 0  # approximate bytes in the filter
        self._counted = UNCOUNTED
        self._arrived = _Arrived()
        self.is_over = False
        self._has_begun = False
        self._pieces: AsyncIterator[bytes]
        self._transform = None if request.transform is None else request.transform()
        self._is_opened = self._transform is not None
        self._wait = ProviderWait()

    @property
    def is_stream(self) -> bool:
        """Whether the response is an event stream."""
        return bool(self.filter.ping)

    @property
    def is_failure(self) -> bool:
        """True if the status is that of a redirect or an error, which the client gets unchanged."""
        return self.status >= 300

    @property
    def unread_response(self) -> UpstreamResponse | None:
        return None if self.is_over else self.response

    def continue_from(self, response: UpstreamResponse) -> None:
        self.response, self._pieces = response, response.chunks()

    async def begin(self) -> None:
        response = await self.source.send()
        try:
            await self.open_response(response)
            if (transform := self._transform) is not None:
                pieces, watch = _FilteredPieces(self), self.source.watch
                released = transformed_pieces(transform, pieces, watch, self._wait, is_stream=self.is_stream)
                self.release_through(transform, released)
            self.first = await self.read_first()
        except BaseException:
            await self.aclose()
            raise
        self._has_begun = True
        if self._transform is not None and self._transform.has_changed:
            self.client_headers = tuple(pair for pair in self.client_headers if pair[0] not in _BODY_HEADERS)
        if self.is_held and not self.is_stream:
            disclosure = self.source.target_request.disclosure
            redact = disclosure.error_body if self.is_failure else disclosure.relayed_body
            self.first = await offload(len(self.first), redact, self.first)  # a search of megabytes

    async def read_first(self) -> bytes:
        """Return the first bytes for the client, all of them if the response is short. Raises ``GatewayError``."""
        first: list[bytes | bytearray] = []
        size = 0
        is_whole = self.is_failure and not self.is_stream  # it may repeat a credential, in any two pieces
        limit = MAX_HELD_JSON if is_whole else self.filter.hold_limit
        while size <= limit and (piece := await self._read_next()) is not None:
            first.append(piece)
            size += len(piece)
        if is_whole and size > limit:
            raise bad_answer_error("the provider's error is longer than 1 MiB")
        self.is_held = self.is_over and (self._released is None or size <= limit)
        return await join_pieces(first, size)

    def chunks(self) -> "RelayedAnswer":
        return self

    def __aiter__(self) -> "RelayedAnswer":
        return self

    async def __anext__(self) -> bytes:
        bill = self.source.target_request.context.bill
        try:
            while (out := await self._read_next()) is not None:
                if out:
                    return out
        finally:  # also on cancellation: the client may have left before its lane has seen as much
            bill.usage = self.usage
        bill.is_complete = True
        await self.complete()
        raise StopAsyncIteration

    async def complete(self) -> None:
        """Call the request's ``on_complete`` once, after the end of the response. It may correct the usage."""
        if (on_complete := self._on_complete) is not None:
            self._on_complete = None
            await on_complete()
            self.usage = self._usage_so_far()

    async def open_response(self, response: UpstreamResponse) -> None:
        """Begin to read ``response``. Raises ``GatewayError`` if it is unusable."""
        source, self.response = self.source, response
        source.watch.await_body()
        source.watch.limit_keep_alives(self._arrived)
        if source.is_shared:
            self.read_pieces.append((trio.current_time(), b""))
        kind = self.content_type.lower()
        if self.filter.is_json and (not kind or kind.startswith(_TEXT_TYPES)):
            correct_content_type(SSE, response, await response.peek(1))
        own = await offload(self._buffered, self.filter.head, response.status, response.headers)
        shown = source.target_request.disclosure.headers(response.headers, self.lane_name, own)
        self.status, self.client_headers = response.status, (*shown, *self._own_headers)
        if self.filter.is_json:
            response.end_with_json(END_GRACE)
        self._pieces = response.chunks()
        if not self._is_opened and self._checks is not None:
            self._is_opened, self._transform = True, self._checks.open_body(self._opened_response())

    def _opened_response(self) -> OpenedResponse:
        context = self.source.target_request.context
        kind = next((value for name, value in self.client_headers if name == "content-type"), "")
        limits, observers = context.service.settings.limits, context.observers
        return OpenedResponse(
            context.endpoint, SSE if SSE.matches_type(kind) else None, kind, limits.event, limits.answer,
            cut=self._wait.cut, count_held=self.count_held,
            keep_public=observers.note_public_bytes if observers.reads_events else None,
        )  # fmt: skip

    async def _read_next(self) -> bytes | None:
        """Return the next bytes for the client, possibly none, ``None`` at the end. Raises ``GatewayError``."""
        if self._released is not None:
            return await anext(self._released, None)
        return None if self.is_over else await self.read_filtered()

    async def read_filtered(self) -> bytes:
        """Return the filter's next bytes, possibly none."""
        source = self.source
        try:
            if (piece := await self._read_piece()) is not None:
                self._arrived.add(piece)
                source.watch.restart_idle_limit()
                if source.is_shared and not self._has_begun:
                    self.read_pieces.append((trio.current_time(), piece))
                if work := self.filter.size_of_work(piece):
                    out = await offload(work, self.filter.take, piece)
                else:
                    out = self.filter.take(piece)
                self._buffered += len(piece) - len(out)
                out = await self._redact_events(out)
                if self._buffered > self._counted and (held := self.filter.buffered_bytes) > self._counted:
                    self._counted = await self.count_held(held)
                return out
            await self.response.aclose()
            if (body := next(self._later_bodies, None)) is not None:
                assert isinstance(source, Attempt), "an answer to several requests is not cached"
                await offload(self._buffered, self.filter.end_part)
                await self.open_response(await source.send_another(body))
                return b""
            self.is_over = True
            return await self._redact_events(await offload(self._buffered, self.filter.close))
        except FramingError as error:
            raise GatewayError("upstream", str(error), reason="bad_answer") from None
        finally:
            self.usage = self._usage_so_far()

    async def _read_piece(self) -> bytes | None:
        """Return the provider's next piece, ``None`` at the end. A complete stream may break off or stay silent."""
        if self.filter.has_ended:
            return await read_rest(self._pieces, END_GRACE)
        return await anext(self._pieces, None)

    async def _redact_events(self, events: bytes) -> bytes:
        """Return ``events`` of a stream without the provider's key if they may have an error."""
        if not (self.is_stream and (self.is_failure or may_be_error(events))):
            return events
        disclosure = self.source.target_request.disclosure
        redact = disclosure.error_body if self.is_failure else disclosure.relayed_events
        return await offload(_SEARCH * len(events), redact, events)

    def _usage_so_far(self) -> Usage | None:
        """Return the usage that the filter has found, or the estimate of the request in place of a mere count that has
        no price, such as that of images whose model is billed by tokens."""
        found, target_request = self.filter.usage, self.source.target_request
        if found is None or found.prompt or found.output:
            return found
        price = target_request.target.price
        cost = cost_of(price, found)
        if cost.nanos or (self.is_over and (price is None or cost.grade != "at_least")):
            return found
        sent = target_request.sent_usage()
        units = dict(sent.units) | dict(found.units)  # the provider's count is better than the expected one
        return attrs.evolve(sent, units=tuple(units.items()), estimated=True)


class _Arrived:
    """A function that returns how many pieces of the provider have arrived, without keep-alives.

    It has no answer: the watch that calls it belongs to the answer's source."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self) -> int:
        return self._number

    def add(self, piece: bytes | bytearray) -> None:
        """Count ``piece``."""
        self._number += not is_blank(piece)


class _FilteredPieces:
    """The bytes of ``answer`` before its transform."""

    def __init__(self, answer: RelayedAnswer) -> None:
        self._answer = answer

    def __aiter__(self) -> "_FilteredPieces":
        return self

    async def __anext__(self) -> bytes:
        if self._answer.is_over:
            await self._answer.complete()  # a refused response is billed, too
            raise StopAsyncIteration
        return await self._answer.read_filtered()
