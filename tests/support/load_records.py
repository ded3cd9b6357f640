"""Hand-made records of exchanges."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from loadtest.exchange.record import AnswerTokens, ExchangeRecord
from loadtest.figures.histogram import Histogram
from loadtest.figures.result import RunResult
from loadtest.figures.run_figures import RunFigures
from loadtest.run.overhead import Overhead

_WHOLE = ExchangeRecord(
    number=0, request="chat m", api="chat", streamed=True, manner="reads", turn=1, step=0,
    planned=1.0, queued=0.0, began=1.0, connected=None, sent=1.001, first_byte=1.1, first_event=1.1,
    contents=(1.2, 1.3, 1.45), first_output=1.2, end_event=1.5, ended=1.5, status=200, end="whole", problem=None,
    tokens=AnswerTokens(), asked_input=None, asked_output=None, finish="stop", request_id="", route=(), resent=False,
    version="1.1", events=5, reads=5, received=100, waived=(),
)  # fmt: skip


def exchange_record(**changes: Any) -> ExchangeRecord:
    """Return a stream of three events, planned and sent at second 1, that took half a second, with ``changes``."""
    return attrs.evolve(_WHOLE, **changes)


def shift_record(record: ExchangeRecord, seconds: float) -> ExchangeRecord:
    """Return the record, ``seconds`` later."""
    times = ("planned", "began", "sent", "first_byte", "first_event", "first_output", "end_event", "ended")
    later = {name: None if (at := getattr(record, name)) is None else at + seconds for name in times}
    return attrs.evolve(record, contents=tuple(at + seconds for at in record.contents), **later)


def record(**said: Any) -> ExchangeRecord:
    """Return a whole stream of three tokens, 40 ms apart, the first 0.2 s after the plan."""
    planned = said.get("planned", 0.0)
    contents = said.pop("contents", tuple(planned + 0.2 + 0.04 * number for number in range(3)))
    times = {"planned": planned, "began": planned, "sent": planned, "ended": planned + 0.3}
    first = {
        "first_byte": planned + 0.1,
        "first_event": planned + 0.1,
        "first_output": contents[0] if contents else None,
    }
    counts = {"tokens": AnswerTokens(1, len(contents)), "events": len(contents) + 3, "reads": len(contents)}
    same = {"contents": contents, "end_event": None, "version": "HTTP/1.1", "received": 1000}
    return exchange_record(**{**times, **first, **counts, **same, **said})


def result(
    *records: ExchangeRecord,
    seconds: float = 10.0,
    missed: Mapping[int, Sequence[str]] = MappingProxyType({}),
    **said: Any,
) -> RunResult:
    """Return the result of a run with these records. ``missed`` has the missed objectives by the record's number."""
    figures = RunFigures()
    for number, one in enumerate(records):
        figures.record_begin(one.planned, 0.0)
        figures.add(one, missed.get(number, ()))
    plan = {"requests": [{"name": name} for name in figures.requests], "targets": {"": "http://x"}, "concurrency": 1}
    quiet = Histogram()
    quiet.add(0.001)
    given: dict[str, Any] = {
        "target": "", "url": "http://x", "started": "2026-11-22T00:00:00+00:00", "scenario": plan, "seconds": seconds,
        "elapsed": figures.last, "interrupted": False, "tally": figures.total, "requests": figures.requests,
        "timeline": figures.timeline, "overhead": Overhead(quiet, quiet, 0.1),
    }  # fmt: skip
    return RunResult(**given | said)
