"""Pictures up, sound and vectors down, far larger than the growth of the gateway (BerriAI/litellm#32386)."""

import contextlib
import http.client
import itertools
import json
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pytest

from tests.support.harness import PATIENCE, Gateway, config, provider, running
from tests.support.http_servers import QuietHandler, http_server
from tests.support.multipart import BOUNDARY, KIND, part
from tests.support.processes import resident

pytestmark = [pytest.mark.process, pytest.mark.soak]

BLOCK = bytes(range(256)) * 1024  # 256 KiB
EDITS, SPEECH, EMBEDDINGS = "/v1/images/edits", "/v1/audio/speech", "/v1/embeddings"
VECTOR = b'{"object":"embedding","index":%d,"embedding":[' + b",".join([b"-0.0123456789012"] * 3072) + b"]}"
"""One of the widest vectors, 50 KB."""
SIZE = 24 * 2**20
MOST = 16  # MiB by which the gateway may grow


class MediaProvider(QuietHandler):
    """A provider that counts the bytes of pictures, and sends speech or vectors of ``blocks`` blocks."""

    blocks = 1

    def do_POST(self) -> None:
        come, length = 0, int(self.headers["content-length"])
        while come < length and (data := self.rfile.read1(2**18)):
            come += len(data)
        if self.path == SPEECH:
            self._send("audio/mpeg", itertools.repeat(BLOCK, self.blocks), chunked=True)
        elif self.path == EMBEDDINGS:
            begin, end = b'{"object":"list","data":[', b'],"model":"m-1","usage":{"prompt_tokens":7,"total_tokens":7}}'
            vectors = [(b"," if index else b"") + VECTOR % index for index in range(self.blocks)]
            self._send("application/json", [begin, *vectors, end])
        else:
            self.respond(200, b'{"created":%d,"data":[{"b64_json":"AAAA"}]}' % come)

    def _send(self, kind: str, pieces: Iterable[bytes], chunked: bool = False) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        if chunked:
            self.send_header("transfer-encoding", "chunked")
            pieces = itertools.chain((b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), [b"0\r\n\r\n"])
        else:
            pieces = list(pieces)
            self.send_header("content-length", str(sum(map(len, pieces))))
        self.end_headers()
        self.wfile.writelines(pieces)


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


def ask(gateway: Gateway, path: str, body: Any, kind: str = "application/json", **headers: str) -> int:
    """Send a request, and return the number of bytes of its answer."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)) as connection:
        connection.request("POST", path, body, {"content-type": kind, **headers})
        response = connection.getresponse()
        assert response.status == 200
        return sum(map(len, iter(lambda: response.read1(2**18), b"")))


def upload(gateway: Gateway, blocks: int, model_first: bool) -> None:
    """Upload a picture of ``blocks`` blocks, with the model before or after it."""
    model, file = part("model", b"mine") + b"\r\n", part("image", b"", "a.png")
    mark = b"--%b\r\n" % BOUNDARY
    before = mark + model + mark + file if model_first else mark + file
    behind = b"\r\n" + (b"" if model_first else mark + model) + b"--%b--\r\n" % BOUNDARY
    length = len(before) + blocks * len(BLOCK) + len(behind)
    pieces = itertools.chain([before], itertools.repeat(BLOCK, blocks), [behind])
    ask(gateway, EDITS, pieces, KIND, **{"content-length": str(length)})


def download(gateway: Gateway, path: str, body: Mapping[str, Any], least: int) -> None:
    """Download an answer of at least ``least`` bytes."""
    assert ask(gateway, path, json.dumps({"model": "mine", **body})) > least


def test_bodies_of_any_size_pass_in_bounded_memory():
    with (
        http_server(MediaProvider) as host,
        running(config([provider("openai/m-1", f"http://{host}/v1", name="mine")])) as gateway,
    ):

        def speak(blocks: int) -> None:
            MediaProvider.blocks = blocks
            download(gateway, SPEECH, {"input": "x", "voice": "alloy"}, blocks * len(BLOCK) - 1)

        def embed(count: int) -> None:
            MediaProvider.blocks = count
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
