"""The sums of a run: counts, errors and the histograms of all that was measured."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import attrs

from gateway.loadtest.client import Phase, Problem, TimedExchange
from gateway.loadtest.histogram import Histogram
from gateway.loadtest.judging import StreamVerdict

MEASURES = {
    "ttfb": "time to the first byte",
    "ttft": "time to the first token",
    "gap": "gap between tokens",
    "duration": "duration",
    "tokens_per_second": "tokens per second of a stream",
    "connect": "connecting",
}
"""What is measured, in seconds but for ``tokens_per_second``. From the intended start, but for gaps and connecting."""

End: TypeAlias = Literal["whole", "cancelled", "error", "unfinished", "interrupted"]
"""How an exchange counts. ``unfinished`` was under way when even the grace was over, ``interrupted`` at Ctrl-C."""

COUNTS = ("started", "whole", "cancelled", "error", "unfinished", "interrupted", "not_whole")
_CENSORED = ("timeout", "unfinished")
_FIRSTS = ("ttfb", "ttft")


def ended(exchange: TimedExchange, judged: StreamVerdict | None) -> tuple[End, Problem | None]:
    """The kind of end by which the exchange counts. ``judged`` is there for those that are complete."""
    problem = exchange.problem
    if problem is not None:
        return ("unfinished", problem) if problem.kind == "unfinished" else ("error", problem)
    if exchange.left:
        return "cancelled", None
    if judged is None:
        return "interrupted", None
    if judged.outcome == "failed":
        name, message = (exchange.error.error, exchange.error.message) if exchange.error else ("error", "")
        return "error", Problem(f"error event: {name}", exchange.phase, message)
    if judged.outcome == "cut":
        kind = "cut" if exchange.events or not exchange.request.stream else "no stream"
        return "error", Problem(kind, exchange.phase, "it ended, well by HTTP, before the answer's end")
    if judged.rule:
        return "error", Problem(f"grammar: {judged.rule}", exchange.phase, judged.found)
    return "whole", None


@attrs.frozen
class Failures:
    """Errors of one kind in one phase, counted; ``example`` is what was said at the first."""

    kind: str
    phase: Phase
    count: int
    example: str = ""


class Tally:
    """All exchanges of a run, or those of one kind of request."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.measures = {name: Histogram() for name in MEASURES}
        self.tokens = self.events = self.reads = self.received = 0
        self._failures: Counter[tuple[str, Phase]] = Counter()
        self._examples: dict[tuple[str, Phase], str] = {}

    @property
    def failures(self) -> tuple[Failures, ...]:
        """The errors, the most frequent first."""
        return tuple(
            Failures(*key, number, self._examples[key]) for key, number in self._failures.most_common() if number
        )

    def add(self, exchange: TimedExchange, end: End, problem: Problem | None) -> None:
        self.counts["started"] += 1
        self.counts[end] += 1
        if problem is not None:
            key = problem.kind, problem.phase
            self._failures[key] += 1
            self._examples.setdefault(key, problem.detail)
            if exchange.request.stream and problem.phase in ("first token", "stream"):
                self.counts["not_whole"] += 1
        self.events += len(exchange.contents)
        self.reads += exchange.reads
        self.received += exchange.received
        self.tokens += exchange.tokens if exchange.tokens is not None else len(exchange.contents)
        self._measure(exchange, end, problem)

    def with_firsts(self, under_way: Iterable[TimedExchange]) -> Mapping[str, Histogram]:
        """The measures, with the first bytes and tokens of answers ``under_way``, which count once they have ended."""
        found = Tally()
        for exchange in under_way:
            found._firsts(exchange, None)
        for name in _FIRSTS:
            found.measures[name].merge(self.measures[name])
        return {**self.measures, **{name: found.measures[name] for name in _FIRSTS}}

    def _measure(self, exchange: TimedExchange, end: End, problem: Problem | None) -> None:
        # What never came was waited for all the same: it counts with the time until we gave up.
        gave_up = exchange.ended if problem is not None and problem.kind in _CENSORED else None
        self._firsts(exchange, gave_up)
        if exchange.connected is not None:
            self.measures["connect"].add(exchange.connected)
        if exchange.manner == "reads slowly":
            return  # the rest says more of the reader than of the server
        times = [*exchange.contents, gave_up] if gave_up is not None and exchange.contents else exchange.contents
        self.measures["gap"].extend(after - before for before, after in pairwise(times))
        if end == "whole":
            self._latency("duration", exchange, exchange.ended, None)
            self._speed(exchange)

    def _firsts(self, exchange: TimedExchange, gave_up: float | None) -> None:
        first = exchange.contents[0] if exchange.contents else None
        byte = exchange.first_byte if exchange.status in (0, 200) else None
        self._latency("ttfb", exchange, byte, gave_up if exchange.first_byte is None else None)
        self._latency("ttft", exchange, first, gave_up if exchange.request.stream else None)

    def _latency(self, name: str, exchange: TimedExchange, at: float | None, gave_up: float | None) -> None:
        at = gave_up if at is None else at
        if at is not None:
            self.measures[name].add(at - exchange.intended)

    def _speed(self, exchange: TimedExchange) -> None:
        """Behind the first token: how long that took is another measure."""
        tokens = exchange.tokens if exchange.tokens is not None else len(exchange.contents)
        seconds = exchange.contents[-1] - exchange.contents[0] if exchange.contents else 0.0
        if tokens > 1 and seconds > 0:
            self.measures["tokens_per_second"].add((tokens - 1) / seconds)

    def dump(self) -> dict[str, Any]:
        """The figures as JSON values, for a report."""
        return {
            "counts": {name: self.counts[name] for name in COUNTS},
            "tokens": self.tokens,
            "content_events": self.events,
            "reads": self.reads,
            "bytes": self.received,
            "errors": [attrs.asdict(failure) for failure in self.failures],
            "measures": {name: histogram.dump() for name, histogram in self.measures.items()},
        }

    @classmethod
    def load(cls, value: Any) -> "Tally":
        """Read what ``dump`` gave. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        self = cls()
        self.counts.update({name: int(value["counts"][name]) for name in COUNTS})
        self.tokens, self.events = int(value["tokens"]), int(value["content_events"])
        self.reads, self.received = int(value["reads"]), int(value["bytes"])
        for row in value["errors"]:
            key = str(row["kind"]), row["phase"]
            self._failures[key] = int(row["count"])
            self._examples[key] = str(row["example"])
        self.measures = {name: Histogram.load(value["measures"][name]) for name in MEASURES}
        return self
