"""Replays of a cached answer, and the shared call that stored it."""

import trio

from gateway.features.answer_cache.stored_answer import (
    PIECE,
    AnswerStamp,
    StoredAnswer,
    decode_response,
    encode_response,
    local_response,
    replay_body,
    use_ids,
)
from providers.neutral.codec import new_id
from tests.support.flights import Body, new_flight

STAMP = AnswerStamp(1)


async def test_a_stream_is_replayed_with_or_without_its_pauses(autojump_clock):
    """nyroway/nyro#44: a flash of text breaks typing effects."""
    flight = new_flight(2**20)
    reader = flight.lead()
    flight.begin("text/event-stream", [(trio.current_time(), b"")], whole=False)
    response = local_response(
        Body((1.0, b"one "), (0.0, b"two "), (2.5, b"three")), (("content-type", "text/event-stream"),)
    )
    await flight.run(response)
    assert [await reader.read() for _ in range(4)] == [b"one ", b"two ", b"three", b""]
    assert flight.pauses == [(1000, 8), (2500, 5)], "what comes together is one"
    body = await flight.wait_for_body()
    assert body is not None
    answer = StoredAnswer(0.0, "text/event-stream", STAMP, body, tuple(flight.pauses))
    assert decode_response(encode_response(answer)) == answer
    begun = trio.current_time()
    replayed = local_response(replay_body(answer, "recorded"), ())
    came = [(trio.current_time() - begun, piece) async for piece in replayed.chunks()]
    assert came == [(1.0, b"one two "), (3.5, b"three")]
    assert [piece async for piece in local_response(replay_body(answer, "none"), ()).chunks()] == [body]
    assert trio.current_time() - begun == 3.5
    large = StoredAnswer(0.0, "application/json", STAMP, bytes(PIECE + 1))
    assert [len(piece) async for piece in local_response(replay_body(large, "recorded"), ()).chunks()] == [PIECE, 1]


def test_damaged_entries_and_other_versions_count_as_missing():
    data = encode_response(StoredAnswer(1.0, "application/json", STAMP, b"{}"))
    assert decode_response(data) is not None
    for other in (b"", b"{}", data[:-1], data[:1] + b"\x07" + data[2:]):
        assert decode_response(other) is None


def test_a_response_always_gets_the_same_ids():
    def ids(stamp: AnswerStamp, salt: bytes) -> list[str]:
        with use_ids(stamp.ids(salt)):
            return [new_id("x_") for _ in range(3)]

    assert ids(STAMP, b"a") == ids(STAMP, b"a")
    assert len({*ids(STAMP, b"a"), *ids(STAMP, b"b"), *ids(AnswerStamp(1), b"a")}) == 9
    assert all(len(id) == len("x_") + 24 for id in ids(STAMP, b"a"))
    assert new_id("x_") != new_id("x_")
