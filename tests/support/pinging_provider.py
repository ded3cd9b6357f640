"""A provider that sends keep-alives in place of an answer."""

import http.server
import threading
from typing import Final

INTERVAL: Final = 0.02


class PingingProvider(http.server.ThreadingHTTPServer):
    """A provider that sends ``first``, then each 20 ms ``ping``, and after ``pings`` of them ``rest``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Responder)
        self.ended = threading.Event()

    def send(self, kind: str, first: bytes, ping: bytes, pings: int = 10**6, rest: bytes = b"") -> None:
        self.kind, self.first, self.ping, self.pings, self.rest = kind, first, ping, pings, rest


class _Responder(http.server.BaseHTTPRequestHandler):
    server: PingingProvider

    def do_POST(self) -> None:
        provider = self.server
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", provider.kind)
        self.end_headers()
        self.wfile.write(provider.first)
        interval = threading.Event()
        try:
            for _ in range(provider.pings):
                self.wfile.write(provider.ping)
                interval.wait(INTERVAL)
            self.wfile.write(provider.rest)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        """Log nothing."""
