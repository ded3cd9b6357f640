"""Hand-made records of exchanges."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from loadtest.exchange.record import AnswerTokens, ExchangeRecord
from loadtest.figures.histogram import Histogram
from loadtest.figures.result import RunResult
from loadtest.plan.plan import LoadPlan

_WHOLE = ExchangeRecord(
    number=0, api="chat", streamed=True, planned=1.0, began=1.0, connected=None, sent=1.001, first_byte=1.1,
    first_event=1.1, contents=[1.2, 1.3, 1.45], end_event=1.5, ended=1.5, status=200, end="whole", finish="stop",
)  # fmt: skip


def exchange_record(**changes: Any) -> ExchangeRecord:
    """Return a stream of three events, planned and sent at second 1, that took half a second, with ``changes``."""
    return attrs.evolve(_WHOLE, **changes)


def record(**said: Any) -> ExchangeRecord:
    """Return a whole stream of three tokens, 40 ms apart, the first 0.2 s after the plan."""
    planned = said.get("planned", 0.0)
    contents = said.pop("contents", tuple(planned + 0.2 + 0.04 * number for number in range(3)))
    times = {"planned": planned, "began": planned, "sent": planned, "ended": planned + 0.3}
    first = {"first_byte": planned + 0.1, "first_event": planned + 0.1}
    counts = {"tokens": AnswerTokens(1, len(contents))}
    same = {"contents": contents, "end_event": None}
    return exchange_record(**{**times, **first, **counts, **same, **said})


def result(
    *records: ExchangeRecord,
    seconds: float = 10.0,
    missed: Mapping[int, Sequence[str]] = MappingProxyType({}),
    **said: Any,
) -> RunResult:
    """Return the result of a run with these records. ``missed`` has the missed objectives by the record's number."""
    quiet = Histogram()
    quiet.add(0.001)
    plan = LoadPlan(targets={"": "http://x"}, rate=1.0).dump()
    found = RunResult(target="", url="http://x", plan=plan, lag=quiet, cpu=0.1)
    for number, one in enumerate(records):
        found.record_begin(one.planned)
        found.add(one, missed.get(number, ()))
    found.end_round(seconds)
    return attrs.evolve(found, **said)
