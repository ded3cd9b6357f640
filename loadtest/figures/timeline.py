"""The events of a run, second by second from the begin of the measurement."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.histogram import Histogram


@attrs.define
class Second:
    """One second of a run.

    Begins and times to the first token count in the second of the planned begin, ends where they happened, and
    ``tokens`` where they arrived. ``in_flight`` and ``lag`` are maxima.
    """

    started: int = 0
    whole: int = 0
    good: int = 0
    failed: int = 0
    tokens: float = 0.0
    in_flight: int = 0
    lag: float = 0.0
    ttft: Histogram = attrs.field(factory=Histogram)

    def merge(self, other: "Second") -> None:
        """Add the same second of another process."""
        self.started += other.started
        self.whole += other.whole
        self.good += other.good
        self.failed += other.failed
        self.tokens += other.tokens
        self.in_flight += other.in_flight
        self.lag = max(self.lag, other.lag)
        self.ttft.merge(other.ttft)

    def add_later(self, later: "Second") -> None:
        """Add later events of the same second and process."""
        in_flight = max(self.in_flight, later.in_flight)
        self.merge(later)
        self.in_flight = in_flight


FINE: Final = 900
"""The largest number of histograms, which take kilobytes each.

In longer runs, 2, 4, 8 ... seconds share a histogram, which is in the first of them.
"""


LONGEST: Final = 10**7
"""The longest load in seconds: some months."""


class LoadTimeline:
    """The seconds of a run, including those without events. ``together`` seconds share one histogram."""

    def __init__(self) -> None:
        self._eventful: dict[int, Second] = {}
        self.together = 1

    @property
    def seconds(self) -> list[Second]:
        return [self._eventful.get(number) or Second() for number in range(max(self._eventful, default=-1) + 1)]

    def second_at(self, time: float) -> Second | None:
        """Return the second of ``time``, or ``None`` before the begin."""
        return self._second_number(int(time)) if time >= 0 else None

    def _second_number(self, number: int) -> Second:
        found = self._eventful.get(number)
        if found is None:
            found = self._eventful[number] = Second()
            while number >= FINE * self.together:
                self.together *= 2
                self._merge_histograms()
        return found

    def _merge_histograms(self) -> None:
        for number in sorted(self._eventful):
            first = number - number % self.together
            if first != number and (moved := self._eventful[number].ttft).count:
                self._second_number(first).ttft.merge(moved)
                self._eventful[number].ttft = Histogram()

    def _first_tokens(self, number: int) -> Histogram:
        """Return the histogram of times to the first token for this second."""
        return self._second_number(number - number % self.together).ttft

    def record_begin(self, planned: float) -> None:
        if second := self.second_at(planned):
            second.started += 1

    def record_token_times(self, record: ExchangeRecord) -> None:
        """Record the arrival times of the tokens, including those in the warm-up."""
        if not record.contents:
            return
        tokens = record.tokens_seen / len(record.contents) if record.end == "whole" else 1.0
        for number, events in Counter(map(math.floor, record.contents)).items():
            if second := self.second_at(number):
                second.tokens += tokens * events

    def record_end(self, record: ExchangeRecord, good: bool) -> None:
        if record.contents and record.is_counted:
            self._first_tokens(int(record.planned)).add(record.contents[0] - record.planned)
        if record.end in ("whole", "error", "unfinished") and (second := self.second_at(record.ended)):
            second.whole += record.end == "whole"
            second.good += good
            second.failed += record.end != "whole"

    def record_state(self, now: float, in_flight: int, lag: float) -> None:
        """Record the requests under way and the lag of the event loop."""
        if second := self.second_at(now):
            second.in_flight = max(second.in_flight, in_flight)
            second.lag = max(second.lag, lag)

    def merge(self, other: "LoadTimeline") -> None:
        """Add the seconds of another process."""
        for number, second in other._eventful.items():
            self._second_number(number).merge(second)
        self._merge_histograms()

    def add_later(self, later: "LoadTimeline") -> None:
        """Add later seconds of the same process."""
        for number, second in later._eventful.items():
            self._second_number(number).add_later(second)
        self._merge_histograms()

    def rate(self, name: str, seconds: float) -> float:
        """Return the mean of the count ``name`` per second, over the whole seconds of the first ``seconds``."""
        whole = int(seconds)
        counted = sum(getattr(second, name) for second in self.seconds[: whole or 1])
        return float(counted / (whole or seconds)) if seconds > 0 else 0.0

    def dump(self) -> list[dict[str, Any]]:
        """Return a row for each second. Percentiles are null if nothing was measured."""
        seconds = self.seconds
        return [_dump_second(number, second, seconds[number - number % self.together].ttft)
                for number, second in enumerate(seconds)]  # fmt: skip

    @classmethod
    def load(cls, rows: Sequence[Mapping[str, Any]]) -> "LoadTimeline":
        """Read the result of ``dump`` of this or an earlier version.

        Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else.
        """
        self = cls()
        for row in rows:
            counts = {name: int(row[name]) for name in ("started", "whole", "failed", "in_flight")}
            ttft = Histogram.load(row["ttft"]) if "ttft" in row else Histogram()
            counts["good"] = int(row.get("good", row["whole"]))
            second = Second(**counts, tokens=float(row.get("tokens", 0)), lag=float(row["lag"]), ttft=ttft)
            self._eventful[_second_number(row)] = second
        while max(self._eventful, default=0) >= FINE * self.together:
            self.together *= 2
        self._merge_histograms()
        return self


def _second_number(row: Mapping[str, Any]) -> int:
    """Return the number of a second.

    Raises ``ValueError`` for one so large that the seconds before it would exhaust the memory.
    """
    if not 0 <= (number := int(row["second"])) <= LONGEST:
        raise ValueError(f"second {number} is out of range (most: {LONGEST})")
    return number


def _dump_second(number: int, second: Second, ttft: Histogram) -> dict[str, Any]:
    """Return the row of a second. ``ttft`` is its histogram, which other seconds may share."""
    percentiles = {f"ttft_p{p}": ttft.percentile_or_none(p) for p in (50, 95, 99)}
    counts = attrs.asdict(second, filter=lambda field, _: field.name != "ttft")
    return {"second": number, **counts, **percentiles, "ttft": second.ttft.dump()}
