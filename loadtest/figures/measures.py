"""The measures of an exchange, as a table of names and functions, and the formats of their values.

Latencies count from the planned begin, because users also wait for a slow server or loader.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import sub
from typing import Final, Literal, TypeAlias

import attrs

from loadtest.exchange.record import ExchangeRecord

Unit: TypeAlias = Literal["s", "tokens"]


@attrs.frozen
class Measured:
    """The values of a measure in one record. If ``censored``, the last value is an aborted wait."""

    values: Sequence[float] = ()
    censored: bool = False


NOT_MEASURED: Final = Measured()


@attrs.frozen
class Measure:
    """One row of the table. ``values_of`` returns the values of a record, none if it has no such measure."""

    label: str
    unit: Unit
    values_of: Callable[[ExchangeRecord], Measured]


def _one_value(value: float | None) -> Measured:
    return NOT_MEASURED if value is None else Measured((float(value),))


def _latency(record: ExchangeRecord, at: float | None, awaited: bool) -> Measured:
    """Return the seconds from the planned begin to ``at``.

    An ``awaited`` event that never came counts with the time of giving up.
    """
    if at is not None:
        return Measured((at - record.planned,))
    if awaited and record.gave_up_at is not None:
        return Measured((record.gave_up_at - record.planned,), censored=True)
    return NOT_MEASURED


def _lateness(record: ExchangeRecord) -> Measured:
    return Measured((max(0.0, record.began - record.planned),))


def _first_byte(record: ExchangeRecord) -> Measured:
    good = record.status in (0, 200)
    return _latency(record, record.first_byte if good else None, record.first_byte is None)


def _first_token(record: ExchangeRecord) -> Measured:
    return _latency(record, record.contents[0] if record.contents else None, record.streamed)


def _gaps(record: ExchangeRecord) -> Measured:
    if not record.contents:
        return NOT_MEASURED
    gave_up = record.gave_up_at
    times = record.contents if gave_up is None else (*record.contents, gave_up)
    return Measured(tuple(map(sub, times[1:], times)), censored=gave_up is not None)


def _stall(record: ExchangeRecord) -> Measured:
    gaps = _gaps(record)
    return Measured((max(gaps.values),), gaps.censored) if gaps.values else NOT_MEASURED


def _duration(record: ExchangeRecord) -> Measured:
    """Return the time to the end event of the API, if it has one, or else to the end of HTTP."""
    if record.end == "whole":
        return Measured(((record.end_event or record.ended) - record.planned,))
    return _latency(record, None, awaited=True)


def _left_after(record: ExchangeRecord) -> Measured:
    return Measured((len(record.contents),)) if record.end == "cancelled" else NOT_MEASURED


def _of_whole(value_of: Callable[[ExchangeRecord], float | None]) -> Callable[[ExchangeRecord], Measured]:
    """Return a measure of whole answers only."""
    return lambda record: _one_value(value_of(record) if record.end == "whole" else None)


MEASURES: Final[Mapping[str, Measure]] = {
    "late": Measure("begun late, by ourselves", "s", _lateness),
    "connect": Measure("connecting", "s", lambda record: _one_value(record.connected)),
    "ttfb": Measure("time to the first byte", "s", _first_byte),
    "first_event": Measure("time to the first event", "s",
                           lambda record: _latency(record, record.first_event, record.streamed)),
    "ttft": Measure("time to the first token", "s", _first_token),
    "gap": Measure("gap between tokens", "s", _gaps),
    "stall": Measure("longest gap of a stream", "s", _stall),
    "duration": Measure("duration", "s", _duration),
    "input_tokens": Measure("input tokens", "tokens", _of_whole(lambda record: record.tokens.input)),
    "output_tokens": Measure("output tokens", "tokens", _of_whole(lambda record: record.output_tokens or None)),
    "reasoning_tokens": Measure("reasoning tokens", "tokens", _of_whole(lambda record: record.tokens.reasoning)),
    "cached_tokens": Measure("cached tokens", "tokens", _of_whole(lambda record: record.tokens.cached)),
    "left_after": Measure("tokens seen by those who left", "tokens", _left_after),
}  # fmt: skip
"""The measures in the order of a report."""


def format_number(value: float) -> str:
    """Format a number with four digits, or with all digits before the point."""
    return f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"


def format_duration(seconds: float) -> str:
    """Format a duration with three digits, in a suitable unit."""
    for least, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= least:
            value = seconds / least
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs" if seconds else "0"


def formatter_of(name: str) -> Callable[[float], str]:
    """Return the formatter for a measure's values."""
    return format_duration if MEASURES[name].unit == "s" else "{:.0f}".format
