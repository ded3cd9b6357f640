"""The queue of messages from a request to its app."""

import random

import trio

from gateway.http.pieces import SMALL_PIECE
from gateway.serving.app_tasks import AppInbox

END = {"type": "http.request", "body": b"", "more_body": False}


def test_small_pieces_that_wait_are_one_message():
    """Each message takes about 300 bytes: 8 MB in chunks of two bytes took 750 MB (CWE-770)."""
    inbox, pieces = AppInbox(), [b"%02d" % (number % 100) for number in range(10_000)]
    for piece in pieces:
        inbox.put_body(piece, len(piece))
    inbox.put(END)
    messages = []
    while (message := inbox.take_now()) is not None:
        messages.append(message)
    assert b"".join(message["body"] for message in messages) == b"".join(pieces)
    assert messages[-1] == END
    assert len(messages) < 2 * 10_000 / SMALL_PIECE + 4


async def test_pieces_arrive_in_order_whenever_the_app_takes_them():
    chance, inbox, sent, received = random.Random(7), AppInbox(), bytearray(), bytearray()

    async def take() -> None:
        while (message := await inbox.receive())["more_body"]:
            assert isinstance(message["body"], bytes)
            received.extend(message["body"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        for number in range(3000):
            piece = bytes([number % 256]) * chance.choice([1, 2, 100, SMALL_PIECE, 3 * SMALL_PIECE])
            sent += piece
            inbox.put_body(piece, len(piece))
            if chance.random() < 0.1:
                await trio.lowlevel.checkpoint()
        inbox.put(END)
    assert received == sent
