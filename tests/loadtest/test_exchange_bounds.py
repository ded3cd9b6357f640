"""The memory and time that one response may cost the load tester."""

import pytest

from loadtest.exchange import exchange
from loadtest.exchange.judging import ReceivedAnswer, judge_answer
from tests.support.load_servers import HEAD, chunk, load, serving


@pytest.mark.parametrize(
    ("events", "limit"),
    [
        (b":\n\n" * 20_000, "the answer has more than 30000 events"),
        (b"\n\n" * 30_000, "the answer is larger than 8 MiB"),
    ],
    ids=["comments", "blank-lines"],
)
async def test_an_endless_response_of_small_events_is_cut_off(events, limit, monkeypatch):
    """Without a bound, reading and judging the events took minutes after the end of the load."""
    monkeypatch.setattr(exchange, "MAX_EVENTS", 30_000)
    monkeypatch.setattr(exchange, "MAX_ANSWER", 2**23)

    async def serve(stream, _):
        await stream.send_all(HEAD)
        while True:
            await stream.send_all(chunk(events))

    async with serving(serve) as url:
        run = await load(url, concurrency=1, count=1)
    (failure,) = run.tally.failures
    assert (failure.kind, failure.example) == ("too large", limit)


async def test_only_the_shown_part_of_an_endless_error_is_read():
    """Decoding a whole error of 60 MB of lists stopped all streams for 8 s."""

    async def serve(stream, _):
        await stream.send_all(b"HTTP/1.1 500 No\r\n\r\n")
        while True:
            await stream.send_all(b"no! " * 16_384)

    async with serving(serve) as url:
        run = await load(url, concurrency=1, count=1)
    (failure,) = run.tally.failures
    assert (failure.kind, failure.phase) == ("status 500", "first byte")
    assert failure.example.startswith("no! no!")


def test_a_whole_response_that_expands_in_memory_is_not_decoded():
    """60 MB of lists took 2 GB and 15 s, in the loader's own process if the judge was busy."""
    lists = b'{"choices":[' + b"[]," * 100_000 + b"[]]}"
    verdict = judge_answer(ReceivedAnswer("chat", False, lists))
    assert (verdict.fault, verdict.detail) == ("too large", "the answer has more than 200,000 JSON elements")


async def test_an_event_that_expands_too_much_is_reported():
    event = b'data: {"error":[' + b"[]," * 100_000 + b"[]]}\n\n"

    async def serve(stream, _):
        await stream.send_all(HEAD + chunk(event) + b"0\r\n\r\n")

    async with serving(serve) as url:
        run = await load(url, concurrency=1, count=1)
    (failure,) = run.tally.failures
    assert (failure.kind, failure.example) == ("too large", "it has an event of more than 200,000 JSON elements")
