"""What must hold of a load that a search tries: most answers are good, and no condition of ``--fail-if`` comes true."""

from collections.abc import Sequence
from typing import Final

from loadtest.figures.conditions import ALIASES, SHARE, Condition, parse
from loadtest.figures.measures import MEASURES
from loadtest.figures.result import RunResult
from loadtest.figures.tally import COUNTS, Tally
from loadtest.plan.comparison import Comparison, percent_of
from loadtest.plan.parts import part_of
from loadtest.plan.scenario import Scenario
from loadtest.run.searching import LoadRule, TalliesByKind
from loadtest.run.step_watch import LimitEvidence

GOOD: Final = "goodput<99%"
"""The condition of a search that is told nothing else: how many answers are good at least."""


def rule_of(plan: Scenario) -> LoadRule:
    """The rule of a scenario's search: its conditions, and that 99 % are good, unless one of them says how many are, or
    there are no objectives by which an answer is good."""
    conditions = [parse(text) for text in plan.fail_if]
    kinds = tuple(request.name for request in plan.requests)
    told = any(condition.comparison.name == SHARE for condition in conditions)
    if not told and (plan.slo or not conditions):
        conditions.insert(0, parse(GOOD))

    def failures(run: RunResult) -> Sequence[str]:
        found = [(one.comparison.text, failure) for one in conditions if (failure := one.failure(run))]
        return [_cause(run.tally) or failure if text == GOOD else failure for text, failure in found]

    def evidence(target: str, tallies: TalliesByKind) -> Sequence[LimitEvidence]:
        parts = [(one.comparison, part_of(one.comparison.of, plan.targets, kinds)) for one in conditions]
        there = [(asked, part.request) for asked, part in parts if part.target in ("", target)]
        return [found for asked, kind in there if (found := _evidence(asked, tallies.get(kind, Tally())))]

    return LoadRule(_text(plan, conditions), failures, evidence)


def _cause(tally: Tally) -> str:
    """What most answers that are not good have in common: an error, or an objective that they missed."""
    errors = [(failure.count, failure.kind) for failure in tally.failures[:1]]
    missed = [(count, f"missed {name}") for name, count in tally.missed.most_common(1)]
    count, what = max((*errors, *missed), default=(0, ""))
    return f"{count} {what}" if count else ""


def _text(plan: Scenario, conditions: Sequence[Condition]) -> str:
    rule = " and ".join(f"not {one.comparison.text}" for one in conditions if one.comparison.text != GOOD)
    if conditions[0].comparison.text != GOOD:
        return rule
    objectives = ", ".join(plan.slo)
    good = "99 % of answers are good" + (f" ({objectives})" if objectives else " (whole)")
    return f"{good}, {rule}" if rule else good


def _evidence(asked: Comparison, tally: Tally) -> LimitEvidence | None:
    """How many values it takes to be sure of a percentile or of a share, and how many there are. Of what is no such
    figure nothing is said."""
    if asked.name == SHARE and asked.upper:
        return LimitEvidence(asked.limit / 100, tally.judged, tally.judged - tally.counts["good"])
    name = ALIASES.get(asked.name, asked.name)
    if name in COUNTS and asked.unit == "%" and not asked.upper and asked.limit > 0:
        return LimitEvidence(1 - asked.limit / 100, tally.counts["started"], tally.counts[name])
    return _of_percentile(asked, tally)


def _of_percentile(asked: Comparison, tally: Tally) -> LimitEvidence | None:
    if asked.name not in MEASURES or not asked.statistic.startswith("p") or asked.upper:
        return None
    share = percent_of(asked.text, asked.statistic) / 100
    histogram = tally.measures[asked.name]
    return LimitEvidence(share, histogram.count, histogram.above(asked.limit)) if 0 < share < 1 else None
