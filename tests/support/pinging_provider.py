"""A provider that sends keep-alives in place of an answer."""

import http.server
import threading
from typing import Final

import attrs

INTERVAL: Final = 0.02


@attrs.frozen
class Pings:
    """A response of ``first``, then each 20 ms ``ping``, and after ``pings`` of them ``rest``."""

    kind: str
    first: bytes
    ping: bytes
    pings: int = 10**6
    rest: bytes = b""


class PingingProvider(http.server.ThreadingHTTPServer):
    """A provider with a response for each word of a request's path or body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Responder)
        self.responses: dict[str, Pings] = {}

    def send(self, response: Pings, word: str = "") -> None:
        """Send ``response`` to requests with ``word``."""
        self.responses[word] = response


class _Responder(http.server.BaseHTTPRequestHandler):
    server: PingingProvider

    def do_POST(self) -> None:
        request = self.path.encode() + self.rfile.read(int(self.headers["content-length"]))
        response = next(one for word, one in self.server.responses.items() if word.encode() in request)
        self.send_response(200)
        self.send_header("content-type", response.kind)
        self.end_headers()
        self.wfile.write(response.first)
        interval = threading.Event()
        try:
            for _ in range(response.pings):
                self.wfile.write(response.ping)
                interval.wait(INTERVAL)
            self.wfile.write(response.rest)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        """Log nothing."""
