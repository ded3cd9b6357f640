"""``trigate load``: loads one server or several and reports the results, or shows two reports side by side."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import click
import trio

from configfile.document import ConfigError, sentence
from gateway.commands.load_outputs import LoadOutputs, OutputOptions, input_error, write_files
from gateway.commands.load_plan import (
    LoadOptions,
    check_conditions,
    check_excluded_options,
    plan_scenario,
    wait_before,
)
from gateway.commands.terminal import say
from loadtest.crew.channel import CrewFailed
from loadtest.crew.opening import capacity_notes, open_load_starter
from loadtest.figures.conditions import Condition, ConditionVerdict, judge_conditions, parse_condition
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.plan.comparison import UnknownPart
from loadtest.plan.scenario import Scenario
from loadtest.reports import report_file as report
from loadtest.reports import text
from loadtest.reports.live import Screen, SearchLines
from loadtest.reports.live import choose_screen as screen_for
from loadtest.reports.parts import PlanPart, part_of_plan
from loadtest.reports.report_file import InvalidReport
from loadtest.requests.estimate import describe_files, token_estimate
from loadtest.requests.keys import Credential, credential_for, describe_key, key_advice
from loadtest.run.early_ends import EarlyEnds, end_early
from loadtest.run.overhead import SelfTest, self_test
from loadtest.run.readiness import NotReady, check_exact, wait_until_ready
from loadtest.run.running import Unreachable
from loadtest.run.searching import make_runs, rule_of
from loadtest.run.under_way import LoadUnderWay, StartTimePassed, Watching, watch_nothing
from streams.garbage import frozen_startup_objects

REFUSED: Final = "status 401"  # the kind of failure in a tally
GOOD, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130


def run(options: LoadOptions) -> int:
    """Run ``trigate load`` and return its exit status.

    It is 0 for success, 1 if a condition of ``--fail-if`` is true, 2 if no load could run, and 130 after an
    interrupt. Except with 2, the report is written."""
    try:
        if options.compare is not None or options.self_test:
            check_excluded_options(options)
        if options.compare is not None:
            check_conditions(options)
            conditions = tuple(map(parse_condition, options.fail_if))
            before, after = options.compare
            with report.reject_misread(before, after):
                both = report.side_by_side(report.load(before), report.load(after), (before.stem, after.stem))
                return finish(both, options.outputs, conditions, compares=True)
        if options.self_test:
            with frozen_startup_objects():
                click.echo(_overhead_text(trio.run(self_test)))
            return GOOD
        plan = plan_scenario(options)
        for note in describe_files(plan):
            say(sentence(note))
        say(sentence(str(token_estimate(plan))))
        keys = _target_keys(plan)
        options.outputs.check(has_conditions=bool(plan.fail_if or plan.until))
        wait = wait_before(options)
        ends = EarlyEnds(plan)
        with LoadOutputs.open(options.outputs) as outputs:
            runs = _run_load(plan, keys, outputs, ends, wait)
            runs = runs and outputs.with_remarks(runs)
    except (ConfigError, InvalidReport, Unreachable, CrewFailed, UnknownPart, NotReady, StartTimePassed) as error:
        click.echo(error.list_mistakes("mistakes") if isinstance(error, ConfigError) else str(error), err=True)
        return UNUSABLE
    if not runs:
        return INTERRUPTED
    part = part_of_plan(plan)
    if part is not None and plan.fail_if:
        say(f"part {part.number} of {part.of}: trigate load merge checks the conditions on all parts together")
    conditions = () if part is not None else tuple(map(parse_condition, plan.fail_if))
    status = finish(runs, options.outputs, conditions, ends.verdicts, part=part)
    _print_key_advice(runs, plan, keys)
    return UNUSABLE if ends.was_refused and status != INTERRUPTED else status


def _overhead_text(test: SelfTest) -> str:
    figures = (test.stream, test.event, test.delay_p50, test.delay_p99)
    stream, event, delay, worst = (f"{1e6 * figure:.0f} µs" for figure in figures)
    return f"CPU time: {stream} per stream, {event} per event; delay of an event: {delay} (p99 {worst})"


def _target_keys(plan: Scenario) -> dict[str, Credential]:
    """Return the key of each target. Raises ``ConfigError``."""
    found = {target: credential_for(url, plan.key_env, os.environ) for target, url in plan.targets.items()}
    if plan.key_env is not None and not all(key.value for key in found.values()):
        unset = f"the environment variable {plan.key_env} is not set" if plan.key_env else "the variable name is empty"
        raise input_error("key_env", unset, f"set {plan.key_env}" if plan.key_env else "give the name of a variable")
    if any(key.value and not (key.value.isprintable() and key.value.isascii()) for key in found.values()):
        raise input_error("key_env", "the key has characters that headers cannot contain", "correct the variable")
    for target, key in found.items():
        say(sentence(describe_key(plan.targets[target], key, plan)))
    return found


# Running


def _run_load(
    plan: Scenario,
    keys: Mapping[str, Credential],
    outputs: LoadOutputs,
    ends: EarlyEnds,
    wait: float | None,
) -> tuple[RunResult, ...] | None:
    """Run the load; return None after an interrupt without a report.

    Raises ``Unreachable``, ``CrewFailed``, ``NotReady`` and ``StartTimePassed``."""
    runs: tuple[RunResult, ...] | None = None
    failed: list[Exception] = []
    try:
        screen = screen_for(sys.stderr, os.environ)
        with frozen_startup_objects():
            runs = trio.run(_load, plan, keys, outputs, ends, wait, screen)
    except* KeyboardInterrupt:
        click.echo("interrupted; no report", err=True)
    except* (Unreachable, CrewFailed, NotReady, StartTimePassed, ConfigError) as group:
        failed += _nested_exceptions(group)
    if failed:
        raise failed[0]
    return runs


def _nested_exceptions(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    """Return the exceptions in nested groups."""
    found: list[Exception] = []
    for error in group.exceptions:
        found += _nested_exceptions(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def _load(
    plan: Scenario,
    keys: Mapping[str, Credential],
    outputs: LoadOutputs,
    ends: EarlyEnds,
    wait: float | None,
    screen: Screen,
) -> tuple[RunResult, ...]:
    for note in await capacity_notes(plan):
        say(f"note: {note}")
    found: list[RunResult] = []
    values = {target: key.value for target, key in keys.items()}
    shown = () if plan.search else (screen.watch,)  # a search prints its own lines
    async with open_load_starter(plan, values) as start, outputs.export():

        async def once(scenario: Scenario, target: str, watch: Watching = watch_nothing) -> RunResult:
            guards, records = ends.of_run(scenario, target)
            sinks = (*records, *outputs.sinks(scenario, target, values[target]))
            watching = (*shown, outputs.watch, partial(end_early, ends=guards), watch)
            return await _run_watched(start(scenario, target, sinks), watching)

        async def run_unwatched(scenario: Scenario, target: str) -> RunResult:
            return await _run_watched(start(scenario, target, ()), ())

        for target in plan.targets if wait is not None else ():
            try:
                if await wait_until_ready(plan, target, wait or 0.0, run_unwatched) is not None:
                    return ()
            except NotReady as error:
                advice = f"\n{sentence(key_advice(keys[target], plan))}" if error.kind == REFUSED else ""
                raise NotReady(f"{error}{advice}", error.kind) from None
        await check_exact(plan, run_unwatched)
        for target in plan.targets:
            found += await make_runs(plan, target, once, partial(rule_of, plan), SearchLines(sys.stderr))
            if found[-1].interrupted or ends.is_spent:
                break
    return tuple(found)


async def _run_watched(running: LoadUnderWay, watching: Sequence[Watching]) -> RunResult:
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signal, running)
        for watch in watching:
            nursery.start_soon(watch, running)
        result = await running.run()
        nursery.cancel_scope.cancel()
    return result


async def _stop_on_signal(running: LoadUnderWay, *, task_status: trio.TaskStatus[None]) -> None:
    """Stop the load on the first signal, with a report; exit without a report on the second."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            if running.interrupted:
                raise KeyboardInterrupt
            running.stop()


# Results


def finish(
    runs: Sequence[RunResult],
    outputs: OutputOptions,
    conditions: Sequence[Condition],
    early_ends: Sequence[ConditionVerdict] = (),
    *,
    part: PlanPart | None = None,
    compares: bool = False,
) -> int:
    """Print and write the report, and return the exit status. Raises ``UnknownPart``.

    ``early_ends`` are the verdicts on conditions that stopped a run."""
    judged = (*early_ends, *judge_conditions(conditions, runs))
    out = sys.stderr if outputs.on_stdout else sys.stdout
    if not compares:
        for single in runs:
            if not single.label:
                click.echo(text.summary(single, [one for one in judged if one.run == single.name]) + "\n", file=out)
        if overview := text.overview(runs):
            click.echo(overview + "\n", file=out)
    if len(runs) > 1 and (compares or not any(single.label for single in runs)):
        click.echo(text.comparison(runs), file=out)
    try:
        write_files(runs, outputs, judged, None if part is None else part.dump())
    except OSError as error:
        click.echo(f"cannot write {error.filename}: {(error.strerror or 'unusable').lower()}", err=True)
        return UNUSABLE
    return _exit_status(runs, judged, compares)


def _exit_status(runs: Sequence[RunResult], judged: Sequence[ConditionVerdict], compares: bool) -> int:
    """Print the failures and return the exit status. ``compares``: the runs are from earlier reports."""
    failures = [one for one in judged if not one.ok]
    for one in failures:
        click.echo(f"failed: {one.run}: {one.failure}", err=True)
    if compares:
        return FAILED if failures else GOOD
    unreached = [single for single in runs if _is_unreached(single.tally)]
    for single in unreached:
        fault = single.tally.failures[0]
        click.echo(f"failed: {single.name}: no request got a connection: {fault.kind}: {fault.example}", err=True)
    lost = [f"{single.name}: {why}" for single in runs for why in single.overhead.lost]
    for why in lost:
        click.echo(f"failed: {why}", err=True)
    if any(single.interrupted for single in runs):
        return INTERRUPTED
    fruitless = any(single.search is not None and single.search.found.outcome == "none" for single in runs)
    if failures or lost or fruitless:
        return FAILED
    return UNUSABLE if unreached else GOOD


def _is_unreached(tally: Tally) -> bool:
    """Return whether no request of a run got a connection."""
    unconnected = sum(row.count for row in tally.failures if row.phase == "connect")
    return 0 < unconnected == tally.counts["started"]


def _print_key_advice(runs: Sequence[RunResult], plan: Scenario, keys: Mapping[str, Credential]) -> None:
    """Print advice on rejected keys."""
    for single in runs:
        if any(failure.kind == REFUSED for failure in single.tally.failures):
            say(sentence(f"{REFUSED}: {single.name}: {key_advice(keys[single.target], plan)}"))
