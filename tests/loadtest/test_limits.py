"""Limits of a load on real sockets: a cap, a count, deadlines, silence, what servers ask for, and goodput."""

import pytest
import trio

from loadtest.exchange.ending import parse_retry_after
from loadtest.figures.notes import notes
from tests.support.load_servers import HEAD, answer, chunk, events, load, prepared, quick, scenario, serving


def taking(seconds):
    async def serve(stream, head):
        await trio.sleep(seconds)
        await answer(stream, "word")

    return serve


def failures(run):
    return [(row.kind, row.phase, row.count) for row in run.tally.failures]


# A cap


async def test_a_cap_delays_requests_and_latency_includes_the_wait():
    """vllm-project/vllm#54101: a clock that starts behind the cap reports a quarter of what users wait."""
    at_once, most, answered = 0, 0, []

    async def serve(stream, head):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await trio.sleep(0.1)
        at_once -= 1
        await answer(stream, "word")
        answered.append(trio.current_time())

    async with serving(serve) as url:
        running = await prepared(scenario(url, rate=50, count=8, concurrency=1))
        run = await running.run()
    assert most == 1
    assert (run.tally.counts["started"], run.tally.counts["whole"]) == (8, 8)
    duration, queued = run.tally.measures["duration"], run.tally.measures["queued"]
    waited = sum(at - running.begin - 0.02 * number for number, at in enumerate(answered)) / 8  # as the server saw it
    assert waited > 0.37  # 0.1 s each, and on average 3.5 before it, 20 ms apart
    assert abs(duration.mean / waited - 1) < 0.05
    assert queued.count == 7
    assert run.tally.measures["late"].most < queued.most
    (note,) = [note for note in notes(run) if "cap" in note]
    assert note.startswith("The cap of 1 held back 7 of 8, for ")


async def test_an_unreached_cap_is_not_reported():
    async with serving(quick) as url:
        run = await load(url, rate=50, seconds=0.2, concurrency=50)
    assert run.tally.measures["queued"].count == 0
    assert not any("cap" in note for note in notes(run))


async def test_requests_queued_at_the_end_of_the_grace_are_unfinished():
    async with serving(taking(60)) as url:
        run = await load(url, rate=50, seconds=0.1, concurrency=1, grace="200ms")
    assert run.tally.counts["unfinished"] == run.tally.counts["started"] == 5
    assert failures(run) == [("unfinished", "turn", 4), ("unfinished", "first byte", 1)]


# A count


async def test_a_count_is_begun_to_the_letter_in_every_loop():
    async with serving(quick) as url:
        even = await load(url, rate=100, count=7, warmup="50ms")
        poisson = await load(url, rate=200, count=9, spacing="poisson")
        closed = await load(url, concurrency=3, count=10)
        short = await load(url, rate=100, count=1000, seconds=0.1)
    counts = [run.tally.counts["whole"] for run in (even, poisson, closed, short)]
    assert counts == [7, 9, 10, 10]
    assert abs(even.seconds - 0.07) < 0.001
    assert closed.rate == 10 / closed.seconds


async def test_a_closed_loop_with_a_count_does_not_wait_for_what_never_ends():
    async with serving(taking(60)) as url:
        run = await load(url, concurrency=2, count=2, grace="200ms")
    assert run.tally.counts["unfinished"] == 2


# Time


async def test_requests_past_the_deadline_are_not_sent():
    """zoxy-io/zrk#26: behind a server at half of what it is asked, latencies grow as long as the load goes on."""
    asked = []

    async def serve(stream, head):
        asked.append(head)
        await trio.sleep(0.2)
        await answer(stream, "word")

    async with serving(serve) as url:
        run = await load(url, rate=100_000, count=5, concurrency=1, deadline="300ms")
    assert failures(run) == [("expired", "turn", 3), ("expired", "first byte", 1)]
    assert len(asked) == 2
    assert run.tally.measures["duration"].most < 0.4
    assert run.tally.goodput == 0.2


async def test_an_endless_answer_is_reported_by_its_request_id():
    """Others waited hours for the last of a thousand: sgl-project/sglang#32578, vllm-project/vllm#51030."""

    async def silent(stream, head):
        await stream.send_all(HEAD.replace(b"\r\n\r\n", b"\r\nx-request-id: req-7\r\n\r\n"))
        await stream.send_all(chunk(b"".join(events("one")[:2])))
        await trio.sleep_forever()

    async with serving(silent) as url:
        run = await load(url, rate=10, seconds=0.1, grace="200ms")
    (failure,) = run.tally.failures
    assert (failure.kind, failure.example) == (
        "unfinished",
        "not finished 0.2 s after the last arrival (request req-7)",
    )


async def test_silence_is_stalled_and_slowness_is_not():
    async def silent(stream, head):
        await stream.send_all(HEAD + chunk(b"".join(events("one")[:2])))
        await trio.sleep_forever()

    async def slow(stream, head):
        await answer(stream, "one", "two", "three", pause=0.1)

    async with serving(silent) as stalls, serving(slow) as lives:
        stalled = await load(stalls, rate=20, seconds=0.1, idle="300ms")
        living = await load(lives, rate=20, seconds=0.1, idle="300ms")
    assert failures(stalled) == [("stalled", "stream", 2)]
    assert stalled.tally.measures["gap"].most > 0.25
    assert living.tally.counts["whole"] == 2


# What servers ask for


def refusing(wait):
    async def serve(stream, head):
        await stream.send_all(b"HTTP/1.1 429 No\r\ncontent-length: 2\r\nretry-after: %b\r\n\r\n{}" % wait)

    return serve


async def test_requested_waits_are_reported_with_the_error():
    async with serving(refusing(b"7")) as url:
        run = await load(url, rate=20, seconds=0.1)
    assert [(row.kind, row.retry_after) for row in run.tally.failures] == [("status 429", (7.0, 7.0))]
    assert run.tally.counts["started"] == 2


async def test_clients_respect_retry_after_if_configured():
    async with serving(refusing(b"0.3")) as url:
        hasty = await load(url, concurrency=1, seconds=0.5)
        patient = await load(url, concurrency=1, seconds=0.5, respect_retry_after=True)
    assert hasty.tally.counts["started"] >= 4
    assert patient.tally.counts["started"] == 2
    assert (hasty.retry_waits.count, patient.retry_waits.count) == (0, 2)
    assert abs(patient.retry_waits.total - 0.6) < 0.001


# Leaving


async def test_clients_can_leave_after_so_many_tokens():
    left = trio.Event()

    async def serve(stream, head):
        await stream.send_all(HEAD)
        for event in events("one", "two", "three")[:-3]:
            await stream.send_all(chunk(event))
            await trio.sleep(0.02)
        assert not await stream.receive_some()
        left.set()
        return False

    async with serving(serve) as url:
        run = await load(url, [{"model": "m", "cancel": {"share": 1, "after": "2 tokens"}}], rate=10, seconds=0.1)
        await left.wait()
    assert (run.tally.counts["started"], run.tally.counts["cancelled"]) == (1, 1)
    assert run.tally.measures["left_after"].most == 2
    assert run.tally.goodput is None


# Goodput


@pytest.mark.slow
async def test_goodput_is_the_share_of_all_that_began():
    """Beside what the server itself counts: guidellm's was of successes (vllm-project/guidellm#1085)."""
    served = []

    async def serve(stream, head):
        served.append(head)
        if len(served) % 10 == 0:
            await stream.send_all(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}")
            return
        if len(served) % 10 == 5:
            await trio.sleep(1.5)
        await answer(stream, "one", " two")

    async with serving(serve) as url:
        run = await load(url, rate=50, count=20, slo="ttft<1.3s, duration:9000")
    assert len(served) == 20
    assert (run.tally.counts["error"], run.tally.counts["good"]) == (2, 16)
    assert run.tally.goodput == 0.8
    assert run.tally.missed == {"ttft": 2}


async def test_a_load_that_is_stopped_leaves_what_it_cut_off_out_of_the_goodput():
    begun, third = 0, trio.Event()

    async def serve(stream, head):
        nonlocal begun
        begun += 1
        if begun == 3:
            third.set()
        if begun > 1:
            await trio.sleep_forever()
        await answer(stream, "word")

    async with serving(serve) as url:
        running = await prepared(scenario(url, rate=5, seconds=60))  # the first answer is read before the third begins
        async with trio.open_nursery() as nursery:

            async def stop():
                await third.wait()
                running.stop("errors>5%: it is 95 %")

            nursery.start_soon(stop)
            run = await running.run()
    assert run.stopped == "errors>5%: it is 95 %"
    assert not run.interrupted
    assert run.tally.goodput == 1.0


def test_a_date_that_is_none_is_no_time_to_wait():
    """A number that no clock has is refused by the date's own reader, in more ways than one."""
    dates = ("Thu, 01 Jan 2026 00:00:99999999999999999999 GMT", "Thu, 01 Jan 99999999999999999999 00:00:00 GMT",
             "Thu, 01 Jan 2026 00:00:00 -99999999999999999999", "Fri, 31 Dec 9999 23:59:59 +9999", "soon")  # fmt: skip
    assert [parse_retry_after(429, {"retry-after": date}) for date in dates] == [None] * len(dates)
