"""An upload over a separate socket that the test controls."""

import socket
import struct

import trio

from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess
from tests.support.multipart import KIND


class Upload:
    """An upload that its client can stop at any byte."""

    def __init__(self, stream: trio.SocketStream, rest: bytes) -> None:
        self._stream = stream
        self._rest = rest

    @classmethod
    async def begin(
        cls,
        served: InProcess,
        body: bytes,
        size: int,
        length: int | None = None,
        path: str = "/v1/audio/transcriptions",
        **headers: str,
    ) -> "Upload":
        """Send the first ``size`` bytes of ``body``."""
        stream = await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2]))
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in ({"content-type": KIND} | headers).items())
        await stream.send_all(f"{head}content-length: {length or len(body)}\r\n\r\n".encode() + body[:size])
        return cls(stream, body[size:])

    async def answer(self) -> bytes:
        """Return the received data up to the end of the connection or of the answer."""
        data = b""
        with trio.move_on_after(PATIENCE):
            while b"\r\n\r\n" not in data or b"}" not in data:
                if not (more := await self._stream.receive_some()):
                    break
                data += more
        await self._stream.aclose()
        return data

    async def send(self, piece: bytes) -> None:
        await self._stream.send_all(piece)

    async def reset(self) -> None:
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._stream.aclose()

    async def leave(self) -> None:
        await self._stream.aclose()
