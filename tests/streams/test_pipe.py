"""The pump and what watches over it, by a clock that jumps: limits on silence, back-pressure, keep-alives, memory."""

from typing import Any, TypeAlias

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.exchange.delivery import END_GRACE, Relay
from gateway.http.response import ChannelBody
from gateway.ledger.record import Record
from streams import sse
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo
from streams.pipe import (
    BATCH_BYTES,
    PIECE,
    PIECES_QUEUED,
    WRITES_QUEUED,
    Timeouts,
    Watch,
    pump,
    receive_batch,
)
from tests.gateway.streaming.test_lanes import SCRIPTS, byte_lane, events_of, half

Step: TypeAlias = bytes | float | GatewayError
"""What an upstream does next: send, be silent for so many seconds, or break off."""


class Upstream:
    """A source that follows its steps. ``given`` counts its bytes."""

    def __init__(self, *steps: Step, head_after: float = 0.0) -> None:
        self.steps = iter(steps)
        self.head_after = head_after
        self.given = 0
        self.closed = False
        self.opened: list[Upstream] = []

    async def connect(self) -> "Upstream":
        await trio.sleep(self.head_after)
        return self

    def chunks(self) -> "Upstream":
        return self

    def __aiter__(self) -> "Upstream":
        return self

    async def __anext__(self) -> bytes:
        for step in self.steps:
            if isinstance(step, GatewayError):
                raise step
            if isinstance(step, bytes):
                await trio.lowlevel.checkpoint()
                self.given += len(step)
                return step
            await trio.sleep(step)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


BROKEN = GatewayError("upstream", "it broke")
Items: TypeAlias = list[bytes | ErrorInfo]


async def take_all(channel: trio.MemoryReceiveChannel[bytes | ErrorInfo], pause: float = 0.0) -> Items:
    items: Items = []
    async for item in channel:
        items.append(item)
        await trio.sleep(pause)
    return items


async def pumped(upstream: Upstream, timeouts: Timeouts, pause: float = 0.0) -> Items:
    """All that a consumer gets who waits ``pause`` seconds after each item."""
    into, out = trio.open_memory_channel[bytes | ErrorInfo](PIECES_QUEUED)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, upstream.connect, upstream.opened.append, into, Watch(timeouts))
        items = await take_all(out, pause)
    assert upstream.closed == bool(upstream.opened)
    return items


MIB = 2**20
LIMITS = Timeouts(first_byte=10, idle=5, total=100)


async def test_a_good_end_closes_the_channel_without_a_failure(autojump_clock):
    assert await pumped(Upstream(b"a", 4.9, b"b", 4.9, b"c", 4.9), LIMITS) == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("upstream", "failed", "seconds"),
    [
        (Upstream(head_after=10.1), "did not answer within 10 s", 10),
        (Upstream(5.1, head_after=9.9), "went silent for 5 s", 14.9),
        (Upstream(b"a", 5.1, b"b"), "went silent for 5 s", 5),
        (Upstream(*[b"a", 4.0] * 26), "did not finish within 100 s", 100),
        (Upstream(head_after=9.9), None, 9.9),
        (Upstream(*[b"a", 4.0] * 24), None, 96),
    ],
    ids=["no_head", "no_body", "idle", "total", "late_head", "slow_but_moving"],
)
async def test_limits_on_silence(autojump_clock, upstream, failed, seconds):
    begun = trio.current_time()
    last = (await pumped(upstream, LIMITS) or [None])[-1]
    assert seconds <= trio.current_time() - begun + 1e-6 <= 1.01 * seconds + 0.01
    if failed is None:
        assert not isinstance(last, ErrorInfo)
    else:
        assert isinstance(last, ErrorInfo)
        assert (last.kind, last.status) == ("timeout", 504)
        assert failed in last.message


async def test_no_limit_is_no_limit(autojump_clock):
    never = Timeouts(first_byte=None, idle=None, total=None)
    assert await pumped(Upstream(1e5, b"a", 1e5, head_after=1e5), never) == [b"a"]


async def test_a_failure_to_connect_or_to_open_is_sent_too():
    def refuse(*_: Upstream) -> Any:
        raise BROKEN

    upstream = Upstream(b"a")
    for connect, opened in ((refuse, upstream.opened.append), (upstream.connect, refuse)):
        into, out = trio.open_memory_channel[bytes | ErrorInfo](1)
        await pump(connect, opened, into, Watch(LIMITS))
        assert await take_all(out) == [BROKEN.failed]
    assert upstream.closed


@pytest.mark.parametrize("pause", [0.0, 3.0], ids=["at_once", "slow_client"])
async def test_a_failure_comes_after_all_that_was_said(autojump_clock, pause):
    words = [b"%d" % i for i in range(200)]
    assert await pumped(Upstream(*words, BROKEN), Timeouts(idle=5), pause) == [*words, BROKEN.failed]


async def test_a_slow_client_does_not_make_its_upstream_look_silent(autojump_clock):
    """The upstream has more to say all the time; it is the client that takes 7 s for each piece."""
    words = [b"%d" % i for i in range(3 * PIECES_QUEUED)]
    assert await pumped(Upstream(*words), Timeouts(idle=5), pause=7) == words


async def test_the_watch_goes_on_once_the_client_has_caught_up(autojump_clock):
    words = [b"%d" % i for i in range(2 * PIECES_QUEUED)]
    items = await pumped(Upstream(*words, 1e4), Timeouts(idle=5), pause=1)
    assert items[:-1] == words
    assert isinstance(items[-1], ErrorInfo)
    assert "silent" in items[-1].message


async def test_a_slow_client_does_not_put_off_the_total(autojump_clock):
    begun = trio.current_time()
    items = await pumped(Upstream(*[b"a"] * 300), LIMITS, pause=1)
    assert isinstance(items[-1], ErrorInfo)
    assert "100 s" in items[-1].message
    assert len(items) < 180
    assert trio.current_time() - begun < 180


@pytest.mark.parametrize("capacity", [2, 5000], ids=["while_it_waits", "while_it_reads"])
async def test_a_pump_that_nobody_reads_from_ends(autojump_clock, capacity):
    upstream = Upstream(*[b"a"] * 10, 1.0, *[b"a"] * 1000)
    into, out = trio.open_memory_channel[bytes | ErrorInfo](capacity)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, upstream.connect, upstream.opened.append, into, Watch(LIMITS))
        await wait_all_tasks_blocked()
        out.close()
    assert upstream.closed
    assert upstream.given < 20


async def test_the_end_of_the_drain_is_told_as_that(autojump_clock):
    into, out = trio.open_memory_channel[bytes | ErrorInfo](2)
    watch = Watch(LIMITS)
    async with trio.open_nursery() as nursery:
        upstream = Upstream(b"a", 4.0, b"b")
        nursery.start_soon(pump, upstream.connect, upstream.opened.append, into, watch)
        await wait_all_tasks_blocked()
        watch.scope.cancel()
        items = await take_all(out)
    assert items[0] == b"a"
    assert isinstance(items[-1], ErrorInfo)
    assert (items[-1].kind, items[-1].status) == ("overloaded", 503)
    assert "shutting down" in items[-1].message


async def test_a_word_that_comes_with_the_deadline_does_not_make_a_timeout_a_shutdown(autojump_clock):
    """The deadline has passed and the read has returned: to move it now would hide why the scope is cancelled."""
    watch = Watch(Timeouts(first_byte=1, idle=5))
    with watch.scope:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            await trio.sleep(1.5)
        watch.heard()
        watch.pause()
        await trio.lowlevel.checkpoint()
    assert watch.scope.cancelled_caught
    assert watch.failed().kind == "timeout"


async def test_batches_take_what_is_queued_and_never_wait_for_more(autojump_clock):
    send, receive = trio.open_memory_channel[bytes | ErrorInfo](100)
    for word in (b"a", b"b", b"c"):
        send.send_nowait(word)
    assert await receive_batch(receive) == (b"abc", None)
    send.send_nowait(b"d")
    send.send_nowait(BROKEN.failed)
    assert await receive_batch(receive) == (b"d", BROKEN.failed)
    for _ in range(20):
        send.send_nowait(b"x" * PIECE)
    send.close()
    sizes = [len((await receive_batch(receive))[0]) for _ in range(2)]
    assert sizes == [BATCH_BYTES, 4 * PIECE]
    with pytest.raises(trio.EndOfChannel):
        await receive_batch(receive)


# The relay


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


# Memory


def content(size: int) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * size + b'"}}]}\n\n'


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
