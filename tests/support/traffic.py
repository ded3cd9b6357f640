"""Traffic of the soak test: clients that leave, stall and pipeline, and a provider that dies, stalls and fails.

The request's text selects the provider's behaviour, so that the client knows the expected result.
"""

import json
import random
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from tests.support.apis import question
from tests.support.harness import post
from tests.support.upstreams import PATHS, Script, event, render

MODELS = {"on-chat": "chat", "on-messages": "messages"}
PATIENT = {"patient-chat": "chat", "patient-messages": "messages"}
"""Models of the provider whose silence the gateway tolerates."""
SUCCESS = (
    b"[DONE]",
    b"message_stop",
    b'"response.completed"',
    b'"finish_reason": "stop"',
    b'"stop_reason": "end_turn"',
    b"event: interaction.completed",
)
"""Marks of a complete answer. The provider's finish reason alone ends an answer, too, if the rest is lost."""
FAILURE = (b'data: {"error":', b"event: error", b"event: response.failed")
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
TEXT = "one two three " * 50
GAP = 0.5  # seconds between the events of a paced stream
STAMP = re.compile(rb"@(\d+\.\d{6})@")
STAMP_SIZE = 24  # bytes at most
PATIENCE = 30.0
MOMENT = 0.3

# The provider


class Provider:
    """A provider that behaves as the request's text selects. A paced stream has ``events`` events."""

    def __init__(self) -> None:
        self.events = 0
        self.connections = 0
        self.played: Counter[str] = Counter()

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            async with stream:
                wire = Wire(stream)
                while (request := await wire.request()) is not None and await self._answer_request(stream, *request):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.connections -= 1

    async def _answer_request(self, stream: trio.SocketStream, path: str, body: dict[str, Any]) -> bool:
        """Answer a request. Return whether the connection can be reused."""
        api = next(api for api, known in PATHS.items() if known == path)
        act = words(body)
        self.played[act] += 1
        if act in ("stall-early", "wait-early"):
            await stream.receive_some()
            return False
        if act == "refuse":
            await stream.send_all(b"HTTP/1.1 529 Busy\r\ncontent-length: 0\r\n\r\n")
            return True
        if act == "flood":
            await self._send_without_end(stream, api)
        if not body.get("stream"):
            (answer,) = render(Script(text=TEXT), api, {"model": "up"}).pieces
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
            return await self._send_pieces(stream, act, [head, answer[:100], answer[100:]], b"")
        pieces = (
            paced_stream(api, self.events)
            if act == "paced"
            else render(Script(text=TEXT), api, {"stream": True, "model": "up"}).pieces
        )
        return await self._send_pieces(stream, act, [SSE, *pieces], b"0\r\n\r\n")

    async def _send_without_end(self, stream: trio.SocketStream, api: str) -> None:
        """Send events until the connection breaks."""
        opening, piece, _ = parts(api)
        large = piece.replace(b"AT", b"x" * 30_000)
        await stream.send_all(SSE + b"".join(chunk(piece) for piece in opening))
        while True:
            await stream.send_all(chunk(large))

    async def _send_pieces(self, stream: trio.SocketStream, act: str, pieces: list[bytes], end: bytes) -> bool:
        head, *pieces = pieces
        await stream.send_all(head)
        keep = len(pieces) // 2 if act in ("cut", "reset", "stall", "wait") else len(pieces)
        for piece in pieces[:keep]:
            if act == "paced" and b"AT" in piece:
                await trio.sleep(GAP)
                piece = piece.replace(b"AT", b"@%.6f@" % time.monotonic())
            elif act == "slow":
                await trio.sleep(random.uniform(0, 0.05))
            await stream.send_all(chunk(piece) if end else piece)
        if act in ("stall", "wait"):
            await stream.receive_some()
        if act == "reset":
            reset(stream.socket)
        if keep < len(pieces):
            return False
        await stream.send_all(end)
        return True


def words(body: dict[str, Any]) -> str:
    """Return the text of a request's only turn, in any API."""
    said = (body.get("input") or body["messages"])[0]["content"]
    return str(said if isinstance(said, str) else said[0]["text"])


def paced_stream(api: str, events: int) -> list[bytes]:
    """Return a stream of ``events`` pieces of text, each with ``AT`` in place of its sending time."""
    opening, piece, ending = parts(api)
    return [*opening, *[piece] * events, *ending]


def parts(api: str) -> tuple[list[bytes], bytes, list[bytes]]:
    """Return a stream in three parts: its begin, one piece of the text ``AT``, and the rest."""
    said = list(render(Script(text="AT"), api, {"stream": True, "model": "up"}).pieces)
    text = [any(mark in piece for mark in (b'"A"', b'"T"', b"AT")) for piece in said]
    at = text.index(True)
    piece = {"chat": chat_piece, "messages": messages_piece}[api]()
    return said[:at], piece, said[text.index(False, at) :]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def chat_piece() -> bytes:
    chunk = {"id": "chatcmpl-up1", "object": "chat.completion.chunk", "created": 1700000000, "model": "up"}
    return b"data: %b\n\n" % json.dumps({**chunk, "choices": [{"index": 0, "delta": {"content": "AT"}}]}).encode()


def messages_piece() -> bytes:
    delta = {"type": "text_delta", "text": "AT"}
    return event("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta})


# The wire, from either side


def reset(sock: Any) -> None:
    """Close with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Cut(Exception):
    """The other side closed inside a message."""


class Wire:
    """HTTP/1.1 messages from a stream. ``record_times`` is called with every read."""

    def __init__(self, stream: trio.SocketStream, record_times: Callable[[bytes], object] = lambda _: None) -> None:
        self._stream = stream
        self._heard = record_times
        self.buffer = bytearray()
        self.body: list[bytes] = []
        """The received body of the present response."""

    async def receive_more(self) -> None:
        data = await self._stream.receive_some(65536)
        if not data:
            raise Cut
        self._heard(data)
        self.buffer += data

    async def until(self, mark: bytes) -> bytes:
        while (at := self.buffer.find(mark)) < 0:
            await self.receive_more()
        return self.take(at + len(mark))

    async def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            await self.receive_more()
        return self.take(size)

    def take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def request(self) -> tuple[str, dict[str, Any]] | None:
        """Return the next request's path and body, or ``None`` at the end of the connection."""
        try:
            head = await self.until(b"\r\n\r\n")
            body = await self.exactly(length(head) or 0)
        except Cut:
            return None
        return head.split(b" ")[1].decode(), json.loads(body)

    async def response(self) -> tuple[int, bytes]:
        """Return the next response's status and body. Raises ``Cut``."""
        self.body = []
        head = await self.until(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        if (size := length(head)) is not None:
            return status, await self.exactly(size)
        while size := int(await self.until(b"\r\n"), 16):
            self.body.append((await self.exactly(size + 2))[:-2])
        await self.until(b"\r\n")
        return status, b"".join(self.body)


def length(head: bytes) -> int | None:
    return next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None)


# The clients


@attrs.frozen
class SentRequest:
    """A request. ``name`` is its id, ``act`` the provider's behaviour."""

    name: str
    act: str
    api: str
    model: str
    stream: bool

    @property
    def data(self) -> bytes:
        body = question(self.api, self.model, self.act, stream=self.stream)
        return post(PATHS[self.api], body, {"x-request-id": self.name})


@attrs.define
class Tally:
    """The events of a soak test.

    ``wrong`` lists violations. Requests are identified by name, connections by the client's port.
    """

    clients: Counter[str] = attrs.field(factory=Counter)
    answers: Counter[str] = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)
    sent: dict[str, tuple[int, float]] = attrs.field(factory=dict)  # the connection, and when it was opened
    answered: dict[str, float] = attrs.field(factory=dict)  # and when
    late: list[float] = attrs.field(factory=list)
    stalled: set[str] = attrs.field(factory=set)  # their clients do not read
    # The time, and the connections of the killed worker.
    kills: list[tuple[float, set[int]]] = attrs.field(factory=list)

    def was_lost(self, name: str) -> bool:
        """Return whether a killed worker handled the request.

        An exchange ends, and is logged, just after its connection if the client closes that immediately. So a request
        that was answered a moment before a kill may count, too.
        """
        port, begun = self.sent[name]
        answered = self.answered.get(name, float("inf"))
        return any(begun < at and (port in ports or 0 < at - answered < MOMENT) for at, ports in self.kills)


ACTS = {"good": 8, "slow": 3, "cut": 2, "reset": 1, "stall": 1, "stall-early": 1, "refuse": 2}
WHOLE = ("good", "slow", "paced")
MANNERS = {"complete": 8, "leave": 4, "leave_by_reset": 4, "read_no_more": 1, "pipeline": 2}


class Clients:
    """The clients. ``stopping`` means that the gateway is shutting down, so answers and connections may end early."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self._port = port
        self._dice = dice
        self._begun: dict[int, float] = {}  # when a connection was opened, by its port
        self.tally = Tally()
        self.stopping = False

    async def _connect(self) -> trio.SocketStream:
        begun = time.monotonic()
        stream = await trio.open_tcp_stream("127.0.0.1", self._port)
        self._begun[stream.socket.getsockname()[1]] = begun
        return stream

    def _new_request(self, stream: trio.SocketStream, act: str, api: str, model: str, streamed: bool) -> SentRequest:
        """Return a new request to send on ``stream``."""
        asked = SentRequest(f"soak-{len(self.tally.sent)}", act, api, model, streamed)
        port = stream.socket.getsockname()[1]
        self.tally.sent[asked.name] = port, self._begun[port]
        return asked

    def _random_request(self, stream: trio.SocketStream) -> SentRequest:
        dice = self._dice
        api, model = dice.choice(list(PATHS)), dice.choice(list(MODELS))
        return self._new_request(stream, draw_weighted(dice, ACTS), api, model, dice.random() < 0.8)

    async def run_clients(self, until: float) -> None:
        """Run one client after another, each on its own connection, until ``until`` or until the gateway refuses
        connections."""
        ways: dict[str, Callable[..., Awaitable[None]]] = {
            "complete": self._read_whole_answer,
            "leave": self._leave,
            "leave_by_reset": self._leave,
            "read_no_more": self._stop_reading,
            "pipeline": self._pipeline,
        }
        while trio.current_time() < until:
            manner = draw_weighted(self._dice, MANNERS)
            with trio.fail_after(PATIENCE):
                try:
                    stream = await self._connect()
                except OSError:
                    if self.stopping:
                        return
                    raise
                self.tally.clients[manner] += 1
                try:
                    await ways[manner](stream, manner)
                except (Cut, trio.BrokenResourceError):
                    self.tally.answers["connection closed"] += 1
                finally:
                    await trio.aclose_forcefully(stream)

    async def _read_whole_answer(self, stream: trio.SocketStream, _: str) -> None:
        wire = Wire(stream)
        for _ in range(self._dice.randint(1, 3)):
            await self._read_answer(stream, wire, self._random_request(stream), send=True)

    async def _pipeline(self, stream: trio.SocketStream, _: str) -> None:
        wire = Wire(stream)
        requests = [self._random_request(stream), self._random_request(stream)]
        await stream.send_all(b"".join(asked.data for asked in requests))
        for asked in requests:
            await self._read_answer(stream, wire, asked)

    async def _leave(self, stream: trio.SocketStream, manner: str) -> None:
        data = self._random_request(stream).data
        await stream.send_all(data[: self._dice.choice([len(data)] * 5 + [50, len(data) - 1])])
        with trio.move_on_after(self._dice.choice([0, 0.002, 0.01, 0.05, 0.3])):
            await Wire(stream).response()
        if manner == "leave_by_reset":
            reset(stream.socket)

    async def _stop_reading(self, stream: trio.SocketStream, _: str) -> None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await stream.send_all(self._random_request(stream).data)
        await stream.receive_some(100)
        await trio.sleep(0.5)

    async def _read_answer(self, stream: trio.SocketStream, wire: Wire, sent: SentRequest, send: bool = False) -> None:
        """Read the whole answer. If it is cut, it must not look complete, and must have an excuse."""
        try:
            if send:
                await stream.send_all(sent.data)
            status, body = await wire.response()
        except (Cut, trio.BrokenResourceError):
            if sent.act not in WHOLE and any(mark in b"".join(wire.body) for mark in SUCCESS):
                self.tally.wrong.append(f"{sent}: looked complete until it was cut")
            if not self.stopping and not self.tally.was_lost(sent.name):
                self.tally.wrong.append(f"{sent}: cut in the midst of the work, after {wire.body[-1:]}")
            raise
        self._check_answer(sent, status, body)

    def _check_answer(self, sent: SentRequest, status: int, body: bytes) -> None:
        """Record a violation if a failed answer looks whole, or a whole one failed."""
        self.tally.answered[sent.name] = time.monotonic()
        self.tally.answers[f"{sent.act} {status}"] += 1
        complete = status == 200 and (any(mark in body for mark in SUCCESS) if sent.stream else b"three" in body)
        should = sent.act in WHOLE
        told = complete or status != 200 or any(mark in body for mark in FAILURE)
        if (complete != should and not (should and self.stopping)) or not told:
            self.tally.wrong.append(f"{sent}: {status} {body[-300:]!r}")

    async def read_slowly(self, api: str, model: str, events: int) -> None:
        """Read one stream of ``events``, and check each event when it arrives."""
        came: dict[bytes, float] = {}  # arrival times of events by their sending times
        tail = b""

        def record_times(data: bytes) -> None:
            nonlocal tail
            now, tail = time.monotonic(), tail[-STAMP_SIZE:] + data
            for stamp in STAMP.findall(tail):
                came.setdefault(stamp, now)

        async with await self._connect() as stream:
            asked = self._new_request(stream, "paced", api, model, True)
            with trio.fail_after(PATIENCE + events * GAP):
                await self._read_answer(stream, Wire(stream, record_times), asked, send=True)
        if len(came) != events:
            self.tally.wrong.append(f"{asked}: {len(came)} of {events} paced events came")
        self.tally.late.extend(now - float(stamp) for stamp, now in came.items())

    # Clients under way at the end of the process

    async def waiting(self, act: str, api: str, model: str, streamed: bool) -> None:
        """Read the answer of a stalling provider, until the gateway announces its end."""
        async with await self._connect() as stream:
            asked = self._new_request(stream, act, api, model, streamed)
            try:
                await self._read_answer(stream, Wire(stream), asked, send=True)
            except (Cut, trio.BrokenResourceError):
                self.tally.wrong.append(f"{asked}: was not told")

    async def stall_answer(self, api: str, model: str, over: trio.Event) -> None:
        """Read the beginning of an endless answer, then nothing until the gateway has ended."""
        async with await self._connect() as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17)  # a smaller buffer takes seconds to drain
            asked = self._new_request(stream, "flood", api, model, True)
            await stream.send_all(asked.data)
            await stream.receive_some(100)
            self.tally.stalled.add(asked.name)
            await over.wait()
            wire = Wire(stream)
            try:
                while True:
                    await wire.receive_more()
            except (Cut, trio.BrokenResourceError):
                ended = wire.buffer.endswith(b"0\r\n\r\n") and not any(mark in wire.buffer for mark in FAILURE)
                if ended or any(mark in wire.buffer for mark in SUCCESS):
                    self.tally.wrong.append(f"{asked}: looked complete: {wire.buffer[-300:]!r}")


def draw_weighted(dice: random.Random, weights: dict[str, int]) -> str:
    return dice.choices(list(weights), list(weights.values()))[0]
