"""Parts of a provider on bare sockets: a listener, a reader of whole requests, and responses as bytes."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import trio


@contextlib.asynccontextmanager
async def listening(serve: Callable[[trio.SocketStream], Awaitable[object]]) -> AsyncIterator[str]:
    """Serve connections to a port of 127.0.0.1 until the end of the block, and yield the port's URL."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.SocketStream) -> tuple[str, bytes, bytes] | None:
    """Return path, head and body of the next request, or ``None`` if the client closes the connection."""
    data = b""
    while chunk := await stream.receive_some():
        data += chunk
        head, found, body = data.partition(b"\r\n\r\n")
        lengths = (line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if found and len(body) >= int(next(lengths, b"0")):
            return head.split()[1].decode(), head, body
    return None


def head(status: int, *headers: tuple[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode()


def response(status: int, body: bytes, kind: str = "application/json", *headers: tuple[str, str]) -> bytes:
    return head(status, *headers, ("content-type", kind), ("content-length", str(len(body)))) + body
