"""The events of a run, second by second."""

from collections.abc import Sequence
from typing import Any

import attrs

from gateway.loadtest.client import TimedExchange
from gateway.loadtest.histogram import Histogram
from gateway.loadtest.tally import End


@attrs.define
class Second:
    """One second from the start of what is measured. What began is counted where it was intended to begin, also with
    its time to the first token, what ended where it ended. ``in_flight`` and ``lag`` are the greatest in it."""

    started: int = 0
    whole: int = 0
    failed: int = 0
    in_flight: int = 0
    lag: float = 0.0
    ttft: Histogram = attrs.field(factory=Histogram)


class LoadTimeline:
    """The seconds since ``begin``, on trio's clock."""

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.seconds: list[Second] = []

    def at(self, time: float) -> Second | None:
        """The second of ``time``; ``None`` before the begin."""
        number = int(time - self.begin) if time >= self.begin else -1
        while len(self.seconds) <= number:
            self.seconds.append(Second())
        return self.seconds[number] if number >= 0 else None

    def begun(self, intended: float) -> None:
        if second := self.at(intended):
            second.started += 1

    def ended(self, exchange: TimedExchange, end: End) -> None:
        if exchange.contents and (second := self.at(exchange.intended)):
            second.ttft.add(exchange.contents[0] - exchange.intended)
        if end in ("whole", "error", "unfinished") and (second := self.at(exchange.ended)):
            second.whole += end == "whole"
            second.failed += end != "whole"

    def note(self, now: float, in_flight: int, lag: float) -> None:
        """Take down how things stand."""
        if second := self.at(now):
            second.in_flight = max(second.in_flight, in_flight)
            second.lag = max(second.lag, lag)

    def dump(self) -> list[dict[str, Any]]:
        """A row for each second; percentiles are null where nothing was measured."""
        return [_row(number, second) for number, second in enumerate(self.seconds)]


def _row(number: int, second: Second) -> dict[str, Any]:
    ttft = second.ttft
    percentiles = {f"ttft_p{p}": ttft.percentile(p) if ttft.count else None for p in (50, 95, 99)}
    counts = attrs.asdict(second, filter=lambda field, _: field.name != "ttft")
    return {"second": number, **counts, **percentiles}


ROW = ("second", "started", "whole", "failed", "in_flight", "lag", "ttft_p50", "ttft_p95", "ttft_p99")


def loaded(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Read what ``dump`` gave. Raises ``KeyError`` or ``TypeError`` for anything else."""
    return [{name: row[name] for name in ROW} for row in rows]
