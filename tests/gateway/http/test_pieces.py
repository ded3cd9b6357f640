"""Pieces of a body: they take about as much memory as they have bytes."""

import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from gateway.http.pieces import JOINED_IN_LOOP, SMALL_PIECE, add_piece, join_pieces
from tests.support.each_row import each_row
from tests.support.loop_steps import loop_steps

PIECES = st.lists(st.binary(min_size=1, max_size=40) | st.integers(1, 3).map(lambda times: b"x" * SMALL_PIECE * times))


@given(PIECES)
def test_pieces_keep_their_order_and_small_ones_are_joined(pieces):
    parts: list[bytes | bytearray] = []
    for piece in pieces:
        add_piece(parts, piece)
    assert b"".join(parts) == b"".join(pieces)
    assert all(len(first) + len(second) >= SMALL_PIECE for first, second in itertools.pairwise(parts))


@each_row("size", [0, 1, JOINED_IN_LOOP, JOINED_IN_LOOP + 1])
async def test_pieces_are_joined_in_their_order(size):
    pieces: list[bytes | bytearray] = []
    data = bytes(range(256)) * (size // 256 + 1)
    for at in range(0, size, SMALL_PIECE - 1):  # pairs of them become a `bytearray`
        add_piece(pieces, data[at : min(size, at + SMALL_PIECE - 1)])
    assert await join_pieces(pieces, size) == data[:size]


async def test_tens_of_megabytes_are_joined_outside_the_event_loop():
    """Providing the memory of 50 MB took up to 107 ms, for which no stream got an event (CWE-400)."""
    pieces: list[bytes | bytearray] = [b"x" * 64 * 1024, bytearray(64 * 1024)] * 400
    began = time.thread_time()
    joined = b"".join(pieces)
    in_loop = time.thread_time() - began
    with loop_steps() as steps:
        found = await join_pieces(pieces, len(joined))
    assert found == joined
    assert steps.longest < in_loop / 2, steps.task
