"""Streams to and from Gemini's API, cut and split anywhere, as events and as one JSON array."""

import json
from typing import Any

from gateway.streaming.lane import Lane, reframe_for_client
from providers.gemini.framing import ARRAY, CRLF_SSE
from providers.grammar import judge
from streams.events import ErrorInfo
from tests.support.each_row import each_row
from tests.support.examples import places
from tests.support.lanes import SCRIPTS, byte_lane, events_of, hub_lane

CUT = ErrorInfo("upstream", "the provider's connection broke")
OTHERS = ("chat", "messages", "responses")
WAYS = [("gemini", "gemini"), *((source, "gemini") for source in OTHERS)]
GOOD = {"chat": b'"finish_reason": "', "messages": b'"message_delta"', "responses": b'"type": "response.completed"',
        "gemini": b'"finishReason"'}  # fmt: skip


def lane_of(source: str, client: str) -> Lane:
    return byte_lane(client) if source == client else hub_lane(source, client)


def chunks(out: bytes) -> list[Any]:
    """Return the chunks in ``out``, which must consist of whole events."""
    assert not out or out.endswith(b"\r\n\r\n"), out[-100:]
    lines = [line for event in out.split(b"\r\n\r\n") for line in event.split(b"\r\n")]
    return [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]


def failures(out: bytes) -> int:
    return sum("error" in chunk for chunk in chunks(out))


def whole_from(source: str, name: str) -> int:
    """Return the offset in the stream from which on the answer is whole."""
    at = 0
    for piece in events_of(source, SCRIPTS[name]):
        at += len(piece)
        if GOOD[source] in piece:
            return at
    raise AssertionError("the stream has no end")


@each_row(("source", "client"), WAYS)
def test_a_stream_that_is_cut_anywhere_fails_once_and_by_the_rules(source, client):
    """A client that reads to the end learns from the last error that an answer is not whole."""
    for name in ("short", "short_call"):
        data, good = b"".join(events_of(source, SCRIPTS[name])), whole_from(source, name)
        for cut in places(range(0, len(data), 9)):
            lane = lane_of(source, client)
            out = lane.feed(data[:cut]) + lane.end(CUT)
            if cut < good - 4:  # the blank line may be missing
                assert failures(out) == 1, data[:cut][-60:]
                assert "error" in chunks(out)[-1]
                assert lane.progress.error is not None
            if source != client:
                assert judge("gemini", out, streamed=True).broken is None, out
            assert lane.end(CUT) == b"", "told once, whatever comes"


@each_row(("source", "client"), WAYS)
def test_keep_alives_fall_between_events(source, client):
    data = b"".join(events_of(source, SCRIPTS["text"]))
    plain = lane_of(source, client)
    expected = chunks(plain.feed(data) + plain.end())
    lane = lane_of(source, client)
    out = b"".join(lane.feed(data[i : i + 1]) + lane.ping() for i in range(len(data))) + lane.end()
    assert lane.ping() == b""
    said = [
        chunk for chunk in chunks(out) if chunk.keys() != {"candidates"} or chunk["candidates"][0].get("finishReason")
    ]
    assert len(said) == len(expected)
    assert out.count(CRLF_SSE.comment) > 50


def test_an_array_is_one_value_with_keep_alives_and_errors_in_it():
    """google-api-core refuses a stream whose first byte is no bracket, even if it is white space."""
    for source, client in WAYS:
        for end in (None, CUT):
            data = b"".join(events_of(source, SCRIPTS["text"]))
            lane = reframe_for_client(lane_of(source, client), CRLF_SSE, ARRAY)
            cut = len(data) if end is None else len(data) // 2
            out = b"".join(lane.feed(data[i : i + 1]) + lane.ping() for i in range(cut)) + lane.end(end)
            assert out.startswith(b"[")
            found = json.loads(out)
            assert sum("error" in chunk for chunk in found) == (end is not None), (source, client)
            texts = [part.get("text", "") for one in found if "candidates" in one
                     for part in one["candidates"][0]["content"]["parts"]]  # fmt: skip
            assert "".join(texts).startswith("one "), source
            assert lane.feed(data) + lane.ping() + lane.end(CUT) == b"", "nothing comes after the end"


def test_a_client_of_the_apis_own_framing_has_its_lane_unchanged():
    lane = byte_lane("gemini")
    assert reframe_for_client(lane, CRLF_SSE, CRLF_SSE) is lane
