"""``--log``: writes a line of JSON for each exchange when it has ended.

Field names are those of measures, and of similar files of other tools; docs/load-reference.md has the table. All times
of a line except ``planned`` and ``time`` are seconds from the planned start of its request.
"""

import contextlib
import io
import json
import queue
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from time import time
from typing import Any, BinaryIO, Final, Literal, TypeAlias

import attrs

from loadtest.exchange.masking import SecretWords
from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import MEASURES
from loadtest.figures.tally import LEFT_OUT

LoggedBodies: TypeAlias = Literal["none", "failed", "all"]
"""The answers whose bodies are logged."""

HELD: Final = 10_000  # lines that may wait for a slow disk or pipe; more are lost and counted
HELD_BYTES: Final = 256 * 2**20
"""The same limit in bytes, because a line with a body may have megabytes."""

_END: Final = None


@attrs.frozen
class LineForm:
    """The optional members of a line. ``events``: the times of all events with content."""

    events: bool = False
    bodies: LoggedBodies = "none"


@attrs.frozen
class LoggedRun:
    """The run of a line: its ``number`` in the command, and the begin of its measurement in Unix seconds."""

    number: int
    target: str
    begin: float


def log_line(
    record: ExchangeRecord, missed: Sequence[str], body: bytes, run: LoggedRun, secret: SecretWords, form: LineForm
) -> dict[str, Any]:
    """Return one exchange as JSON values."""
    planned, problem = record.planned, record.problem

    def since(at: float | None) -> float | None:
        return None if at is None else round(at - planned, 6)

    values, censored = _times_and_speeds(record)
    found: dict[str, Any] = {
        "time": _format_time(run.begin + planned),
        "run": run.number,
        "target": run.target,
        "kind": record.request,
        "api": record.api,
        "number": record.number,
        "turn": record.turn,
        "step": record.step,
        "warmup": not record.is_counted,
        "planned": round(planned, 6),
        "sent": since(record.sent),
        "first_byte": since(record.first_byte),
        "ended": since(record.ended),
        **values,
        "censored": censored,
        "status": record.status or None,
        "end": record.end,
        "error": problem and problem.kind,
        "phase": problem and problem.phase,
        "detail": problem and problem.detail,
        "good": None if record.end in LEFT_OUT else record.end == "whole" and not missed,
        "missed": list(missed),
        "finish": secret.mask(record.finish) or None,
        "tokens": {**attrs.asdict(record.tokens), "events": len(record.contents)},
        "asked": {"input": record.asked_input, "output": record.asked_output},
        "request_id": secret.mask(record.request_id) or None,
        "headers": {name: secret.mask(value) for name, value in record.route},
        "retry_after": record.retry_after,
        "waived": list(record.waived),
        "resent": record.resent,
        "version": record.version,
        "bytes": record.received,
    }
    if form.events:
        found["events"] = [round(at - planned, 6) for at in record.contents]
    if form.bodies == "all" or (form.bodies == "failed" and record.end in ("error", "unfinished")):
        found["body"] = secret.mask(body.decode(errors="backslashreplace"))
    return found


def _times_and_speeds(record: ExchangeRecord) -> tuple[dict[str, Any], list[str]]:
    """Return the times and speeds of an exchange, null if not measured, and the names of aborted waits."""
    values: dict[str, Any] = {}
    censored: list[str] = []
    for name, measure in MEASURES.items():
        if measure.unit == "tokens":
            continue
        found = measure.values_of(record)
        if name == "gap":
            values[name] = _gap_figures(found.values)
        else:
            values[name] = round(found.values[0], 6) if found.values else None
        if found.censored:
            censored.append(name)
    return values, censored


def _gap_figures(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    gaps = Histogram()
    gaps.extend(values)
    told = {f"p{percent}": gaps.percentile(percent) for percent in (50, 95, 99)}
    return {"mean": round(gaps.mean, 6), **{name: round(value, 6) for name, value in told.items()}}


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class RequestLog:
    """The request log of a command, for all its runs.

    A thread writes it, so that a slow disk or pipe does not delay the load. ``lost`` counts lines that could not be
    written, ``failure`` is the reason. The file has no buffer of its own: a full disk would make its ``close`` fail
    again.
    """

    def __init__(self, file: BinaryIO, form: LineForm = LineForm()) -> None:
        self.form = form
        self.lost = 0
        self.failure = ""
        self._file = file
        self._runs = 0
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._taken = self._written = 0  # bytes
        self._thread = threading.Thread(target=self._write_lines, name="request log", daemon=True)
        self._thread.start()

    def log_of_run(self, target: str, secret: SecretWords) -> "RunLog":
        """Return the log of the next run."""
        self._runs += 1
        return RunLog(self, self._runs, target, secret)

    def add(self, value: dict[str, Any]) -> None:
        if self._lines.qsize() >= HELD or self._taken - self._written > HELD_BYTES:
            self.lost += 1
            self.failure = self.failure or "the file is too slow"
            return
        # Escape everything but ASCII, because texts from servers may be printed to a terminal.
        told = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        self._taken += len(told)
        self._lines.put(told)

    def close(self, patience: float = 5.0) -> None:
        """Wait until all lines are written, for at most ``patience`` seconds."""
        self._lines.put(_END)
        self._thread.join(patience)
        if self._thread.is_alive():
            self.failure = self.failure or "the file is too slow"
            self.lost += self._lines.qsize()

    def _write_lines(self) -> None:
        while (piece := self._lines.get()) is not _END:
            try:
                self._write_line(piece)
            except (OSError, ValueError) as error:
                self.failure = (getattr(error, "strerror", None) or "the file was closed").lower()
                self.lost += 1
            self._written += len(piece)

    def _write_line(self, piece: bytes) -> None:
        """Write a whole line, or nothing in a file: half a line would corrupt the next one."""
        done = 0
        try:
            while done < len(piece):
                done += self._file.write(piece[done:])
            self._file.flush()
        except OSError:
            if done:
                with contextlib.suppress(OSError):
                    self._file.truncate(self._file.seek(-done, io.SEEK_CUR))
            raise


class RunLog:
    """The log of one run, which receives all its records."""

    def __init__(self, log: RequestLog, number: int, target: str, secret: SecretWords) -> None:
        self._log = log
        self._secret = secret
        self._number = number
        self._target = target
        self._run: LoggedRun | None = None

    @property
    def reads_bodies(self) -> bool:
        return self._log.form.bodies != "none"

    def add(self, record: ExchangeRecord, missed: Sequence[str], body: bytes) -> None:
        if self._run is None:  # read once, so that all lines use the same clock
            self._run = LoggedRun(self._number, self._target, time() - record.ended)
        self._log.add(log_line(record, missed, body, self._run, self._secret, self._log.form))
