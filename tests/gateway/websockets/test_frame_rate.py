"""The limit of small frames on a websocket."""

from wsproto.events import BytesMessage, Event, Ping, Pong, TextMessage

from gateway.websockets.frames import FRAME_SECONDS, FRAMES_PER_TURN, MOST_SMALL_FRAMES, SMALL_FRAME, FrameRate


def exceeds(frame: Event, count: int, *moments: float) -> list[bool]:
    """Count the frame ``count`` times at each moment, and return whether that exceeded the limit."""
    rate, found = FrameRate(0.0), []
    for now in moments:
        for _ in range(count):
            rate.count(frame)
        found.append(rate.is_exceeded(now))
    return found


def test_every_kind_of_small_frame_counts():
    text, binary = TextMessage(data=""), BytesMessage(data=b"x" * (SMALL_FRAME - 1))
    for frame in (text, binary, Ping(payload=b"x" * 125), Pong()):
        assert exceeds(frame, MOST_SMALL_FRAMES, 1.0) == [False]
        assert exceeds(frame, MOST_SMALL_FRAMES + 1, 1.0) == [True]


def test_frames_with_content_do_not_count():
    assert exceeds(BytesMessage(data=b"x" * SMALL_FRAME), 10 * MOST_SMALL_FRAMES, 0.1) == [False]


def test_a_long_session_of_small_frames_is_within_the_limit():
    moments = [FRAME_SECONDS / 2 * i for i in range(1, 9)]
    assert exceeds(TextMessage(data="word"), MOST_SMALL_FRAMES // 2, *moments) == [False] * 8


def test_others_run_after_each_turn():
    rate = FrameRate(0.0)
    assert [rate.count(Ping()) for _ in range(2 * FRAMES_PER_TURN)] == ([False] * (FRAMES_PER_TURN - 1) + [True]) * 2
