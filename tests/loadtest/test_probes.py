"""Small requests beside a load (vLLM's benchmark has them): counted apart from all else."""

import msgspec
import trio

from loadtest.reports import text
from tests.support.load_servers import answer, load, serving_bodies


async def test_probes_ask_for_one_token_next_to_the_load_and_are_counted_apart(autojump_clock):
    asked = []

    async def serve(stream, _, body):
        asked.append(msgspec.json.decode(body)["max_completion_tokens"])
        await answer(stream, "word")

    async with serving_bodies(serve) as url:
        run = await load(url, [{"model": "m", "output": 50}], rate=4, seconds=5, probe=2)
    assert asked.count(50) == run.tally.counts["started"] == 20
    assert asked.count(1) == 10
    assert (run.probes.counts["started"], run.probes.counts["whole"]) == (10, 10)
    assert sum(second.started for second in run.timeline.seconds) == 20
    assert "probes of one token during the load: 10 of 10 whole, time to the first token p50" in " ".join(
        text.summary(run).split()
    )
    assert type(run).load(msgspec.json.decode(msgspec.json.encode(run.dump()))).probes.counts["whole"] == 10


async def test_without_probes_no_output_mentions_them(autojump_clock):
    async def serve(stream, _, __):
        await answer(stream, "word")

    async with serving_bodies(serve) as url:
        run = await load(url, rate=2, seconds=1)
    assert run.dump()["probes"] is None
    assert "probes" not in text.summary(run)


async def test_a_probe_that_is_not_answered_is_no_better_than_one_that_is(autojump_clock):
    async def serve(stream, _, body):
        if msgspec.json.decode(body)["max_completion_tokens"] == 1:
            await trio.sleep_forever()
        await answer(stream, "word")

    async with serving_bodies(serve) as url:
        run = await load(url, [{"model": "m", "output": 50}], rate=2, seconds=2, probe=1)
    assert [(failure.kind, failure.count) for failure in run.probes.failures] == [("unfinished", 2)]
    assert run.probes.measures["ttft"].censored == 2
    assert run.tally.counts["whole"] == 4
