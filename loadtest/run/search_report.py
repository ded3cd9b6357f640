"""What a search found, step by step, as a report has it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import attrs

from loadtest.figures.numbers import duration, plain
from loadtest.plan.asked_loads import LoadUnit
from loadtest.run.search import FoundLoad, Outcome, Purpose, Verdict

SAID: Mapping[Verdict, str] = {
    "held": "held",
    "seems to hold": "held so far",
    "seems to fail": "seems to fail",
    "failed": "failed",
    "loader": "the loader was too slow",
}
"""Verdicts as people read them."""


@attrs.frozen
class SearchStep:
    """One load that was tried, and what came of it. ``why`` says why it failed, or how sure it is that it held;
    ``under_way`` is the most at once. Percentiles are ``None`` where nothing was measured."""

    load: float
    purpose: Purpose
    verdict: Verdict
    why: str
    seconds: float
    begun: int
    whole: int
    goodput: float | None
    completed: float
    ttft_p50: float | None
    ttft_p99: float | None
    duration_p50: float | None
    duration_p99: float | None
    under_way: int

    @property
    def cells(self) -> list[str]:
        """The row of a table, with the columns of ``HEAD``."""
        first = (self.ttft_p50, self.ttft_p99) if self.ttft_p50 is not None else (self.duration_p50, self.duration_p99)
        return [
            plain(self.load),
            str(self.begun),
            "–" if self.goodput is None else f"{100 * self.goodput:.3g} %",
            *("–" if value is None else duration(value) for value in first),
            self.said,
        ]

    @property
    def said(self) -> str:
        """The verdict and its reason, in a few words."""
        if self.verdict == "seems to hold":
            return f"undecided: {self.why.partition(',')[0]}" if self.purpose == "confirm" else SAID[self.verdict]
        return SAID[self.verdict] + (f": {self.why}" if self.why else "")


@attrs.frozen
class SearchReport:
    """A search after its end. ``rule`` says what had to hold."""

    unit: LoadUnit
    rule: str
    steps: Sequence[SearchStep]
    found: FoundLoad

    @property
    def head(self) -> list[str]:
        """The names of the columns; the first moments are those of whole answers where there are no streams."""
        streams = any(step.ttft_p50 is not None for step in self.steps)
        return head(self.unit, streams)

    @property
    def answer(self) -> str:
        """What was found, in a sentence."""
        load, above = _loads(self.found.load, self.unit), self.found.above
        then = "" if above is None else f"; at {_loads(above, self.unit)} it did not hold"
        match self.found.outcome:
            case "found":
                return f"{load} is the most that held{then}"
            case "at least":
                limit = "the most that was to be tried" if above is None else "the most that this loader can do"
                return f"at least {load}, {limit}: it held"
            case "undecided":
                return f"{load} is the most that seems to hold, by too few answers to be sure{then}"
            case "none":
                return f"no load held, not even {_loads(above or 0, self.unit)}"
            case "interrupted":
                return f"interrupted: {load} held until then" if self.found.load else "interrupted before a load held"

    def dump(self) -> dict[str, Any]:
        return attrs.asdict(self)

    @classmethod
    def load(cls, value: Any) -> "SearchReport":
        """Read what ``dump`` gave. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        found = value["found"]
        return cls(
            cast("LoadUnit", str(value["unit"])),
            str(value["rule"]),
            tuple(SearchStep(**step) for step in value["steps"]),
            FoundLoad(cast("Outcome", str(found["outcome"])), float(found["load"]), found["above"]),
        )


def head(unit: LoadUnit, streams: bool = True) -> list[str]:
    """The names of the columns of a table of steps."""
    what = "ttft" if streams else "duration"
    return ["a second" if unit == "rate" else "clients", "begun", "good", f"{what} p50", "p99", ""]


def _loads(load: float, unit: LoadUnit) -> str:
    if unit == "rate":
        return f"{plain(load)} requests a second" if load != 1 else "1 request a second"
    return f"{plain(load)} clients" if load != 1 else "1 client"
