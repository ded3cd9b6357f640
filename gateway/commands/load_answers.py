"""What ``trigate load`` gives away besides its report: a log of requests, metrics for receivers, and other files."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

import attrs
import trio

from configfile.document import ConfigError, Mistake
from gateway import __version__
from loadtest.exchange.masking import SecretWords
from loadtest.figures.conditions import ConditionVerdict
from loadtest.figures.result import RunResult
from loadtest.plan.scenario import Scenario
from loadtest.reports import report_file as report
from loadtest.reports.otlp import MetricsSoFar, NoSdk, OtlpReceiver, RunMetrics, exporting
from loadtest.reports.report_file import write_whole
from loadtest.reports.request_log import LineForm, LoggedBodies, RequestLog
from loadtest.run.under_way import LoadUnderWay, RecordSink

STDOUT: Final = Path("-")
LOOK: Final = 1.0  # seconds between two looks at how many are under way


@attrs.frozen
class AnswerOptions:
    """Where answers go besides the screen. ``form`` is another tool's for ``json``; URLs may hold passwords."""

    json: Path | None = None
    form: str | None = None
    html: Path | None = None
    csv: Path | None = None
    junit: Path | None = None
    log: Path | None = None
    log_events: bool = False
    log_bodies: LoggedBodies | None = None
    otlp: str | None = attrs.field(default=None, repr=False)

    @property
    def on_stdout(self) -> bool:
        """One of them is for standard output, where nothing else may stand then."""
        return STDOUT in (self.json, self.csv, self.junit, self.log)

    def check(self, tells: bool) -> None:
        """Look at what can be known before the load, and whether there are conditions that it ``tells`` of. Raises
        ``ConfigError``."""
        if self.junit is not None and not tells:
            raise _wrong("--junit", "no conditions to tell of", "give some, as --fail-if 'ttft.p95>500ms'")
        paths = [path for path in (self.json, self.html, self.csv, self.junit, self.log) if path is not None]
        for path in paths:
            if not _writable(path):
                raise _wrong(str(path), "cannot be written", "give a file in a directory that is there")
            if paths.count(path) > 1:
                raise _wrong(str(path), "two answers for one place", "give each a file of its own")
        for option, given, needed, other in (
            ("--as", self.form, "--json FILE, which it shapes", self.json),
            ("--log-events", self.log_events, "--log FILE, in which they stand", self.log),
            ("--log-bodies", self.log_bodies, "--log FILE, in which they stand", self.log),
        ):
            if given and other is None:
                raise _wrong(option, "nothing that it is about", f"add {needed}")


def _writable(path: Path) -> bool:
    """Also beside it, where a file is written before it takes its place; what is no plain file is written to itself."""
    itself = not path.exists() or (not path.is_dir() and os.access(path, os.W_OK))
    beside = path.parent.is_dir() and os.access(path.parent, os.W_OK)
    return itself and (beside or (path.exists() and not path.is_file()))


def _wrong(place: str, found: str, expected: str) -> ConfigError:
    return ConfigError((Mistake(place, "", found, expected),))


class LoadAnswers:
    """Where records go while a command runs its loads."""

    def __init__(
        self, options: AnswerOptions, receivers: Sequence[OtlpReceiver], until_closed: contextlib.ExitStack
    ) -> None:
        self._options = options
        self._until_closed = until_closed
        self._log: RequestLog | None = None
        self._receivers = receivers
        self._metrics = MetricsSoFar()
        self._of_runs: dict[str, RunMetrics] = {}

    @classmethod
    @contextlib.contextmanager
    def opened(cls, options: AnswerOptions) -> Iterator["LoadAnswers"]:
        """Until the end of the block. Raises ``ConfigError``."""
        try:
            receivers = [OtlpReceiver(_receiver_url("--otlp", options.otlp))] if options.otlp else []
        except NoSdk:
            raise _wrong("--otlp", "no OpenTelemetry SDK", "install it: pip install 'trigate[otel]'") from None
        with contextlib.ExitStack() as stack:
            yield cls(options, receivers, stack)

    def sinks(self, plan: Scenario, target: str, key: str | None) -> tuple[RecordSink, ...]:
        """What takes the records of the next run."""
        found: list[RecordSink] = []
        if self._options.log is not None:
            found.append(self._opened_log(self._options.log).log_of_run(target, SecretWords.of(plan, target, key)))
        if self._receivers:
            self._of_runs[target] = metrics = RunMetrics(self._metrics, plan, target)
            found.append(metrics)
        return tuple(found)

    def _opened_log(self, path: Path) -> RequestLog:
        """Not before a load begins: one that cannot does not cost the log of the last."""
        if self._log is None:
            file = _stdout() if path == STDOUT else self._until_closed.enter_context(path.open("wb", buffering=0))
            form = LineForm(self._options.log_events, self._options.log_bodies or "none")
            self._log = RequestLog(file, form)
            self._until_closed.callback(self._log.close)
        return self._log

    async def watch(self, running: LoadUnderWay) -> None:
        """Take down how many are under way, until cancelled: at the end of a run none."""
        if (metrics := self._of_runs.get(running.target)) is None:
            return
        try:
            while True:
                metrics.under_way(running.in_flight)
                await trio.sleep(LOOK)
        finally:
            metrics.under_way(running.in_flight)

    @contextlib.asynccontextmanager
    async def exported(self) -> AsyncIterator[None]:
        """Send metrics to the receivers until the end of the block."""
        if not self._receivers:
            yield
            return
        async with exporting(self._metrics, self._receivers):
            yield

    def remarked(self, runs: Sequence[RunResult]) -> tuple[RunResult, ...]:
        """The runs, the last of them with what is to be known of what was lost here."""
        said = [remark for receiver in self._receivers if (remark := receiver.remark())]
        if self._log is not None:
            self._log.close()
            if self._log.lost:
                said.append(f"The log of requests lacks {self._log.lost} lines: {self._log.failure}.")
        *others, last = runs
        return (*others, attrs.evolve(last, remarks=(*last.remarks, *said)))


def _stdout() -> BinaryIO:
    """Without its buffer, where it has one."""
    return getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)


def _receiver_url(option: str, url: str) -> str:
    parts = urlsplit(url)
    try:
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        what = "no URL that metrics can be sent to"  # not repeated: it may hold a password
        raise _wrong(option, what, "give one that begins with http:// or https://")
    return url


# Files, at the end


def write_files(
    runs: Sequence[RunResult],
    options: AnswerOptions,
    told: Sequence[ConditionVerdict],
    part: Mapping[str, Any] | None = None,
) -> None:
    """All files that were asked for but the log; ``told`` is what became of the conditions, ``part`` the part of a plan
    that the runs are. Raises ``OSError``."""
    if options.json is not None:
        log = options.log.name if options.log not in (None, STDOUT) else ""
        own = report.dump(runs, log, told, part, __version__) + b"\n" if options.form is None else _vllm(runs)
        _write(options.json, own)
    if options.csv is not None:
        from loadtest.reports.other_files import csv_of

        _write(options.csv, csv_of(runs))
    if options.html is not None:
        from loadtest.reports.page import page

        failures = [f"{one.run}: {one.failure}" for one in told if not one.ok]
        passed = [f"{one.run}: {one.condition}: it is {one.shown}" for one in told if one.ok]
        _write(options.html, page(runs, failures, passed=passed).encode())
    if options.junit is not None:
        from loadtest.reports.other_files import junit

        _write(options.junit, junit(runs, told))


def _vllm(runs: Sequence[RunResult]) -> bytes:
    from loadtest.reports.other_files import as_vllm

    return as_vllm(runs) + b"\n"


def _write(path: Path, data: bytes) -> None:
    if path == STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_whole(path, data)
