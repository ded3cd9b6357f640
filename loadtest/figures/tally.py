"""The sums of many exchanges: counts, errors, and histograms of all measures."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import attrs

from loadtest.exchange.record import ExchangeRecord, Phase
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import MEASURES

COUNTS: Final = (
    "started", "whole", "good", "errors", "not_whole", "unfinished", "cancelled", "interrupted", "resent",
)  # fmt: skip
KINDS: Final = 100  # distinct errors, because servers name them
OTHER: Final = "error of another kind"
LEFT_OUT: Final = ("cancelled", "interrupted")  # left out of goodput, because no client waited for their end

_SUMS: Final = ("tokens", "counted_by_usage", "events")


@attrs.define
class Failures:
    """Errors of one kind in one phase. ``example`` is the text of the first."""

    kind: str
    phase: Phase
    example: str
    count: int = 0


class Tally:
    """The sums of a run.

    ``tokens`` are those of whole answers. ``missed`` counts answers by the objectives that they missed, and ``waived``
    by waived rules.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.measures = {name: Histogram() for name in MEASURES}
        self.tokens = self.events = 0
        self.counted_by_usage = 0  # whole answers with a usage
        self.missed: Counter[str] = Counter()
        self.waived: Counter[str] = Counter()
        self._failures: dict[tuple[str, Phase], Failures] = {}

    @property
    def failures(self) -> list[Failures]:
        """The errors, the most frequent first."""
        return sorted(self._failures.values(), key=lambda failures: -failures.count)

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
        self.counts["errors" if record.end == "error" else record.end] += 1
        self.counts["resent"] += record.resent
        if record.problem is not None:
            self._add_failure(record)
        if record.end == "whole":
            self.counts["good"] += not missed
            self.counted_by_usage += bool(record.tokens.output)
            self.tokens += record.output_tokens
        self.missed.update(missed)
        self.waived.update(record.waived)
        self.events += len(record.contents)
        for name, measure in MEASURES.items():
            found = measure.values_of(record)
            self.measures[name].extend(found.values)
            self.measures[name].censored += found.censored

    def _add_failure(self, record: ExchangeRecord) -> None:
        problem = record.problem
        assert problem is not None
        key = (problem.kind, problem.phase)
        key = key if key in self._failures or len(self._failures) < KINDS else (OTHER, problem.phase)
        told = f"(request {record.request_id})" if record.request_id else ""  # to search the server's log
        example = " ".join(filter(None, (problem.detail, told)))
        self._failures.setdefault(key, Failures(*key, example)).count += 1
        if record.streamed and problem.phase in ("first token", "stream"):
            self.counts["not_whole"] += 1

    def dump(self) -> dict[str, Any]:
        """Return the sums as JSON values for a report."""
        return {
            "counts": {name: self.counts[name] for name in COUNTS},
            "goodput": self.goodput,
            **{name: getattr(self, name) for name in _SUMS},
            "missed": dict(self.missed.most_common()),
            "waived": dict(self.waived.most_common()),
            "errors": [attrs.asdict(failure) for failure in self.failures],
            "measures": {name: histogram.dump() for name, histogram in self.measures.items()},
        }
