"""What one answer may take of the load tester."""

from gateway.loadtest.exchange.exchange import EVENTS
from tests.support.load_servers import HEAD, chunk, load, serving


async def test_an_answer_of_endless_small_events_ends():
    """Each is read and judged, which would go on for minutes after the load's end."""

    async def serve(stream, _):
        await stream.send_all(HEAD)
        while True:
            await stream.send_all(chunk(b"\n\n" * 30_000))

    async with serving(serve) as url:
        run = await load(url, concurrency=1, count=1)
    (failure,) = run.tally.failures
    assert (failure.kind, failure.example) == ("too large", f"the answer has more than {EVENTS} events")
