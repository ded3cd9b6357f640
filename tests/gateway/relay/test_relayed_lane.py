"""The lane of a relayed answer: the time of keep-alives, and the handling of an answer that is no stream."""

import pytest

from gateway.exchange.delivery import Delivery, DeliveryState, Ping, Refuse, SendWhole, Signal
from gateway.ledger.record import Record
from gateway.relay.relay import RelayedLane
from streams.events import ErrorInfo, Usage
from streams.sse import SSE
from tests.support.each_row import each_row

FAILED = ErrorInfo("upstream", "the provider went away")


class Answer:
    """A relayed answer as its lane sees it: its filter, and whether it is a stream."""

    usage = Usage(input=3)

    def __init__(self, *, is_stream: bool) -> None:
        self.is_stream = is_stream
        self.filter = self


def last_event(error: ErrorInfo) -> bytes:
    return b"data: failed: %b\n\n" % error.message.encode()


def lane(*, is_stream: bool, is_late: bool = False, most: int = 100) -> RelayedLane:
    redact = (lambda data: data.replace(b"secret", b"***")) if is_late else None
    return RelayedLane(last_event, Answer(is_stream=is_stream), redact=redact, max_bytes=most)


def delivery(of: RelayedLane, *, may_open: bool = True) -> tuple[Delivery, list[float]]:
    now = [0.0]
    return Delivery(of, Record("id", "chat"), 15.0, lambda: now[0], may_open=may_open), now


@each_row("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_a_keep_alive_is_sent_only_between_events(end):
    of = lane(is_stream=True)
    assert of.ping() == SSE.comment
    of.feed(b"data: half an event")
    assert of.ping() == b""
    of.feed(b" and its end" + end[:1])
    of.feed(end[1:])
    assert of.ping() == SSE.comment


def test_a_stream_that_fails_reports_it_in_its_last_event():
    course, _ = delivery(lane(is_stream=True))
    assert course.receive(b"data: 1\n\n") == (Signal.OPEN, b"data: 1\n\n")
    assert course.receive(b"", FAILED) == (last_event(FAILED), Signal.LINGER)
    assert course.receive(b"data: 2\n\n") == ()
    assert course.upstream_ended() == ()


def test_a_body_that_fails_is_cut():
    course, now = delivery(lane(is_stream=False), may_open=False)
    assert course.receive(b"sound") == (Signal.OPEN, b"sound")
    now[0] += 15.0
    assert course.time_up() == ()
    assert course.receive(b"", FAILED) == (Signal.LINGER,)
    assert course.upstream_ended() == (Signal.CUT,)


def test_a_held_answer_is_sent_whole():
    of = lane(is_stream=False)
    course, _ = delivery(of)
    course.queue_first_events(of.feed(b'{"a": 1}'))
    assert course.upstream_ended() == (SendWhole(b'{"a": 1}'),)
    assert course.state is DeliveryState.ENDED


def test_a_request_for_no_stream_is_not_opened_for_keep_alives():
    course, now = delivery(RelayedLane(last_event), may_open=False)
    now[0] += 3600.0
    assert course.time_up() == ()
    assert course.receive(b"", FAILED) == (Refuse(FAILED),)


@pytest.mark.parametrize(
    ("size", "expected"), [(9, b"data: ***"), (101, b"data: failed: the provider's response is larger")]
)
def test_an_answer_after_keep_alives_is_the_one_event(size, expected):
    course, now = delivery(RelayedLane(last_event))
    now[0] += 15.0
    assert course.time_up() == (Signal.OPEN, Ping(SSE.comment))
    of = lane(is_stream=False, is_late=True)
    course.use_lane(of)
    data = b"secret".ljust(size)
    course.queue_first_events(of.feed(data[:5]))
    written = [*course.receive(data[5:]), *course.upstream_ended()]
    assert b"".join(one for one in written if isinstance(one, bytes)).startswith(expected)
