"""Requests as they are written to a provider."""

import pytest

from gateway.upstream.http11 import PIECE, WireRequest


@pytest.mark.parametrize("size", [0, 9, PIECE, PIECE + 1, 5 * PIECE])
def test_a_large_body_is_written_in_pieces_that_are_not_copied(size):
    """One call of OpenSSL takes what it is given to its end."""
    body = bytes(range(256)) * (size // 256 + 1)
    request = WireRequest(b"POST", b"/v1", ((b"host", b"h"),), body[:size], 1)
    pieces = request.wire()
    assert b"".join(pieces) == b"POST /v1 HTTP/1.1\r\nhost: h\r\n\r\n" + body[:size]
    assert all(len(piece) <= PIECE + 100 for piece in pieces)
    assert len(pieces) == 1 or all(isinstance(piece, memoryview) for piece in pieces[1:])
