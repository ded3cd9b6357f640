"""Pictures up, sound and vectors down, far larger than the growth of the gateway (BerriAI/litellm#32386)."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pytest

from tests.support.harness import Gateway, config, free_port, provider, running
from tests.support.multipart import BOUNDARY, KIND, part
from tests.support.processes import resident

pytestmark = [pytest.mark.process, pytest.mark.soak]

BLOCK = bytes(range(256)) * 1024  # 256 KiB
EDITS, SPEECH, EMBEDDINGS = "/v1/images/edits", "/v1/audio/speech", "/v1/embeddings"
VECTOR = b'{"object":"embedding","index":%d,"embedding":[' + b",".join([b"-0.0123456789012"] * 3072) + b"]}"
"""One of the widest vectors, 50 KB."""
SIZE = 24 * 2**20
MOST = 16  # MiB by which the gateway may grow


class MediaProvider:
    """A provider that counts the bytes of pictures, and sends speech or vectors of ``blocks`` blocks."""

    def __init__(self) -> None:
        self.blocks = 1
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            head, _, body = _read_head(sock)
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            length, come = int(fields[b"content-length"]), len(body)
            buffer = bytearray(2**18)
            while come < length and (size := sock.recv_into(buffer)):
                come += size
            if SPEECH.encode() in head:
                self._speak(sock)
            elif EMBEDDINGS.encode() in head:
                self._embed(sock)
            else:
                said = b'{"created":%d,"data":[{"b64_json":"AAAA"}]}' % come
                sock.sendall(_OK % b"application/json" + b"content-length: %d\r\n\r\n" % len(said) + said)

    def _speak(self, sock: socket.socket) -> None:
        sock.sendall(_OK % b"audio/mpeg" + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(self.blocks):
            sock.sendall(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
        sock.sendall(b"0\r\n\r\n")

    def _embed(self, sock: socket.socket) -> None:
        begin, end = b'{"object":"list","data":[', b'],"model":"m-1","usage":{"prompt_tokens":7,"total_tokens":7}}'
        size = len(begin) + len(end) + sum(len(VECTOR % i) + 1 for i in range(self.blocks)) - 1
        sock.sendall(_OK % b"application/json" + b"content-length: %d\r\n\r\n" % size + begin)
        for index in range(self.blocks):
            sock.sendall((b"," if index else b"") + VECTOR % index)
        sock.sendall(end)


_OK = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n"


def _read_head(sock: socket.socket) -> tuple[bytes, bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        assert more, "the peer closed in a head"
        data += more
    return data.partition(b"\r\n\r\n")


@contextlib.contextmanager
def media_gateway() -> Iterator[tuple[Gateway, MediaProvider]]:
    """Run a gateway with one media provider."""
    upstream, port = MediaProvider(), free_port()
    try:
        with running(config([provider("openai/m-1", f"{upstream.url}/v1", name="mine")], port), port) as gateway:
            yield gateway, upstream
    finally:
        upstream.close()


class _Watched:
    """The growth of a gateway while the block runs."""

    def __init__(self, gateway: Gateway) -> None:
        self.most = 0.0
        self._gateway = gateway
        self._ended = threading.Event()

    def __enter__(self) -> "_Watched":
        self._before = resident(self._gateway.pid)
        self._thread = threading.Thread(target=self._measure)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _measure(self) -> None:
        while not self._ended.wait(0.01):
            self.most = max(self.most, resident(self._gateway.pid) - self._before)


def upload(gateway: Gateway, blocks: int, model_first: bool) -> None:
    """Upload a picture of ``blocks`` blocks, with the model before or after it."""
    model, file = part("model", b"mine") + b"\r\n", part("image", b"", "a.png")
    mark = b"--%b\r\n" % BOUNDARY
    before = mark + model + mark + file if model_first else mark + file
    behind = b"\r\n" + (b"" if model_first else mark + model) + b"--%b--\r\n" % BOUNDARY
    length = len(before) + blocks * len(BLOCK) + len(behind)
    with socket.create_connection(("127.0.0.1", gateway.port)) as sock:
        sock.sendall(_request_head(EDITS, KIND, length) + before)
        for _ in range(blocks):
            sock.sendall(BLOCK)
        sock.sendall(behind)
        head, _, _ = _read_head(sock)
        assert head.startswith(b"HTTP/1.1 200 "), head


def download(gateway: Gateway, path: str, body: Mapping[str, Any], least: int) -> None:
    """Download an answer of at least ``least`` bytes."""
    sent = json.dumps({"model": "mine", **body}).encode()
    with socket.create_connection(("127.0.0.1", gateway.port)) as sock:
        sock.sendall(_request_head(path, "application/json", len(sent)) + sent)
        head, _, rest = _read_head(sock)
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert _read_rest(sock, rest) > least


def _read_rest(sock: socket.socket, begun: bytes) -> int:
    """Return the number of bytes to the end of a chunked body, including those in ``begun``."""
    come, end, buffer = len(begun), begun[-5:], bytearray(2**18)
    while not end.endswith(b"0\r\n\r\n") and (size := sock.recv_into(buffer)):
        come += size
        end = (end + bytes(buffer[max(0, size - 5) : size]))[-5:]
    return come


def _request_head(path: str, kind: str, length: int) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "host: x", f"content-type: {kind}", f"content-length: {length}", "", "")
    return "\r\n".join(lines).encode()


def test_bodies_of_any_size_pass_in_bounded_memory():
    with media_gateway() as (gateway, upstream):

        def speak(blocks: int) -> None:
            upstream.blocks = blocks
            download(gateway, SPEECH, {"input": "x", "voice": "alloy"}, blocks * len(BLOCK))

        def embed(count: int) -> None:
            upstream.blocks = count
            download(gateway, EMBEDDINGS, {"input": ["x"] * count}, count * len(VECTOR))

        upload(gateway, 4, model_first=True)  # loads what the first request needs
        speak(4)
        embed(50)
        for name, passage in {
            "model first": partial(upload, gateway, SIZE // len(BLOCK), True),
            "model last": partial(upload, gateway, SIZE // len(BLOCK), False),
            "down": partial(speak, SIZE // len(BLOCK)),
            "vectors": partial(embed, SIZE // len(VECTOR)),
        }.items():
            with _Watched(gateway) as watched:
                passage()
            assert watched.most < MOST, name
