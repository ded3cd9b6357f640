"""The sums of many exchanges: counts, errors, routes reported by gateways, and histograms of all measures."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import attrs

from loadtest.exchange.record import ExchangeRecord, Phase
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import MEASURES, count_with_noun

_PREFIX: Final = "x-trigate-"
_COUNTED: Final = {"target": "targets", "cache": "cache", "limit": "limits", "lane": "lanes"}
_PROMPT_CACHE: Final = re.compile(
    r"could=([0-9]{1,9}), (?:read=[0-9]{1,9}, missed=([0-9]{1,9})|readable=([0-9]{1,9}))(?:, cause=([a-z_]{1,20}))?"
)
"""A gateway's report on a provider's prompt cache. The head of a stream has the readable tokens instead of the missed
ones."""
_MOST: Final = 50  # distinct names of each; a server may send a new one with each answer
_OTHERS: Final = "(others)"
_NO_CAUSE: Final = "(small)"
"""Misses that are too small for a cause."""
_DEAREST: Final = 10**6  # US dollars; a higher cost is ignored
_CHEAPEST: Final = Decimal(10) ** -12  # US dollars: the resolution of costs, which limits their digits


class RouteFigures:
    """The sums of the route headers of many answers.

    ``cost_told`` answers reported their ``cost`` in US dollars, and ``attempts_told`` answers their number of
    ``attempts``. ``could`` are the prompt tokens that providers' caches could have served, ``missed`` those that they
    did not, by cause.
    """

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in _COUNTED.values()}
        self.attempts = self.attempts_told = self.cost_told = self.could = 0
        self.missed: Counter[str] = Counter()
        self.cost = Decimal(0)

    def add(self, route: Mapping[str, str]) -> None:
        """Count the headers of one answer.

        If a limit of the gateway refused the request, its target is not counted, because it did not answer.
        """
        refused = bool(route.get(f"{_PREFIX}limit"))
        for header, name in _COUNTED.items():
            if (value := route.get(_PREFIX + header)) and (name == "limits" or not refused):
                self._count_header(name, value)
        attempts, cost = route.get(f"{_PREFIX}attempts", ""), _parse_amount(route.get(f"{_PREFIX}cost", ""))
        if not refused and attempts.isascii() and attempts.isdigit() and len(attempts) < 5:
            self.attempts, self.attempts_told = self.attempts + int(attempts), self.attempts_told + 1
        if cost is not None:
            self.cost, self.cost_told = self.cost + cost, self.cost_told + 1
        if found := _PROMPT_CACHE.match(route.get(f"{_PREFIX}prompt-cache", "")):
            could = int(found[1])
            missed = could - int(found[3]) if found[2] is None else int(found[2])
            self.could += could
            if missed > 0:
                self._count_missed(found[4] or _NO_CAUSE, missed)

    def _count_missed(self, cause: str, tokens: int) -> None:
        self.missed[cause if cause in self.missed or len(self.missed) < _MOST else _OTHERS] += tokens

    def _count_header(self, name: str, value: str, number: int = 1) -> None:
        counts = self.counts[name]
        counts[value if value in counts or len(counts) < _MOST else _OTHERS] += number

    def merge(self, other: "RouteFigures") -> None:
        """Add the sums of ``other``."""
        for name, counts in other.counts.items():
            for value, number in counts.items():
                self._count_header(name, value, number)
        self.attempts += other.attempts
        self.attempts_told += other.attempts_told
        self.cost += other.cost
        self.cost_told += other.cost_told
        self.could += other.could
        for cause, tokens in other.missed.items():
            self._count_missed(cause, tokens)

    @property
    def cache_hits(self) -> int:
        """Answers from the gateway's own cache."""
        return self.counts["cache"]["hit"]

    def dump(self) -> dict[str, Any]:
        """Return the sums as JSON values, without those that no answer reported."""
        found: dict[str, Any] = {name: dict(counts.most_common()) for name, counts in self.counts.items() if counts}
        if self.attempts_told:
            found |= {"attempts": self.attempts, "attempts_told": self.attempts_told}
        if self.cost_told:
            found |= {"cost_usd": f"{self.cost.normalize():f}", "cost_told": self.cost_told}
        if self.could:
            found["prompt_caches"] = {"could": self.could, "missed": dict(self.missed.most_common())}
        return found

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> "RouteFigures":
        """Read the result of ``dump``. Raises ``TypeError`` or ``ValueError`` for anything else."""
        self = cls()
        for name, counts in self.counts.items():
            counts.update({str(key): int(number) for key, number in value.get(name, {}).items()})
        self.attempts, self.attempts_told = int(value.get("attempts", 0)), int(value.get("attempts_told", 0))
        self.cost, self.cost_told = Decimal(value.get("cost_usd", 0)), int(value.get("cost_told", 0))
        caches = value.get("prompt_caches", {})
        self.could = int(caches.get("could", 0))
        self.missed.update({str(cause): int(tokens) for cause, tokens in caches.get("missed", {}).items()})
        return self

    def lines(self) -> list[str]:
        """Return the sums as text, without those that no answer reported."""
        found = []
        if targets := self.counts["targets"]:
            each = (
                f", in {count_with_noun(round(self.attempts / self.attempts_told, 2), 'attempt')} each"
                if self.attempts_told
                else ""
            )
            found.append(f"answered by {_join_counts(targets)}{each}")
        if cache := self.counts["cache"]:
            found.append(
                f"the gateway's cache: {_join_counts(cache)} ({100 * self.cache_hits / cache.total():.3g} % hits)"
            )
        if self.could:
            served = max(0, self.could - self.missed.total())
            found.append(
                f"prompt caches could serve {self.could} tokens, and served {100 * served / self.could:.3g} %"
                + (f"; missed by cause: {_join_counts(self.missed)}" if self.missed else "")
            )
        if limits := self.counts["limits"]:
            found.append(f"rejected by its limits: {_join_counts(limits)}")
        if self.cost_told:
            found.append(f"cost {self.cost.normalize():f} USD, reported by {self.cost_told} responses")
        return found


def _join_counts(counts: Counter[str]) -> str:
    named = [f"{name} {number}" for name, number in counts.most_common(6)]
    return ", ".join(named + (["…"] if len(counts) > len(named) else []))


def _parse_amount(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value.quantize(_CHEAPEST) if value.is_finite() and 0 <= value <= _DEAREST else None


Key = TypeVar("Key")

COUNTS = (
    "started",
    "whole",
    "cancelled",
    "error",
    "unfinished",
    "interrupted",
    "not_whole",
    "good",
    "resent",
    "left_open",
    "lost",
    "short",
    "buffered",
)
EXACT: Final = "exact"
"""The objective of an exact length. Answers that miss it are ``short``."""

KINDS: Final = 100  # distinct errors and finish reasons, because servers name them
OTHER: Final = "error of another kind"

LEFT_OUT: Final = ("cancelled", "interrupted")  # left out of goodput, because no client waited for their end


def _key_within_limit(key: Key, counted: Mapping[Key, int], other: Key) -> Key:
    """Return the key under which to count: ``key``, or ``other`` if there are already too many keys."""
    return key if key in counted or len(counted) < KINDS else other


@attrs.frozen
class Failures:
    """Errors of one kind in one phase.

    ``example`` is the text of the first, ``retry_after`` the shortest and the longest requested wait in seconds.
    """

    kind: str
    phase: Phase
    count: int
    example: str = ""
    retry_after: tuple[float, float] | None = None


class Tally:
    """The sums of a run or of a part of it: a kind of request, a turn, or a step."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.measures = {name: Histogram(whole=measure.unit == "tokens") for name, measure in MEASURES.items()}
        self.tokens = self.tokens_seen = self.unseen = self.input_tokens = 0
        self.prompt_characters = self.prompt_tokens = 0  # of generated prompts, by the usage of whole answers
        self.counted_by_usage = 0  # whole answers with a usage
        self.events = self.reads = self.received = 0
        self.counted_events = self.counted_tokens = 0  # of whole streams with a usage
        self.finishes: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()  # objectives
        self.waived: Counter[str] = Counter()  # rules
        self.versions: Counter[str] = Counter()  # of HTTP, by answers
        self.routes = RouteFigures()
        self._failures: Counter[tuple[str, Phase]] = Counter()
        self._examples: dict[tuple[str, Phase], str] = {}
        self._retry_after_range: dict[tuple[str, Phase], tuple[float, float]] = {}  # seconds

    @property
    def failures(self) -> tuple[Failures, ...]:
        """The errors, the most frequent first."""
        return tuple(
            Failures(*key, number, self._examples[key], self._retry_after_range.get(key))
            for key, number in self._failures.most_common()
            if number
        )

    @property
    def judgeable_count(self) -> int:
        """Exchanges that could be good: all but those cancelled as planned or interrupted by Ctrl-C."""
        return self.counts["started"] - sum(self.counts[end] for end in LEFT_OUT)

    @property
    def goodput(self) -> float | None:
        """The share of good exchanges: whole, with all objectives met."""
        return self.counts["good"] / self.judgeable_count if self.judgeable_count else None

    @property
    def cached_share(self) -> float | None:
        """The share of input tokens from the prompt cache, if answers report their input.

        Answers that report no cached tokens count as uncached.
        """
        asked = self.measures["input_tokens"].total
        return self.measures["cached_tokens"].total / asked if asked else None

    @property
    def tokens_per_event(self) -> float | None:
        """Tokens per event with content, in streams with a usage."""
        return self.counted_tokens / self.counted_events if self.counted_events else None

    def add(self, record: ExchangeRecord, missed: Sequence[str] = ()) -> None:
        """Count one exchange, which ``missed`` these objectives."""
        self.counts["started"] += 1
        self.counts[record.end] += 1
        self.counts["resent"] += record.resent
        self.counts["left_open"] += record.left_open
        if record.version:
            self.versions[record.version] += 1
        if record.problem is not None:
            self._add_failure(record)
        if record.end == "whole":
            self._add_whole(record, missed)
        self.missed.update(missed)
        self.waived.update(record.waived)
        if record.route:
            self.routes.add(dict(record.route))
        self.tokens_seen += len(record.contents) if record.end != "whole" else record.tokens_seen
        self.events += len(record.contents)
        self.reads += record.reads
        self.received += record.received
        for name, measure in MEASURES.items():
            found = measure.values_of(record)
            if found.values:
                self.measures[name].extend(found.values)
                self.measures[name].censored += found.censored

    def _add_whole(self, record: ExchangeRecord, missed: Sequence[str]) -> None:
        self.counts["good"] += not missed
        self.counted_by_usage += bool(record.tokens.output)
        self.finishes[_key_within_limit(record.finish, self.finishes, "other")] += 1
        self.tokens += record.output_tokens
        self.unseen += record.output_tokens - record.tokens_seen
        self.input_tokens += record.tokens.input or 0
        if record.streamed and record.contents and record.tokens.output:
            self.counted_events += len(record.contents)
            self.counted_tokens += record.tokens_seen
        self.counts["short"] += EXACT in missed
        self.counts["buffered"] += record.is_buffered
        if record.characters and record.tokens.input:
            self.prompt_characters += record.characters
            self.prompt_tokens += record.tokens.input

    def _add_failure(self, record: ExchangeRecord) -> None:
        problem = record.problem
        assert problem is not None
        key = _key_within_limit((problem.kind, problem.phase), self._failures, (OTHER, problem.phase))
        self._failures[key] += 1
        if key not in self._examples:
            told = f"(request {record.request_id})" if record.request_id else ""  # to search the server's log
            self._examples[key] = " ".join(filter(None, (problem.detail, told)))
        if record.retry_after is not None:
            self._add_retry_after(key, record.retry_after, record.retry_after)
        if record.streamed and problem.phase in ("first token", "stream"):
            self.counts["not_whole"] += 1

    def _add_retry_after(self, key: tuple[str, Phase], least: float, most: float) -> None:
        before = self._retry_after_range.get(key, (least, most))
        self._retry_after_range[key] = min(before[0], least), max(before[1], most)

    def merge(self, other: "Tally") -> None:
        """Add the sums of ``other``."""
        for name in _FEW:
            getattr(self, name).update(getattr(other, name))
        for finish, number in other.finishes.items():
            self.finishes[_key_within_limit(finish, self.finishes, "other")] += number
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, histogram in self.measures.items():
            histogram.merge(other.measures[name])
        self.routes.merge(other.routes)
        for kind, number in other._failures.items():
            key = _key_within_limit(kind, self._failures, (OTHER, kind[1]))
            self._failures[key] += number
            self._examples.setdefault(key, other._examples[kind])
            if kind in other._retry_after_range:
                self._add_retry_after(key, *other._retry_after_range[kind])

    @classmethod
    def sum_of(cls, parts: Iterable["Tally"]) -> "Tally":
        """Return a tally with the sums of ``parts``."""
        found = cls()
        for part in parts:
            found.merge(part)
        return found

    def dump(self, percentiles: Sequence[float] = ()) -> dict[str, Any]:
        """Return the sums as JSON values for a report, with additional ``percentiles``."""
        return {
            "counts": {name: self.counts[name] for name in COUNTS},
            "goodput": self.goodput,
            "events_per_read": self.events / self.reads if self.reads else None,
            "tokens_per_event": self.tokens_per_event,
            "cached_share": self.cached_share,
            **{key: getattr(self, name) for name, key in _SUMS.items()},
            **{name: dict(getattr(self, name).most_common()) for name in _COUNTERS if name != "counts"},
            "routes": self.routes.dump(),
            "errors": [attrs.asdict(failure) for failure in self.failures],
            "measures": {name: histogram.dump(percentiles) for name, histogram in self.measures.items()},
        }

    @classmethod
    def load(cls, value: Any) -> "Tally":
        """Read the result of ``dump`` of this or an earlier version.

        Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else.
        """
        self = cls()
        self.counts.update({name: int(value["counts"].get(name, 0)) for name in COUNTS})
        for name, key in _SUMS.items():
            setattr(self, name, int(value.get(key, 0)))
        for name in _COUNTERS:
            if name != "counts":
                getattr(self, name).update({str(key): int(number) for key, number in value.get(name, {}).items()})
        self.routes = RouteFigures.load(value.get("routes", {}))
        for row in value["errors"]:
            place = str(row["kind"]), row["phase"]
            self._failures[place] = int(row["count"])
            self._examples[place] = str(row["example"])
            if (asked := row.get("retry_after")) is not None:
                self._add_retry_after(place, float(asked[0]), float(asked[1]))
        for name, found in value["measures"].items():
            if name in MEASURES:
                self.measures[name] = Histogram.load(found, whole=MEASURES[name].unit == "tokens")
        return self


_FEW: Final = ("counts", "missed", "waived", "versions")
"""Counters with fixed names."""

_COUNTERS: Final = (*_FEW, "finishes")
_SUMS: Final = {
    "tokens": "tokens",
    "tokens_seen": "tokens_seen",
    "unseen": "reasoning_not_shown",
    "input_tokens": "input_tokens",
    "counted_by_usage": "counted_by_usage",
    "prompt_characters": "prompt_characters",
    "prompt_tokens": "prompt_tokens",
    "events": "content_events",
    "counted_events": "content_events_counted",
    "counted_tokens": "tokens_in_events",
    "reads": "reads",
    "received": "bytes",
}
"""Sums, and their names in a report."""
