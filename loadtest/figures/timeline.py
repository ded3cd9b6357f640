"""The events of a run, second by second from the begin of the measurement."""

import math
from collections import Counter
from typing import Any, Final

import attrs

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.histogram import Histogram

FINE: Final = 900
"""The largest number of histograms, which take kilobytes each.

In longer runs, 2, 4, 8 ... seconds share a histogram, which is in the first of them.
"""


@attrs.define
class Second:
    """One second of a run.

    Begins and times to the first token count in the second of the planned begin, ends where they happened, and
    ``tokens`` where they arrived. ``in_flight`` and ``lag`` are maxima.
    """

    started: int = 0
    whole: int = 0
    failed: int = 0
    tokens: float = 0.0
    in_flight: int = 0
    lag: float = 0.0
    ttft: Histogram = attrs.field(factory=Histogram)


class LoadTimeline:
    """The seconds of a run, including those without events. ``together`` seconds share one histogram."""

    def __init__(self) -> None:
        self.seconds: list[Second] = []
        self.together = 1

    def second_at(self, time: float) -> Second:
        """Return the second of ``time``, which is not negative."""
        while len(self.seconds) <= int(time):
            self.seconds.append(Second())
            if len(self.seconds) > FINE * self.together:
                self.together *= 2
                self._share_histograms()
        return self.seconds[int(time)]

    def _share_histograms(self) -> None:
        for number, second in enumerate(self.seconds):
            first = self.seconds[number - number % self.together]
            if first is not second and second.ttft.count:
                first.ttft.merge(second.ttft)
                second.ttft = Histogram()

    def record_begin(self, planned: float) -> None:
        if planned >= 0:
            self.second_at(planned).started += 1

    def record_tokens(self, record: ExchangeRecord) -> None:
        """Record the arrival times of the tokens, including those of requests of the warm-up."""
        tokens = record.tokens_seen / len(record.contents) if record.contents and record.end == "whole" else 1.0
        for number, events in Counter(map(math.floor, record.contents)).items():
            if number >= 0:
                self.second_at(number).tokens += tokens * events

    def record_end(self, record: ExchangeRecord) -> None:
        """Record the end of a counted request."""
        if record.contents:
            self.second_at(record.planned)
            first = int(record.planned) - int(record.planned) % self.together
            self.seconds[first].ttft.add(record.contents[0] - record.planned)
        if record.end in ("whole", "error", "unfinished"):
            second = self.second_at(record.ended)
            second.whole += record.end == "whole"
            second.failed += record.end != "whole"

    def record_state(self, now: float, in_flight: int, lag: float) -> None:
        """Record the requests under way and the lag of the event loop."""
        if now >= 0:
            second = self.second_at(now)
            second.in_flight = max(second.in_flight, in_flight)
            second.lag = max(second.lag, lag)

    def rate(self, name: str, seconds: float) -> float:
        """Return the mean of the count ``name`` per second, over the whole seconds of the first ``seconds``."""
        whole = int(seconds)
        counted = sum(getattr(second, name) for second in self.seconds[: whole or 1])
        return float(counted / (whole or seconds)) if seconds > 0 else 0.0

    def dump(self) -> list[dict[str, Any]]:
        """Return a row for each second. Percentiles are null if nothing was measured."""
        found = []
        for number, second in enumerate(self.seconds):
            ttft = self.seconds[number - number % self.together].ttft
            shown = {f"ttft_p{p}": ttft.percentile(p) if ttft.count else None for p in (50, 95, 99)}
            counts = attrs.asdict(second, filter=lambda field, _: field.name != "ttft")
            found.append({"second": number, **counts, **shown})
        return found
