"""What ends a load before its time."""

import attrs
import pytest
import trio

from loadtest.exchange.record import AnswerTokens, Problem
from loadtest.figures.conditions import parse_until
from loadtest.figures.run_figures import RunFigures
from loadtest.plan.comparison import InvalidCondition
from loadtest.run.early_ends import EarlyEnds, RecentEnds, Refusals, TokenBudget, end_early
from tests.support.load_records import record
from tests.support.load_servers import scenario

FIGURES = RunFigures()
GOOD = record()
BAD = record(end="error", problem=Problem("status 503", "first byte"), status=503, contents=())


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def last_ends(*conditions, target="", targets=("",), requests=("chat m",)):
    clock = Clock()
    return RecentEnds(map(parse_until, conditions), target, targets, requests, clock), clock


def test_a_condition_applies_only_to_the_last_seconds():
    """An average over the whole run would notice an outage late, or never: vllm-project/guidellm#105."""
    ends, clock = last_ends("errors>5%")
    for _ in range(1000):
        ends.add(GOOD, (), b"")
    ends.add(BAD, (), b"")
    assert ends.reason(FIGURES) == ""
    clock.now += 10
    for _ in range(19):
        ends.add(BAD, (), b"")
    assert ends.reason(FIGURES) == ""  # too few of them to be believed
    ends.add(GOOD, (), b"")
    assert ends.reason(FIGURES) == "errors>5%: it is 95 % in the last 20 finished requests, in 10 s"
    assert (ends.verdict.ok, ends.verdict.value, ends.verdict.limit) == (False, 95, 5)


def test_a_slow_load_is_looked_at_for_as_long_as_twenty_ends_take():
    """At one a second there would never be so many in ten seconds: such a load could go wrong for ever."""
    ends, clock = last_ends("errors>50%")
    for number in range(20):
        assert ends.reason(FIGURES) == ""
        clock.now += 1
        ends.add(BAD if number > 8 else GOOD, (), b"")
    assert ends.reason(FIGURES) == "errors>50%: it is 55 % in the last 20 finished requests, in 19 s"


def test_the_warm_up_does_not_end_a_load():
    ends, _ = last_ends("errors>5%")
    for _ in range(50):
        ends.add(record(planned=-1.0, end="error", problem=BAD.problem), (), b"")
    assert ends.reason(FIGURES) == ""


def test_a_condition_of_a_part_reads_only_that_part():
    ends, _ = last_ends("slow: ttft.p50>100ms", "b: errors>0", "goodput<1%", target="a", targets=("a", "b"),
                        requests=("chat m", "slow"))  # fmt: skip
    for _ in range(30):
        ends.add(GOOD, (), b"")
        ends.add(BAD, (), b"")
    assert ends.reason(FIGURES) == ""
    for _ in range(20):
        ends.add(record(request="slow"), (), b"")
    assert ends.reason(FIGURES) == "slow: ttft.p50>100ms: it is 200 ms in the last 20 finished requests, in 10 s"


def test_figures_known_only_at_the_end_are_refused_by_until():
    for text in ("rate>5", "throughput<5", "notes>0"):
        with pytest.raises(InvalidCondition, match="is known only at the end; use it with --fail-if"):
            parse_until(text)


def test_tokens_are_counted_whatever_becomes_of_the_answer():
    budget = TokenBudget(100)
    budget.add(record(planned=-5.0, tokens=AnswerTokens(input=40, output=7)), (), b"")
    budget.add(record(end="error", problem=BAD.problem, tokens=AnswerTokens(), asked_input=47), (), b"")
    assert (budget.used, budget.reason(FIGURES)) == (97, "")
    budget.add(record(tokens=AnswerTokens()), (), b"")
    assert budget.reason(FIGURES) == "100 of 100 tokens are used (--max-tokens)"


def test_a_load_that_begins_with_only_refusals_reports_it():
    refused = record(end="error", status=401, problem=Problem("status 401", "first byte", "no such key"), contents=())
    warming = attrs.evolve(refused, planned=-1.0)
    said = "the server rejected all of the first 20 requests: status 401: no such key"
    for other, reason in ((refused, said), (warming, said), (GOOD, ""), (attrs.evolve(GOOD, planned=-1.0), "")):
        figures, refusals = RunFigures(), Refusals()
        for one in [refused] * 19:
            figures.add(one)
        assert refusals.reason(figures) == ""
        for one in [other] + [refused] * 11:
            figures.add(one)
        assert refusals.reason(figures) == reason
        assert refusals.refused == bool(reason)


def test_a_load_ends_if_its_first_requests_get_no_connection():
    lost = record(end="error", status=None, problem=Problem("refused", "connect", "no listener"), contents=())
    full = attrs.evolve(lost, problem=Problem("too many files", "connect", "limit"))
    said = "none of the first 5 requests got a connection: refused: no listener"
    for other, reason in ((lost, said), (attrs.evolve(lost, planned=-1.0), said), (full, ""), (BAD, ""), (GOOD, "")):
        figures, refusals = RunFigures(), Refusals()
        for one in [lost] * 4:
            figures.add(one)
        assert refusals.reason(figures) == ""
        for one in (other, lost, lost):
            figures.add(one)
        assert (refusals.reason(figures), refusals.refused) == (reason, bool(reason))


def test_an_outage_later_in_a_load_does_not_end_it():
    figures, refusals = RunFigures(), Refusals()
    figures.add(GOOD)
    for _ in range(1000):
        figures.add(record(end="error", status=None, problem=Problem("refused", "connect", "gone"), contents=()))
    assert refusals.reason(figures) == ""


async def test_a_load_is_stopped_for_the_first_reason(autojump_clock):
    class Running:
        reason, figures = "", FIGURES

        def stop(self, reason):
            self.reason = reason

    running, budget, refusals = Running(), TokenBudget(1), Refusals()

    async def use():
        await trio.sleep(5)
        budget.add(GOOD, (), b"")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        await end_early(running, (refusals, budget))
    assert running.reason == "4 of 1 tokens are used (--max-tokens)"


def test_the_refusals_of_several_processes_are_those_of_one_load():
    refused = record(end="error", status=404, problem=Problem("status 404", "first byte", "no model"), contents=())
    for other, said in (
        (refused, "the server rejected all of the first 20 requests: status 404: no model"),
        (GOOD, ""),
    ):
        whole, refusals = RunFigures(), Refusals()
        for last in (refused, other):
            figures = RunFigures()
            for one in [*[refused] * 10, last]:
                figures.add(one)
            assert refusals.reason(whole) == ""
            whole.merge(figures)
        assert refusals.reason(whole) == said


def test_records_come_from_other_processes_only_where_they_are_needed():
    """Each of them costs as much as ten events of a stream that is read."""
    for more, wanted in (({}, 0), ({"max_tokens": 5}, 1), ({"until": "errors>1%"}, 1)):
        plan = scenario("http://x", rate=1, processes=2, **more)
        ends, sinks = EarlyEnds(plan).of_run(plan, "")
        assert (len(ends), len(sinks)) == (3, wanted)
