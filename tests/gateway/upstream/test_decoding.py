"""Content codings that are decoded in pieces, wherever the network splits them."""

import gzip
import importlib
import random
import struct
import zlib
from collections.abc import Callable

import pytest
import trio

from gateway.http.codings import DECODERS, PIECE
from gateway.upstream.decoding import UNFOLDED, UNFOLDED_LINES, decode
from gateway.upstream.errors import UpstreamError

BODY = b"hello " * 1000 + bytes(3 * PIECE)


def packed_by(*modules: str) -> Callable[[bytes], bytes] | None:
    """Return the function that compresses, from the first of ``modules`` that is installed."""
    for name in modules:
        try:
            return importlib.import_module(name).compress
        except ImportError:
            continue
    return None


ENCODERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": packed_by("compression.zstd", "backports.zstd"),
    "br": packed_by("brotli"),
}
NEEDED = {"zstd": "Python 3.14 or backports.zstd", "br": "brotli >= 1.2"}


def needs(coding: str) -> pytest.MarkDecorator:
    is_missing = ENCODERS[coding] is None or coding not in DECODERS
    return pytest.mark.skipif(is_missing, reason=f"needs {NEEDED.get(coding)}")


CODINGS = [pytest.param(coding, marks=needs(coding)) for coding in ENCODERS]


class Reads:
    """A body that arrives in reads of ``size`` bytes."""

    def __init__(self, data: bytes, size: int) -> None:
        self._reads = [data[at : at + size] for at in range(0, len(data), size)]

    async def read(self) -> bytes:
        return self._reads.pop(0) if self._reads else b""


async def taken_off(codings: list[str], data: bytes, size: int = 1000) -> list[bytes]:
    return [piece async for piece in decode(Reads(data, size), codings)]


@pytest.mark.parametrize("size", [1, 1000, 10**9])
@pytest.mark.parametrize("coding", CODINGS)
async def test_a_coding_is_decoded_in_bounded_pieces(coding, size):
    pieces = await taken_off([coding], ENCODERS[coding](BODY), size)
    assert b"".join(pieces) == BODY
    assert max(map(len, pieces)) <= PIECE


@pytest.mark.parametrize("coding", CODINGS)
async def test_data_in_another_coding_is_an_error(coding):
    with pytest.raises(UpstreamError) as caught:
        await taken_off([coding], b"this is no such coding at all")
    assert caught.value.cause == "encoding"


@needs("zstd")
async def test_several_frames_of_zstd_are_one_body_and_half_a_frame_is_none():
    pack = ENCODERS["zstd"]
    assert b"".join(await taken_off(["zstd"], pack(b"a") + pack(b"b"))) == b"ab"
    with pytest.raises(UpstreamError):
        await taken_off(["zstd"], pack(BODY)[:-1])


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(
    ("content", "repeated", "most"),
    [(b" ", 16 * UNFOLDED, UNFOLDED), (b":\n\n", 2 * UNFOLDED_LINES, 3 * UNFOLDED_LINES)],
)
async def test_a_few_bytes_decode_to_no_endless_work(coding, content, repeated, most):
    """A gateway that reads a thousand lines for each byte of a provider would have no time for others (CWE-409)."""
    found: list[int] = []

    async def read_sizes() -> None:
        async for piece in decode(Reads(ENCODERS[coding](content * repeated), 1000), [coding]):
            found.append(len(piece))  # noqa: PERF401

    with pytest.raises(UpstreamError) as caught:
        await read_sizes()
    assert caught.value.cause == "encoding"
    assert 0 < sum(found) <= most


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("content", [b" " * (UNFOLDED - 1), b"\r\n" * (UNFOLDED_LINES // 2)])
async def test_short_content_may_compress_by_any_ratio(coding, content):
    assert b"".join(await taken_off([coding], ENCODERS[coding](content))) == content


async def test_a_long_stream_of_many_lines_is_read_to_its_end():
    dice = random.Random(1)
    events = (
        b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % dice.randrange(10**9) for _ in range(UNFOLDED_LINES)
    )
    content = b"".join(events)
    assert b"".join(await taken_off(["gzip"], gzip.compress(content))) == content


@pytest.mark.parametrize("size", [1, 7, 10**9])
async def test_several_members_of_gzip_are_one_body_whose_padding_is_ignored(size):
    """RFC 1952, section 2.2, and the zeros that ``gzip`` ignores; RFC 9110, section 8.4.1.3: ``x-gzip`` is the same."""
    members = [gzip.compress(part) for part in (b"first ", b"", BODY, b" last")]
    for coding in ("gzip", "x-gzip"):
        assert b"".join(await taken_off([coding], b"".join(members) + bytes(512), size)) == b"first " + BODY + b" last"
    with pytest.raises(UpstreamError):
        await taken_off(["gzip"], members[0] + b"\x1fno member", size)


@pytest.mark.parametrize("coding", CODINGS)
async def test_data_that_breaks_off_is_an_error(coding):
    """Only the coding shows it for media and files: the half body may be complete HTTP."""
    data = ENCODERS[coding](BODY)
    for end in (1, len(data) // 2, len(data) - 1):
        with pytest.raises(UpstreamError) as caught:
            await taken_off([coding], data[:end])
        assert caught.value.cause == "encoding"
    assert await taken_off([coding], b"") == []


FLUSHERS = {
    "gzip": lambda: zlib.compressobj(wbits=31),
    "deflate": zlib.compressobj,
    "br": lambda: importlib.import_module("brotli").Compressor(),
}


@pytest.mark.parametrize("size", [1, 10**9])
@pytest.mark.parametrize("coding", [pytest.param(coding, marks=needs(coding)) for coding in FLUSHERS])
async def test_data_may_end_after_a_flush(coding, size):
    """Some servers flush each event of a stream, and never write the end."""
    packer, events = FLUSHERS[coding](), [b"data: %d\n\n" % number for number in range(20)]
    if coding == "br":
        flushed = b"".join(packer.process(event) + packer.flush() for event in events)
    else:
        flushed = b"".join(packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in events)
    assert b"".join(await taken_off([coding], flushed, size)) == b"".join(events)
    with pytest.raises(UpstreamError):
        await taken_off([coding], flushed[:-1], size)


def test_gzip_and_deflate_are_always_there():
    assert {"gzip", "deflate"} <= set(DECODERS)


async def test_others_run_while_a_coding_hides_megabytes_in_its_head(nursery):
    """A gzip stream may begin with a long file name, which is not content (RFC 1952, section 2.3)."""
    end = struct.pack("<II", zlib.crc32(BODY), len(BODY))
    inner = b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 100 * PIECE + b"\0" + zlib.compress(BODY, wbits=-15) + end
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    nursery.start_soon(count_turns)
    assert b"".join(await taken_off(["gzip", "gzip"], gzip.compress(inner), 10**9)) == BODY
    nursery.cancel_scope.cancel()
    assert turns >= 100
