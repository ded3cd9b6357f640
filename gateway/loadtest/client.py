"""One exchange: a request, and its answer with a time on everything."""

import ssl
from typing import Final, Literal, TypeAlias

import attrs
import trio

from gateway.loadtest.content import NOTHING, EventContent, error_message, read_event, read_whole
from gateway.loadtest.load_request import LoadRequest
from gateway.loadtest.wire import IdleConnections, ServerAddress, TimedConnection, WireError
from providers.apis import CODECS
from streams.framing import EventTooLarge

Phase: TypeAlias = Literal["connect", "send", "first byte", "first token", "stream"]
"""What was waited for when an exchange failed; ``stream`` is all behind the first token."""

Manner: TypeAlias = Literal["reads", "reads slowly", "cancels"]
"""How a client behaves."""

OK: Final = 200
LONGEST: Final = 16 * 2**20  # bytes of an event


@attrs.frozen
class Problem:
    """The reason why an exchange counts as an error. ``kind`` is one of few; ``detail`` is what the server or the
    system said."""

    kind: str
    phase: Phase
    detail: str = ""


class LoadTarget:
    """The address and the connections that all exchanges with one target share."""

    def __init__(self, address: ServerAddress, tls: ssl.SSLContext | None, *, timeout: float, keep: bool) -> None:
        self.address = address
        self.idle = IdleConnections()
        self.timeout = timeout
        self._tls = tls
        self._keep = keep

    async def connect(self, small: bool) -> TimedConnection:
        """Raises ``WireError``."""
        return await TimedConnection.open(self.address, self._tls, small)

    async def finished(self, connection: TimedConnection, manner: Manner) -> None:
        """Keep or close the connection."""
        if self._keep and manner != "reads slowly":
            await self.idle.give(connection)
        else:
            await connection.aclose()


class TimedExchange:
    """One exchange while it runs and after it; times are trio's.

    ``intended`` is when it was to start, ``began`` when it did, ``ended`` when nothing more was read. ``contents`` are
    the times of the events that carried content. ``body`` is what came of the answer. ``complete``: it was read to its
    end and its status is 200. ``left``: the client went away before the end, as it was meant to."""

    def __init__(self, request: LoadRequest, manner: Manner, intended: float) -> None:
        self.request = request
        self.manner = manner
        self.intended = intended
        self.began = trio.current_time()
        self.connected: float | None = None  # how long connecting took
        self.first_byte: float | None = None
        self.contents: list[float] = []
        self.ended = 0.0
        self.status = 0
        self.body: list[bytes] = []
        self.events = self.reads = self.received = 0
        self.tokens: int | None = None
        self.error: EventContent | None = None  # what the answer said of its own failure
        self.problem: Problem | None = None
        self.complete = self.left = False
        self.phase: Phase = "connect"

    async def run(self, server: LoadTarget, data: bytes) -> None:
        """Send the request and read its answer to the end. Never raises but when it is cancelled; ``ended`` is set in
        any case."""
        deadline = leaves = self.began + server.timeout
        if self.manner == "cancels" and self.request.cancel is not None:
            leaves = self.began + self.request.cancel.after
        try:
            with trio.CancelScope(deadline=min(deadline, leaves)) as scope:
                await self._run(server, data)
            if scope.cancelled_caught and leaves < deadline:
                self.left = True
            elif scope.cancelled_caught:
                self.fail("timeout", f"no end after {server.timeout:g} s")
            else:
                self.complete = self.problem is None
        except WireError as error:
            self.fail(error.fault, error.detail)
        except EventTooLarge:
            self.fail("too large", "one event is larger than 16 MiB")
        finally:
            self.ended = trio.current_time()

    def fail(self, kind: str, detail: str = "") -> None:
        """It is an error, in the present phase."""
        self.problem = Problem(kind, self.phase, detail)

    async def _run(self, server: LoadTarget, data: bytes) -> None:
        while True:
            connection = await self._connection(server)
            reused = connection.used
            try:
                await self._exchange(connection, data)
                break
            except WireError as error:
                # The server closed an idle connection as the request went out: every client sends it again.
                if not reused or self.phase not in ("send", "first byte") or error.fault not in ("reset", "closed"):
                    raise
            finally:
                self.reads += connection.reads
                self.received += connection.received
                with trio.CancelScope(shield=True):  # it closes at once, and waits for nothing
                    await server.finished(connection, self.manner)  # noqa: ASYNC102

    async def _connection(self, server: LoadTarget) -> TimedConnection:
        self.phase = "connect"
        kept = server.idle.take() if self.manner != "reads slowly" else None
        if kept is not None:
            return kept
        since = trio.current_time()
        connection = await server.connect(small=self.manner == "reads slowly")
        self.connected = trio.current_time() - since
        return connection

    async def _exchange(self, connection: TimedConnection, data: bytes) -> None:
        self.phase = "send"
        await connection.send(data)
        self.phase = "first byte"
        head = await connection.head()
        self.first_byte = connection.first
        self.status = head.status
        self.phase = "first token"
        if self.request.stream and head.status == OK:
            await self._read_stream(connection)
            return
        await self._read_whole(connection)
        if head.status != OK:
            self.phase = "first byte"
            self.fail(f"status {head.status}", error_message(b"".join(self.body)))

    async def _read_stream(self, connection: TimedConnection) -> None:
        splitter = CODECS[self.request.api].wire.framing.splitter(LONGEST)
        while (data := await connection.body()) is not None:
            self.body.append(data)
            for raw in splitter.feed(data):
                self.events += 1
                self._take(read_event(self.request.api, raw), connection.at)
            await self._pause(data)

    async def _read_whole(self, connection: TimedConnection) -> None:
        while (data := await connection.body()) is not None:
            self.body.append(data)
            await self._pause(data)
        self._take(read_whole(self.request.api, b"".join(self.body)), None)

    async def _pause(self, data: bytes) -> None:
        if self.manner == "reads slowly" and self.request.slow is not None:
            await trio.sleep(len(data) / self.request.slow.rate)

    def _take(self, said: EventContent, at: float | None) -> None:
        if said is NOTHING:
            return
        if said.content and at is not None:
            self.contents.append(at)
            self.phase = "stream"
        self.tokens = said.tokens if said.tokens is not None else self.tokens
        self.error = said if said.error else self.error
