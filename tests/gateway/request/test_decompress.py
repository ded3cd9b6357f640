"""Compressed bodies (CWE-409): they never expand beyond a proportion of their size."""

import gzip
import json
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.codings import PIECE
from gateway.request.decompress import CODINGS, MEMBERS, RATIO, UNFOLDED, decompress, read_coding
from streams.errors import GatewayError
from tests.support.each_row import each_row

LIMIT = 64 * 2**20


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS = {
    "gzip": ("gzip", gzip.compress), "x-gzip": ("x-gzip", gzip.compress), "zlib": ("deflate", zlib.compress),
    "raw": ("deflate", raw_deflate),
}  # fmt: skip


@pytest.mark.parametrize("packer", PACKERS)
@given(data=st.binary(max_size=300))
def test_compressed_bodies_are_decompressed_unchanged(packer, data):
    coding, pack = PACKERS[packer]
    assert decompress(pack(data), coding, max(1, len(data))) == data


@each_row("packer", PACKERS)
def test_a_body_cut_anywhere_or_with_more_after_it_is_refused(packer):
    coding, pack = PACKERS[packer]
    whole = pack(b'{"model": "m", "messages": []}')
    twice = [] if "gzip" in coding else [whole + whole]  # gzip may have several members
    for damaged in (*(whole[:end] for end in range(len(whole))), whole + b"\0", *twice):
        with pytest.raises(GatewayError) as caught:
            decompress(damaged, coding, 1000)
        assert (caught.value.info.status, caught.value.info.kind) == (400, "invalid_request")


@given(body=st.binary(max_size=100), coding=st.sampled_from(sorted(CODINGS)))
def test_no_body_is_too_odd_to_be_answered(body, coding):
    try:
        status = 200 if len(decompress(body, coding, 50)) <= 50 else 500
    except GatewayError as error:
        status = error.info.status
    assert status in (200, 400, 413)


@each_row("packer", PACKERS)
def test_a_decompression_bomb_is_rejected_before_it_is_decompressed(packer):
    coding, pack = PACKERS[packer]
    body = pack(bytes(16 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(GatewayError, match="more than 100 times larger") as refused:
            decompress(body, coding, LIMIT)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (refused.value.info.status, refused.value.info.kind) == (413, "too_large")
    assert most < 3 * max(UNFOLDED, RATIO * len(body))


def test_a_repeated_file_may_fill_a_models_context():
    """A million tokens are some four bytes each; zstd writes a repeated file as one reference."""
    plain = json.dumps({"messages": [{"role": "user", "content": "a line of the same file\n" * 9_000}] * 18}).encode()
    body = gzip.compress(plain)
    assert len(plain) > 4_000_000 > 150 * len(body)
    assert decompress(body, "gzip", LIMIT) == plain


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.integers(0, 2 * PIECE))
def test_a_body_may_have_several_gzip_members(parts, size):
    """Claude Code sends them with CLAUDE_CODE_GZIP_REQUEST_BODY_BLOCKS; RFC 1952, section 2.2."""
    parts = [*parts, random.Random(size).randbytes(size)]
    assert decompress(b"".join(map(gzip.compress, parts)), "gzip", LIMIT) == b"".join(parts)


@each_row(("packer", "members"), [("gzip", 1), ("gzip", 2), ("gzip", 3), ("zlib", 1), ("raw", 1)])
def test_all_members_together_may_be_as_large_as_the_limit(packer, members):
    coding, pack = PACKERS[packer]
    body = pack(random.Random(1).randbytes(1200 // members)) * members
    assert len(decompress(body, coding, 1200)) == 1200
    with pytest.raises(
        GatewayError, match="the decompressed request body is larger than the limit of 1199 b"
    ) as refused:
        decompress(body, coding, 1199)
    assert refused.value.info.status == 413


def test_many_bombs_in_a_row_are_one_bomb():
    body = gzip.compress(bytes(2**20)) * 16
    with pytest.raises(GatewayError, match="more than 100 times larger"):
        decompress(body, "gzip", LIMIT)


# The time of packing would give each process of the suite another name for the test.
TWO = gzip.compress(b"two", mtime=0)


@each_row("rest", [b"\0", b"x" * 40, TWO[:-1], TWO[:12]], ids=["zero", "text", "cut", "header"])
def test_a_damaged_later_member_is_a_mistake(rest):
    with pytest.raises(GatewayError, match="not valid gzip") as refused:
        decompress(gzip.compress(b"one") + rest, "gzip", LIMIT)
    assert refused.value.info.status == 400


def test_a_million_empty_members_are_refused_early():
    body = gzip.compress(b"")
    assert decompress(body * MEMBERS["gzip"], "gzip", LIMIT) == b""
    with pytest.raises(GatewayError, match="not valid gzip"):
        decompress(body * (MEMBERS["gzip"] + 1), "gzip", LIMIT)


@each_row(
    ("value", "coding"),
    [
        *((value, None) for value in ("", "identity", " Identity , ", "identity,identity")),
        ("gzip", "gzip"), (" GZip", "gzip"), ("identity, deflate", "deflate"),
    ],
)  # fmt: skip
def test_one_coding_is_read(value, coding):
    assert read_coding(value) == coding


@each_row("value", ["br", "gzip, gzip", "gzip,deflate", "compress", "x" * 10_000, "\xff"])
def test_another_coding_is_a_415_with_the_supported_codings(value):
    with pytest.raises(GatewayError) as caught:
        read_coding(value)
    failed = caught.value.info
    assert (failed.status, failed.kind) == (415, "invalid_request")
    assert "gzip" in dict(failed.headers)["accept-encoding"]
    assert len(failed.message) < 300


# A frame of zstd 1.5 with b'{"model": "m"}' in it.
ZSTD = bytes.fromhex("28b52ffd200e7100007b226d6f64656c223a20226d227d")


def test_zstd_is_read_where_python_can_and_else_refused():
    if "zstd" in CODINGS:
        assert decompress(ZSTD, "zstd", 100) == b'{"model": "m"}'
        for damaged in (ZSTD[:-1], ZSTD + b"\0", b"", b"x"):
            with pytest.raises(GatewayError):
                decompress(damaged, "zstd", 100)
    else:
        with pytest.raises(GatewayError) as caught:
            read_coding("zstd")
        assert caught.value.info.status == 415
