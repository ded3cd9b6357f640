"""``--log``: writes a line of JSON for each exchange when it has ended.

All times of a line except ``planned`` and ``time`` are seconds from the planned start of its request.
"""

import json
import queue
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

import attrs

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.measures import MEASURES
from loadtest.figures.tally import LEFT_OUT

HELD: Final = 10_000
"""The lines that may wait for a slow disk or pipe; more are lost and counted."""


def log_line(record: ExchangeRecord, missed: Sequence[str], target: str, begin: float) -> dict[str, Any]:
    """Return one exchange as JSON values. The measurement began at ``begin``, in Unix seconds."""
    planned, problem = record.planned, record.problem

    def since(at: float | None) -> float | None:
        return None if at is None else round(at - planned, 6)

    found = {name: measure.values_of(record) for name, measure in MEASURES.items() if measure.unit == "s"}
    gaps = found.pop("gap").values
    return {
        "time": datetime.fromtimestamp(begin + planned, UTC).isoformat(timespec="milliseconds"),
        "target": target,
        "api": record.api,
        "number": record.number,
        "warmup": not record.is_counted,
        "planned": round(planned, 6),
        "sent": since(record.sent),
        "ended": since(record.ended),
        **{name: round(one.values[0], 6) if one.values else None for name, one in found.items()},
        "gap": round(sum(gaps) / len(gaps), 6) if gaps else None,
        "censored": [name for name, one in found.items() if one.censored],
        "status": record.status or None,
        "end": record.end,
        "error": problem and problem.kind,
        "phase": problem and problem.phase,
        "detail": problem and problem.detail,
        "good": None if record.end in LEFT_OUT else record.end == "whole" and not missed,
        "missed": list(missed),
        "finish": record.finish or None,
        "tokens": {**attrs.asdict(record.tokens), "events": len(record.contents)},
        "request_id": record.request_id or None,
        "waived": list(record.waived),
        "resent": record.resent,
    }


class RequestLog:
    """The request log of a command, for all its runs.

    A thread writes it, so that a slow disk or pipe does not delay the load. ``lost`` counts lines that could not be
    written, ``failure`` is the reason.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.lost = 0
        self.failure = ""
        self._file = file
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._thread = threading.Thread(target=self._write_lines, name="request log", daemon=True)
        self._thread.start()

    def add(self, record: ExchangeRecord, missed: Sequence[str], target: str, begin: float) -> None:
        """Log an exchange of a measurement that began at ``begin``, in Unix seconds."""
        if self._lines.qsize() >= HELD:
            self.lost += 1
            self.failure = self.failure or "the file is too slow"
            return
        # Escape everything but ASCII, because texts from servers may be printed to a terminal.
        line = json.dumps(log_line(record, missed, target, begin), allow_nan=False, separators=(",", ":"))
        self._lines.put(line.encode() + b"\n")

    def close(self, patience: float = 5.0) -> None:
        """Wait until all lines are written, for at most ``patience`` seconds."""
        self._lines.put(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            self.failure = self.failure or "the file is too slow"
            self.lost += self._lines.qsize()

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._file.write(line)
                self._file.flush()
            except (OSError, ValueError) as error:
                self.failure = (getattr(error, "strerror", None) or "the file was closed").lower()
                self.lost += 1
