"""Recorded streams, cut anywhere: the same events, and in the byte lane the same bytes."""

from collections.abc import Iterable
from itertools import pairwise

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.streaming.passthrough import Passthrough
from providers.apis import CODECS
from streams import sse
from streams.events import ErrorInfo, Event, ToolCallStart
from tests.support.cases import case
from tests.support.examples import examples, places
from tests.support.recordings import ABSENT, Recording, answers

STREAMS = tuple(one for one in answers() if one.streamed)
SMALL = 2_000
"""Bytes up to which a stream is cut in two at each of its bytes: the work is quadratic."""

LONG = 50_000

pytestmark = pytest.mark.skipif(not STREAMS, reason=ABSENT)


def params(streams: Iterable[Recording]) -> list[object]:
    return [pytest.param(one, id=f"{one.key}-{one.api}") for one in streams]


def read(recording: Recording, pieces: Iterable[bytes]) -> list[Event]:
    """The events of the stream in ``pieces``; ids that the gateway makes, for calls that have none, made alike."""
    splitter, reader = sse.Splitter(), CODECS[recording.api].reader()
    events: list[Event] = []
    for raw in (*(raw for piece in pieces for raw in splitter.feed(piece)), splitter.close()):
        if (parsed := sse.parse(raw)) is not None:
            events.extend(reader.take(*parsed))
    events.extend(reader.close())
    return [plain(event, recording.body) for event in events]


def plain(event: Event, body: bytes) -> Event:
    if isinstance(event, ToolCallStart) and event.id.encode() not in body:
        return attrs.evolve(event, id="made")
    return event


def whole(recording: Recording) -> list[Event]:
    """The events of the stream in one piece."""
    events = read(recording, [recording.body])
    assert events
    return events


def forwarded(recording: Recording, pieces: Iterable[bytes]) -> bytes:
    """What the byte lane sends for ``pieces``, its end included."""
    lane = Passthrough(CODECS[recording.api], lambda failed: failed, lambda raw: raw, 2**24)
    return b"".join([*map(lane.feed, pieces), lane.end()])


def crumbs(body: bytes) -> list[bytes]:
    """One byte at a time; of the few streams that are very long, some."""
    size = 1 if len(body) <= LONG else 13
    return [body[i : i + size] for i in range(0, len(body), size)]


def test_the_smallest_pieces_give_the_same_events() -> None:
    for recording in STREAMS:
        with case((recording.key, recording.api)):
            assert read(recording, crumbs(recording.body)) == whole(recording)


@pytest.mark.parametrize("recording", params(one for one in STREAMS if len(one.body) <= SMALL))
def test_a_cut_at_any_byte_gives_the_same_events(recording: Recording) -> None:
    body = recording.body
    events = whole(recording)
    cuts = places(range(1, len(body)))
    assert [cut for cut in cuts if read(recording, [body[:cut], body[cut:]]) != events] == []


@given(recording=st.sampled_from(STREAMS or (None,)), cuts=st.lists(st.floats(0, 1), max_size=12))
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_cuts_at_random_give_the_same_events_and_bytes(recording: Recording, cuts: list[float]) -> None:
    body = recording.body
    bounds = [0, *sorted(int(cut * len(body)) for cut in cuts), len(body)]
    pieces = [body[first:last] for first, last in pairwise(bounds)]
    assert read(recording, pieces) == whole(recording)
    sent, uncut = forwarded(recording, pieces), forwarded(recording, [body])
    assert sent.rstrip(b"\r\n") == uncut.rstrip(b"\r\n")  # the end of the last line is the next test's business


def test_the_byte_lane_forwards_every_byte_however_it_comes() -> None:
    """An event that lacks its blank line at the end gets it."""
    for recording in STREAMS:
        with case((recording.key, recording.api)):
            body = recording.body
            broken = any(isinstance(event, ErrorInfo) for event in read(recording, [body]))
            for pieces in ([body], crumbs(body)):
                sent = forwarded(recording, pieces)
                assert sent.startswith(body)
                if not broken:
                    assert sent[len(body) :] in (b"", b"\n\n")
