"""Counting the frames of an HTTP/2 client: floods, and traffic that is no flood."""

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from gateway.http.turns import TINY, TURN
from gateway.serving.frame_limits import BOUNDS, PREFACE, SECONDS, FrameCounter, FrameType
from tests.support.each_row import each_row

FRAMES = {
    FrameType.DATA: DataFrame(1).serialize(),
    FrameType.PRIORITY: PriorityFrame(1, stream_weight=15).serialize(),
    FrameType.RST_STREAM: RstStreamFrame(1).serialize(),
    FrameType.SETTINGS: SettingsFrame(0).serialize(),
    FrameType.PING: PingFrame(0, b"12345678").serialize(),
    FrameType.WINDOW_UPDATE: WindowUpdateFrame(0, 1).serialize(),
    FrameType.CONTINUATION: ContinuationFrame(1, b"abc").serialize(),
    FrameType.UNKNOWN: b"\0\0\3\x10\0\0\0\0\0u=1",
}


def new() -> FrameCounter:
    counter = FrameCounter()
    assert counter.receive(b"x" * PREFACE, 0) is None
    return counter


def test_every_kind_of_frame_that_costs_its_sender_nothing_has_a_bound():
    assert FRAMES.keys() == BOUNDS.keys()


@each_row("kind", BOUNDS, ids=lambda kind: kind.name)
@each_row("size", [1, 13, 10**9])
def test_one_frame_more_than_the_bound_is_found_however_the_bytes_are_cut(kind, size):
    counter, most, sent = new(), BOUNDS[kind].max_frames, FRAMES[kind]
    good = sent * most
    assert not any(counter.receive(good[at : at + size], SECONDS / 2) for at in range(0, len(good), size))
    assert counter.receive(sent, SECONDS - 0.1) is BOUNDS[kind]


@each_row("kind", BOUNDS, ids=lambda kind: kind.name)
def test_frames_spread_over_time_are_no_flood(kind):
    counter, sent = new(), FRAMES[kind]
    for second in range(0, 100, 5):
        assert counter.receive(sent * (BOUNDS[kind].max_frames // 2), second) is None


def test_requests_and_their_bodies_are_not_counted():
    head, body, last = HeadersFrame(1, b"abc"), DataFrame(1, b"x" * 16384), DataFrame(1)
    last.flags.add("END_STREAM")
    assert new().receive((head.serialize() + body.serialize() + last.serialize()) * 2000, 0) is None


def test_a_reset_that_the_client_provokes_counts_as_its_own():
    counter, most = new(), BOUNDS[FrameType.RST_STREAM].max_frames
    assert counter.receive(RstStreamFrame(1).serialize() * (most // 2), 0) is None
    provoked = [counter.count_provoked_reset(1) for _ in range(most - most // 2 + 1)]
    assert provoked[-1] is BOUNDS[FrameType.RST_STREAM]
    assert set(provoked[:-1]) == {None}


@pytest.mark.parametrize("size", [40, 16384, 2**20], ids=["events", "frames", "a whole answer"])
def test_a_client_that_acknowledges_every_frame_of_an_answer_is_no_flood(size):
    """For the stream and for the connection, at least every 4 KiB."""
    counter, updates, pieces = new(), WindowUpdateFrame(1, 1).serialize() * 2, max(1, size // 4096)
    for _ in range(0, 2 * BOUNDS[FrameType.WINDOW_UPDATE].max_frames, pieces):
        counter.count_sent(size)
        assert counter.receive(updates * pieces, 0) is None


def test_a_reset_for_each_frame_that_was_on_its_way_to_a_cancelled_stream_is_no_flood():
    """python-hyper's h2 sends them: RFC 9113, section 5.1, permits an endpoint that has reset a stream to answer later
    frames with another reset."""
    counter, streams, each = new(), range(1, 101, 2), 20
    for _ in range(each * len(streams)):
        counter.count_sent(60)
    for stream in streams:
        assert counter.receive(RstStreamFrame(stream).serialize() * (1 + each), 0) is None


def test_sent_data_does_not_allow_resets_of_other_streams():
    counter, most = new(), BOUNDS[FrameType.RST_STREAM].max_frames
    counter.count_sent(10**9)
    found = counter.receive(b"".join(RstStreamFrame(2 * n + 1).serialize() for n in range(most + 1)), 0)
    assert found is BOUNDS[FrameType.RST_STREAM]


@pytest.mark.parametrize("size", [1, 13, 4096, 10**9])
def test_other_tasks_run_between_tiny_frames_however_the_bytes_are_cut(size):
    """Each costs more work than its ten bytes, and a read contains thousands (CWE-400)."""
    counter, tiny, large = new(), DataFrame(1, b"x").serialize(), DataFrame(1, b"x" * TINY).serialize()
    data, cuts, at = (tiny * 10 + large) * 64, [], 0
    for at in range(0, len(data), size):
        counter.receive(data[at : at + size], 0)
        cuts += [at + cut for cut in counter.cuts]
    ends = [at + len(tiny) for at in range(len(data)) if data.startswith(tiny, at)]
    assert cuts == ends[TURN - 1 :: TURN]


def test_other_tasks_run_between_heads_that_may_have_many_fields():
    counter, head = new(), HeadersFrame(1, b"\x90" * 1000).serialize()
    counter.receive(head * 20, 0)
    assert len(counter.cuts) >= 10
