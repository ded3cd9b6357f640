"""``--slo``: objectives of a good answer, and the check of a record against them."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import attrs

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.conditions import NAMES
from loadtest.figures.measures import MEASURES
from loadtest.plan.comparison import (
    STATISTICS,
    Comparison,
    InvalidCondition,
    LoadPart,
    parse_comparison,
    parse_percentile,
    part_of,
    unknown_figure,
)
from loadtest.plan.spellings import MEASURES_ELSEWHERE

EXAMPLE: Final = "write an objective, such as ttft<500ms, gap.p95<50ms or, as in vLLM, ttft:500"
MANY: Final = frozenset(("gap",))
"""Measures with many values in one answer: an objective must choose a statistic."""

_OF_STREAMS: Final = frozenset(("first_event", "ttft", "ttfo", "last_token"))
_OF_SOME: Final = frozenset(("connect", "queued", "gap", "stall", "tpot", "tokens_per_second"))
_MILLISECONDS: Final = re.compile(r"([a-z][a-z0-9_]*)(\.[a-z0-9.]+)?:([0-9]+(?:\.[0-9]+)?)")
_NAMED: Final = re.compile(r"(.+?):\s+(?=[a-z][a-z0-9_]*(?:\.[a-z0-9.]+)?\s*(?:[<>]|:[0-9]))")


@attrs.frozen
class Objective:
    """One objective of ``--slo`` for one part of the load."""

    text: str
    of: str
    select_value: Callable[[Sequence[float]], float]
    comparison: Comparison

    @property
    def figure(self) -> str:
        return self.comparison.figure

    @property
    def figure_and_direction(self) -> tuple[str, bool]:
        """The figure and the direction of the limit.

        A more specific objective replaces a general one with the same value.
        """
        return self.figure, self.comparison.is_upper_bound

    def is_met(self, record: ExchangeRecord) -> bool:
        """Return whether the record meets the objective.

        An objective that cannot apply is met, such as the time per token of a single token (as in vLLM). One whose
        value is missing is not met, such as the first token of an empty stream (as in AIPerf).
        """
        measure = self.comparison.name
        values = MEASURES[measure].values_of(record).values
        return self.comparison(self.select_value(values)) if values else _cannot_apply(measure, record)


def _cannot_apply(measure: str, record: ExchangeRecord) -> bool:
    if record.manner == "reads slowly" or measure in _OF_SOME:
        return True
    return measure in _OF_STREAMS and not record.streamed


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Parse objectives such as ``ttft<500ms,gap.p95<50ms``. Raises ``InvalidCondition``.

    ``demo chat: ttft<500ms`` applies to one part of the load. ``ttft:500,e2el:10000`` is vLLM's form, in milliseconds.
    """
    found: list[Objective] = []
    of = ""
    for piece in filter(None, map(str.strip, text.split(","))):
        named = _NAMED.match(piece)
        of, rest = (named[1], piece[named.end() :]) if named else (of, piece)
        words = rest.split()
        found += [
            _parse_objective(of, word) for word in (words if all(map(_MILLISECONDS.fullmatch, words)) else [rest])
        ]
    if not found:
        raise InvalidCondition(text, "this is not an objective", EXAMPLE)
    return tuple(found)


def _parse_objective(of: str, text: str) -> Objective:
    elsewhere = _MILLISECONDS.fullmatch(text)
    if elsewhere is not None:
        name, statistic = elsewhere[1], elsewhere[2] or ""
        ours = name if name in MEASURES else MEASURES_ELSEWHERE.get(name, name)
        text = f"{ours}{statistic}<={elsewhere[3]}ms"
    read = parse_comparison(text, EXAMPLE)
    if read.name in NAMES and read.name not in MEASURES:
        raise InvalidCondition(
            text, f"{read.name} is a figure of the whole load, not of one answer", "use it with --fail-if"
        )
    if read.name not in MEASURES:
        raise unknown_figure(text, read.name, MEASURES, MEASURES_ELSEWHERE)
    if MEASURES[read.name].unit == "s":
        read.require_time()
    else:
        read.require_plain_number()
    return Objective(text, of or read.of, _selector(read), read)


def _selector(read: Comparison) -> Callable[[Sequence[float]], float]:
    """Return a function that selects the value to compare from the values of one answer."""
    if read.name in MANY and not read.statistic:
        raise InvalidCondition(
            read.text, f"{read.name} has many values in one answer", f"say {read.name}.p95: {STATISTICS}"
        )
    if read.name not in MANY and read.statistic:
        raise InvalidCondition(read.text, f"{read.name} has one value in each answer", f"remove .{read.statistic}")
    if not read.statistic:
        return max
    known: Mapping[str, Callable[[Sequence[float]], float]] = {
        "min": min,
        "max": max,
        "mean": lambda values: math.fsum(values) / len(values),
    }
    if read.statistic in known:
        return known[read.statistic]
    percent = parse_percentile(read.text, read.statistic)
    return lambda values: sorted(values)[max(1, math.ceil(percent / 100 * len(values))) - 1]


def parse_all_objectives(texts: Iterable[str]) -> tuple[Objective, ...]:
    """Parse the objectives in several texts. Raises ``InvalidCondition``."""
    return tuple(objective for text in texts for objective in parse_objectives(text))


def objectives_by_request(
    found: Iterable[Objective], target: str, targets: Collection[str], requests: Collection[str]
) -> Mapping[str, tuple[Objective, ...]]:
    """Return the objectives of each kind of request on ``target``. Raises ``UnknownPart``.

    An objective for a kind or a target replaces a more general one about the same figure.
    """
    parts = [(part_of(one.of, targets, requests), one) for one in found]
    return {request: _most_specific(parts, target, request) for request in requests}


def _most_specific(parts: Iterable[tuple[LoadPart, Objective]], target: str, request: str) -> tuple[Objective, ...]:
    there = [(part.rank, one) for part, one in parts if part.contains(target, request)]
    ranks = {one.figure_and_direction: rank for rank, one in sorted(there, key=lambda pair: pair[0])}
    return tuple(one for rank, one in there if rank == ranks[one.figure_and_direction])


def missed_by(record: ExchangeRecord, among: Iterable[Objective]) -> tuple[str, ...]:
    """Return the figures of the objectives that a whole answer missed. Other records miss none."""
    if record.end != "whole":
        return ()
    return tuple(one.figure for one in among if not one.is_met(record))
