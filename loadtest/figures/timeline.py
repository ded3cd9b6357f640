"""The events of a run, second by second from the begin of what counts."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.histogram import Histogram


@attrs.define
class Second:
    """One second. What began is counted where it was planned to begin, also with its time to the first token, what
    ended where it ended, and ``tokens`` where they came. ``in_flight`` and ``lag`` are the greatest in it."""

    started: int = 0
    whole: int = 0
    good: int = 0
    failed: int = 0
    tokens: float = 0.0
    in_flight: int = 0
    lag: float = 0.0
    ttft: Histogram = attrs.field(factory=Histogram)

    def merge(self, other: "Second") -> None:
        """Add what another process did in the same second."""
        self.started += other.started
        self.whole += other.whole
        self.good += other.good
        self.failed += other.failed
        self.tokens += other.tokens
        self.in_flight += other.in_flight
        self.lag = max(self.lag, other.lag)
        self.ttft.merge(other.ttft)

    def follow(self, later: "Second") -> None:
        """Add what the same process did later in the same second."""
        in_flight = max(self.in_flight, later.in_flight)
        self.merge(later)
        self.in_flight = in_flight


FINE: Final = 900
"""The most histograms that a timeline keeps: a second's has kilobytes. In a run of more seconds the times to the first
token of 2, 4, 8 ... seconds stand together, in the first of these."""


LONGEST: Final = 10**7
"""Seconds of a load: some months."""


class LoadTimeline:
    """The seconds of a run, those in which nothing happened too. ``together`` seconds have one histogram."""

    def __init__(self) -> None:
        self._eventful: dict[int, Second] = {}
        self.together = 1

    @property
    def seconds(self) -> list[Second]:
        return [self._eventful.get(number) or Second() for number in range(max(self._eventful, default=-1) + 1)]

    def at(self, time: float) -> Second | None:
        """The second of ``time``; ``None`` before the begin."""
        return self._second(int(time)) if time >= 0 else None

    def _second(self, number: int) -> Second:
        found = self._eventful.get(number)
        if found is None:
            found = self._eventful[number] = Second()
            while number >= FINE * self.together:
                self.together *= 2
                self._put_together()
        return found

    def _put_together(self) -> None:
        for number in sorted(self._eventful):
            first = number - number % self.together
            if first != number and (moved := self._eventful[number].ttft).count:
                self._second(first).ttft.merge(moved)
                self._eventful[number].ttft = Histogram()

    def _first_tokens(self, number: int) -> Histogram:
        """The histogram that holds those of this second."""
        return self._second(number - number % self.together).ttft

    def begun(self, planned: float) -> None:
        if second := self.at(planned):
            second.started += 1

    def came(self, record: ExchangeRecord) -> None:
        """Take down when its tokens came, those of the warm-up's answers too."""
        if not record.contents:
            return
        tokens = record.tokens_seen / len(record.contents) if record.end == "whole" else 1.0
        for number, events in Counter(map(math.floor, record.contents)).items():
            if second := self.at(number):
                second.tokens += tokens * events

    def ended(self, record: ExchangeRecord, good: bool) -> None:
        if record.contents and record.is_counted:
            self._first_tokens(int(record.planned)).add(record.contents[0] - record.planned)
        if record.end in ("whole", "error", "unfinished") and (second := self.at(record.ended)):
            second.whole += record.end == "whole"
            second.good += good
            second.failed += record.end != "whole"

    def note(self, now: float, in_flight: int, lag: float) -> None:
        """Take down how things stand."""
        if second := self.at(now):
            second.in_flight = max(second.in_flight, in_flight)
            second.lag = max(second.lag, lag)

    def merge(self, other: "LoadTimeline") -> None:
        """Add the seconds of another process."""
        for number, second in other._eventful.items():
            self._second(number).merge(second)
        self._put_together()

    def follow(self, later: "LoadTimeline") -> None:
        """Add what the same process has seen since."""
        for number, second in later._eventful.items():
            self._second(number).follow(second)
        self._put_together()

    def rate(self, name: str, seconds: float) -> float:
        """How many of the counts called ``name`` came each second, over the whole ones of the first ``seconds``; over
        all of them where not one is whole."""
        whole = int(seconds)
        counted = sum(getattr(second, name) for second in self.seconds[: whole or 1])
        return float(counted / (whole or seconds)) if seconds > 0 else 0.0

    def dump(self) -> list[dict[str, Any]]:
        """A row for each second; percentiles are null where nothing was measured."""
        seconds = self.seconds
        return [_row(number, second, seconds[number - number % self.together].ttft)
                for number, second in enumerate(seconds)]  # fmt: skip

    @classmethod
    def load(cls, rows: Sequence[Mapping[str, Any]]) -> "LoadTimeline":
        """Read what ``dump`` gave, in this version or an earlier one. Raises ``KeyError``, ``TypeError`` or
        ``ValueError`` for anything else."""
        self = cls()
        for row in rows:
            counts = {name: int(row[name]) for name in ("started", "whole", "failed", "in_flight")}
            ttft = Histogram.load(row["ttft"]) if "ttft" in row else Histogram()
            counts["good"] = int(row.get("good", row["whole"]))
            second = Second(**counts, tokens=float(row.get("tokens", 0)), lag=float(row["lag"]), ttft=ttft)
            self._eventful[_place(row)] = second
        while max(self._eventful, default=0) >= FINE * self.together:
            self.together *= 2
        self._put_together()
        return self


def _place(row: Mapping[str, Any]) -> int:
    """Raises ``ValueError`` where the seconds before it alone would take all memory."""
    if not 0 <= (number := int(row["second"])) <= LONGEST:
        raise ValueError("no load has so many seconds")
    return number


def _row(number: int, second: Second, ttft: Histogram) -> dict[str, Any]:
    """``ttft`` are the times to the first token, of this second or of those that stand together with it."""
    percentiles = {f"ttft_p{p}": ttft.percentile(p) if ttft.count else None for p in (50, 95, 99)}
    counts = attrs.asdict(second, filter=lambda field, _: field.name != "ttft")
    return {"second": number, **counts, **percentiles, "ttft": second.ttft.dump()}
