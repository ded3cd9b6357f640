"""Streams from their upstream to their client, on a simulated clock: order, keep-alives, the end and memory, whether
the pump or the body writes to the client."""

import json
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.exchange.body import BufferedBody, StreamBody
from gateway.exchange.delivery import END_GRACE, Delivery, Refuse, Signal
from gateway.ledger.record import Record
from providers.apis import CODECS
from streams import sse
from streams.events import Api
from streams.handoff import Handoff
from streams.pipe import PIECES_QUEUED, Chunk, Watch
from streams.timeouts import Timeouts
from tests.support.each_row import each_row
from tests.support.lanes import SCRIPTS, byte_lane, events_of, half
from tests.support.scripted_source import BROKEN, MIB, Step, Upstream, content, pump_from


class Stream:
    """A stream between a scripted upstream and a client that reads on demand, in one of three ways: the pump
    writes through the body when it can (``through``) or never (``in the body``), or a buffer precedes the client
    (``buffered``)."""

    way = "buffered"

    def __init__(self, *steps: Step, api: Api = "chat", keep_alive: float = 15, idle: float | None = None) -> None:
        self.upstream = Upstream(*steps)
        self.record = Record("req_1", api)
        self._timeouts = Timeouts(idle=idle)
        self._chunks = Handoff[Chunk](PIECES_QUEUED)
        lane = byte_lane(api, 16 * MIB)
        parts = CODECS[api].wire.error_parts
        self.delivery = Delivery(lane, self.record, keep_alive, trio.current_time, error_parts=parts)
        self.stream = StreamBody(self.delivery, self._chunks, self.record)
        self.body = BufferedBody(self.stream) if self.way == "buffered" else self.stream
        self._got: list[tuple[float, bytes]] = []

    def start(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._pump)
        if isinstance(self.body, BufferedBody):
            nursery.start_soon(self.body.run)

    async def _pump(self) -> None:
        with self._chunks:
            failed = await pump_from(self.upstream, self._chunks, Watch(self._timeouts))
            if failed is not None:
                await self._chunks.send(failed)

    async def read(self) -> list[tuple[float, bytes]]:
        """Return everything that the client receives until the end, with the times."""
        if self.way == "through":
            self.body.set_writer(self._write_now)
        async for write in self.body:
            self._got.append((trio.current_time(), write))
        return self._got

    def _write_now(self, data: bytes) -> bool:
        if len(self._got) % 3 == 2:  # now and then the client is slow
            return False
        self._got.append((trio.current_time(), data))
        return True


@pytest.fixture(params=["through", "in the body", "buffered"])
def way(request, monkeypatch) -> None:
    monkeypatch.setattr(Stream, "way", request.param)


async def delivered(*steps: Step, **more: Any) -> tuple[Stream, list[tuple[float, bytes]]]:
    """Play a stream that is accepted, and return it with the writes that its client received."""
    stream = Stream(*steps, **more)
    async with trio.open_nursery() as nursery:
        stream.start(nursery)
        assert await stream.body.open() is Signal.OPEN
        writes = await stream.read()
        nursery.cancel_scope.cancel()
    return stream, writes


OPENING, FIRST, *REST = events_of("chat", SCRIPTS["text"])


@pytest.mark.usefixtures("way")
async def test_no_bytes_are_sent_before_the_first_content(autojump_clock):
    begun = trio.current_time()
    _, writes = await delivered(OPENING, 10.0, FIRST, 2.0, b"".join(REST))
    assert [(round(at - begun, 3), data) for at, data in writes] == [(10, OPENING + FIRST), (12, b"".join(REST))]


@pytest.mark.usefixtures("way")
async def test_a_failure_before_the_first_interval_is_refused(autojump_clock):
    stream = Stream(OPENING, 14.9, BROKEN)
    async with trio.open_nursery() as nursery:
        stream.start(nursery)
        assert await stream.body.open() == Refuse(BROKEN.info)
        assert await stream.read() == []
    assert stream.record.error == BROKEN.info


@pytest.mark.usefixtures("way")
async def test_keep_alives_fill_silence_after_content_and_end_with_the_answer(autojump_clock):
    begun = trio.current_time()
    answer = b"".join(REST)
    _, writes = await delivered(OPENING + FIRST, 40.0, answer[:-9], 20.0, answer[-9:], 1.0)
    times = [(round(at - begun, 3), data) for at, data in writes]
    ping = sse.COMMENT_PING
    cut = answer.index(b"data: [DONE]")
    assert times == [(0, OPENING + FIRST), (15, ping), (30, ping), (40, answer[:cut]), (55, ping), (60, answer[cut:])]


@pytest.mark.usefixtures("way")
async def test_our_own_keep_alives_do_not_count_as_the_upstreams_word(autojump_clock):
    stream, writes = await delivered(OPENING + FIRST, 1e4, keep_alive=2, idle=9)
    assert stream.record.error.kind == "timeout"
    assert [data for _, data in writes[1:-1]] == [sse.COMMENT_PING] * 4
    assert b"sent nothing for 9 s" in writes[-1][1]


@pytest.mark.usefixtures("way")
async def test_an_answer_ends_even_if_the_upstream_keeps_its_connection(autojump_clock):
    begun = trio.current_time()
    stream, writes = await delivered(OPENING + FIRST + b"".join(REST), 1e4)
    assert stream.record.bill.is_complete
    assert len(writes) == 1
    assert trio.current_time() - begun == pytest.approx(END_GRACE)


@pytest.mark.usefixtures("way")
async def test_both_words_for_a_failure_arrive_though_there_is_time_between_them(autojump_clock):
    error = b'data: {"type":"error","error":{"code":"x","message":"spent"}}\n\n'
    failed = b'data: {"type":"response.failed","response":{"id":"r","status":"failed"}}\n\n'
    _, writes = await delivered(*half("responses"), 1.0, error, 0.1, failed, 1e4, api="responses")
    assert b"".join(data for _, data in writes).endswith(error + failed)


@pytest.mark.usefixtures("way")
@each_row("silence", [(), (0.0,), (1.0,)])
async def test_a_gemini_client_reads_the_bare_error_apart_from_the_rest(autojump_clock, silence):
    """Google's SDKs for JavaScript from 1.0 to 2.0 recognize no other errors (googleapis/js-genai#461)."""
    _, writes = await delivered(*half("gemini"), *silence, BROKEN, api="gemini")
    (*_, (before, _), (at, bare), (after, event)) = writes
    assert "error" in json.loads(bare)
    assert event == b"data: " + bare
    assert before < at < after


@pytest.mark.usefixtures("way")
@each_row("turns", range(4))
async def test_events_keep_their_order_with_two_writers(turns):
    """The pump and the body take turns, each writing some of the pending events."""
    events = [content(10).replace(b"x", b"%d," % number) for number in range(300)]
    steps = [step for event in events for step in (event, *[0.0] * turns)]
    _, writes = await delivered(OPENING, FIRST, *steps, *REST)
    assert b"".join(data for _, data in writes) == OPENING + FIRST + b"".join(events) + b"".join(REST)


# Memory


@pytest.mark.usefixtures("way")
@each_row(
    ("event", "chunk"),
    [(100, 100), (100, 65536), (10_000, 65536), (4 * MIB, 65536), (4 * MIB, MIB)],
    ids=["tiny_reads", "many_in_a_read", "middling", "large", "large_in_large_reads"],
)
async def test_the_memory_for_a_stalled_client_is_bounded(event, chunk):
    """1 MiB and the largest event, whatever the upstream has to give."""
    one = content(event)
    flood = one * max(1, 12 * MIB // len(one))
    chunks = [flood[i : i + chunk] for i in range(0, len(flood), chunk)]
    stream = Stream(*chunks)
    async with trio.open_nursery() as nursery:
        stream.start(nursery)
        written = 0
        for _ in range(3):
            write = await anext(stream.body)  # is being written, to a client that has stopped reading
            await wait_all_tasks_blocked(0.01)
            assert stream.upstream.given - written <= MIB + len(one)
            written += len(write)
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("way")
async def test_openings_without_end_do_not_gather():
    stream = Stream(*[b": waiting\n\n" * 5000] * 100)
    async with trio.open_nursery() as nursery:
        stream.start(nursery)
        await stream.body.open()
        await wait_all_tasks_blocked(0.01)
        assert stream.upstream.given < MIB
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("way")
async def test_no_ping_splits_an_event_that_is_sent_in_pieces(autojump_clock):
    """The client takes a piece every 10 s, and a keep-alive is due every 3."""
    large = content(3 * MIB)
    stream = Stream(OPENING + FIRST, large, *REST, keep_alive=3)
    out = b""
    async with trio.open_nursery() as nursery:
        stream.start(nursery)
        async for write in stream.body:
            out += write
            await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert out.replace(sse.COMMENT_PING, b"") == OPENING + FIRST + large + b"".join(REST)
    assert large in out
