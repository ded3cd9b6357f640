"""Our pieces of a connection in the place of Hypercorn's. Nothing else of it is changed from outside."""

import hypercorn.protocol
import hypercorn.protocol.h2
import hypercorn.protocol.h11
import hypercorn.trio.run

from gateway.serving.connections import HTTPStream, TCPServer
from gateway.serving.frames import WSStream
from gateway.serving.http1 import H11Protocol
from gateway.serving.http2 import H2Protocol, StreamBuffer
from gateway.serving.idle import Worker


def install() -> None:
    """Put our pieces in Hypercorn's place, for this process. ``serve`` does it; call it for a bare ``hypercorn``."""
    hypercorn.trio.run.WorkerContext = Worker  # type: ignore[attr-defined]
    hypercorn.trio.run.TCPServer = TCPServer  # type: ignore[attr-defined]
    hypercorn.protocol.H11Protocol = H11Protocol  # type: ignore[attr-defined]
    hypercorn.protocol.H2Protocol = H2Protocol  # type: ignore[attr-defined]
    hypercorn.protocol.h11.HTTPStream = HTTPStream  # type: ignore[attr-defined]
    hypercorn.protocol.h2.HTTPStream = HTTPStream  # type: ignore[attr-defined]
    hypercorn.protocol.h11.WSStream = WSStream  # type: ignore[attr-defined]
    hypercorn.protocol.h2.WSStream = WSStream  # type: ignore[attr-defined]
    hypercorn.protocol.h2.StreamBuffer = StreamBuffer  # type: ignore[misc]
