"""The response of one attempt to a relayed request, read through its filter."""

from typing import TYPE_CHECKING

import attrs
import trio

from gateway.access.body_memory import UNCOUNTED
from gateway.exchange.attempt import Attempt
from gateway.exchange.attempt_answer import Pieces, StartedAnswer, count_answer
from gateway.exchange.target_request import AnswerSource
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.pieces import join_pieces
from gateway.http.request_scope import RequestScope
from gateway.relay.relaying import RelayedRequest
from gateway.upstream.response import UpstreamResponse
from providers.catalog.prices import cost_of
from streams.errors import GatewayError
from streams.events import Usage
from streams.framing import FramingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class RelayedAnswer(StartedAnswer):
    """The filtered response of one attempt.

    ``begin`` reads until more than ``filter.hold_limit`` bytes are ready for the client (``first``), or to the end
    (``is_held``). ``status`` and ``client_headers`` are those of the client's response."""

    client_headers: Headers = ()

    def __init__(self, request: RelayedRequest, source: AnswerSource, scope: RequestScope) -> None:
        super().__init__(source)
        made = source.target_request
        self.filter = request.filter(made.target)
        self.first = b""
        self.status = 200
        self._on_complete = request.on_complete
        self._own_headers = made.request.headers
        self._later_bodies = iter(made.prepared.later_bodies)
        self.scope = scope
        self._buffered = 0  # approximate bytes in the filter
        self._counted = UNCOUNTED
        self.is_over = False
        self._pieces: AsyncIterator[bytes]

    @property
    def is_stream(self) -> bool:
        """Whether the response is an event stream."""
        return bool(self.filter.ping)

    @property
    def unread_response(self) -> UpstreamResponse | None:
        return None if self.is_over else self.response

    def continue_from(self, response: UpstreamResponse) -> None:
        self.response, self._pieces = response, response.chunks()

    async def begin(self) -> None:
        response = await self.source.send()
        try:
            await self.open_response(response)
            self.first = await self.read_first()
        except BaseException:
            await self.aclose()
            raise
        self.is_held = self.is_over
        if self.is_held and not self.is_stream:
            body = self.source.target_request.disclosure.body
            self.first = await offload(len(self.first), body, self.first)  # a search of megabytes

    async def read_first(self) -> bytes:
        """Return the first bytes for the client, all of them if the response is short. Raises ``GatewayError``."""
        first: list[bytes | bytearray] = []
        size = 0
        while size <= self.filter.hold_limit and not self.is_over:
            first.append(await self.read_next(self.read_pieces))
            size += len(first[-1])
        return await join_pieces(first, size)

    def chunks(self) -> "RelayedAnswer":
        return self

    def __aiter__(self) -> "RelayedAnswer":
        return self

    async def __anext__(self) -> bytes:
        bill = self.source.target_request.context.record.bill
        try:
            while not self.is_over:
                if out := await self.read_next():
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
            self.usage = self.filter.usage

    async def open_response(self, response: UpstreamResponse) -> None:
        """Begin to read ``response``. Raises ``GatewayError`` if it is unusable."""
        source, self.response = self.source, response
        source.watch.await_body()
        if source.is_shared:
            self.read_pieces.append((trio.current_time(), b""))
        own = await offload(self._buffered, self.filter.head, response.status, response.headers)
        shown = source.target_request.disclosure.headers(response.headers, self.lane_name, own)
        self.status, self.client_headers = response.status, (*shown, *self._own_headers)
        self._pieces = response.chunks()

    async def read_next(self, read_pieces: Pieces | None = None) -> bytes:
        """Return the filter's next bytes for the client, possibly none, and add the provider's to ``read_pieces``."""
        source = self.source
        try:
            if (piece := await anext(self._pieces, None)) is not None:
                source.watch.restart_idle_limit()
                if read_pieces is not None and source.is_shared:
                    read_pieces.append((trio.current_time(), piece))
                if work := self.filter.size_of_work(piece):
                    out = await offload(work, self.filter.take, piece)
                else:
                    out = self.filter.take(piece)
                self._buffered += len(piece) - len(out)
                if self._buffered > self._counted and (held := self.filter.buffered_bytes) > self._counted:
                    context = source.target_request.context
                    self._counted = await count_answer(context, self.scope, held, source.watch)
                return out
            await self.aclose()
            if (body := next(self._later_bodies, None)) is not None:
                assert isinstance(source, Attempt), "an answer to several requests is not cached"
                await self.open_response(await source.send_another(body))
                return b""
            self.is_over = True
            return await offload(self._buffered, self.filter.close)
        except FramingError as error:
            raise GatewayError("upstream", str(error), reason="bad_answer") from None
        finally:
            self.usage = self._usage_so_far()

    def _usage_so_far(self) -> Usage | None:
        """Return the usage that the filter has found; before the end of the response, the estimate of the request in
        place of a mere count that has no price, such as that of images whose model is billed by tokens."""
        found, target_request = self.filter.usage, self.source.target_request
        if self.is_over or found is None or found.prompt or found.output:
            return found
        if cost_of(target_request.target.price, found).nanos:
            return found
        return attrs.evolve(target_request.sent_usage(), estimated=True)
