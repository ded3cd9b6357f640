"""The sums of many exchanges: counts, errors, and histograms of all measures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from loadtest.exchange.record import End, ExchangeRecord, Phase
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import MEASURES

COUNTS: Final = (
    "started", "whole", "good", "errors", "not_whole", "unfinished", "cancelled", "interrupted", "resent", "left_open",
)  # fmt: skip
KINDS: Final = 100  # distinct errors and finish reasons, because servers name them
OTHER: Final = "error of another kind"
LEFT_OUT: Final = ("cancelled", "interrupted")  # left out of goodput, because no client waited for their end

_COUNT_OF_END: Final[Mapping[End, str]] = {"error": "errors"}
_SUMS: Final = ("tokens", "input_tokens", "counted_by_usage", "events", "received")
_COUNTERS: Final = ("counts", "finishes", "missed", "waived")


@attrs.frozen
class Failures:
    """Errors of one kind in one phase. ``example`` is the text of the first."""

    kind: str
    phase: Phase
    count: int
    example: str = ""


class Tally:
    """The sums of a run.

    ``tokens`` are those of whole answers. ``finishes`` counts answers by their finish reason, ``missed`` by the
    objectives that they missed, and ``waived`` by waived rules.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.measures = {name: Histogram() for name in MEASURES}
        self.tokens = self.input_tokens = 0
        self.counted_by_usage = 0  # whole answers with a usage
        self.events = self.received = 0
        self.finishes: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.waived: Counter[str] = Counter()
        self._failures: Counter[tuple[str, Phase]] = Counter()
        self._examples: dict[tuple[str, Phase], str] = {}

    @property
    def failures(self) -> tuple[Failures, ...]:
        """The errors, the most frequent first."""
        return tuple(Failures(*key, number, self._examples[key]) for key, number in self._failures.most_common())

    @property
    def judgeable_count(self) -> int:
        """Exchanges that could be good: all but those cancelled as planned or interrupted by Ctrl-C."""
        return self.counts["started"] - sum(self.counts[end] for end in LEFT_OUT)

    @property
    def goodput(self) -> float | None:
        """The share of good exchanges: whole, with all objectives met."""
        return self.counts["good"] / self.judgeable_count if self.judgeable_count else None

    def add(self, record: ExchangeRecord, missed: Sequence[str] = ()) -> None:
        """Count one exchange, which ``missed`` these objectives."""
        self.counts["started"] += 1
        self.counts[_COUNT_OF_END.get(record.end, record.end)] += 1
        self.counts["resent"] += record.resent
        self.counts["left_open"] += record.left_open
        if record.problem is not None:
            self._add_failure(record)
        if record.end == "whole":
            self._add_whole(record, missed)
        self.missed.update(missed)
        self.waived.update(record.waived)
        self.events += len(record.contents)
        self.received += record.received
        for name, measure in MEASURES.items():
            found = measure.values_of(record)
            self.measures[name].extend(found.values)
            self.measures[name].censored += found.censored

    def _add_whole(self, record: ExchangeRecord, missed: Sequence[str]) -> None:
        self.counts["good"] += not missed
        self.counted_by_usage += bool(record.tokens.output)
        self.finishes[record.finish if record.finish in self.finishes or len(self.finishes) < KINDS else "other"] += 1
        self.tokens += record.output_tokens
        self.input_tokens += record.tokens.input or 0

    def _add_failure(self, record: ExchangeRecord) -> None:
        problem = record.problem
        assert problem is not None
        key = (problem.kind, problem.phase)
        key = key if key in self._failures or len(self._failures) < KINDS else (OTHER, problem.phase)
        self._failures[key] += 1
        told = f"(request {record.request_id})" if record.request_id else ""  # to search the server's log
        self._examples.setdefault(key, " ".join(filter(None, (problem.detail, told))))
        if record.streamed and problem.phase in ("first token", "stream"):
            self.counts["not_whole"] += 1

    def merge(self, other: "Tally") -> None:
        """Add the sums of ``other``."""
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, histogram in self.measures.items():
            histogram.merge(other.measures[name])
        self._failures.update(other._failures)
        self._examples = other._examples | self._examples

    def dump(self) -> dict[str, Any]:
        """Return the sums as JSON values for a report."""
        return {
            "counts": {name: self.counts[name] for name in COUNTS},
            "goodput": self.goodput,
            **{name: getattr(self, name) for name in _SUMS},
            **{name: dict(getattr(self, name).most_common()) for name in _COUNTERS if name != "counts"},
            "errors": [attrs.asdict(failure) for failure in self.failures],
            "measures": {name: histogram.dump() for name, histogram in self.measures.items()},
        }
