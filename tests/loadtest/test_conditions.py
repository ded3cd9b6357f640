"""Conditions on the figures of a run, of its parts, and what becomes of them."""

import pytest

from loadtest.exchange.record import Problem
from loadtest.figures.conditions import InvalidCondition, judge_conditions, parse_condition
from loadtest.plan.comparison import UnknownPart
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.load_records import record, result


def failing(kind="status 500", **said):
    return record(end="error", problem=Problem(kind, "first byte"), contents=(), status=500, **said)


MIXED = result(
    *(record(planned=number / 10, request="quick") for number in range(80)),
    *(record(planned=number, request="slow", contents=(number + 2.0, number + 2.5)) for number in range(10)),
    *(failing(planned=number, request="slow") for number in range(10)),
    missed=dict.fromkeys(range(80, 90), ("ttft",)),
)


def test_a_condition_is_of_all_or_of_a_part():
    for condition, said in [
        ("goodput<99%", "goodput<99%: it is 80 %"),  # of all that began (vllm-project/guidellm#1085)
        ("goodput_rate<9", "goodput_rate<9: it is 8"),
        ("good<=80", "good<=80: it is 80"),
        ("errors>5%", "errors>5%: it is 10 %"),
        ("slow: errors>5%", "slow: errors>5%: it is 50 %"),
        ("slow: goodput<1%", "slow: goodput<1%: it is 0 %"),
        ("slow: ttft.p50>500ms", "slow: ttft.p50>500ms: it is 2 s"),
        ("slow:ttft.p50 > 500ms", "slow:ttft.p50 > 500ms: it is 2 s"),
        ("slow: rate>=2", "slow: rate>=2: it is 2"),
        ("stall.p99>100ms", "stall.p99>100ms: it is 500 ms"),
        ("output_tokens.mean>1", "output_tokens.mean>1: it is 2.889"),
        ("cached_tokens.max>0", "cached_tokens.max>0: nothing was measured"),
        ("errors<100%", "errors<100%: it is 10 %"),
    ]:  # fmt: skip
        with case((condition, said)):
            assert parse_condition(condition).failure(MIXED) == said


@each_row("condition", ["quick: errors>0", "quick: goodput<100%", "quick: ttft.p99>250ms", "notes>0"])
def test_a_part_does_not_pay_for_another(condition):
    assert parse_condition(condition).failure(MIXED) is None


def test_a_note_can_fail_a_run():
    assert (
        parse_condition("notes>0").failure(result(record(), remarks=("The cap held back 7 of 8.",)))
        == "notes>0: it is 1"
    )


def test_a_condition_of_a_target_applies_only_to_its_runs():
    plan = {"requests": [{"name": "quick"}], "targets": {"a": "", "b": ""}}
    runs = [result(record(request="quick"), target=target, scenario=plan) for target in ("a", "b")]
    found = judge_conditions(
        [parse_condition("b: ttft.p50>1s"), parse_condition("quick on a: errors<1"), parse_condition("whole<1")], runs
    )
    assert [(one.run, one.condition, one.ok, one.value, one.limit) for one in found] == [
        ("b", "b: ttft.p50>1s", True, pytest.approx(0.2, rel=0.01), 1.0),
        ("a", "quick on a: errors<1", False, 0.0, 1.0),
        ("a", "whole<1", True, 1.0, 1.0),
        ("b", "whole<1", True, 1.0, 1.0),
    ]
    with pytest.raises(UnknownPart, match="quik is neither a target nor a kind of request; did you mean quick"):
        judge_conditions([parse_condition("quik: errors>0")], runs)
    with pytest.raises(UnknownPart, match="there is no run b; there are a"):
        judge_conditions([parse_condition("b: errors>0")], runs[:1])


def test_a_wrong_condition_says_what_is_right():
    for condition, said in [
        ("goodput<99", "goodput is a share; write it in %, such as goodput<99%"),
        ("goodput.p95<99%", "goodput is a single number; remove .p95"),
        ("completed<5%", "% after a plain number; remove it: this figure has no unit"),
        ("errors>0, ttft.p95>1s", "several conditions; give each separately"),
        ("errors>0 and ttft.p95>1s", "several conditions; give each separately"),
        ("e2el.p95>1s", "e2el is not measured; did you mean duration?"),
        ("http_req_failed>1%", "http_req_failed is not measured; did you mean errors?"),
        ("p95(ttft)>1s", "this is not a condition; write a condition, such as ttft.p95>500ms"),
        ("", "this is not a condition; write a condition, such as ttft.p95>500ms"),
        ("tftt.p95>1s", "tftt is not measured; did you mean ttft?"),
        ("ttft>1s", "ttft has many values; add a statistic, such as ttft.p95"),
        ("ttft.p95>500", "no unit, but a time is expected; use ms, s or us"),
        ("ttft.p95>500%", "%, but a time is expected"),
        ("ttft.q95>5ms", "q95 is not a statistic; there are min, mean, max"),
        ("ttft.p101>5ms", "p101 is not a statistic"),
        ("errors.p95>1", "errors is a single number; remove .p95"),
        ("errors>1ms", "ms after a number"),
        ("rate>1%", "% after a plain number"),
        ("tokens_per_second.p50<5s", "s after a plain number"),
    ]:
        with case((condition, said)):
            with pytest.raises(InvalidCondition) as caught:
                parse_condition(condition)
            assert said in str(caught.value)
