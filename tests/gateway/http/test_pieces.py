"""Pieces of a body: their memory is about their bytes."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway.http.pieces import SMALL, add_piece

PIECES = st.lists(st.binary(min_size=1, max_size=40) | st.integers(1, 3).map(lambda times: b"x" * SMALL * times))


@given(PIECES)
def test_pieces_keep_their_order_and_small_ones_are_joined(pieces):
    parts: list[bytes | bytearray] = []
    for piece in pieces:
        add_piece(parts, piece)
    assert b"".join(parts) == b"".join(pieces)
    assert all(len(first) + len(second) >= SMALL for first, second in itertools.pairwise(parts))
