"""Bodies that unfold (CWE-409): never more is made of them than is in proportion."""

import gzip
import json
import random
import tracemalloc
import zlib

import pytest

from gateway.request.decompress import DECODERS, RATIO, UNFOLDED, decompress
from streams.errors import GatewayError

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


def test_a_small_body_may_have_any_compression_ratio():
    plain = bytes(UNFOLDED - 1)
    assert decompress(gzip.compress(plain), "gzip", LIMIT) == plain


def test_a_repeated_file_may_fill_a_models_context():
    """A million tokens are some four bytes each; zstd writes a repeated file as one reference."""
    plain = json.dumps({"messages": [{"role": "user", "content": "a line of the same file\n" * 9_000}] * 18}).encode()
    body = gzip.compress(plain)
    assert len(plain) > 4_000_000 > 150 * len(body)
    assert decompress(body, "gzip", LIMIT) == plain


def test_a_compressed_prompt_is_read():
    words = random.Random(1).choices(["read", "write", "the", "file", "return", "tool", "not", "if"], k=400_000)
    plain = json.dumps({"messages": [{"role": "user", "content": " ".join(words)}]}).encode()
    assert decompress(gzip.compress(plain), "gzip", LIMIT) == plain


def test_the_error_names_the_body_limit_if_it_is_the_smaller_one():
    body = gzip.compress(random.Random(1).randbytes(2**20))
    with pytest.raises(GatewayError, match="the decompressed request body is larger than the limit of 1000 bytes"):
        decompress(body, "gzip", 1000)
