"""A provider on bare sockets that sends anything: good responses, broken ones, and no HTTP at all."""

import gzip
import json
import random
from collections.abc import Mapping
from typing import Any, Final

import attrs
import trio

from tests.support.bare_provider import read_request
from tests.support.raw_call import END, chunks
from tests.support.upstreams import PATHS, Script, render

TEXT: Final = "one two three "
STATUSES: Final = (201, 204, 206, 301, 304, 307, 400, 401, 403, 404, 408, 413, 418, 425, 429, 451, 498, 500, 502, 503,
                   520, 529, 599, 600, 999)  # fmt: skip
WAITS: Final = ("0", "-5", "1e9", "nan", "soon", "Wed, 21 Oct 2055 07:28:00 GMT")
CODINGS: Final = ("br", "zstd", "nope", "gzip, gzip", "deflate", "gzip")
PLACES: Final = ("http://127.0.0.1:1/x", "/x", "//other.example", "javascript:1", "http://[::1")
KINDS: Final = ("text/html", "application/json", "text/event-stream", "", "x/y; charset=nope", "audio/wav")
JUNK: Final = (
    b"data: {\n\n", b"data: null\n\n", b"event: x\ndata: []\n\n", b": c\n\n", b"data:\n\n", b'data: {"type":7}\n\n',
    b'data: {"choices":null}\n\n', b'data: {"choices":[{"delta":null,"index":"x"}]}\n\n',
    b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"no"}}\n\n',
)  # fmt: skip
ERRORS: Final = (b"", b"{", b"null", b'{"error":null}', b'{"error":{"message":["a"],"type":5}}', b"<html>", b"\xff\xfe")
GARBAGE: Final = (b"\x00" * 50, b"HTTP/9.9 200 OK\r\n\r\n", b"hello\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"")
SPACES: Final = gzip.compress(b" " * 2**20)
HUGE: Final = b"x-a: %b\r\n" % (b"a" * 200_000)
MANY: Final = b"x-a: b\r\n" * 3000
DEEP: Final = b"[" * 50_000 + b"]" * 50_000
CHUNKED: Final = b"transfer-encoding: chunked\r\n"
KEPT_OPEN: Final = frozenset((
    "good", "single bytes", "early hints", "compressed", "spaces", "junk events", "other bytes", "another type", "busy",
    "another status", "an error", "a redirect", "deep nesting",
))  # fmt: skip
"""The acts after which the connection can be used again."""


def _head(status: int = 200, *fields: bytes) -> bytes:
    return b"".join((b"HTTP/1.1 %d X\r\n" % status, *fields, b"\r\n"))


def _length_of(body: bytes) -> bytes:
    return b"content-length: %d\r\n" % len(body)


def bytes_of_acts(pieces: list[bytes], kind: str, dice: random.Random) -> Mapping[str, bytes]:
    """Return the bytes of each act for a response of ``pieces`` with the content type ``kind``."""
    pieces = [piece for piece in pieces if piece]  # an empty chunk is the last one
    body, typed = b"".join(pieces), f"content-type: {kind}\r\n".encode()
    chunked = _head(200, typed, CHUNKED)
    whole = chunked + chunks(*pieces) + END
    error, status = dice.choice(ERRORS), dice.choice(STATUSES)
    other_kind = f"content-type: {dice.choice(KINDS)}\r\n".encode()
    coding = f"content-encoding: {dice.choice(CODINGS)}\r\n".encode()
    wait = f"retry-after: {dice.choice(WAITS)}\r\n".encode()
    place = f"location: {dice.choice(PLACES)}\r\n".encode()
    packed = gzip.compress(body)
    return {
        "good": whole,
        "single bytes": chunked + chunks(*(body[at : at + 1] for at in range(len(body)))) + END,
        "early hints": b"HTTP/1.1 103 X\r\nlink: x\r\n\r\n" + whole,
        "compressed": _head(200, typed, b"content-encoding: gzip\r\n", _length_of(packed)) + packed,
        "spaces": _head(200, typed, b"content-encoding: gzip\r\n", _length_of(SPACES)) + SPACES,
        "deep nesting": _head(200, typed, _length_of(DEEP)) + DEEP,
        "junk events": chunked + chunks(*(piece + dice.choice(JUNK) for piece in pieces)) + END,
        "other bytes": whole.replace(b"two", dice.choice((b"\xff\xfe ", b"\x00\x01 ", b"\\u\\"))),
        "another type": _head(200, other_kind, CHUNKED) + chunks(*pieces) + END,
        "another status": _head(status, typed, _length_of(body)) + (b"" if status in (204, 304) else body),
        "an error": _head(dice.choice((200, 400, 429, 500)), other_kind, _length_of(error)) + error,
        "busy": _head(dice.choice((429, 503, 529)), wait, _length_of(b"{}")) + b"{}",
        "a redirect": _head(dice.choice((301, 302, 307, 308)), place, _length_of(b"")),
        "cut": whole[: dice.randrange(len(whole))],
        "stall": whole[: dice.randrange(len(whole))],
        "without a length": _head(200, typed) + body,
        "without a type": _head(200) + body,
        "too short": _head(200, typed, _length_of(body + b"123456789")) + body,
        "too long": _head(200, typed, _length_of(body[:-9])) + body,
        "two lengths": _head(200, typed, _length_of(body), _length_of(body[:-1])) + body,
        "a bad chunk": chunked + dice.choice((b"zz\r\n", b"-1\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"5\r\nabc")),
        "a bad coding": _head(200, typed, coding, CHUNKED) + chunks(*pieces) + END,
        "a huge header": _head(200, HUGE, CHUNKED) + chunks(*pieces) + END,
        "many headers": _head(200, typed, MANY, CHUNKED) + chunks(*pieces) + END,
        "a bad header": _head(200, typed, b"x-\xe9: a\x00b\r\n", CHUNKED) + chunks(*pieces) + END,
        "no http": dice.choice(GARBAGE),
    }


@attrs.define
class HostileWire:
    """The provider; ``dice`` draws its acts, and ``open`` counts its connections."""

    dice: random.Random
    open: int = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        self.open += 1
        try:
            async with stream:
                while request := await read_request(stream):
                    act = self.dice.choice(self._acts)
                    await stream.send_all(bytes_of_acts(*_good_response(request[0], request[2]), self.dice)[act])
                    if act == "stall":
                        await stream.receive_some()
                    if act not in KEPT_OPEN or b"transfer-encoding" in request[1].lower():
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.open -= 1

    _acts: tuple[str, ...] = ("good",) * 10 + tuple(bytes_of_acts([b"{}"], "", random.Random(1)))


def _good_response(path: str, body: bytes) -> tuple[list[bytes], str]:
    """Return the pieces of the response that a request expects, and its content type."""
    path = path.partition("?")[0]
    api = next((api for api, known in PATHS.items() if path.endswith(known.removeprefix("/v1"))), None)
    if api is None:
        members: dict[str, Any] = {
            "id": "file-1",
            "object": "x",
            "data": [{"embedding": [0.1], "index": 0}],
            "text": TEXT,
        }
        return [
            json.dumps({**members, "usage": {"prompt_tokens": 3, "total_tokens": 3}, "results": []}).encode()
        ], "application/json"
    raw = render(Script(text=TEXT * 3), api, {"model": "up", "stream": b'"stream":true' in body.replace(b" ", b"")})
    return list(raw.pieces), dict(raw.headers)["content-type"]
