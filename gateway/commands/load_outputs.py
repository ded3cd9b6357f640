"""The outputs of ``trigate load`` besides the terminal: reports in files, the request log, and exported metrics."""

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
from loadtest.reports.otlp import MetricsSoFar, MissingSdk, OtlpReceiver, RunMetrics, exporting
from loadtest.reports.report_file import write_atomically
from loadtest.reports.request_log import LineForm, LoggedBodies, RequestLog
from loadtest.run.under_way import LoadUnderWay, RecordSink

STDOUT: Final = Path("-")
INTERVAL: Final = 1.0  # seconds between two samples of the number of running requests


@attrs.frozen
class OutputOptions:
    """The output options of the command line. ``form`` is another tool's format for ``json``."""

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
        """Whether an output uses standard output; then nothing else may be printed there."""
        return STDOUT in (self.json, self.csv, self.junit, self.log)

    def check(self, has_conditions: bool) -> None:
        """Check the options before the load. Raises ``ConfigError``."""
        if self.junit is not None and not has_conditions:
            raise input_error(
                "--junit", "there are no conditions to report", "add one, such as --fail-if 'ttft.p95>500ms'"
            )
        paths = [path for path in (self.json, self.html, self.csv, self.junit, self.log) if path is not None]
        for path in paths:
            if not _writable(path):
                raise input_error(
                    str(path), "the file cannot be written", "give a file in an existing, writable directory"
                )
            if paths.count(path) > 1:
                raise input_error(str(path), "two outputs use the same file", "give each its own file")
        for option, given, needed, other in (
            ("--as", self.form, "--json FILE", self.json),
            ("--log-events", self.log_events, "--log FILE", self.log),
            ("--log-bodies", self.log_bodies, "--log FILE", self.log),
        ):
            if given and other is None:
                raise input_error(option, f"it has no effect without {needed}", f"add {needed}")


def _writable(path: Path) -> bool:
    """Return whether ``path`` can be replaced atomically, or written in place if it is not a regular file."""
    itself = not path.exists() or (not path.is_dir() and os.access(path, os.W_OK))
    beside = path.parent.is_dir() and os.access(path.parent, os.W_OK)
    return itself and (beside or (path.exists() and not path.is_file()))


def input_error(place: str, found: str, expected: str) -> ConfigError:
    """Return the error for a mistake in an option or argument."""
    return ConfigError((Mistake(place, "", found, expected),))


class LoadOutputs:
    """The open outputs of a command while it runs loads."""

    def __init__(
        self, options: OutputOptions, receivers: Sequence[OtlpReceiver], until_closed: contextlib.ExitStack
    ) -> None:
        self._options = options
        self._until_closed = until_closed
        self._log: RequestLog | None = None
        self._receivers = receivers
        self._metrics = MetricsSoFar()
        self._of_runs: dict[str, RunMetrics] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, options: OutputOptions) -> Iterator["LoadOutputs"]:
        """Open the outputs until the end of the block. Raises ``ConfigError``."""
        try:
            receivers = [OtlpReceiver(_receiver_url(options.otlp))] if options.otlp else []
        except MissingSdk:
            raise input_error("--otlp", "the OpenTelemetry SDK is missing", "pip install 'trigate[otel]'") from None
        with contextlib.ExitStack() as stack:
            yield cls(options, receivers, stack)

    def sinks(self, plan: Scenario, target: str, key: str | None) -> tuple[RecordSink, ...]:
        """Return the receivers of the records of the next run."""
        found: list[RecordSink] = []
        if self._options.log is not None:
            found.append(self._open_log(self._options.log).log_of_run(target, SecretWords.of_load(plan, target, key)))
        if self._receivers:
            self._of_runs[target] = metrics = RunMetrics(self._metrics, plan, target)
            found.append(metrics)
        return tuple(found)

    def _open_log(self, path: Path) -> RequestLog:
        """Open the log on first use, so that a load that cannot start keeps the previous log."""
        if self._log is None:
            unbuffered: BinaryIO = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
            file = unbuffered if path == STDOUT else self._until_closed.enter_context(path.open("wb", buffering=0))
            form = LineForm(self._options.log_events, self._options.log_bodies or "none")
            self._log = RequestLog(file, form)
            self._until_closed.callback(self._log.close)
        return self._log

    async def watch(self, running: LoadUnderWay) -> None:
        """Record the number of running requests until cancelled."""
        if (metrics := self._of_runs.get(running.target)) is None:
            return
        try:
            while True:
                metrics.set_under_way(running.in_flight)
                await trio.sleep(INTERVAL)
        finally:
            metrics.set_under_way(running.in_flight)

    @contextlib.asynccontextmanager
    async def export(self) -> AsyncIterator[None]:
        """Send metrics to the receivers until the end of the block."""
        if not self._receivers:
            yield
            return
        async with exporting(self._metrics, self._receivers):
            yield

    def with_remarks(self, runs: Sequence[RunResult]) -> tuple[RunResult, ...]:
        """Return the runs; the last one has remarks on lost metrics and log lines."""
        remarks = [remark for receiver in self._receivers if (remark := receiver.remark())]
        if self._log is not None:
            self._log.close()
            if self._log.lost:
                remarks.append(f"The request log lacks {self._log.lost} lines: {self._log.failure}.")
        *others, last = runs
        return (*others, attrs.evolve(last, remarks=(*last.remarks, *remarks)))


def _receiver_url(url: str) -> str:
    parts = urlsplit(url)
    try:
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        what = "the URL is not valid"  # not repeated: it may have a password
        raise input_error("--otlp", what, "give one that starts with http:// or https://")
    return url


# Files


def write_files(
    runs: Sequence[RunResult],
    options: OutputOptions,
    judged: Sequence[ConditionVerdict],
    part: Mapping[str, Any] | None = None,
) -> None:
    """Write all requested files except the log. Raises ``OSError``.

    ``judged`` are the results of the conditions, ``part`` describes the part of a plan that the runs are."""
    if options.json is not None and options.form is None:
        log = options.log.name if options.log not in (None, STDOUT) else ""
        _write_file(options.json, report.dump(runs, log, judged, part, __version__) + b"\n")
    elif options.json is not None:
        from loadtest.reports.other_files import as_vllm

        _write_file(options.json, as_vllm(runs) + b"\n")
    if options.csv is not None:
        from loadtest.reports.other_files import csv_of

        _write_file(options.csv, csv_of(runs))
    if options.html is not None:
        from loadtest.reports.page import page

        failures = [f"{one.run}: {one.failure}" for one in judged if not one.ok]
        passed = [f"{one.run}: {one.condition}: it is {one.shown}" for one in judged if one.ok]
        _write_file(options.html, page(runs, failures, passed=passed).encode())
    if options.junit is not None:
        from loadtest.reports.other_files import junit

        _write_file(options.junit, junit(runs, judged))


def _write_file(path: Path, data: bytes) -> None:
    if path == STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_atomically(path, data)
