"""The pump and its watchdog, on a simulated clock: limits on silence, back-pressure, the end."""

import contextlib
from typing import TypeAlias

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from streams.events import ErrorInfo
from streams.handoff import Handoff
from streams.pipe import BATCH_BYTES, PIECE, PIECES_QUEUED, Chunk, Watch, receive_batch
from streams.timeouts import Timeouts
from tests.support.scripted_source import BROKEN, Upstream, pump_from

Items: TypeAlias = list[Chunk]


async def pump_into(handoff: Handoff[Chunk], upstream: Upstream, watch: Watch) -> None:
    with handoff:
        if (failed := await pump_from(upstream, handoff, watch)) is not None:
            await handoff.send(failed)


async def take_all(handoff: Handoff[Chunk], pause: float = 0.0) -> Items:
    items: Items = []
    with contextlib.suppress(trio.EndOfChannel):
        while (item := await handoff.receive()) is not None:
            items.append(item)
            await trio.sleep(pause)
    return items


async def pump_items(upstream: Upstream, timeouts: Timeouts, pause: float = 0.0) -> Items:
    """Return all items of a consumer that waits ``pause`` seconds after each."""
    handoff = Handoff[Chunk](PIECES_QUEUED)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump_into, handoff, upstream, Watch(timeouts))
        items = await take_all(handoff, pause)
    assert upstream.closed == bool(upstream.opened)
    return items


async def pump_counted(upstream: Upstream, timeouts: Timeouts) -> Items:
    """Return all items except keep-alives, which are empty in these tests, with a limit on keep-alives."""
    handoff, items = Handoff[Chunk](PIECES_QUEUED), list[Chunk]()
    async with trio.open_nursery() as nursery:
        watch = Watch(timeouts)
        watch.limit_keep_alives(lambda: len(items))
        nursery.start_soon(pump_into, handoff, upstream, watch)
        with contextlib.suppress(trio.EndOfChannel):
            while (item := await handoff.receive()) is not None:
                items += [item] if item else []
    return items


LIMITS = Timeouts(first_byte=10, idle=5, total=100)


async def test_a_normal_end_closes_the_channel_without_a_failure(autojump_clock):
    assert await pump_items(Upstream(b"a", 4.9, b"b", 4.9, b"c", 4.9), LIMITS) == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("upstream", "failed", "seconds"),
    [
        (Upstream(head_after=10.1), "did not respond within 10 s", 10),
        (Upstream(5.1, head_after=9.9), "sent nothing for 5 s", 14.9),
        (Upstream(b"a", 5.1, b"b"), "sent nothing for 5 s", 5),
        (Upstream(*[b"a", 4.0] * 26), "did not finish within 100 s", 100),
        (Upstream(head_after=9.9), None, 9.9),
        (Upstream(*[b"a", 4.0] * 24), None, 96),
    ],
    ids=["no_head", "no_body", "idle", "total", "late_head", "slow_but_moving"],
)
async def test_limits_on_silence(autojump_clock, upstream, failed, seconds):
    begun = trio.current_time()
    last = (await pump_items(upstream, LIMITS) or [None])[-1]
    assert seconds <= trio.current_time() - begun + 1e-6 <= 1.01 * seconds + 0.01
    if failed is None:
        assert not isinstance(last, ErrorInfo)
    else:
        assert isinstance(last, ErrorInfo)
        assert (last.kind, last.status) == ("timeout", 504)
        assert failed in last.message


@pytest.mark.parametrize(("idle", "seconds"), [(5, 10), (20, 22)])
async def test_a_first_byte_after_the_headers_may_take_as_long_as_the_headers(autojump_clock, idle, seconds):
    """Servers of local models send the headers, and then read the prompt (tale-project/tale#3396)."""
    watch = Watch(Timeouts(first_byte=10, idle=idle))
    begun = trio.current_time()
    with watch.scope:
        await trio.sleep(2)
        watch.await_body()
        await trio.sleep_forever()
    assert trio.current_time() - begun == seconds
    assert f"sent headers, but no answer within {max(10, idle)} s" in watch.failure().message


async def test_a_local_model_may_think_in_the_middle_of_its_answer(autojump_clock):
    """Codex repeated a request whose answer ended after five minutes of thought (tale-project/tale#3396)."""
    assert await pump_items(Upstream(b"a", 320, b"b"), Timeouts()) == [b"a", b"b"]


async def test_none_means_no_limit(autojump_clock):
    never = Timeouts(first_byte=None, idle=None, total=None)
    assert await pump_items(Upstream(1e5, b"a", 1e5, head_after=1e5), never) == [b"a"]


@pytest.mark.parametrize("idle", [None, 10_000])
@pytest.mark.parametrize(
    "before", [(b"a",), (b"a", 3500, b"a"), (b"a", 3500, b"", 90, b"a")], ids=["first", "later", "after_keep_alives"]
)
async def test_silence_does_not_count_as_a_keep_alive(autojump_clock, idle, before):
    """``idle`` alone limits it, also if it is longer than ``progress``."""
    upstream = Upstream(*before, 9000, b"b", 20, b"", 9000, b"c", 9000, b"d")
    items = [b"a" for piece in before if piece == b"a"] + [b"b", b"c", b"d"]
    assert await pump_counted(upstream, Timeouts(idle=idle)) == items


async def test_keep_alives_alone_are_a_failure(autojump_clock):
    begun = trio.current_time()
    *items, failure = await pump_counted(Upstream(b"a", *[b"", 15] * 1000), Timeouts())
    assert items == [b"a"]
    assert isinstance(failure, ErrorInfo)
    assert (failure.kind, failure.message) == ("timeout", "the provider sent only keep-alives for 3600 s")
    assert 3600 <= trio.current_time() - begun <= 3650


@pytest.mark.parametrize("pause", [0.0, 3.0], ids=["at_once", "slow_client"])
async def test_a_failure_follows_all_earlier_content(autojump_clock, pause):
    words = [b"%d" % i for i in range(200)]
    assert await pump_items(Upstream(*words, BROKEN), Timeouts(idle=5), pause) == [*words, BROKEN.info]


async def test_a_slow_client_does_not_make_its_upstream_look_silent(autojump_clock):
    """The upstream always has more to send, and the client needs 7 s for each piece."""
    words = [b"%d" % i for i in range(3 * PIECES_QUEUED)]
    assert await pump_items(Upstream(*words), Timeouts(idle=5), pause=7) == words


async def test_the_idle_limit_resumes_when_the_client_has_caught_up(autojump_clock):
    words = [b"%d" % i for i in range(2 * PIECES_QUEUED)]
    items = await pump_items(Upstream(*words, 1e4), Timeouts(idle=5), pause=1)
    assert items[:-1] == words
    assert isinstance(items[-1], ErrorInfo)
    assert "sent nothing" in items[-1].message


async def test_a_slow_client_does_not_extend_the_total_limit(autojump_clock):
    begun = trio.current_time()
    items = await pump_items(Upstream(*[b"a"] * 300), LIMITS, pause=1)
    assert isinstance(items[-1], ErrorInfo)
    assert "100 s" in items[-1].message
    assert len(items) < 180
    assert trio.current_time() - begun < 180


async def test_the_end_of_the_drain_is_reported_as_a_shutdown(autojump_clock):
    handoff = Handoff[Chunk](2)
    watch = Watch(LIMITS)
    async with trio.open_nursery() as nursery:
        upstream = Upstream(b"a", 4.0, b"b")
        nursery.start_soon(pump_into, handoff, upstream, watch)
        await wait_all_tasks_blocked()
        watch.scope.cancel()
        items = await take_all(handoff)
    assert items[0] == b"a"
    assert isinstance(items[-1], ErrorInfo)
    assert (items[-1].kind, items[-1].status, items[-1].reason) == ("overloaded", 503, None)
    assert "shutting down" in items[-1].message


async def test_data_at_the_deadline_does_not_turn_a_timeout_into_a_shutdown(autojump_clock):
    """The deadline passed after the read returned: moving it then would hide the reason of the cancellation."""
    watch = Watch(Timeouts(first_byte=1, idle=5))
    with watch.scope:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            await trio.sleep(1.5)
        watch.restart_idle_limit()
        watch.pause()
        await trio.lowlevel.checkpoint()
    assert watch.scope.cancelled_caught
    assert (watch.failure().kind, watch.failure().reason) == ("timeout", "timeout")


async def test_the_seconds_of_an_expired_watch_reach_its_limit(autojump_clock):
    """Also if the request was sent late: a balancer that compares these seconds would prefer the silent provider."""
    watch = Watch(Timeouts(first_byte=9, idle=9), content_timeout=2)
    await trio.sleep(0.5)
    with watch.scope:
        await trio.sleep_forever()
    assert watch.seconds == pytest.approx(2)


@pytest.mark.parametrize(("slow", "reason"), [("client", None), ("upstream", "timeout")])
async def test_a_client_that_does_not_read_is_not_a_failure_of_the_upstream(autojump_clock, slow, reason):
    """Clients that read too slowly for ``total`` cause no cooldown (BerriAI/litellm#41223)."""
    watch = Watch(Timeouts(total=10))
    with watch.scope:
        watch.restart_idle_limit()
        watch.pause()
        await trio.sleep(5)
        if slow == "upstream":
            watch.restart_idle_limit()
        await trio.sleep_forever()
    assert (watch.failure().kind, watch.failure().reason) == ("timeout", reason)


async def test_batches_have_only_queued_items_and_never_wait():
    handoff = Handoff[Chunk](100)
    for word in (b"a", b"b", b"c"):
        handoff.send_nowait(word)
    assert await receive_batch(handoff) == (b"abc", None)
    handoff.send_nowait(b"d")
    handoff.send_nowait(BROKEN.info)
    assert await receive_batch(handoff) == (b"d", BROKEN.info)
    for _ in range(20):
        handoff.send_nowait(b"x" * PIECE)
    handoff.close()
    sizes = [len((await receive_batch(handoff))[0]) for _ in range(2)]
    assert sizes == [BATCH_BYTES, 4 * PIECE]
    with pytest.raises(trio.EndOfChannel):
        await receive_batch(handoff)


async def test_a_batch_of_many_lines_is_small():
    """Each line may be an event, and translating one takes up to 0.2 ms of the event loop."""
    handoff = Handoff[Chunk](100)
    for _ in range(20):
        handoff.send_nowait(b":\n" * 100)
    handoff.close()
    sizes = [len((await receive_batch(handoff))[0]) for _ in range(7)]
    assert sizes == [600] * 6 + [400]


async def test_a_batch_is_empty_if_take_ends_the_wait():
    handoff = Handoff[Chunk](1)
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            assert await receive_batch(handoff, lambda _: False) == (b"", None)

        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        assert handoff.offer(b"a")
