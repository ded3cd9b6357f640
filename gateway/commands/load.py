"""``trigate load``: loads one server, or two in turns, and reports the results."""

import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import click
import trio

from configfile.document import ConfigError, sentence
from gateway import __version__
from gateway.commands.load_plan import build_plan, describe_tokens, input_error
from gateway.commands.terminal import say
from loadtest.exchange.judging import open_judge
from loadtest.figures.result import RunResult, join_rounds
from loadtest.figures.rounds import ComparedFigure, compare_rounds
from loadtest.masking import mask_url
from loadtest.plan.limits import judge_condition, parse_condition
from loadtest.plan.plan import LoadPlan
from loadtest.reports import report_file, text
from loadtest.reports.live import Screen, choose_screen
from loadtest.reports.page import page
from loadtest.reports.request_log import RequestLog
from loadtest.run.running import ActiveRun, Unreachable, address_of
from loadtest.run.search import SearchStep, search
from loadtest.wire.connections import raise_file_limit
from streams.garbage import frozen_startup_objects

GOOD, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
STDOUT: Final = Path("-")
REFUSED: Final = "status 401"  # the kind of failure in a tally
KEY_ADVICE: Final = (
    "give the variable with the right key with --key-env; a gateway needs one of its client keys, often in "
    "$TRIGATE_API_KEY"
)


@attrs.frozen
class LoadResults:
    """The results of all servers, and the comparison of two."""

    runs: Sequence[RunResult]
    compared: Sequence[ComparedFigure] | None = None


def run(**options: Any) -> int:
    """Run ``trigate load`` and return its exit status. Except with 2, the report is written."""
    try:
        plan = build_plan(options)
        _check_files([options[name] for name in ("json", "html", "log") if options[name] is not None])
        key = _read_key(options["key_env"])
        for url in plan.targets.values():
            say(sentence(f"{mask_url(url)}: {_describe_key(options['key_env'])}"))
        if tokens := describe_tokens(plan):
            say(sentence(tokens))
        raise_file_limit()
        with _open_log(options["log"]) as log:
            results = _run_load(plan, key, log)
            if results is not None and log is not None:
                log.close()
                if log.lost:
                    results.runs[-1].remarks = [f"The request log lacks {log.lost} lines: {log.failure}."]
    except (ConfigError, Unreachable) as error:
        click.echo(error.list_mistakes("mistakes") if isinstance(error, ConfigError) else str(error), err=True)
        return UNUSABLE
    if results is None:
        return INTERRUPTED
    status = _report(plan, results, options)
    for single in results.runs:
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


def _describe_key(key_env: str | None) -> str:
    return f"using the key in ${key_env}" if key_env else "sending no key (--key-env NAME sends the key in $NAME)"


@contextlib.contextmanager
def _open_log(path: Path | None) -> Iterator[RequestLog | None]:
    """Open the request log until the end of the block."""
    if path is None:
        yield None
        return
    with contextlib.nullcontext(sys.stdout.buffer) if path == STDOUT else path.open("wb", buffering=0) as file:
        log = RequestLog(file)
        try:
            yield log
        finally:
            log.close()


# Running


def _run_load(plan: LoadPlan, key: str | None, log: RequestLog | None) -> LoadResults | None:
    """Run the load; return None after an interrupt without a report. Raises ``Unreachable``."""
    try:
        screen = choose_screen(sys.stderr, os.environ)
        with frozen_startup_objects():
            return trio.run(_load, plan, key, log, screen)
    except* KeyboardInterrupt:
        click.echo("interrupted; no report", err=True)
    return None


async def _load(plan: LoadPlan, key: str | None, log: RequestLog | None, screen: Screen) -> LoadResults:
    addresses = {target: await address_of(plan, target) for target in plan.targets}
    async with open_judge() as judge:

        async def start(plan: LoadPlan, target: str = next(iter(plan.targets))) -> ActiveRun:
            return ActiveRun(plan, target, addresses[target], key, judge, log.add if log is not None else None)

        if plan.find_rate:
            say(f"Searching for the highest rate, doubling from {plan.rate:g} per second. Ctrl-C stops it.")
            return LoadResults([await search(plan, start, run_watched, _print_step)])
        if plan.rounds == 1:
            running = await start(plan)
            return LoadResults([await run_watched(running, lambda: screen(running))])
        return await _alternate(plan, start, screen)


async def _alternate(
    plan: LoadPlan, start: Callable[[LoadPlan, str], Awaitable[ActiveRun]], screen: Screen
) -> LoadResults:
    """Load two servers in turns, each for ``plan.seconds`` in all, and compare them."""
    found: dict[str, list[RunResult]] = {target: [] for target in plan.targets}
    count = None if plan.count is None else max(1, plan.count // plan.rounds)
    for number in range(plan.rounds):
        part = attrs.evolve(plan, seconds=plan.seconds / plan.rounds, count=count, seed=plan.seed + number)
        for target in plan.targets:
            running = await start(part, target)
            found[target].append(await run_watched(running, lambda: screen(running)))  # noqa: B023
            if found[target][-1].interrupted or found[target][-1].stopped:
                return LoadResults([join_rounds(rounds) for rounds in found.values() if rounds])
    return LoadResults([join_rounds(rounds) for rounds in found.values()], compare_rounds(*found.values()))


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
    rate, started, good, *times, verdict = text.search_cells(attrs.asdict(step))
    say(f"{rate}/s: {started} begun, {good} good, p50 {times[0]}, p99 {times[1]}: {verdict}")


# Results


def _report(plan: LoadPlan, results: LoadResults, options: Mapping[str, Any]) -> int:
    """Print and write the report, and return the exit status."""
    conditions = tuple(map(parse_condition, plan.fail_if))
    judged = [judge_condition(one, single) for single in results.runs for one in conditions]
    out = sys.stderr if STDOUT in (options["json"], options["log"]) else sys.stdout
    for single in results.runs:
        click.echo(text.summary(single, [one for one in judged if one.run == single.name]) + "\n", file=out)
        if single.search is not None:
            click.echo(text.search_text(single), file=out)
    if results.compared is not None:
        click.echo(text.comparison_text(results.compared, [single.name for single in results.runs]), file=out)
    reports: list[tuple[Path, bytes]] = []
    if (path := options["json"]) is not None:
        reports.append((path, report_file.dump(results.runs, judged, results.compared, __version__) + b"\n"))
    if (path := options["html"]) is not None:
        reports.append((path, page(results.runs, judged, results.compared).encode()))
    for path, report in reports:
        try:
            _write(path, report)
        except OSError as error:
            if path == STDOUT:
                raise
            say(f"cannot write {path}: {(error.strerror or 'unusable').lower()}")
            return UNUSABLE
    return _exit_status(results, [f"{one.run}: {one.text}" for one in judged if not one.ok])


def _write(path: Path, data: bytes) -> None:
    if path == STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        path.write_bytes(data)


def _exit_status(results: LoadResults, failures: Sequence[str]) -> int:
    """Print the failures and return the exit status."""
    refused = [single for single in results.runs if single.is_refused]
    reasons = [f"failed: {single.name}: {single.stopped or 'no request got a connection'}" for single in refused]
    for failure in (*failures, *reasons):
        click.echo(failure, err=True)
    if any(single.interrupted for single in results.runs):
        return INTERRUPTED
    if refused:
        return UNUSABLE
    fruitless = any(single.search is not None and not single.search["rate"] for single in results.runs)
    return FAILED if failures or fruitless else GOOD
