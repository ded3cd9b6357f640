"""Calls with a hand-played client and provider, the real gateway between them, and the ledger's line."""

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import h2.config
import h2.connection
import h2.events
from h2.errors import ErrorCodes

from tests.support.apis import OLDER
from tests.support.harness import Gateway, Listening, Wire, config, eventually, exchanges, post, provider
from tests.support.streams_page import Cell
from tests.support.upstreams import PATHS, Script, Tokens, render

LIMIT = 0.1  # seconds from the client's close until the provider's socket sees it
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
SUCCESS = {"chat": b"[DONE]", "messages": b"message_stop", "responses": b"response.completed"}
TOKENS = Tokens(prompt=31, output=17)
FLOOD = 64 * 2**20  # bytes; much more than the buffers of a stream
NUMBERS = iter(range(1_000_000))


def new_id() -> str:
    return f"call-{next(NUMBERS)}"


def settings(upstream: Listening, port: int = 0, **more: Any) -> dict[str, Any]:
    """Return a configuration with a model for each provider API: ``on-chat`` and so on.

    ``entry`` is merged into each.
    """
    entry = more.pop("entry", {})
    entries = [provider(f"openai/on-{api}", upstream.url, [api], **entry) for api in OLDER]
    return config(entries, port, **more)


def request_body(cell: Cell) -> dict[str, Any]:
    """Return the request's body."""
    own = {"input": "hi"} if cell.api == "responses" else {"messages": [{"role": "user", "content": "hi"}]}
    if cell.api == "messages":
        own["max_tokens"] = 100
    if cell.api == "chat" and cell.stream:
        own["stream_options"] = {"include_usage": True}
    return {"model": f"on-{cell.model_api}", "stream": cell.stream, **own}


# The provider's answers


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


@attrs.frozen
class StreamPieces:
    """A stream of the text "one two three", in the pieces "one t", "wo th", "ree"."""

    opening: tuple[bytes, ...]  # before the first content
    first: bytes  # with "one t"
    rest: tuple[bytes, ...]

    @property
    def half(self) -> bytes:
        return SSE + chunks(*self.opening, self.first)

    @property
    def whole(self) -> bytes:
        return SSE + chunks(*self.opening, self.first, *self.rest) + END


def answer_stream(api: str) -> StreamPieces:
    request = {"stream": True, "model": "up", "stream_options": {"include_usage": True}}
    pieces = render(Script(text="one two three", tokens=TOKENS), api, request).pieces
    at = next(i for i, piece in enumerate(pieces) if b'"one t' in piece)
    return StreamPieces(pieces[:at], pieces[at], pieces[at + 1 :])


def whole_answer(api: str, text: str = "one two three") -> bytes:
    """Return an answer without a stream, with its head."""
    (body,) = render(Script(text=text, tokens=TOKENS), api, {"model": "up"}).pieces
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


# Calls


def lines(gateway: Gateway, id: str) -> list[dict[str, Any]]:
    """Return the ledger's lines about a request so far."""
    return exchanges(gateway.log, id)


def line(gateway: Gateway, id: str) -> dict[str, Any]:
    """Wait for the line about a request, and return it."""
    (found,) = eventually(lambda: lines(gateway, id), what=f"the line of {id}")
    return found


def check_log(gateway: Gateway) -> None:
    """Check at the end that the log has no traceback and at most one line for each exchange."""
    text = "\n".join(gateway.log)
    assert "Traceback" not in text, text[-3000:]
    ids = [line["request_id"] for line in exchanges(gateway.log)]
    assert len(ids) == len(set(ids))


@attrs.frozen
class Call:
    """A request through the gateway. ``client`` and ``up`` are its two ends; ``sent`` is the provider's request."""

    gateway: Gateway
    cell: Cell
    id: str
    client: Wire
    up: Wire

    def leave(self, how: str) -> float:
        """Disconnect the client by ``FIN`` or ``RST``, and return the time."""
        if self.cell.gets == "nothing":
            assert not select.select([self.client.sock], [], [], 0)[0]
        left = time.perf_counter()
        self.client.reset() if how == "RST" else self.client.close()
        return left

    def check_cut(self, left: float) -> dict[str, Any]:
        """Check that the provider's connection closes immediately, and return the checked line.

        Raises ``Late``, so use it with ``retried_when_late``.
        """
        assert self.cell.sees == "closed by the gateway"
        self.up.closes_within(LIMIT, left)
        return self.check_line()

    def check_line(self) -> dict[str, Any]:
        found = line(self.gateway, self.id)
        self.cell.check_line(found)
        assert (found["api"], found["stream"]) == (self.cell.api, self.cell.stream)
        assert found["lane"] == ("byte" if self.cell.api == self.cell.model_api else "hub")
        return found


@contextlib.contextmanager
def call(
    gateway: Gateway, upstream: Listening, cell: Cell, connect: Callable[[int], Wire] = Wire.connect
) -> Iterator[Call]:
    """Run a call that has reached its provider, until the end of the block."""
    id = new_id()
    with connect(gateway.port) as client:
        client.send(post(PATHS[cell.api], request_body(cell), {"x-request-id": id}))
        with upstream.accept() as up:
            up.read_request()
            yield Call(gateway, cell, id, client, up)


# Clients that do not read


def connect_with_small_buffer(port: int) -> Wire:
    """Return a client's connection with a small receive buffer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.connect(("127.0.0.1", port))
    return Wire(sock)


def fill_buffers(calls: Sequence[Call]) -> dict[str, int]:
    """Send from all providers until every buffer is full, or ``FLOOD`` bytes were sent.

    Return the bytes sent for each call.
    """
    words = {one.up.sock: chunks(*[answer_stream(one.cell.model_api).first] * 500) for one in calls}
    sent = send_until_full(words, lambda: [one.gateway.request("GET", "/healthz") for one in calls[:1]])
    return {one.id: sent[one.up.sock] for one in calls}


def send_until_full(words: Mapping[socket.socket, bytes], idle: Callable[[], object]) -> dict[socket.socket, int]:
    """Send each socket's data repeatedly until all buffers are full, and return the bytes sent by each.

    ``idle`` returns when the gateway has run: the buffers are full if no socket accepts a byte before and after it.
    """
    sent = dict.fromkeys(words, 0)
    left = dict(words)
    for sock in words:
        sock.setblocking(False)
    silences = 0
    while left and silences < 2 and max(sent.values()) < FLOOD:
        ready = select.select([], list(left), [], 0.2)[1]
        silences = 0 if ready else silences + 1
        for sock in ready:
            try:
                size = sock.send(left[sock])
            except OSError:  # the peer has closed it
                del left[sock]
            else:
                left[sock] = left[sock][size:] or words[sock]
                sent[sock] += size
        if not ready:
            idle()
    return sent


# HTTP/2


class H2:
    """A raw HTTP/2 client, by prior knowledge."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.connection.initiate_connection()
        self.events: list[h2.events.Event] = []

    def ask(self, cell: Cell, id: str) -> int:
        stream = self.connection.get_next_available_stream_id()
        _, _, body = post(PATHS[cell.api], request_body(cell)).partition(b"\r\n\r\n")
        head = {":method": "POST", ":path": PATHS[cell.api], ":scheme": "http", ":authority": "gateway"}
        fields = {**head, "content-type": "application/json", "x-request-id": id}
        self.connection.send_headers(stream, list(fields.items()))
        self.connection.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    def reset(self, stream: int) -> None:
        self.connection.reset_stream(stream, ErrorCodes.CANCEL)
        self.flush()

    def flush(self) -> None:
        self.wire.send(self.connection.data_to_send())

    def until(self, stream: int, mark: bytes) -> None:
        """Read until ``stream`` contains ``mark``."""
        while mark not in self.body(stream):
            data = self.wire.sock.recv(65536)
            assert data, self.events
            self.events += self.connection.receive_data(data)
            self.flush()

    def until_reset(self, stream: int) -> None:
        """Read until ``stream`` is reset."""
        while not any(isinstance(one, h2.events.StreamReset) and one.stream_id == stream for one in self.events):
            data = self.wire.sock.recv(65536)
            assert data, self.events
            self.events += self.connection.receive_data(data)

    def body(self, stream: int) -> bytes:
        data = [event for event in self.events if isinstance(event, h2.events.DataReceived)]
        return b"".join(event.data or b"" for event in data if event.stream_id == stream)
