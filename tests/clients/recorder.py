"""A proxy between the clients and the gateway that records the messages of both."""

import contextlib
import http.client
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

HOP_BY_HOP = ("connection", "transfer-encoding", "keep-alive", "content-length")


@attrs.define
class Exchange:
    """A request and its response; ``sent`` and ``told`` are the messages of both sides of a websocket."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    status: int = 0
    answer: bytes = b""
    answer_headers: list[tuple[str, str]] = attrs.field(factory=list)
    sent: list[str] = attrs.field(factory=list)
    told: list[str] = attrs.field(factory=list)


class Recorder:
    """A proxy at ``url`` with the ``exchanges`` so far, in the order in which requests arrived."""

    def __init__(self, port: int, target: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.target = target
        self.exchanges: list[Exchange] = []

    def rows(self) -> list[dict[str, Any]]:
        """Return the exchanges since the last clearing of ``exchanges``, with bodies as texts."""
        rows: list[dict[str, Any]] = []
        for one in self.exchanges:
            row = attrs.asdict(one)
            row |= {name: row[name].decode("utf-8", "surrogateescape") for name in ("body", "answer")}
            rows.append(row)
        return rows

    def write(self, file: Path) -> None:
        """Write ``rows`` as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.rows(), indent=1))


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    recorder: Recorder

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        exchange = Exchange(self.command, self.path, list(self.headers.items()), body)
        self.recorder.exchanges.append(exchange)
        if self.headers.get("upgrade", "").lower() == "websocket":
            self._tunnel(exchange)
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.recorder.target, timeout=120)
        try:
            headers = {name: value for name, value in exchange.headers if name.lower() not in HOP_BY_HOP}
            upstream.request(self.command, self.path, body or None, headers)
            with upstream.getresponse() as response:
                self._answer(exchange, response)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
        finally:
            upstream.close()

    do_GET = do_POST = do_HEAD = do_DELETE = _pass_on

    def _answer(self, exchange: Exchange, response: http.client.HTTPResponse) -> None:
        exchange.status, exchange.answer_headers = response.status, response.getheaders()
        self.send_response_only(response.status)
        for name, value in exchange.answer_headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        bodiless = self.command == "HEAD" or response.status in (204, 304)
        if not bodiless:
            self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while not bodiless and (data := response.read1()):
            exchange.answer += data
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        if not bodiless:
            self.wfile.write(b"0\r\n\r\n")

    def _tunnel(self, exchange: Exchange) -> None:
        """Copy bytes in both directions, without the protocol's extensions, so that frames are readable."""
        self.close_connection = True
        with socket.create_connection(("127.0.0.1", self.recorder.target), timeout=120) as upstream:
            fields = [(name, value) for name, value in exchange.headers if name.lower() != "sec-websocket-extensions"]
            head = "".join(f"{name}: {value}\r\n" for name, value in fields)
            upstream.sendall(f"{exchange.method} {exchange.path} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
            there = upstream.makefile("rb", buffering=0)
            answer = b""
            while not answer.endswith(b"\r\n\r\n") and (byte := there.read(1)):
                answer += byte
            self.wfile.write(answer)
            exchange.status = int(answer.split(b" ", 2)[1])
            back = threading.Thread(
                target=_copy, args=(upstream, self.connection, exchange.told, ConnectionType.CLIENT)
            )
            back.start()
            _copy(self.connection, upstream, exchange.sent, ConnectionType.SERVER)
            back.join()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def _copy(source: socket.socket, target: socket.socket, texts: list[str], side: ConnectionType) -> None:
    """Copy bytes until one side closes; ``texts`` gets the messages of ``source``."""
    reader, partial = Connection(side), ""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
            reader.receive_data(data)
            for event in reader.events():
                if isinstance(event, TextMessage):
                    partial += event.data
                    if event.message_finished:
                        texts.append(partial)
                        partial = ""
    for sock in (source, target):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: a program may disconnect early."""


@contextlib.contextmanager
def recording(target: int) -> Iterator[Recorder]:
    """Run a ``Recorder`` in front of the gateway on port ``target``."""
    with _Server(("127.0.0.1", 0), _Connection) as server:
        recorder = Recorder(server.server_address[1], target)
        server.RequestHandlerClass = type("_Bound", (_Connection,), {"recorder": recorder})
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join()
