"""Gateways with different settings that run simultaneously and get the same requests in turns."""

import contextlib
import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from peer import HEAD, is_whole
from servers import cpu, free_port, on_core, running, wait_for

PAUSE: Final = 0.02
"""Seconds in which a gateway settles its last exchange."""


class Server(NamedTuple):
    """A gateway, and a connection to it."""

    pid: int
    client: socket.socket


class Round(NamedTuple):
    """The requests of one round: those before the measurement, and the measured ones."""

    before: Sequence[bytes]
    measured: Sequence[bytes]


# The provider and the client


@contextlib.contextmanager
def provider(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Run a provider that calls ``serve`` for each connection, in a thread of its own. Yield its port."""

    def accept() -> None:
        while True:
            with contextlib.suppress(OSError):
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield int(listener.getsockname()[1])


def whole_answer(body: Any) -> bytes:
    """Return the HTTP response with ``body`` as JSON."""
    data = json.dumps(body).encode()
    return HEAD % b"application/json" + b"content-length: %d\r\n\r\n%b" % (len(data), data)


def read_message(connection: socket.socket) -> bytes | None:
    """Return the next request or response, ``None`` at the end of the connection."""
    data = bytearray()
    while not is_whole(data):
        if not (piece := connection.recv(2**20)):
            return None
        data += piece
    return bytes(data)


def post(client: socket.socket, path: str, body: bytes) -> bytes:
    """Send a request, and return the successful response."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nanthropic-version: 2023-06-01\r\n"
    client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    response = read_message(client)
    if response is None or not response.startswith(b"HTTP/1.1 200"):
        sys.exit(f"the gateway failed: {response and response[:500]!r}")
    return response


# The gateways


@contextlib.contextmanager
def gateway(config: str) -> Iterator[Server]:
    """Run a gateway with ``config``, which has ``{port}`` for its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder) / "trigate.yaml", Path(folder) / "log"
        file.write_text(config.replace("{port}", str(port)))
        command = on_core(0, [sys.executable, "-m", "gateway", "serve", str(file), "--workers", "1"])
        with running(command, log) as process:
            wait_for(port, process, log)
            with socket.create_connection(("127.0.0.1", port)) as client:
                yield Server(process.pid, client)


def measure(
    servers: Mapping[str, Server], rounds: int, next_round: Callable[[], Round], send: Callable[[str, bytes], object]
) -> dict[str, list[float]]:
    """Return the CPU milliseconds of a request in each round, by the name of the server.

    ``send`` sends a request to the server with a name."""
    times: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(rounds + 1):
        before, measured = next_round()
        for name in servers if number % 2 else reversed(list(servers)):
            for request in before:
                send(name, request)
            time.sleep(PAUSE)
            started = cpu(servers[name].pid)
            for request in measured:
                send(name, request)
            time.sleep(PAUSE)
            if number:  # the first round warms up
                times[name].append((cpu(servers[name].pid) - started) / len(measured) * 1000)
    return times
