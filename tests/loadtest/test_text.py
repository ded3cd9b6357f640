"""The summary in a terminal of 80 columns, and what it leaves out."""

import re

import attrs

from loadtest.exchange.record import AnswerTokens, Problem
from loadtest.figures.conditions import judge_conditions, parse_condition
from loadtest.figures.notes import notes
from loadtest.figures.tally import Tally
from loadtest.reports import text
from loadtest.reports.tables import COLUMNS, shorten, stack_columns, wrap_line
from tests.support.cases import case
from tests.support.load_records import exchange_record, record, result, shift_record

LONG = "http://a-host-with-a-name-that-is-long.somewhere.example.internal:8443/deployments/of/all/kinds/v1"
REFUSED = exchange_record(
    request="another kind of request that has a long name",
    end="error",
    contents=(),
    first_output=None,
    problem=Problem("status 404", "first byte", "there is no such model; " + "there are " + "others, " * 60),
)
RUN = result(*(shift_record(exchange_record(), n / 10) for n in range(30)), REFUSED)
HARD = attrs.evolve(
    RUN,
    target="a name of a target that somebody gave without thought of anybody who has to read it later",
    url=LONG,
    remarks=(f"A remark of many words on {LONG}, " + "and on more, " * 20,),
    scenario={
        **RUN.scenario,
        "slo": ["ttft<500ms", "gap.p95<50ms", "duration<20s", "tokens_per_second>10"],
        "percentiles": [1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99],
    },
    turns=dict.fromkeys(range(1, 4), RUN.tally),
)


def test_every_line_fits_80_columns_and_nothing_is_lost():
    found = text.summary(
        HARD, judge_conditions([parse_condition("ttft.p95>1ms"), parse_condition("errors>50%")], [HARD])
    )
    for line in [*found.splitlines(), *text.comparison([HARD, RUN, HARD, RUN]).splitlines()]:
        assert len(line) <= COLUMNS, line
    for said in (
        "p1 ", "p99.99", "max", "count", "turn", "failed: ttft.p95>1ms: it is 200 ms",
        "passed: errors>50%: it is 3.226 %", "others, …",
    ):  # fmt: skip
        assert said in " ".join(found.split()), said


def test_the_verdict_is_first_then_counts_goodput_the_table_the_loader_and_notes():
    run = attrs.evolve(HARD, remarks=("Mind this.",))
    found = text.summary(run, judge_conditions([parse_condition("errors>50%")], [run]))
    places = [found.index(said) for said in ("passed: ", "requests begun", "completed", "goodput", " p50 ",
                                             "errors by kind", "loader:", "note: Mind this.")]  # fmt: skip
    assert places == sorted(places)


def test_tokens_per_event_are_those_of_streams_that_count_them():
    """Four events with five tokens each look like four tokens: sgl-project/sglang#12064."""
    for records, shown in [
        ([exchange_record(tokens=AnswerTokens(1, 15))], "5 tokens an event"),
        ([exchange_record(tokens=AnswerTokens(1, 4)), exchange_record(tokens=AnswerTokens())], "1.33 tokens an event"),
        ([exchange_record(tokens=AnswerTokens())], None),
        ([exchange_record(tokens=AnswerTokens(1, 15), end="error", problem=Problem("cut", "stream"))], None),
        ([exchange_record(tokens=AnswerTokens(1, 15), streamed=False)], None),
    ]:
        with case((records, shown)):
            run = result(*records)
            summary = " ".join(text.summary(run).split())
            assert shown in summary if shown else "an event" not in summary
            value = run.tally.dump()["tokens_per_event"]
            assert (value is None) == (shown is None)
            assert Tally.load(run.tally.dump()).tokens_per_event == value


def test_one_is_reported_in_the_singular():
    assert "1 request begun, 1 whole answer, 0 errors\n" in text.summary(result(exchange_record()))


def test_a_table_of_several_runs_is_followed_by_how_they_ended_their_errors_and_notes():
    runs = [attrs.evolve(RUN, label="5/s"), attrs.evolve(HARD, label="9/s", stopped="errors>1%: it is 3 %")]
    _, first, second = text.overview(runs).split("\n\n")[-3:]
    assert first.startswith("5/s: 1 status 404 (first byte) there is no such model; there are others,")
    assert second.startswith("9/s: ended early: errors>1%: it is 3 %\n9/s: 1 status 404")
    assert "note: 9/s: A remark of many words" in second
    assert all(len(line) <= COLUMNS for line in [*first.splitlines(), *second.splitlines()])


def test_the_summary_omits_figures_without_values():
    """Answers without tokens have no speed; what was put into them has."""
    vectors = [
        attrs.evolve(
            record(planned=n / 10, contents=()), streamed=False, first_output=None, tokens=AnswerTokens(8, None)
        )
        for n in range(10)
    ]
    run = attrs.evolve(result(*vectors), elapsed=10.0)
    assert "  8 input tokens a second\n" in text.summary(run)
    assert not re.search(r"^  \S+ tokens a second", text.summary(run), re.MULTILINE)
    nothing = text.summary(attrs.evolve(run, tally=Tally(), elapsed=0.0))
    assert "tokens a second" not in nothing
    assert "goodput" not in nothing
    assert "lost with a process" not in text.comparison([run, run])


def test_too_wide_tables_are_printed_one_below_the_other():
    rows = [["", *(f"column {n}" for n in range(20))], ["row", *map(str, range(20))]]
    said = stack_columns(rows)
    assert max(map(len, said)) <= COLUMNS
    assert [word for line in said if line.startswith("row") for word in line.split()[1:]] == rows[1][1:]
    assert shorten("abcdef", 4) == "abc…"
    assert [len(line) <= COLUMNS for line in wrap_line("  " + LONG * 3, most=2)] == [True, True]


def test_streams_that_arrive_only_at_their_end_are_reported():
    """A time to the first token as long as the answer: something held it back (modelscope/evalscope#413)."""
    held = exchange_record(contents=(1.4989,) * 20, first_output=1.4989)
    one_event = exchange_record(contents=(1.499,), first_output=1.499, tokens=AnswerTokens(5, 300))
    said = notes(result(*[held] * 97, one_event, exchange_record(), exchange_record()))
    assert "Buffered: the first token and the end arrive together in 98 % of the streams." in said[-1]
    quick = exchange_record(
        contents=(1.0005,) * 20, first_output=1.0005, end_event=1.001, ended=1.001
    )  # half of it is wait
    late = exchange_record(
        began=1.0, contents=(9.9, 9.95), first_output=9.9, end_event=10.0, ended=10.0
    )  # but two tokens
    assert notes(result(*[exchange_record(), quick, late] * 10)) == ()
