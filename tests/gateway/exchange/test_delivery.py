"""How a stream reaches its client, by a clock that jumps: opening, keep-alives, ends, memory."""

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.exchange.delivery import END_GRACE, Relay
from gateway.http.response import ChannelBody
from gateway.ledger.record import Record
from streams import sse
from streams.events import Api, ErrorInfo
from streams.pipe import (
    PIECES_QUEUED,
    WRITES_QUEUED,
    Timeouts,
    Watch,
    pump,
)
from tests.support.lanes import SCRIPTS, byte_lane, events_of, half
from tests.support.scripted_source import BROKEN, MIB, Step, Upstream, content


class Stream:
    """A relay between a scripted upstream and a client that reads when it is told to, in one of three ways: the
    response body iterates over the relay, and the pump writes at once what it can (``at once``) or never (``in the
    body``), or the relay has a task and a channel of its own (``apart``)."""

    way = "apart"

    def __init__(self, *steps: Step, api: Api = "chat", keep_alive: float = 15, idle: float | None = None) -> None:
        self.upstream = Upstream(*steps)
        self.record = Record("req_1", api)
        self._timeouts = Timeouts(idle=idle)
        self._into, chunks = trio.open_memory_channel[bytes | ErrorInfo](PIECES_QUEUED)
        self._to_client, writes = trio.open_memory_channel[bytes](WRITES_QUEUED)
        self.relay = Relay(byte_lane(api, 16 * MIB), self._into, chunks, self.record, keep_alive)
        self.body = ChannelBody(writes) if self.way == "apart" else self.relay
        self._got: list[tuple[float, bytes]] = []

    def start(self, nursery: trio.Nursery) -> None:
        watch = Watch(self._timeouts)
        take = self.relay.take
        nursery.start_soon(pump, self.upstream.connect, self.upstream.opened.append, self._into, watch, take)
        if self.way == "apart":
            nursery.start_soon(self.relay.forward, self._to_client)

    async def opened(self) -> None:
        await (self.relay.opened.wait() if self.way == "apart" else self.relay.open())

    async def read(self) -> list[tuple[float, bytes]]:
        """What the client gets to the end, and when."""
        if self.way == "at once":
            self.relay.attach(self._write_now)
        async for write in self.body:
            self._got.append((trio.current_time(), write))
        return self._got

    def _write_now(self, data: bytes) -> bool:
        if len(self._got) % 3 == 2:  # now and then the client is slow
            return False
        self._got.append((trio.current_time(), data))
        return True


@pytest.fixture(params=["at once", "in the body", "apart"])
def way(request, monkeypatch) -> None:
    monkeypatch.setattr(Stream, "way", request.param)


async def relayed(*steps: Step, **more: Any) -> tuple[Stream, list[tuple[float, bytes]]]:
    stream = Stream(*steps, **more)
    async with trio.open_nursery() as nursery:
        stream.start(nursery)
        await stream.opened()
        writes = await stream.read() if stream.relay.refused is None else []
        nursery.cancel_scope.cancel()
    return stream, writes


OPENING, FIRST, *REST = events_of("chat", SCRIPTS["text"])


@pytest.mark.usefixtures("way")
async def test_nothing_goes_out_before_the_first_content(autojump_clock):
    begun = trio.current_time()
    _, writes = await relayed(OPENING, 10.0, FIRST, 2.0, b"".join(REST))
    assert [(round(at - begun, 3), data) for at, data in writes] == [(10, OPENING + FIRST), (12, b"".join(REST))]


@pytest.mark.usefixtures("way")
async def test_a_failure_before_the_first_interval_is_refused(autojump_clock):
    stream, writes = await relayed(OPENING, 14.9, BROKEN)
    assert writes == []
    assert stream.relay.refused == BROKEN.failed
    assert stream.record.failed == BROKEN.failed


@pytest.mark.usefixtures("way")
async def test_silence_opens_the_stream_for_comments_and_a_failure_is_an_event_then(autojump_clock):
    begun = trio.current_time()
    stream, writes = await relayed(OPENING, 31.0, BROKEN)
    assert stream.relay.refused is None
    assert [(round(at - begun), data) for at, data in writes[:-1]] == [(15, sse.COMMENT_PING), (30, sse.COMMENT_PING)]
    assert writes[-1][1].startswith(OPENING + b'data: {"error"')
    assert stream.record.failed == BROKEN.failed


@pytest.mark.usefixtures("way")
async def test_keep_alives_fill_silence_after_content_and_end_with_the_answer(autojump_clock):
    begun = trio.current_time()
    answer = b"".join(REST)
    _, writes = await relayed(OPENING + FIRST, 40.0, answer[:-9], 20.0, answer[-9:], 1.0)
    times = [(round(at - begun, 3), data) for at, data in writes]
    ping = sse.COMMENT_PING
    cut = answer.index(b"data: [DONE]")
    assert times == [(0, OPENING + FIRST), (15, ping), (30, ping), (40, answer[:cut]), (55, ping), (60, answer[cut:])]


@pytest.mark.usefixtures("way")
async def test_our_own_keep_alives_do_not_count_as_the_upstreams_word(autojump_clock):
    stream, writes = await relayed(OPENING + FIRST, 1e4, keep_alive=2, idle=9)
    assert stream.record.failed is not None
    assert stream.record.failed.kind == "timeout"
    assert [data for _, data in writes[1:-1]] == [sse.COMMENT_PING] * 4
    assert b"went silent for 9 s" in writes[-1][1]


@pytest.mark.usefixtures("way")
async def test_an_answer_ends_though_the_upstream_holds_its_connection(autojump_clock):
    begun = trio.current_time()
    stream, writes = await relayed(OPENING + FIRST + b"".join(REST), 1e4)
    assert stream.record.whole
    assert len(writes) == 1
    assert trio.current_time() - begun == pytest.approx(END_GRACE)


@pytest.mark.usefixtures("way")
async def test_what_an_upstream_says_behind_its_answer_does_not_hold_the_client(autojump_clock):
    begun = trio.current_time()
    stream, _ = await relayed(OPENING + FIRST + b"".join(REST), *[b": still here\n\n", 0.01] * 1000)
    assert stream.record.whole
    assert trio.current_time() - begun < 2 * END_GRACE


@pytest.mark.usefixtures("way")
async def test_both_words_for_a_failure_arrive_though_there_is_time_between_them(autojump_clock):
    error = b'data: {"type":"error","error":{"code":"x","message":"spent"}}\n\n'
    failed = b'data: {"type":"response.failed","response":{"id":"r","status":"failed"}}\n\n'
    _, writes = await relayed(*half("responses"), 1.0, error, 0.1, failed, 1e4, api="responses")
    assert b"".join(data for _, data in writes).endswith(error + failed)


@pytest.mark.usefixtures("way")
async def test_what_was_counted_is_kept_when_the_client_leaves():
    stream = Stream(*half("messages"), 1e4, api="messages")
    async with trio.open_nursery() as nursery:
        stream.start(nursery)
        await stream.opened()
        nursery.cancel_scope.cancel()
    assert (stream.record.whole, stream.record.failed) == (False, None)
    assert stream.record.usage is not None
    assert stream.record.usage.prompt == 11


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("turns", range(4))
async def test_events_keep_their_order_whoever_writes_them(turns):
    """The pump and the body take turns, each with some of what is on the way."""
    events = [content(10).replace(b"x", b"%d," % number) for number in range(300)]
    steps = [step for event in events for step in (event, *[0.0] * turns)]
    _, writes = await relayed(OPENING, FIRST, *steps, *REST)
    assert b"".join(data for _, data in writes) == OPENING + FIRST + b"".join(events) + b"".join(REST)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("event", "chunk"),
    [(100, 100), (100, 65536), (10_000, 65536), (4 * MIB, 65536), (4 * MIB, MIB)],
    ids=["tiny_reads", "many_in_a_read", "middling", "large", "large_in_large_reads"],
)
async def test_a_stalled_client_bounds_what_is_held(event, chunk):
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
        await stream.opened()
        await wait_all_tasks_blocked(0.01)
        assert stream.upstream.given < MIB
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("way")
async def test_no_ping_falls_into_an_event_that_goes_out_in_pieces(autojump_clock):
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
