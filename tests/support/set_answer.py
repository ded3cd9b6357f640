"""A provider whose answer to every request is set."""

import contextlib
from collections.abc import Iterator

from tests.support.hostile_bodies import HostileAnswer
from tests.support.http_servers import QuietHandler, http_server


class SetAnswer(QuietHandler):
    """A provider whose answer to everything is ``answer``, with ``status``."""

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


@contextlib.contextmanager
def set_answer_provider() -> Iterator[str]:
    """Run the provider and yield its URL. Afterwards its answer is that of the beginning, for the next test."""
    try:
        with http_server(SetAnswer) as host:
            yield f"http://{host}"
    finally:
        SetAnswer.answer, SetAnswer.status = HostileAnswer(b"{}"), 200
