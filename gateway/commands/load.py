"""``trigate load``: loads one server, or two in turns, and reports the results."""

import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import attrs
import click
import trio

from configfile.document import ConfigError, sentence
from gateway import __version__
from gateway.commands.load_plan import build_plan, describe_tokens, input_error
from gateway.commands.terminal import say
from gateway.processes.descriptors import raise_descriptor_limit
from loadtest.exchange.judging import open_judge
from loadtest.figures.result import RunResult, SearchStep
from loadtest.figures.rounds import compare_runs
from loadtest.masking import mask_url
from loadtest.plan.limits import judge_condition
from loadtest.plan.plan import LoadPlan
from loadtest.reports import report_files, text
from loadtest.reports.live import Screen, choose_screen
from loadtest.reports.request_log import RequestLog
from loadtest.run.running import ActiveRun
from loadtest.run.search import search
from loadtest.wire.connecting import ServerAddress, WireError
from streams.garbage import frozen_startup_objects

GOOD, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
STDOUT: Final = Path("-")
REFUSED: Final = "status 401"  # the kind of failure in a tally
NO_KEY: Final = "sending no key (--key-env NAME sends the key in $NAME)"
KEY_ADVICE: Final = (
    "give the variable with the right key with --key-env; a gateway needs one of its client keys, often in "
    "$TRIGATE_API_KEY"
)


def run(**options: Any) -> int:
    """Run ``trigate load`` and return its exit status. Except with 2, the report is written."""
    try:
        plan = build_plan(options)
        _check_files([options[name] for name in ("json", "html", "log") if options[name] is not None])
        key = _read_key(options["key_env"])
        sent = f"using the key in ${options['key_env']}" if key else NO_KEY
        for url in plan.targets.values():
            say(sentence(f"{mask_url(url)}: {sent}"))
        if tokens := describe_tokens(plan):
            say(sentence(tokens))
        raise_descriptor_limit()
        with _open_log(options["log"]) as log:
            runs = _run_load(plan, key, log)
    except (ConfigError, WireError) as error:
        say(error.list_mistakes("mistakes") if isinstance(error, ConfigError) else error.detail)
        return UNUSABLE
    if not runs:
        return INTERRUPTED
    status = _report(plan, runs, options)
    for single in runs:
        if any(failure.kind == REFUSED for failure in single.tally.failures):
            why = f"the server rejects the key in ${options['key_env']}" if key else "the load sent no key"
            say(sentence(f"{REFUSED}: {single.name}: {why}: {KEY_ADVICE}"))
    return status


def _check_files(paths: Sequence[Path]) -> None:
    """Check the paths of the outputs before the load. Raises ``ConfigError``."""
    for path in paths:
        place = path if path.exists() else path.parent
        if path.is_dir() or not os.access(place, os.W_OK):
            raise input_error(str(path), "the file cannot be written", "give a file in an existing, writable directory")
        if paths.count(path) > 1:
            raise input_error(str(path), "two outputs use the same file", "give each its own file")


def _read_key(key_env: str | None) -> str | None:
    """Return the key in the variable that the user chose. Raises ``ConfigError``."""
    if key_env is None:
        return None
    key = os.environ.get(key_env, "").strip()
    if not key:
        raise input_error("--key-env", f"the environment variable {key_env or 'without a name'} is not set", "set it")
    if not (key.isprintable() and key.isascii()):
        raise input_error("--key-env", "the key has characters that headers cannot contain", "correct the variable")
    return key


def _open_file(path: Path, buffering: int = -1) -> contextlib.AbstractContextManager[BinaryIO]:
    """Open an output file, or standard output."""
    return contextlib.nullcontext(sys.stdout.buffer) if path == STDOUT else path.open("wb", buffering)


@contextlib.contextmanager
def _open_log(path: Path | None) -> Iterator[RequestLog | None]:
    """Open the request log until the end of the block."""
    if path is None:
        yield None
        return
    with _open_file(path, buffering=0) as file:
        log = RequestLog(file)
        try:
            yield log
        finally:
            log.close()
            if log.lost:
                say(f"The request log lacks {log.lost} lines: {log.failure}.")


# Running


def _run_load(plan: LoadPlan, key: str | None, log: RequestLog | None) -> Sequence[RunResult]:
    """Run the load; return no results after an interrupt without a report. Raises ``WireError``."""
    try:
        screen = choose_screen(sys.stderr, os.environ)
        with frozen_startup_objects():
            return trio.run(_load, plan, key, log, screen)
    except* KeyboardInterrupt:
        say("interrupted; no report")
    return ()


async def _load(plan: LoadPlan, key: str | None, log: RequestLog | None, screen: Screen) -> Sequence[RunResult]:
    """Load one server, or two in turns, each for ``plan.seconds`` in all."""
    addresses = {target: await ServerAddress.resolve(url) for target, url in plan.targets.items()}
    results = [RunResult(target=target, url=mask_url(url), plan=plan.dump()) for target, url in plan.targets.items()]
    async with open_judge() as judge:

        def start(plan: LoadPlan, result: RunResult) -> ActiveRun:
            return ActiveRun(plan, result, addresses[result.target], key, judge, log.add if log is not None else None)

        if plan.find_rate:
            say(f"Searching for the highest rate, doubling from {plan.rate:g} per second. Ctrl-C stops it.")
            return [await search(plan, start, run_watched, _print_step)]
        for number in range(plan.rounds):
            bounds = [(plan.count or 0) * end // plan.rounds for end in (number, number + 1)]
            count = None if plan.count is None else bounds[1] - bounds[0]
            part = attrs.evolve(plan, seconds=plan.seconds / plan.rounds, count=count, seed=plan.seed + number)
            for result in results:
                running = start(part, result)
                await run_watched(running, lambda: screen(running))  # noqa: B023
                if result.interrupted or result.stopped:
                    return [one for one in results if one.started]
    return results


async def run_watched(running: ActiveRun, watch: Callable[[], Awaitable[None]]) -> RunResult:
    """Run a load next to a watching task. The first signal stops it with a report, the second without one."""
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signal, running)
        nursery.start_soon(watch)
        result = await running.run()
        nursery.cancel_scope.cancel()
    return result


async def _stop_on_signal(running: ActiveRun, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            if running.result.interrupted:
                raise KeyboardInterrupt
            running.stop()


def _print_step(step: SearchStep) -> None:
    rate, started, good, *times, verdict = text.search_cells(step)
    say(f"{rate}/s: {started} begun, {good} good, p50 {times[0]}, p99 {times[1]}: {verdict}")


# Results


def _report(plan: LoadPlan, runs: Sequence[RunResult], options: Mapping[str, Any]) -> int:
    """Print and write the report, and return the exit status."""
    judged = [judge_condition(one, single) for single in runs for one in plan.fail_if]
    compared = compare_runs(runs)
    out = sys.stderr if STDOUT in (options["json"], options["log"]) else sys.stdout
    for single in runs:
        click.echo(text.summary(single, [one for one in judged if one.run == single.name]) + "\n", file=out)
        if single.search is not None:
            click.echo(text.search_text(single.search, single.name), file=out)
    if compared is not None:
        click.echo(text.comparison_text(compared, [single.name for single in runs]), file=out)
    reports: list[tuple[Path, bytes]] = []
    if (path := options["json"]) is not None:
        reports.append((path, report_files.dump(runs, judged, compared, __version__) + b"\n"))
    if (path := options["html"]) is not None:
        reports.append((path, report_files.page(runs, judged, compared).encode()))
    for path, report in reports:
        try:
            with _open_file(path) as file:
                file.write(report)
                file.flush()
        except OSError as error:
            if path == STDOUT:
                raise
            say(f"cannot write {path}: {(error.strerror or 'unusable').lower()}")
            return UNUSABLE
    return _exit_status(runs, [f"{one.run}: {one.text}" for one in judged if not one.ok])


def _exit_status(runs: Sequence[RunResult], failures: Sequence[str]) -> int:
    """Print the failures and return the exit status."""
    refused = [single for single in runs if single.is_refused]
    reasons = [f"failed: {single.name}: {single.stopped or 'no request got a connection'}" for single in refused]
    for failure in (*failures, *reasons):
        say(failure)
    if any(single.interrupted for single in runs):
        return INTERRUPTED
    if refused:
        return UNUSABLE
    fruitless = any(single.search is not None and not single.search.rate for single in runs)
    return FAILED if failures or fruitless else GOOD
