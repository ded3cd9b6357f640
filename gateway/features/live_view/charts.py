"""The numbers of the live view: exchanges over time, and tokens and costs by client and model."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import attrs

STEP: Final = 2.0
STEPS: Final = 150
"""Seconds of a step, and the number of steps: five minutes."""
SAMPLES: Final = 256
"""Times to the first byte that a step keeps for its percentiles."""
MOST_SUMS: Final = 500
"""Pairs of client and model with their own sums; clients may invent names of models that match a wildcard."""
OTHERS: Final = "(others)"
"""The model that includes all other models of a client."""


@attrs.define(eq=False, repr=False)
class ChartStep:
    """Exchanges that started and ended in one step of a chart. ``first`` are the seconds to the first byte."""

    index: int
    started: int = 0
    complete: int = 0
    left: int = 0
    failed: int = 0
    first: list[float] = attrs.field(factory=list)

    def point(self) -> list[Any]:
        """Return the step in the form for the page, with percentiles in milliseconds."""
        found = sorted(self.first)
        middle, high = (round(found[int(len(found) * at)] * 1000, 1) if found else None for at in (0.5, 0.95))
        return [self.index, self.started, self.complete, self.left, self.failed, middle, high, len(found)]


class Timeline:
    """The non-empty steps of the last five minutes."""

    def __init__(self) -> None:
        self._steps: dict[int, ChartStep] = {}

    def add_start(self, step: int) -> None:
        self._step(step).started += 1

    def add_first_byte(self, began: float, first_byte: float, now: int) -> None:
        """Add an exchange that started at ``began`` (``time.perf_counter``) and had its first byte ``first_byte``
        seconds later. ``now`` is the current step."""
        index = int((began + first_byte) / STEP)
        if index > now - STEPS and len(first := self._step(index).first) < SAMPLES:
            first.append(first_byte)

    def add_end(self, how: str, now: int) -> None:
        step = self._step(now)
        match how:
            case "complete":
                step.complete += 1
            case "client_disconnected":
                step.left += 1
            case _:
                step.failed += 1

    def points(self, since: int = 0) -> list[list[Any]]:
        """Return the non-empty steps from number ``since`` on."""
        least = max(since, current_step() - STEPS + 1)
        return [self._steps[index].point() for index in sorted(self._steps) if index >= least]

    def _step(self, index: int) -> ChartStep:
        step = self._steps.get(index)
        if step is None:
            step = self._steps[index] = ChartStep(index)
            if len(self._steps) > STEPS:
                del self._steps[min(self._steps)]
        return step


def current_step() -> int:
    """Return the number of the current step, the same in all processes of a machine."""
    return int(time.perf_counter() / STEP)


# Tokens


@attrs.define(eq=False, repr=False)
class Sum:
    """A client's use of one model.

    ``order`` is that of the last added exchange. ``dollars`` is the known part of the cost: for ``guessed`` exchanges
    an estimate, for ``short`` ones a lower bound."""

    order: int = 0
    exchanges: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0
    estimated: int = 0
    dollars: float = 0.0
    guessed: int = 0
    short: int = 0
    plan: int = 0

    def add(self, line: Mapping[str, Any], order: int) -> None:
        self.order = order
        self.exchanges += 1
        self.input += line.get("input_tokens", 0)
        self.cached += line.get("cached_tokens", 0)
        self.output += line.get("output_tokens", 0)
        self.estimated += "usage_estimated" in line
        self.dollars += line.get("cost_usd", 0.0)
        grade = line.get("cost_grade", "at_least")  # unknown without a price
        self.guessed += grade == "estimated"
        self.short += grade == "at_least"
        self.plan += grade == "subscription"

    def counts(self) -> tuple[float, ...]:
        """Return the sums in the form for the page, which adds up those of several processes."""
        tokens = (self.exchanges, self.input, self.cached, self.output, self.estimated)
        return (*tokens, self.dollars, self.guessed, self.short, self.plan)


class Sums:
    """Tokens and costs of ended exchanges by client and model."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str | None, str], Sum] = {}
        self._number_of: Counter[str | None] = Counter()  # by client

    def add(self, line: Mapping[str, Any], order: int) -> None:
        if "output_tokens" not in line and "cost_usd" not in line:
            return
        key = line.get("client"), line.get("target", OTHERS)
        if (found := self._sums.get(key)) is not None:
            found.add(line, order)
            return
        is_full = len(self._sums) >= MOST_SUMS or self._number_of[key[0]] >= MOST_SUMS // 2
        if is_full:
            key = key[0], OTHERS
        if key not in self._sums:
            self._sums[key] = Sum()
            self._number_of[key[0]] += 1
        self._sums[key].add(line, order)

    def rows(self, client: str | None, since: int = 0) -> list[list[Any]]:
        """Return the client, the model and the sums of those that grew after ended exchange ``since``."""
        return [
            [*key, *one.counts()] for key, one in self._sums.items() if one.order > since and client in (None, key[0])
        ]
