"""Decodes compressed responses piece by piece (RFC 9110, section 8.4). Requests ask for ``identity``, but some proxies
and providers compress anyway."""

import math
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from typing import Final

import trio

from gateway.http.codings import DECODERS, Decoder
from gateway.upstream.errors import UpstreamError, failure
from gateway.upstream.http11 import BodySource

MOST: Final = 5  # nested codings
RATIO: Final = 100
"""The maximum compression ratio beyond the first ``UNFOLDED`` bytes. Answers compress by a factor of three to forty."""
UNFOLDED: Final = 4 * 2**20
"""Bytes to which any response may decompress."""
UNFOLDED_LINES: Final = 50_000
"""Lines that any response may have. Beyond them it has at most as many as compressed bytes: each may be an event, whose
work does not shrink with compression. Real streams have a third of that."""

UNWARRANTED = "the provider's compressed response has far more content than its size explains"
UNREADABLE_CODING = "the provider's response has the unsupported content-encoding {!r}"


def content_codings(headers: Iterable[tuple[str, str]]) -> list[str]:
    """Return the content codings in the order in which they were applied."""
    found = [value for name, value in headers if name == "content-encoding"]
    words = ",".join(found).lower().split(",") if found else ()
    return [word for word in map(str.strip, words) if word not in ("", "identity")] if words else []


async def decode(raw: BodySource, applied: Sequence[str]) -> AsyncGenerator[bytes, None]:
    """Yield ``raw`` without the codings ``applied``. Raises ``UpstreamError``."""
    for coding in applied:
        if coding not in DECODERS:
            raise UpstreamError("upstream", UNREADABLE_CODING.format(coding[:20]), cause="encoding")
    if len(applied) > MOST:
        raise failure("encoding")
    decoders = [DECODERS[coding](math.inf) for coding in reversed(applied)]
    received = size = lines = 0
    try:
        while data := await raw.read():
            received += len(data)
            for piece in _decode_all(decoders, data):
                if piece:
                    size += len(piece)
                    lines += piece.count(b"\n") + piece.count(b"\r")
                    if size > max(UNFOLDED, RATIO * received) or lines > max(UNFOLDED_LINES, received):
                        raise UpstreamError("upstream", UNWARRANTED, cause="encoding")
                    yield piece
                else:
                    await trio.lowlevel.checkpoint()  # a few bytes may decode to megabytes, at each coding
        for decoder in decoders:
            decoder.finish()
    except ValueError as error:
        raise failure("encoding") from error


def _decode_all(decoders: Sequence[Decoder], data: bytes) -> Iterator[bytes]:
    """Yield ``data`` without its codings, and ``b""`` after each piece of a coding."""
    if not decoders:
        yield data
        return
    for piece in decoders[0].feed(data):
        yield from _decode_all(decoders[1:], piece)
        yield b""
