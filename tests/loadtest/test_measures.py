"""The measures of an exchange, compared with the same names in other load testers."""

import attrs
import msgspec
import pytest

from loadtest.exchange.content import EventReader, has_content
from loadtest.exchange.record import AnswerTokens, Problem
from loadtest.figures.measures import MEASURES
from loadtest.figures.result import RunResult
from loadtest.plan.plan import LoadPlan
from streams.event_stream import event_frame
from tests.support.cases import case
from tests.support.load_records import exchange_record

WHOLE = exchange_record(contents=(1.2, 1.3), end_event=1.3, ended=1.3)


def measured(name, **changes):
    return list(MEASURES[name].values_of(attrs.evolve(WHOLE, **changes)).values)


def test_the_first_event_and_the_first_content_are_two_measures():
    """The same model took 5 or 214 ms on two servers: vllm-project/vllm#3759; vllm-project/guidellm#737, #760."""
    found = {"first_event": 1.005, "contents": (1.2, 3.0, 3.1)}
    for name, value in (("first_event", 0.005), ("ttft", 0.2)):
        assert measured(name, **found) == pytest.approx([value]), name


def test_several_tokens_in_an_event_are_not_spread_over_its_gaps():
    """One run had a median of 8.72 or 3.20 ms: sgl-project/sglang#12064, vllm-project/vllm#42661."""
    found = {"contents": (1.0, 1.04, 1.08, 1.12), "tokens": AnswerTokens(output=20)}
    assert measured("gap", **found) == pytest.approx([0.04] * 3)
    assert measured("stall", **found) == pytest.approx([0.04])


def test_an_answer_of_one_token_has_no_gap():
    """openshift-psap/llm-load-test#93, ray-project/llmperf#55."""
    one = {"contents": (1.2,), "tokens": AnswerTokens(output=1)}
    assert measured("ttft", **one) == pytest.approx([0.2])
    assert measured("duration", **one) == pytest.approx([0.3])
    assert [measured(name, **one) for name in ("gap", "stall")] == [[], []]


def test_a_whole_answer_has_no_first_token():
    """Another tool reported a median of 0.00 (vllm-project/vllm#5895)."""
    whole = {"streamed": False, "contents": (), "first_event": None, "end_event": None}
    assert [measured(name, **whole) for name in ("ttft", "first_event", "gap")] == [[], [], []]
    tally = RunResult(target="", url="", plan=LoadPlan(targets={}).dump())
    tally.add(attrs.evolve(WHOLE, **whole))
    found = tally.tally.dump()["measures"]["ttft"]
    assert found.pop("count") == found.pop("censored") == 0
    assert set(found.values()) == {None}


def test_aborted_waits_count_and_are_marked_as_censored():
    late = {"end": "error", "problem": Problem("timeout", "stream"), "ended": 31.0}
    found = MEASURES["duration"].values_of(attrs.evolve(WHOLE, **late))
    assert (list(found.values), found.censored) == ([30.0], True)


def test_an_end_event_is_the_end_even_if_the_connection_stays_open():
    assert measured("duration", end_event=1.5, ended=4.4) == pytest.approx([0.5])


def test_quick_failures_do_not_improve_the_latencies():
    """vllm-project/vllm#57519, aspnet/Benchmarks#320."""
    figures = RunResult(target="", url="", plan=LoadPlan(targets={}).dump())
    failed = {"end": "error", "problem": Problem("status 500", "first byte"), "status": 500, "contents": ()}
    for _ in range(50):
        figures.add(WHOLE)
        figures.add(attrs.evolve(WHOLE, ended=1.001, end_event=None, **failed))
    assert figures.tally.measures["duration"].count == 50
    assert figures.tally.measures["duration"].least == pytest.approx(0.3)
    assert figures.tally.goodput == 0.5


def test_tokens_count_in_the_second_in_which_they_arrived():
    """Two definitions gave 637 or 2,446 tokens per second for one run: NVIDIA/TensorRT-LLM#13638."""
    figures = RunResult(target="", url="", plan=LoadPlan(targets={}).dump())
    for start in range(-3, 20):  # three seconds of warm-up; 67 tokens each, over 2.2 s
        for n in range(5):
            at = start + n / 5
            times = tuple(at + 2.2 * i / 67 for i in range(67))
            figures.add(attrs.evolve(WHOLE, planned=at, contents=times, ended=at + 2.2))
    assert sum(one.tokens for one in figures.timeline.spans[:20]) / 20 == pytest.approx(335, rel=0.03)
    assert figures.tally.tokens / figures.whole_seconds < 310


def test_the_name_of_a_tool_shows_generation_in_every_api():
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}
    item = {"type": "function_call", "id": "i", "call_id": "c", "name": "f"}
    step = {"type": "function_call", "id": "c", "name": "f"}
    block = {"type": "tool_use", "id": "t", "name": "f"}
    for api, event in [
        ("chat", {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}),
        ("messages", {"type": "content_block_start", "index": 0, "content_block": block}),
        ("responses", {"type": "response.output_item.added", "output_index": 0, "item": item}),
        ("gemini", {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}}]}),
        ("converse", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}),
        ("interactions", {"event_type": "step.start", "index": 0, "step": step}),
    ]:
        with case((api, event)):
            raw = b"event: %b\ndata: %b\n\n" % (str(event.get("type", "")).encode(), msgspec.json.encode(event))
            if api == "converse":
                raw = event_frame("contentBlockStart", msgspec.json.encode(event))
            found, _ = EventReader(api).read(raw)
            assert has_content(found)
