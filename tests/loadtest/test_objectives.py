"""What an answer has to keep to be good, as people write it, and which answers do."""

import pytest

from loadtest.exchange.record import AnswerTokens
from loadtest.plan.comparison import InvalidCondition, UnknownPart
from loadtest.plan.objectives import missed_by, objectives_by_request, parse_all_objectives, parse_objectives
from tests.support.cases import case
from tests.support.load_records import record


def not_met(text, **said):
    return missed_by(record(**said), parse_objectives(text))


def test_each_answer_is_held_against_each_objective():
    assert not_met("ttft<500ms,gap.p95<50ms,duration<30s") == ()
    assert not_met("ttft<500ms, gap.p95 < 39ms, duration<=200ms") == ("gap.p95", "duration")
    assert not_met("tokens_per_second>20, output_tokens>=4") == ("output_tokens",)


def test_a_percentile_is_of_the_answers_own_gaps():
    gaps = tuple(0.01 * number for number in range(21))
    uneven = (*gaps[:-1], gaps[-2] + 5)
    assert not_met("gap.p95<50ms", contents=uneven) == ()
    assert not_met("gap.p96<50ms, gap.max<1s, gap.mean<0.1s, gap.min<1ms", contents=uneven) == (
        "gap.p96", "gap.max", "gap.mean", "gap.min",
    )  # fmt: skip


def test_other_tools_spelling_is_in_milliseconds():
    """As vLLM's ``--goodput ttft:500 tpot:50 e2el:10000`` and AIPerf's, which have names of their own."""
    found = parse_objectives("ttft:200,tpot:50 e2el:10000")
    assert [(one.figure, one.comparison.limit) for one in found] == [("ttft", 0.2), ("tpot", 0.05), ("duration", 10)]
    assert not_met("ttft:200,e2el:100") == ("duration",)  # 200 ms are within 200, as there
    assert [one.figure for one in parse_objectives("inter_token_latency:3.4 request_latency:5")] == ["tpot", "duration"]


def test_an_inapplicable_objective_is_met_and_a_missing_value_fails():
    """vLLM lets the time per token of an answer of one token hold, AIPerf lets what is missing fail: both are right."""
    one = {"contents": (0.2,), "tokens": AnswerTokens(1, 1)}
    assert not_met("tpot<1ms, gap.max<1ms, stall<1ms, tokens_per_second>1000, connect<1us", **one) == ()
    silent = {"contents": (), "tokens": AnswerTokens(1, 0)}
    assert not_met("ttft<30s, ttfo<30s, duration<30s", **silent) == ("ttft", "ttfo")
    assert not_met("ttft<30s, ttfo<30s, duration<30s", **silent, streamed=False) == ()
    assert not_met("cached_tokens>0") == ("cached_tokens",)


def test_slow_readers_fail_no_objective_of_time():
    assert not_met("ttft<500ms, duration<1us, gap.max<1us", manner="reads slowly") == ()


def test_a_narrower_objective_replaces_a_wider_one_about_the_same_figure():
    found = parse_all_objectives([
        "ttft<500ms, duration<30s", "slow: ttft<2s", "b: ttft<300ms, ttft>1ms", "slow on b: ttft:3000, tpot:9",
    ])  # fmt: skip

    def of(target):
        kinds = objectives_by_request(found, target, ("a", "b"), ("quick", "slow"))
        return {name: [one.comparison.text for one in each] for name, each in kinds.items()}

    assert of("a") == {"quick": ["ttft<500ms", "duration<30s"], "slow": ["duration<30s", "ttft<2s"]}
    assert of("b") == {
        "quick": ["duration<30s", "ttft<300ms", "ttft>1ms"],
        "slow": ["duration<30s", "ttft>1ms", "ttft<=3000ms", "tpot<=9ms"],
    }


def test_two_objectives_of_the_same_part_both_apply():
    assert not_met("ttft<1s, ttft<100ms") == ("ttft",)


def test_names_may_contain_colons_and_spaces():
    found = parse_objectives("chat qwen:7b on phone: ttft<1s, gap.max<1s")
    assert {one.of for one in found} == {"chat qwen:7b on phone"}
    assert objectives_by_request(found, "phone", ("phone", "b"), ("chat qwen:7b",))["chat qwen:7b"] == found
    with pytest.raises(
        UnknownPart, match="demo chat is neither a target nor a kind of request; did you mean demo chats"
    ):
        objectives_by_request(parse_objectives("demo chat: ttft<1s"), "", ("",), ("demo chats",))
    with pytest.raises(UnknownPart, match=r"both a target and a kind of request have the name .*; rename the request"):
        objectives_by_request(parse_objectives("x: ttft<1s"), "x", ("x", "y"), ("x",))


def test_a_wrong_objective_says_what_is_wrong():
    for text, said in [
        ("", "this is not an objective; write an objective, such as ttft<500ms, gap.p95<50ms or, as in vLLM, ttft:500"),
        ("ttft", "this is not a condition; write an objective, such as ttft<500ms"),
        ("ttft<500", "no unit, but a time is expected; use ms, s or us"),
        ("gap<50ms", "gap has many values in one answer; say gap.p95: min, mean, max"),
        ("ttft.p95<1s", "ttft has one value in each answer; remove .p95"),
        ("itl:50", "gap has many values in one answer; say gap.p95"),
        ("latency<5s", "latency is not measured; did you mean duration?"),
        ("tttft<5s", "tttft is not measured; did you mean ttft?"),
        ("errors<5", "errors is a figure of the whole load, not of one answer; use it with --fail-if"),
        ("wonders<5", "wonders is not measured; there are late, queued"),
        ("tokens_per_second>5s", "s after a plain number"),
        ("gap.q5<5s", "q5 is not a statistic"),
    ]:
        with case((text, said)):
            with pytest.raises(InvalidCondition) as caught:
                parse_objectives(text)
            assert said in str(caught.value)
