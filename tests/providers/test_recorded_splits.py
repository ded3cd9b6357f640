"""Recorded streams of every API, split anywhere: the same events, and in the byte lane the same bytes."""

from collections.abc import Iterable
from itertools import pairwise

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.streaming.passthrough import Passthrough
from providers.apis import CODECS
from streams.events import Api, ErrorInfo, Event, ReasoningState, ToolCallStart
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.examples import examples, places
from tests.support.full_answers import full_stream, stream_bytes
from tests.support.provider_streams import check_order, cut, read_pieces
from tests.support.recordings import ABSENT, answers, files, various


@attrs.frozen
class Stream:
    """A recorded stream."""

    api: Api
    key: str
    body: bytes = attrs.field(repr=False)


STREAMS = (
    *(Stream(one.api, one.key, one.body) for one in answers() if one.streamed),
    *(Stream("gemini", path.name, path.read_bytes()) for path in files("gemini", "*.response.sse")),
    *(Stream("converse", path.name, path.read_bytes()) for path in files("bedrock_converse", "*.eventstream")),
    Stream("interactions", "not recorded", stream_bytes("interactions", full_stream("interactions"))),
)
VARIOUS = various(STREAMS, lambda one: (one.api, one.body))
"""The streams that are read byte by byte; long ones repeat their events."""
SMALL = 2_000
"""Bytes up to which a stream is cut in two at each of its bytes: the work is quadratic."""

pytestmark = pytest.mark.skipif(not STREAMS, reason=ABSENT)


def read_stream(stream: Stream, pieces: Iterable[bytes]) -> list[Event]:
    """Return the events of the stream in ``pieces``, with fixed ids for calls without one."""
    events = read_pieces(CODECS[stream.api], pieces)
    made = {one.id for one in events if isinstance(one, ToolCallStart) and one.id.encode() not in stream.body}

    def plain(event: Event) -> Event:
        if isinstance(event, ToolCallStart) and event.id in made:
            return attrs.evolve(event, id="made")
        if isinstance(event, ReasoningState) and isinstance(event.item, dict) and event.item.get("id") in made:
            return attrs.evolve(event, item={**event.item, "id": "made"})
        return event

    return [plain(event) for event in events]


def read_whole(stream: Stream) -> list[Event]:
    """Return the events of the stream in one piece."""
    events = read_stream(stream, [stream.body])
    assert events
    return events


def forward_pieces(stream: Stream, pieces: Iterable[bytes]) -> bytes:
    """Return the byte lane's output for ``pieces``, with its end."""
    lane = Passthrough(CODECS[stream.api], lambda failed: failed, lambda raw: raw, 2**24)
    return b"".join([*map(lane.feed, pieces), lane.end()])


def test_the_smallest_pieces_give_the_same_events() -> None:
    for stream in VARIOUS:
        with case((stream.key, stream.api)):
            events = read_whole(stream)
            assert read_stream(stream, cut(stream.body, 1)) == events
            check_order(events)


def test_a_cut_at_any_byte_gives_the_same_events() -> None:
    for stream in [one for one in VARIOUS if len(one.body) <= SMALL]:
        with case((stream.key, stream.api)):
            body = stream.body
            events = read_whole(stream)
            cuts = places(range(1, len(body)))
            assert [at for at in cuts if read_stream(stream, [body[:at], body[at:]]) != events] == []


@given(stream=st.sampled_from(STREAMS or (None,)), cuts=st.lists(st.floats(0, 1), max_size=12))
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_cuts_at_random_give_the_same_events_and_bytes(stream: Stream, cuts: list[float]) -> None:
    body = stream.body
    bounds = [0, *sorted(int(at * len(body)) for at in cuts), len(body)]
    pieces = [body[first:last] for first, last in pairwise(bounds)]
    assert read_stream(stream, pieces) == read_whole(stream)
    sent, uncut = forward_pieces(stream, pieces), forward_pieces(stream, [body])
    assert sent.rstrip(b"\r\n") == uncut.rstrip(b"\r\n")  # the end of the last line is the next test's business


def test_the_byte_lane_forwards_every_byte_in_any_framing() -> None:
    """An event that lacks its blank line at the end gets it. A failure is reported in the gateway's own events."""
    for stream in [one for one in VARIOUS if one.api in OLDER]:
        with case((stream.key, stream.api)):
            body = stream.body
            sent = forward_pieces(stream, [body])
            assert forward_pieces(stream, cut(body, 1)) == sent
            if any(isinstance(event, ErrorInfo) for event in read_whole(stream)):
                assert sent.startswith(body.rstrip().rpartition(b"\n\n")[0])
            else:
                assert sent.startswith(body)
                assert sent[len(body) :] in (b"", b"\n\n")
