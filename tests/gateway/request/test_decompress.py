"""Compressed bodies (CWE-409): they never expand beyond a proportion of their size."""

import gzip
import json
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.decompress import DECODERS, MEMBERS, PIECE, RATIO, UNFOLDED, decompress
from streams.errors import GatewayError
from tests.support.each_row import each_row

LIMIT = 64 * 2**20


@pytest.mark.parametrize("coding", [name for name in DECODERS if name in ("gzip", "deflate")])
def test_a_decompression_bomb_is_rejected_before_it_is_decompressed(coding):
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}[coding]
    body = pack(bytes(16 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(GatewayError, match="more than 100 times larger") as refused:
            decompress(body, coding, LIMIT)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.info.status == 413
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


@pytest.mark.parametrize("members", [1, 2, 3])
def test_all_members_together_are_limited(members):
    body = gzip.compress(random.Random(1).randbytes(1200 // members)) * members
    assert len(decompress(body, "gzip", 1200)) == 1200
    with pytest.raises(
        GatewayError, match="the decompressed request body is larger than the limit of 1199 b"
    ) as refused:
        decompress(body, "gzip", 1199)
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
    assert decompress(body * MEMBERS, "gzip", LIMIT) == b""
    with pytest.raises(GatewayError, match="not valid gzip"):
        decompress(body * (MEMBERS + 1), "gzip", LIMIT)
