"""A scripted HTTP/2 server on a real socket in the test's process (prior knowledge, RFC 9113 section 3.3)."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import attrs
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trio


@attrs.define(eq=False)
class Http2Peer:
    """The server's side of one connection. ``bodies`` are the received bodies of its streams."""

    stream: trio.abc.Stream
    frames: h2.connection.H2Connection = attrs.field(
        factory=lambda: h2.connection.H2Connection(h2.config.H2Configuration(False, header_encoding="utf-8"))
    )
    writing: trio.Lock = attrs.field(factory=trio.Lock)
    heads: dict[int, dict[str, str]] = attrs.field(factory=dict)
    bodies: dict[int, bytes] = attrs.field(factory=dict)
    resets: list[int] = attrs.field(factory=list)

    async def flush(self) -> None:
        async with self.writing:
            if data := self.frames.data_to_send():
                await self.stream.send_all(data)

    async def head(self, number: int, status: str = "200", **headers: str) -> None:
        self.frames.send_headers(number, [(":status", status), *headers.items()])
        await self.flush()

    async def send(self, number: int, *pieces: bytes, end: bool = False) -> None:
        """Send each piece in a separate frame, all in one write."""
        for piece in pieces:
            self.frames.send_data(number, piece)
        if end:
            self.frames.end_stream(number)
        await self.flush()


AnswersStream = Callable[[Http2Peer, int], Awaitable[None]]
"""Answers the complete request of one stream."""


@contextlib.asynccontextmanager
async def http2_server(answer: AnswersStream, streams: int = 1000) -> AsyncIterator[tuple[str, list[Http2Peer]]]:
    """Yield the URL and the list of connections. Each allows ``streams`` simultaneous streams."""
    peers: list[Http2Peer] = []
    async with trio.open_nursery() as nursery:
        serve = partial(_serve, answer, streams, peers)
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}", peers
        nursery.cancel_scope.cancel()


async def _serve(answer: AnswersStream, streams: int, peers: list[Http2Peer], stream: trio.SocketStream) -> None:
    peer = Http2Peer(stream)
    peers.append(peer)
    peer.frames.local_settings = h2.settings.Settings(
        client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: streams}
    )
    peer.frames.initiate_connection()
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async with stream, trio.open_nursery() as nursery:
            await peer.flush()
            async for data in stream:
                for event in _parse_events(peer, data):
                    if _process_event(peer, event):
                        nursery.start_soon(answer, peer, event.stream_id)
                await peer.flush()
            nursery.cancel_scope.cancel()


def _parse_events(peer: Http2Peer, data: bytes) -> list[h2.events.Event]:
    """Return the events in ``data``, or none if the client sends after the server left."""
    try:
        return peer.frames.receive_data(data)
    except h2.exceptions.ProtocolError:
        return []


def _process_event(peer: Http2Peer, event: h2.events.Event) -> bool:
    """Process an event. Return whether a request is complete."""
    match event:
        case h2.events.RequestReceived():
            peer.heads[event.stream_id] = dict(event.headers)
            peer.bodies[event.stream_id] = b""
        case h2.events.DataReceived():
            peer.bodies[event.stream_id] += event.data
            peer.frames.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        case h2.events.StreamReset():
            peer.resets.append(event.stream_id)
    return isinstance(event, h2.events.StreamEnded)
