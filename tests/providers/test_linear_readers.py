"""Work on answers is linear in their bytes (CWE-407): readers, writers and folds."""

from collections.abc import Callable, Sequence

import attrs
import msgspec
import pytest

from providers.apis import CODECS
from streams.events import AnswerEnd, Event
from streams.fold import Fold
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.growing_streams import STREAMS
from tests.support.growth import Work, assert_steps_grow_linearly
from tests.support.lanes import reply_for
from tests.support.spread import spread

ROWS = [(api, shape) for api, shapes in STREAMS.items() for shape in shapes]


def read_stream(api: str, shape: str, n: int) -> Callable[[], list[Event]]:
    """Read a prepared stream."""
    events = [(name, msgspec.json.encode(value)) for name, value in STREAMS[api][shape](n)]

    def work() -> list[Event]:
        reader = CODECS[api].reader()
        found = [event for name, data in events for event in reader.read_event(name, data)]
        return [*found, *reader.close()]

    return work


WRITTEN = [(api, shape, clients) for (api, shape), clients in spread(ROWS, lambda row: row[1], [*CODECS])]
"""Each row with APIs of clients; rows of one shape differ for readers only."""


def write_to(clients: Sequence[str], api: str, shape: str, n: int) -> Work:
    """Write the events for ``clients``, streamed and whole. The answer was cut short, because its arguments are no
    JSON."""
    events = read_stream(api, shape, n)()
    events = [attrs.evolve(one, reason="length") if isinstance(one, AnswerEnd) else one for one in events]

    def work() -> None:
        folded = Fold()
        for event in events:
            folded.add(event)
        for client in map(CODECS.__getitem__, clients):
            reply = reply_for(client.api)
            writer = client.writer(reply)
            for event in events:
                writer.send(event)
            client.write_answer(folded.answer(), reply)

    return work


def test_every_api_has_rows():
    assert STREAMS.keys() == CODECS.keys()


def test_a_stream_matches_its_row():
    for api, shape in ROWS:
        with case((api, shape)):
            events = read_stream(api, shape, 3)()
            assert isinstance(events[-1], AnswerEnd)
            assert len(read_stream(api, shape, 6)()) >= len(events)


def test_every_shape_is_written_for_every_api():
    written = {(shape, client) for _, shape, clients in WRITTEN for client in clients}
    assert written == {(shape, client) for _, shape in ROWS for client in CODECS}


@pytest.mark.slow
@each_row("api, shape", ROWS)
def test_reading_takes_linear_steps(api, shape):
    assert_steps_grow_linearly(lambda n: read_stream(api, shape, n))


@pytest.mark.slow
@each_row("api, shape, clients", WRITTEN, ids=ROWS)
def test_writing_takes_linear_steps(api, shape, clients):
    assert_steps_grow_linearly(lambda n: write_to(clients, api, shape, n))
