"""A provider whose answer to every request is set."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.hostile_bodies import HostileAnswer


class SetAnswer(BaseHTTPRequestHandler):
    """A provider whose answer to everything is ``answer``, with ``status``."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    answer = HostileAnswer(b"{}")
    status = 200

    def _answer_request(self) -> None:
        self._read_body()
        answer = type(self).answer
        self.send_response(type(self).status)
        self.send_header("content-type", answer.content_type)
        if answer.coding:
            self.send_header("content-encoding", answer.coding)
        self.send_header("content-length", str(len(answer.data)))
        self.end_headers()
        try:
            self.wfile.write(answer.data)
        except OSError:  # the gateway has seen enough
            self.close_connection = True

    def _read_body(self) -> None:
        if self.headers.get("transfer-encoding", "") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("content-length", "0")))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer_request

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def set_answer_provider() -> Iterator[str]:
    """Run the provider and yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SetAnswer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
