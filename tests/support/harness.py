"""The real gateway process, and raw tools to observe it from outside."""

import contextlib
import functools
import http.client
import inspect
import itertools
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import yaml

from tests.support.repository import ROOT
from tests.support.warm_start import Forked, forked_with_output

START_SECONDS = 60.0
STOP_SECONDS = 15.0  # shorter than the 25 of a drain, which only a stuck gateway needs
DUMPER: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The dumper in C, if PyYAML has it: it takes a tenth of the time."""
PATIENCE = 30.0
"""The timeout in seconds for events that must happen immediately. Only failing tests wait for it."""
ATTEMPTS = 10


class Late(AssertionError):
    """The expected event happened too late."""


def retried_when_late(test: Callable[..., Any]) -> Callable[..., Any]:
    """Repeat a timing test while it raises ``Late``, up to ``ATTEMPTS`` times.

    Other load can delay some attempts, but a real delay fails all of them.
    """

    @functools.wraps(test)
    def repeat_if_late(*args: Any, **fixtures: Any) -> None:
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(Late):
                return test(*args, **fixtures)
        return test(*args, **fixtures)

    @functools.wraps(test)
    async def repeat_async_if_late(*args: Any, **fixtures: Any) -> None:
        for _ in range(ATTEMPTS - 1):
            try:
                return await test(*args, **fixtures)
            except* Late:  # nurseries wrap it into a group
                pass
        return await test(*args, **fixtures)

    return repeat_async_if_late if inspect.iscoroutinefunction(test) else repeat_if_late


def _own_ports() -> Iterator[int]:
    """Yield ports below the ephemeral range, so that no other program gets one by chance while a gateway starts.

    Each process of a parallel run has its own ports.
    """
    place, step = os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:], os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    ports = range(20_000 + int(place), 32_768, int(step))
    begin = random.SystemRandom().randrange(len(ports))  # another test run may use the machine
    return itertools.cycle([*ports[begin:], *ports[:begin]])


_ports = _own_ports()


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now and is not reused soon."""
    return next(filter(port_is_free, _ports))


@contextlib.contextmanager
def refusing_port(port: int = 0) -> Iterator[int]:
    """Yield a port of 127.0.0.1 that refuses connections, and that no other program can bind.

    It is ``port``, whose server must have closed its listener, or any free one.
    """
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, bool(port))  # connections of that server may linger
        taken.bind(("127.0.0.1", port))
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        yield int(taken.getsockname()[1])


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def eventually(condition: Callable[[], Any], seconds: float = PATIENCE, what: str = "the condition") -> Any:
    """Return the first true value of ``condition``. Fails the test after ``seconds``.

    The condition is checked every 5 ms, and less often the longer it takes: to check it may be a request.
    """
    began = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - began
        assert waited < seconds, f"{what} did not come true within {seconds} s"
        time.sleep(min(max(0.005, waited / 20), 0.1))
    return value


def provider(model: str, url: str, speaks: Sequence[str] = (), key: str = "sk-upstream", **more: Any) -> dict[str, Any]:
    """Return one entry of ``model_providers``."""
    entry: dict[str, Any] = {"model": model, "access_key": key, "base_url": url, **more}
    if speaks:
        entry["speaks"] = list(speaks)
    return entry


def config(providers: Sequence[Mapping[str, Any]], port: int = 0, **more: Any) -> dict[str, Any]:
    """Return a configuration.

    ``listener`` in ``more`` adds keys to the listener. A free port replaces the port 0 later.
    """
    listener = {"type": "model", "name": "egress", "port": port, **more.pop("listener", {})}
    return {"version": "v0.3.0", "listeners": [listener], "model_providers": list(providers), **more}


def with_ports(settings: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return ``settings`` with a free port for each listener that has the port 0, and the first listener's port."""
    listeners = [{**one, "port": one["port"] or free_port()} for one in settings["listeners"]]
    return {**settings, "listeners": listeners}, listeners[0]["port"]


def exchanges(log: Sequence[str], request_id: str = "") -> list[dict[str, Any]]:
    """Return the ledger's lines in ``log`` so far, or those of one request."""
    found = [json.loads(line) for line in list(log) if line.startswith('{"event":"exchange"') and request_id in line]
    return [line for line in found if request_id in ("", line["request_id"])]


@attrs.frozen
class Gateway:
    """A running gateway.

    ``log`` receives its standard output and error, line by line. ``pid`` is the id of its process, if it has one.
    """

    port: int
    pid: int | None
    log: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> "Reply":
        """Send one request on its own connection. ``body`` is bytes, or a value to encode as JSON."""
        return request(self.url, method, path, body, headers)

    def stop(self) -> None:
        """Begin the drain, by SIGTERM."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGTERM)

    def has_ended(self) -> bool:
        """Return true once the process has exited, even before its status is read."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@attrs.frozen
class Reply:
    """A complete response. ``cut`` means that the body broke off. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[tuple[str, Any]]:
        """Return the server-sent events of the body: their names and their data, decoded if it is JSON."""
        found = []
        for raw in self.body.decode().replace("\r\n", "\n").split("\n\n"):
            lines = raw.split("\n")
            name = next((line[6:].strip() for line in lines if line.startswith("event:")), "")
            data = "\n".join(line[5:].removeprefix(" ") for line in lines if line.startswith("data:"))
            if data:
                found.append((name, json.loads(data) if data[0] in "{[" and data != "[DONE]" else data))
        return found


def request(
    url: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 30
) -> Reply:
    parts = urlsplit(url)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    sent = {"content-type": "application/json"} if data is not None else {}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request(method, path, data, {**sent, **(headers or {})})
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        try:
            return Reply(response.status, named, response.read())
        except http.client.IncompleteRead as broken:
            return Reply(response.status, named, broken.partial, cut=True)
    finally:
        connection.close()


MESSAGES_TYPES = {
    400: "invalid_request_error", 402: "billing_error", 404: "not_found_error", 405: "invalid_request_error",
    413: "request_too_large", 422: "invalid_request_error", 426: "invalid_request_error", 429: "rate_limit_error",
    500: "api_error", 502: "api_error", 503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip


def complaint(api: str, reply: Reply, status: int, passed: bool = False) -> dict[str, Any]:
    """Return the error object of ``reply``, after a check of everything that the API's SDKs need.

    ``passed`` allows the provider's own error body, which may be incomplete.
    """
    assert reply.status == status, reply.body[:500]
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    error: dict[str, Any] = reply.json["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    if api == "messages":
        assert reply.headers["request-id"] == reply.headers["x-request-id"]
        assert reply.json["type"] == "error"
        assert error["type"] == MESSAGES_TYPES[status]
    if not passed and api == "messages":
        assert reply.json["request_id"] == reply.headers["request-id"]
    elif not passed and api == "interactions":
        assert set(reply.json) == {"error"}
        assert set(error) == {"code", "message"}
    elif not passed:
        assert set(reply.json) == {"error"}
        assert set(error) == {"message", "type", "param", "code"}
        assert not re.fullmatch(r"\d+", error["code"] or "")
    return error


@contextlib.contextmanager
def config_file(settings: Mapping[str, Any] | Path, port: int) -> Iterator[tuple[Path, int]]:
    """Yield the file of ``settings``, which may be one that listens at ``port``, and the port of its first listener."""
    if isinstance(settings, Path):
        assert port, "a file does not say where it listens"
        yield settings, port
        return
    with tempfile.TemporaryDirectory() as folder:
        content, port = with_ports(settings)
        file = Path(folder) / "config.yaml"
        file.write_text(yaml.dump(content, Dumper=DUMPER, sort_keys=False))
        yield file, port


@contextlib.contextmanager
def running(
    settings: Mapping[str, Any] | Path, port: int = 0, *args: str, awaited: str = "/readyz"
) -> Iterator[Gateway]:
    """Run ``trigate serve`` with ``settings`` (a mapping or a file) until the end of the block.

    ``port`` is that of a file. The block begins after the first good response at ``awaited``. SIGTERM ends the
    process, which must exit with status 0.
    """
    with config_file(settings, port) as (file, port):
        process, said = forked_with_output(["serve", str(file), *args], ROOT, _environment())
        log: list[str] = []
        reader = threading.Thread(target=_collect, args=(said, log))
        reader.start()
        try:
            _wait_until_ready(process, port, log, awaited)
            yield Gateway(port, process.pid, log)
            status = _stop(process)
            assert status == 0, f"the gateway left with status {status}:\n" + "\n".join(log[-40:])
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            reader.join()
            said.close()


def _environment() -> dict[str, str]:
    """Return this process's environment without proxies, and without a setting that makes each start compile all
    modules."""
    unwanted = ("_proxy", "pythondontwritebytecode")
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith(unwanted)}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def _collect(lines: Iterable[str], log: list[str]) -> None:
    for line in lines:
        log.append(line.rstrip("\n"))  # noqa: PERF401  # each line must be available immediately


def _wait_until_ready(process: Forked, port: int, log: list[str], path: str) -> None:
    def ready() -> bool:
        assert process.poll() is None, "the gateway ended before it was ready:\n" + "\n".join(log[-40:])
        try:
            return request(f"http://127.0.0.1:{port}", "GET", path, timeout=5).status == 200
        except (OSError, http.client.HTTPException):
            return False

    eventually(ready, START_SECONDS, f"GET {path}")


def _stop(process: Forked) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the gateway was still there {STOP_SECONDS} s after SIGTERM") from None


class Wire:
    """A socket with a deadline on everything, from either side of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.received = b""

    @classmethod
    def connect(cls, port: int) -> "Wire":
        return cls(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read_until(self, mark: bytes) -> bytes:
        """Return all received data as soon as it contains ``mark``."""
        deadline = time.monotonic() + 4 * PATIENCE
        while mark not in self.received:
            assert time.monotonic() < deadline, f"no {mark!r} came; the last was {self.received[-500:]!r}"
            data = self.sock.recv(65536)
            assert data, f"the peer closed before {mark!r}; it sent {self.received[-500:]!r}"
            self.received += data
        return self.received

    def read_request(self) -> bytes:
        """Return the body of one whole request with a ``content-length``."""
        head, _, body = self.read_until(b"\r\n\r\n").partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", b"0"))
        while len(body) < length:
            data = self.sock.recv(65536)
            assert data, "the peer closed inside its request"
            body += data
        self.received = b""
        return body

    def read_to_end(self) -> bytes:
        """Return all data until the peer closes or resets the connection."""
        with contextlib.suppress(ConnectionResetError):
            while data := self.sock.recv(65536):
                self.received += data
        return self.received

    def closed_after(self, since: float, limit: float = PATIENCE) -> float:
        """Return the seconds from ``since`` (``time.perf_counter``) until the peer's close or reset is visible."""
        self.sock.settimeout(limit)
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise AssertionError(f"the connection was still open after {limit} s") from None
        return time.perf_counter() - since

    def closes_within(self, seconds: float, since: float) -> None:
        """Raise ``Late`` if the peer's close or reset is visible later than ``seconds`` after ``since``."""
        if (took := self.closed_after(since)) >= seconds:
            raise Late(f"the connection was closed {took:.3f} s later")

    def close(self) -> None:
        """Close with FIN."""
        self.sock.close()

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


class Listening:
    """A listening socket, with which a test plays the provider by hand."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.sock.settimeout(PATIENCE)
        self.port = int(self.sock.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def accept(self) -> Wire:
        return Wire(self.sock.accept()[0])

    def __enter__(self) -> "Listening":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def post(path: str, body: Any, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a POST request as bytes for ``Wire.send``."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {
        "host": "gateway",
        "content-type": "application/json",
        "content-length": str(len(data)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + data
