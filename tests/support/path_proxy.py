"""A reverse proxy on a real socket that publishes a server below a path, as a location of nginx does."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from typing import Final

import attrs

_LARGEST_HEAD: Final = 64 * 1024
_DROPPED: Final = re.compile(rb"\r\n(?:host|connection):[^\r\n]*", re.IGNORECASE)
_GONE: Final = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@attrs.define(eq=False)
class PathProxy:
    """A proxy that passes requests below ``path`` to the port ``upstream``, in connections of one request each.

    If it ``strips`` the path, the server sees the rest. Each request elsewhere gets 404, and is in ``outside``."""

    upstream: int
    path: str
    strips: bool
    port: int = 0
    outside: list[str] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        """The external URL of the server."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def serve(self, client: socket.socket) -> None:
        """Handle the connection ``client``."""
        with client, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data and len(data) < _LARGEST_HEAD:
                if not (piece := client.recv(_LARGEST_HEAD)):
                    return
                data += piece
            head, _, rest = data.partition(b"\r\n\r\n")
            method, target, version = head.split(b"\r\n")[0].decode().split(" ")
            below = target.removeprefix(self.path)
            if not target.startswith(self.path) or below[:1] not in ("", "/", "?"):
                self.outside.append(target)
                client.sendall(_GONE)
                return
            if self.strips:
                target = below if below.startswith("/") else f"/{below}"
            lines = head.partition(b"\r\n")[2]
            connection = b"upgrade" if b"\r\nupgrade:" in b"\r\n" + lines.lower() else b"close"
            own = (
                f"{method} {target} {version}\r\nhost: 127.0.0.1:{self.upstream}\r\nconnection: ".encode() + connection
            )
            kept = _DROPPED.sub(b"", b"\r\n" + lines)
            with socket.create_connection(("127.0.0.1", self.upstream)) as server:
                server.sendall(own + kept + b"\r\n\r\n" + rest)
                thread = threading.Thread(target=_copy, args=(client, server), daemon=True)
                thread.start()
                _copy(server, client)
                client.shutdown(socket.SHUT_RDWR)
                thread.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(64 * 1024):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def path_proxy(upstream: int, path: str, *, strips: bool) -> Iterator[PathProxy]:
    """Run a proxy before the port ``upstream`` until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = PathProxy(upstream, path, strips, listener.getsockname()[1])

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=proxy.serve, args=(listener.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
