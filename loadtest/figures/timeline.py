"""The events of a run over time, from the begin of the measurement."""

import math
from collections import Counter
from typing import Any, Final

import attrs

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.histogram import Histogram

MOST: Final = 600
"""The number of spans in the planned time: a histogram takes kilobytes, and a chart shows no more points."""


@attrs.define
class LoadSpan:
    """One second of a run, or several.

    Begins and times to the first token count in the span of the planned begin, ends where they happened, and ``tokens``
    where they arrived. ``in_flight`` and ``lag`` are maxima.
    """

    started: int = 0
    whole: int = 0
    failed: int = 0
    tokens: float = 0.0
    in_flight: int = 0
    lag: float = 0.0
    ttft: Histogram = attrs.field(factory=Histogram)


class LoadTimeline:
    """The spans of a run of so many ``seconds``, including those without events.

    A span is ``width`` seconds: one, or more if more than ten minutes are planned. Times count from ``begin``, the
    seconds of earlier rounds.
    """

    def __init__(self, seconds: float) -> None:
        self.spans: list[LoadSpan] = []
        self.width = max(1, math.ceil(seconds / MOST)) if math.isfinite(seconds) else 1
        self.begin = 0

    def span_at(self, time: float) -> LoadSpan:
        """Return the span of ``time``, which is not negative."""
        number = int((self.begin + time) / self.width)
        self.spans += [LoadSpan() for _ in range(len(self.spans), number + 1)]
        return self.spans[number]

    def record_tokens(self, record: ExchangeRecord) -> None:
        """Record the arrival times of the tokens, including those of requests of the warm-up."""
        tokens = record.output_tokens / len(record.contents) if record.contents and record.end == "whole" else 1.0
        for second, events in Counter(map(math.floor, record.contents)).items():
            if second >= 0:
                self.span_at(second).tokens += tokens * events

    def record_end(self, record: ExchangeRecord) -> None:
        """Record the end of a counted request."""
        if record.contents:
            self.span_at(record.planned).ttft.add(record.contents[0] - record.planned)
        if record.end in ("whole", "error", "unfinished"):
            span = self.span_at(record.ended)
            span.whole += record.end == "whole"
            span.failed += record.end != "whole"

    def record_state(self, now: float, in_flight: int, lag: float) -> None:
        """Record the requests under way and the lag of the event loop."""
        if now >= 0:
            span = self.span_at(now)
            span.in_flight, span.lag = max(span.in_flight, in_flight), max(span.lag, lag)

    def dump(self) -> list[dict[str, Any]]:
        """Return a row for each span. Percentiles are null if nothing was measured."""
        found = []
        for number, span in enumerate(self.spans):
            ttft = {f"ttft_p{p}": span.ttft.percentile(p) if span.ttft.count else None for p in (50, 95, 99)}
            counts = attrs.asdict(span, filter=lambda field, _: field.name != "ttft")
            found.append({"second": number * self.width, **counts, **ttft})
        return found
