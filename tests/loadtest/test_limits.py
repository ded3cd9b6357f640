"""The conditions of ``--fail-if`` and the objectives of ``--slo``."""

import pytest

from configfile.wording import Wrong
from loadtest.exchange.record import Problem
from loadtest.figures.confidence import Evidence
from loadtest.figures.tally import Tally
from loadtest.plan.limits import evidence_of, judge_condition, missed_by, parse_condition, parse_objectives
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.load_records import record, result

FAILED = record(end="error", problem=Problem("cut", "stream"), contents=())
RUN = result(*[record()] * 9, FAILED)


def test_a_condition_fails_if_it_is_true_or_was_not_measured():
    for text, ok in [
        ("ttft.p95>500ms", True),
        ("ttft.p95>=0.1s", False),
        ("ttft.max < 300 ms", False),
        ("gap.mean>50ms", True),
        ("errors>0", False),
        ("errors>10%", True),
        ("not_whole>=10%", False),
        ("goodput<99%", False),
        ("goodput<90%", True),
        ("completed<0.5", True),
        ("output_tokens.mean<3", True),
        ("left_after.p50>0", False),
    ]:
        with case(text):
            assert judge_condition(parse_condition(text), RUN).ok is ok


def test_a_verdict_states_the_value():
    assert judge_condition(parse_condition("ttft.p50>1ms"), RUN).text == "failed: ttft.p50>1ms: it is 200 ms"
    assert judge_condition(parse_condition("errors>20%"), RUN).text == "passed: errors>20%: it is 10 %"
    assert judge_condition(parse_condition("left_after.p50>0"), RUN).text.endswith("nothing was measured")


@each_row(
    "parse, text, said",
    [
        (parse_condition, "ttft>500ms", "ttft has many values"),
        (parse_condition, "ttft.p95>500", "the unit is missing"),
        (parse_condition, "ttft.p101>5s", "is not a condition"),
        (parse_condition, "errors.p50>1", "errors is a single number"),
        (parse_condition, "goodput<0.9", "the unit is missing"),
        (parse_condition, "latency>1", "latency is not measured"),
        (parse_condition, "fast", "is not a condition"),
        (parse_objectives, "gap<50ms", "gap has many values in one answer"),
        (parse_objectives, "ttft.p95<50ms", "ttft has one value in each answer"),
        (parse_objectives, "errors<1", "errors is not measured"),
    ],
)
def test_an_invalid_limit_is_rejected_with_advice(parse, text, said):
    with pytest.raises(Wrong) as caught:
        parse(text)
    assert said in caught.value.found
    assert caught.value.expected


def test_objectives_apply_to_whole_answers():
    for text, changes, missed in [
        ("ttft<500ms,gap.p95<50ms", {}, ()),
        ("ttft<100ms, duration<1s", {}, ("ttft",)),
        ("gap.max<39ms", {}, ("gap.max",)),
        ("ttft<100ms", {"end": "error"}, ()),
        ("stall<1ms", {"contents": (0.2,)}, ()),  # it cannot apply
        ("ttft<5s", {"contents": ()}, ("ttft",)),  # a stream must have it
        ("ttft<5s", {"contents": (), "streamed": False}, ()),
    ]:
        with case((text, changes)):
            assert missed_by(record(**changes), parse_objectives(text)) == missed


def test_percentiles_and_shares_have_evidence():
    assert evidence_of(parse_condition("ttft.p95>500ms"), RUN.tally) == Evidence(0.95, 9, 0)
    assert evidence_of(parse_condition("ttft.p50>100ms"), RUN.tally) == Evidence(0.5, 9, 9)
    assert evidence_of(parse_condition("goodput<99%"), RUN.tally) == Evidence(0.99, 10, 1)
    assert evidence_of(parse_condition("errors>1%"), RUN.tally) == Evidence(0.99, 10, 1)
    assert evidence_of(parse_condition("ttft.mean>1s"), Tally()) is None
