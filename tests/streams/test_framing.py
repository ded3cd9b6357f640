"""Whole streams, split into events by any framing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.event_stream import EVENT_STREAM
from streams.framing import Framing, FramingError
from streams.sse import SSE
from tests.support.cases import case

DATA = st.lists(st.dictionaries(st.text("ab"), st.integers()).map(lambda value: str(value).encode()), max_size=4)


def stream_of(framing: Framing, values: list[bytes]) -> bytes:
    assert framing.writer is not None
    writer = framing.writer()
    return b"".join(writer.event("one", value) for value in values) + writer.close()


@pytest.mark.parametrize("framing", [SSE, EVENT_STREAM])
@given(values=DATA)
def test_the_events_of_a_whole_stream_are_read_back(framing, values):
    assert list(framing.parse_all(stream_of(framing, values))) == [("one", value) for value in values]


def test_a_last_event_without_its_end_counts_if_its_data_is_complete():
    for body, events in [
        (b"data: {}\n\ndata: [1]", [("", b"{}"), ("", b"[1]")]),
        (b"data: {}\n\ndata: [1", [("", b"{}")]),
        (b"data: {}\n\n: comment\n\n\n", [("", b"{}")]),
        (b"", []),
    ]:
        with case((body, events)):
            assert list(SSE.parse_all(body)) == events


def test_an_incomplete_frame_does_not_count():
    stream = stream_of(EVENT_STREAM, [b"{}", b"[]"])
    assert list(EVENT_STREAM.parse_all(stream[:-1])) == [("one", b"{}")]


def test_bytes_that_violate_the_framing_raise():
    stream = stream_of(EVENT_STREAM, [b"{}", b"[]"])
    broken = stream[:-1] + bytes((stream[-1] ^ 1,))
    with pytest.raises(FramingError):
        list(EVENT_STREAM.parse_all(broken))
