"""Prompts and the tokens that servers count for them, over real sockets: lengths, caches, and short answers."""

import json
from functools import partial

import msgspec
import pytest

from configfile.document import ConfigError
from loadtest.exchange.record import AnswerTokens
from loadtest.figures.notes import notes
from loadtest.figures.tally import EXACT, Tally
from loadtest.reports import report_file as report
from loadtest.reports import text
from loadtest.run.readiness import check_exact
from loadtest.run.running import ActiveRun, address_of
from streams import sse
from tests.support.load_records import exchange_record
from tests.support.load_servers import HEAD, chunk, events, judge, load, scenario, serving_bodies


async def counting(stream, head, body, *, characters=3.0, cached=0, output=None, seen=None):
    """A server that counts so many characters a token, and answers with three words."""
    value = msgspec.json.decode(body)
    prompt = value["messages"][-1]["content"]
    if seen is not None:
        seen.append(value)
    tokens = round(len(prompt) / characters)
    usage = {
        "prompt_tokens": tokens,
        "completion_tokens": output or value["max_completion_tokens"],
        "prompt_tokens_details": {"cached_tokens": round(cached * tokens)},
    }
    made = events("a", "b", "c")
    last = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    made[-2] = sse.data({**last, "usage": {**usage, "total_tokens": tokens}})
    await stream.send_all(HEAD + b"".join(map(chunk, made)) + b"0\r\n\r\n")


async def test_a_thousand_tokens_are_a_thousand_by_the_servers_count():
    """Without a tokenizer, which is downloaded by others and wrong for gateways of many models (fw-ai/benchmark#92)."""
    async with serving_bodies(counting) as url:
        run = await load(url, [{"model": "m", "prompt": 1000}], rate=100, seconds=0.5, warmup=0.1)
    asked, counted = run.tally.measures["asked_input"], run.tally.measures["input_tokens"]
    assert (asked.least, asked.most) == (1000, 1000)
    assert counted.mean == pytest.approx(1000, rel=0.02)
    said = text.summary(run)
    assert "prompts have 3 characters a token, by the server's count" in said
    assert "input tokens asked for" in said
    assert Tally.load(run.tally.dump()).prompt_characters == run.tally.prompt_characters > 0


async def test_drawn_lengths_are_sent_exactly():
    async with serving_bodies(partial(counting, characters=5)) as url:
        run = await load(
            url, [{"model": "m", "prompt": [200, 900], "output": [5, 60]}], rate=200, seconds=0.5, warmup=0.2
        )
    measures = run.tally.measures
    assert measures["input_tokens"].mean == pytest.approx(measures["asked_input"].mean, rel=0.02)
    assert measures["output_tokens"].mean == measures["asked_output"].mean
    assert 200 <= measures["asked_input"].least < measures["asked_input"].most <= 900


async def test_tokens_of_an_unrequested_cache_are_noted():
    """The second of two equal runs had 20,701 tokens a second instead of 313 (raullenchai/Rapid-MLX#1641)."""
    kinds = {
        "plain": [{"model": "m"}],
        "prefix": [{"model": "m", "prefix": "100%:50:1"}],
        "little": [{"model": "m"}],
    }
    said = {}
    for name, kind in kinds.items():
        async with serving_bodies(partial(counting, cached=0.005 if name == "little" else 0.5)) as url:
            said[name] = [
                note for note in notes(await load(url, kind, rate=20, seconds=0.2, warmup=0.1)) if "cache" in note
            ]
    assert said["prefix"] == said["little"] == []
    assert (
        "50 % of the input came from the server's prompt cache, although the load does not ask for that; new"
        in said["plain"][0]
    )


async def test_answers_shorter_than_their_exact_length_are_counted_and_not_good():
    """2,048 tokens were asked for and 371 came (ai-dynamo/dynamo#723)."""
    seen = []
    async with serving_bodies(partial(counting, output=10, seen=seen)) as url:
        exact = await load(url, [{"model": "m", "output": 128, "exact": True}], rate=20, seconds=0.2)
        free = await load(url, [{"model": "m", "output": 128}], rate=20, seconds=0.2)
    assert (exact.tally.counts["short"], exact.tally.counts["good"], exact.tally.goodput) == (4, 0, 0)
    assert any("4 answers are shorter than requested (--exact)" in note for note in notes(exact))
    assert (free.tally.counts["short"], free.tally.goodput) == (0, 1)
    assert [(one.get("min_tokens"), one.get("ignore_eos")) for one in seen] == [(128, True)] * 4 + [(None, None)] * 4


async def test_a_file_of_requests_is_in_the_report_by_its_name(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"prompt": "Hello"}))
    async with serving_bodies(counting) as url:
        run = await load(url, [{"model": "m", "requests": str(path)}], rate=20, seconds=0.2)
    assert msgspec.json.decode(report.dump([run]))["runs"][0]["scenario"]["requests"][0]["requests"] == str(path)


def test_short_answers_are_detected_by_their_own_usage():
    asked = exchange_record(asked_output=128, tokens=AnswerTokens(output=10))
    assert asked.is_short
    assert not exchange_record(asked_output=128).is_short  # it does not say how many there are
    assert not exchange_record(asked_output=10, tokens=AnswerTokens(output=10)).is_short
    tally = Tally()
    tally.add(asked, (EXACT,))
    assert (tally.counts["short"], tally.counts["good"]) == (1, 0)


async def refusing(stream, head, body):
    if b"min_tokens" not in body:
        await counting(stream, head, body)
        return
    said = b'{"error": {"message": "Unrecognized request argument supplied: min_tokens", "type": "invalid"}}'
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))


async def test_a_server_that_refuses_an_exact_length_is_reported_before_the_load():
    async with serving_bodies(refusing) as url:
        place = await address_of(scenario(url, rate=1), "")

        async def ask(plan, target):
            return await ActiveRun(plan, target, place, None, judge).run()

        with pytest.raises(ConfigError, match=r"--exact: .* refuses ignore_eos and min_tokens: Unrec"):
            await check_exact(scenario(url, [{"model": "m", "exact": True}], rate=100), ask)
        await check_exact(scenario(url, [{"model": "m"}], rate=100), ask)
