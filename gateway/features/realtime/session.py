"""A realtime session, which passes messages between a client's and a provider's websocket.

One message per direction is buffered, so a slow reader slows the writer, and nothing is dropped. When one side ends,
the other is closed immediately with a sendable code: open sessions are billed, and clients would wait
(BerriAI/litellm#39851)."""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import attrs
import trio
from quart import websocket

from gateway.access.body_memory import HeldBody
from gateway.features.realtime.closing import (
    CLIENT_LOST,
    DRAINED,
    EXPIRED,
    GATEWAY_ERROR,
    NOT_ALLOWED,
    REPLACED,
    STALLED,
    TOO_LARGE,
    TRY_AGAIN,
    UPSTREAM_LOST,
    Closing,
    closing_for_other_side,
    fit_reason,
)
from gateway.features.realtime.meter import Meter
from gateway.features.realtime.notices import (
    FrameReader,
    FrameRejected,
    ModelRule,
    Notice,
    OutputPiece,
    ResponseStarted,
    Resumable,
)
from gateway.features.realtime.provider_websocket import Piece, UpstreamWebSocket, WebSocketEnded
from gateway.http.offload import offload
from gateway.http.redaction import Secrets, may_be_error, redact_answer, redact_spelled
from gateway.serving.lifecycle import Lifecycle
from gateway.websockets.frames import size_of
from streams.errors import GatewayError
from streams.events import ErrorInfo

OnClientEnd = Callable[[int, str], object]
"""A callback for a close of the client, with its code and reason."""

OnRefused = Callable[[Closing], object]
"""A callback for a message of the client that the gateway rejects, with the close to send."""


class ClientInbox:
    """A receiver of the client's messages, one at a time: a ``MessageTaker`` of the server.

    While a message waits here, nothing more is read from the client. ``max_message`` limits a message in bytes;
    ``held`` accounts for its memory."""

    def __init__(self, held: HeldBody, max_message: int) -> None:
        self._held = held
        self._max_message = max_message
        self._sender, self._receiver = trio.open_memory_channel[Piece](0)
        self.closing: Closing | None = None
        """The close sent to the client before the session started, if any."""
        self._on_end: OnClientEnd = _ignore
        self._on_refusal: OnRefused = self._note_closing
        self._waiting: Piece | None = None  # passed again after each cancelled wait; its size takes long to count

    def set_callbacks(self, on_end: OnClientEnd, on_refusal: OnRefused) -> None:
        """Set the callbacks for the client's close and for rejected messages."""
        self._on_end, self._on_refusal = on_end, on_refusal

    def _note_closing(self, closing: Closing) -> None:
        self.closing = closing

    async def take(self, message: Piece) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if message is not self._waiting and size_of(message) > self._max_message:
                self._refuse_large_message()
                return
            self._waiting = message
            await self._sender.send(message)
            self._waiting = None

    def note_close(self, code: int, reason: str) -> None:
        self._on_end(code, reason)

    def arrives(self, size: int) -> None:
        """Account for the ``size`` in bytes of an arriving message, 0 once it is complete."""
        if size > self._max_message:
            self._refuse_large_message()
            return
        try:
            self._held.arrive(size)
        except GatewayError as error:
            self._on_refusal(Closing(TRY_AGAIN, fit_reason(error.info.message)))

    def _refuse_large_message(self) -> None:
        self._on_refusal(Closing(TOO_LARGE, f"the message is larger than the limit of {self._max_message} bytes"))

    async def receive(self) -> Piece:
        """Return the next message."""
        return await self._receiver.receive()

    def close(self) -> None:
        """Accept no more messages."""
        self._receiver.close()


def _ignore(code: int, reason: str) -> None:
    return


WAIT_SECONDS: Final = 5.0
"""Seconds that a session waits for the end of the one that it resumes."""


class ResumableSessions:
    """The open sessions of a configuration that can be resumed, by the last handle of each.

    ``idle`` is the longest silence of their clients in seconds, unless an entry has its own."""

    def __init__(self, idle: float) -> None:
        self.idle = idle
        self._open: dict[str, trio.Event] = {}

    def set_handle(self, ended: trio.Event, handle: str) -> None:
        """Set the handle of a session, which ``ended`` identifies and which sets ``ended`` at its end."""
        self.forget(ended)
        self._open[handle] = ended

    def forget(self, ended: trio.Event) -> None:
        """Remove the handle of the session that ``ended`` identifies."""
        for handle in [handle for handle, event in self._open.items() if event is ended]:
            del self._open[handle]

    async def wait(self, handle: str) -> None:
        """Wait up to ``WAIT_SECONDS`` for the end of the session with ``handle``, if it is open here."""
        if (ended := self._open.get(handle)) is not None:
            with trio.move_on_after(WAIT_SECONDS):
                await ended.wait()


MAX_MESSAGE: Final = 16 * 2**20
"""The largest message in bytes per direction: OpenAI's SDK has no limit, and pictures are one message."""

PING_SECONDS: Final = 25.0
"""Seconds between pings to the provider, which keep the connection alive through proxies.

A missing pong has no effect: Gemini's took half a minute (router-for-me/CLIProxyAPI#5413)."""

STALL_SECONDS: Final = 60.0
"""Seconds that a provider may leave a message unread."""

_REPLACED: Final = ErrorInfo(
    "invalid_request", "the configuration or your key has changed: connect again", code="session_expired"
)
TOO_DEEP: Final = ErrorInfo("invalid_request", "the frame is nested too deeply")

RELOAD_SECONDS: Final = 60.0
"""Seconds that a response in progress may continue after a reload."""

CLOSE_SECONDS: Final = 1.0
"""Seconds for both closes together."""

LOSSES: Final[Mapping["SessionEnd", ErrorInfo]] = {
    "upstream_lost": ErrorInfo("upstream", UPSTREAM_LOST.reason),
    "upstream_invalid": ErrorInfo("upstream", "the provider sent invalid, too large or too many WebSocket frames"),
    "stalled": ErrorInfo("upstream", STALLED.reason),
    "provider_closed": ErrorInfo("upstream", "the provider closed the session before the end of this response"),
    "expired": ErrorInfo("timeout", "the session reached its time limit before the end of this response"),
    "replaced": ErrorInfo("timeout", "the response did not end within a minute after a reload"),
}
"""The errors of responses that are unfinished although the client has not left, by the end of their session."""

SessionEnd: TypeAlias = Literal[
    "client_closed", "provider_closed", "upstream_lost", "upstream_invalid", "stalled", "expired", "refused",
    "replaced", "drained",
]  # fmt: skip


@attrs.frozen
class SessionLimits:
    """Limits in seconds: ``idle`` for silence of both sides, ``longest`` for the session."""

    idle: float = math.inf
    longest: float = math.inf


class RealtimeSession:
    """An open session between Quart's current websocket and ``provider``; call ``run`` once.

    ``first`` is a client message that was already received."""

    def __init__(
        self,
        inbox: ClientInbox,
        provider: UpstreamWebSocket,
        reader: FrameReader,
        models: ModelRule,
        meter: Meter,
        limits: SessionLimits,
        secrets: Secrets,
        resumable: ResumableSessions,
        first: Piece | None,
    ) -> None:
        self._inbox = inbox
        self._first = first
        self._resumable = resumable
        self._ended_event = trio.Event()
        self._delivering = trio.Lock()
        self._provider = provider
        self._reader = reader
        self._models = models
        self._meter = meter
        self._limits = limits
        self._secrets = secrets
        self._scope = trio.CancelScope()
        self._last_message_at = trio.current_time()
        self.ended: SessionEnd | None = None
        """The cause of the end; ``None`` while the session runs, and if the client vanished."""
        self._to_client = Closing(GATEWAY_ERROR)
        self._to_provider = CLIENT_LOST

    # The end

    def end(self, cause: SessionEnd, to_client: Closing, to_provider: Closing) -> None:
        """End the session, and set the closes for both sides; only the first call counts."""
        if self.ended is None:
            self.ended = cause
            self._to_client, self._to_provider = to_client, to_provider
            self._scope.cancel()

    def refuse(self, closing: Closing) -> None:
        """End the session, because the client sent something that the gateway rejects."""
        self.end("refused", closing, Closing(1000))

    def _client_closed(self, code: int, reason: str) -> None:
        self.end("client_closed", self._to_client, closing_for_other_side(code, reason, CLIENT_LOST))

    # The session

    async def run(self, lifecycle: Lifecycle, replaced: trio.Event) -> None:
        """Pass messages in both directions until one side or the session ends, then close both.

        The loss of the client cancels it."""
        drained = trio.CancelScope()
        self._inbox.set_callbacks(self._client_closed, self.refuse)
        try:
            with lifecycle.track_pump(drained), drained, self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pass_to_provider, replaced)
                    nursery.start_soon(self._pass_to_client)
                    nursery.start_soon(self._ping)
                    nursery.start_soon(self._end_on_time_limit)
                    await replaced.wait()
                    with trio.move_on_after(RELOAD_SECONDS):
                        await self._meter.wait_until_idle()
                        await self._delivering.acquire()  # the end of the response is billed before it is sent
                    await self._send_last_error(_REPLACED)
                    self.end("replaced", REPLACED, REPLACED)
            if drained.cancelled_caught:
                self.end("drained", DRAINED, DRAINED)
        finally:
            self._inbox.close()
            with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
                for notice in self._reader.unfinished_notices():
                    with contextlib.suppress(GatewayError):  # the session ends in any case
                        await self._meter.process(notice)
            self._meter.close(None if self.ended is None else LOSSES.get(self.ended), drained=self.ended == "drained")
            with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(websocket.close, self._to_client.code, self._to_client.reason)
                    nursery.start_soon(self._provider.close, self._to_provider.code, self._to_provider.reason)
            await self._provider.aclose()
            self._ended_event.set()
            self._resumable.forget(self._ended_event)

    async def _pass_to_provider(self, replaced: trio.Event) -> None:
        while True:
            message = await self._inbox.receive() if self._first is None else self._first
            self._first = None
            self._last_message_at = trio.current_time()
            try:
                frame = await offload(len(message), self._reader.read_client_frame, message, self._models)
                self._meter.add_input(frame.characters, is_audio=frame.is_audio)
            except GatewayError as error:
                await self._report_error(error.info, None)
                continue
            except RecursionError:
                await self._report_error(TOO_DEEP, None)
                continue
            if frame.requests_response:
                try:
                    if replaced.is_set():  # the session ends after the responses requested before
                        raise GatewayError.of(_REPLACED)
                    await self._meter.request_response()
                except GatewayError as error:
                    await self._report_error(error.info, frame.event_id)
                    continue
            await self._send_to_provider(frame.message)

    async def _send_to_provider(self, message: Piece) -> None:
        """Send ``message``, and end the session if the provider does not read it."""
        with trio.move_on_after(STALL_SECONDS) as stall:
            await self._provider.send(message)
        if stall.cancelled_caught:
            self.end("stalled", STALLED, STALLED)

    async def _report_error(self, error: ErrorInfo, event_id: str | None) -> None:
        """Report an error to the client by a frame, or by a close if the API has no such frame."""
        if (frame := self._reader.error_frame(error, event_id)) is None:
            self.refuse(closing_for(error))
        else:
            await websocket.send(frame)

    async def _pass_to_client(self) -> None:
        while True:
            try:
                message = await self._provider.receive()
            except WebSocketEnded as ended:
                lost = Closing(GATEWAY_ERROR, fit_reason(ended.reason)) if ended.reason else UPSTREAM_LOST
                closing = closing_for_other_side(ended.code, ended.reason, lost, self._secrets)
                is_invalid = closing is lost and lost is not UPSTREAM_LOST
                cause: SessionEnd = "upstream_invalid" if is_invalid else "upstream_lost"
                self.end(cause if closing is lost else "provider_closed", closing, Closing(1000))
                return
            self._last_message_at = trio.current_time()
            async with self._delivering:
                await self._deliver(message)

    async def _deliver(self, message: Piece) -> None:
        """Bill ``message``, and send it to the client."""
        data = message if isinstance(message, bytes) else message.encode()
        search = redact_answer if may_be_error(data) else None
        for notice in await offload(len(message), self._reader.read_provider_frame, message):
            if isinstance(notice, FrameRejected):
                search = redact_spelled
            elif isinstance(notice, Resumable):
                self._resumable.set_handle(self._ended_event, notice.handle)
            try:
                await self._meter.process(notice)
            except GatewayError as error:
                await self._stop(notice, error.info)
        if search is not None:
            message = await offload(len(message), self._redact, message, search)
        await websocket.send(self._reader.for_client(message))

    async def _stop(self, notice: Notice, error: ErrorInfo) -> None:
        """Stop the provider's unrequested work that ``notice`` reports because of ``error``.

        The client gets an error, and the provider a cancellation of its response. If there is nothing to cancel, the
        budget is exhausted, or there is too much of such work (``upstream``), the session ends: otherwise the provider
        could continue its work."""
        if (error_frame := self._reader.error_frame(error, None)) is not None:
            await websocket.send(error_frame)
        if error.kind == "upstream":
            self.end("upstream_invalid", closing_for(error), Closing(NOT_ALLOWED, fit_reason(error.message)))
            return
        cancel_frame = None
        if isinstance(notice, ResponseStarted | OutputPiece):
            cancel_frame = self._reader.cancel_frame(notice.id if isinstance(notice, ResponseStarted) else None)
        if cancel_frame is None or error.kind == "billing":
            self.refuse(closing_for(error))
        else:
            await self._send_to_provider(cancel_frame)

    def _redact(self, message: Piece, search: Callable[[bytes, Secrets], bytes]) -> Piece:
        if isinstance(message, bytes):
            return search(message, self._secrets)
        return search(message.encode(), self._secrets).decode()

    # Time

    async def _ping(self) -> None:
        while True:
            await trio.sleep(PING_SECONDS)
            await self._provider.ping()

    async def _end_on_time_limit(self) -> None:
        """Wait for the idle or duration limit, and then end the session."""
        latest = trio.current_time() + self._limits.longest
        while (due := min(latest, self._last_message_at + self._limits.idle)) > trio.current_time():  # noqa: ASYNC110 -- time moves
            await trio.sleep_until(due)
        why = "has reached its maximum duration (max_session)" if due == latest else "was idle for too long (idle)"
        error = ErrorInfo("invalid_request", f"the session {why}: connect again", code="session_expired")
        await self._send_last_error(error)
        closing = Closing(EXPIRED, f"the session {why}")
        self.end("expired", closing, closing)

    async def _send_last_error(self, error: ErrorInfo) -> None:
        """Report ``error``, which ends the session, if the API has a frame for it."""
        if (frame := self._reader.error_frame(error, None)) is not None:
            with trio.move_on_after(CLOSE_SECONDS):
                await websocket.send(frame)


def closing_for(error: ErrorInfo) -> Closing:
    match error.kind:
        case "rate_limited" | "overloaded" | "timeout":
            return Closing(TRY_AGAIN, fit_reason(error.message))
        case "internal" | "upstream":
            return Closing(GATEWAY_ERROR, fit_reason(error.message))
        case _:
            return Closing(NOT_ALLOWED, fit_reason(error.message))
