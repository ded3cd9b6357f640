"""``trigate load``: load one server or several, and say what came of it; or compare two reports."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import click
import trio

from configfile.document import ConfigError, sentence
from gateway.commands.load_answers import AnswerOptions, LoadAnswers, write_files
from gateway.commands.load_asked import LoadOptions, check_alone, check_questions, mistaken, planned, wait_before
from gateway.commands.terminal import say
from loadtest.crew.channel import NoCrew
from loadtest.crew.opening import capacity_notes, loading
from loadtest.figures.conditions import Condition, ConditionVerdict, parse, verdicts
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.plan.comparison import NoPart
from loadtest.plan.scenario import Scenario
from loadtest.reports import report_file as report
from loadtest.reports import text
from loadtest.reports.live import Screen, SearchLines
from loadtest.reports.live import screen as screen_for
from loadtest.reports.parts import PlanPart, part_of_plan
from loadtest.reports.report_file import NoReport
from loadtest.requests.estimate import describe_files, token_estimate
from loadtest.requests.keys import Credential, advice, credential, describe_key
from loadtest.run.early_ends import EarlyEnds, end_early
from loadtest.run.overhead import SelfTest, self_test
from loadtest.run.readiness import NotReady, check_exact, until_ready
from loadtest.run.running import Unreachable
from loadtest.run.searching import rule_of, runs_of
from loadtest.run.under_way import LoadUnderWay, TooLate, Watching, watch_nothing
from streams.garbage import frozen_startup_objects

REFUSED: Final = "status 401"  # as a tally calls it
GOOD, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130


def run(options: LoadOptions) -> int:
    """Exit status 0 if all went well, 1 if a condition of ``--fail-if`` holds, 2 if nothing could be run, 130 if it
    was interrupted; a report is written in all but the third case."""
    try:
        if options.compare is not None or options.self_test:
            check_alone(options)
        if options.compare is not None:
            check_questions(options)
            conditions = tuple(map(parse, options.fail_if))
            with report.reject_misread(*options.compare):
                return finish(_both(*options.compare), options.answers, conditions, compares=True)
        if options.self_test:
            with frozen_startup_objects():
                click.echo(_cost(trio.run(self_test)))
            return GOOD
        plan = planned(options)
        for told in describe_files(plan):
            say(sentence(told))
        say(sentence(str(token_estimate(plan))))
        keys = _keys(plan)
        options.answers.check(tells=bool(plan.fail_if or plan.until))
        wait = wait_before(options)
        ends = EarlyEnds(plan)
        with LoadAnswers.opened(options.answers) as answers:
            runs = _loaded(plan, keys, answers, ends, wait)
            runs = runs and answers.remarked(runs)
    except (ConfigError, NoReport, Unreachable, NoCrew, NoPart, NotReady, TooLate) as error:
        click.echo(_said(error), err=True)
        return UNUSABLE
    if not runs:
        return INTERRUPTED
    part = part_of_plan(plan)
    if part is not None and plan.fail_if:
        say(f"part {part.number} of {part.of}: trigate load merge judges the conditions on all parts")
    conditions = () if part is not None else tuple(map(parse, plan.fail_if))
    status = finish(runs, options.answers, conditions, ends.verdicts, part=part)
    _advise(runs, plan, keys)
    return UNUSABLE if ends.refused and status != INTERRUPTED else status


def _said(error: Exception) -> str:
    return error.listed("mistakes") if isinstance(error, ConfigError) else str(error)


def _cost(test: SelfTest) -> str:
    figures = (test.stream, test.event, test.delay_p50, test.delay_p99)
    stream, event, delay, worst = (f"{1e6 * figure:.0f} µs" for figure in figures)
    return f"{stream} of CPU a stream and {event} an event; an event is seen {delay} after it was sent (p99 {worst})"


def _keys(plan: Scenario) -> dict[str, Credential]:
    """The key of each target. Raises ``ConfigError``."""
    found = {target: credential(url, plan.key_env, os.environ) for target, url in plan.targets.items()}
    if plan.key_env is not None and not all(key.value for key in found.values()):
        unset = f"the environment variable {plan.key_env} is not set" if plan.key_env else "no name of a variable"
        raise mistaken("key_env", unset, f"set {plan.key_env}" if plan.key_env else "give one")
    if any(key.value and not (key.value.isprintable() and key.value.isascii()) for key in found.values()):
        raise mistaken("key_env", "the key holds characters that no header can carry", "correct the variable")
    for target, key in found.items():
        say(sentence(describe_key(plan.targets[target], key, plan)))
    return found


# Doing it


def _loaded(
    plan: Scenario,
    keys: Mapping[str, Credential],
    answers: LoadAnswers,
    ends: EarlyEnds,
    wait: float | None,
) -> tuple[RunResult, ...] | None:
    """The runs; ``None`` if it was to end at once. Raises ``Unreachable``, ``NoCrew``, ``NotReady`` and ``TooLate``."""
    runs: tuple[RunResult, ...] | None = None
    failed: list[Exception] = []
    try:
        screen = screen_for(sys.stderr, os.environ)
        with frozen_startup_objects():
            runs = trio.run(_load, plan, keys, answers, ends, wait, screen)
    except* KeyboardInterrupt:
        click.echo("interrupted, without a report", err=True)
    except* (Unreachable, NoCrew, NotReady, TooLate, ConfigError) as group:
        failed += _leaves(group)
    if failed:
        raise failed[0]
    return runs


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    """The exceptions in a group of groups."""
    found: list[Exception] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def _load(
    plan: Scenario,
    keys: Mapping[str, Credential],
    answers: LoadAnswers,
    ends: EarlyEnds,
    wait: float | None,
    screen: Screen,
) -> tuple[RunResult, ...]:
    for note in await capacity_notes(plan):
        say(f"note: {note}")
    found: list[RunResult] = []
    values = {target: key.value for target, key in keys.items()}
    shown = () if plan.search else (screen.watch,)  # a search has lines of its own
    async with loading(plan, values) as start, answers.exported():

        async def once(scenario: Scenario, target: str, watch: Watching = watch_nothing) -> RunResult:
            guards, records = ends.of_run(scenario, target)
            sinks = (*records, *answers.sinks(scenario, target, values[target]))
            watching = (*shown, answers.watch, partial(end_early, ends=guards), watch)
            return await _watched(start(scenario, target, sinks), watching)

        async def ask(scenario: Scenario, target: str) -> RunResult:
            return await _watched(start(scenario, target, ()), ())

        for target in plan.targets if wait is not None else ():
            try:
                if await until_ready(plan, target, wait or 0.0, ask) is not None:
                    return ()
            except NotReady as error:
                raise NotReady(_advised(error, keys[target], plan), error.kind) from None
        await check_exact(plan, ask)
        for target in plan.targets:
            found += await runs_of(plan, target, once, partial(rule_of, plan), SearchLines(sys.stderr))
            if found[-1].interrupted or ends.spent:
                break
    return tuple(found)


async def _watched(running: LoadUnderWay, watching: Sequence[Watching]) -> RunResult:
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signal, running)
        for watch in watching:
            nursery.start_soon(watch, running)
        result = await running.run()
        nursery.cancel_scope.cancel()
    return result


async def _stop_on_signal(running: LoadUnderWay, *, task_status: trio.TaskStatus[None]) -> None:
    """The first ends the load, with a report; the second ends all at once."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            if running.interrupted:
                raise KeyboardInterrupt
            running.stop()


# What came of it


def _both(before: Path, after: Path) -> tuple[RunResult, ...]:
    return report.compared(report.load(before), report.load(after), (before.stem, after.stem))


def finish(
    runs: Sequence[RunResult],
    answers: AnswerOptions,
    conditions: Sequence[Condition],
    early_ends: Sequence[ConditionVerdict] = (),
    *,
    part: PlanPart | None = None,
    compares: bool = False,
) -> int:
    """Show and write the report; return the exit status. ``early_ends`` are conditions that ended a run. Raises
    ``NoPart``."""
    told = (*early_ends, *verdicts(conditions, runs))
    out = sys.stderr if answers.on_stdout else sys.stdout
    if not compares:
        for single in runs:
            if not single.label:
                click.echo(text.summary(single, [one for one in told if one.run == single.name]) + "\n", file=out)
        if said := text.overview(runs):
            click.echo(said + "\n", file=out)
    if len(runs) > 1 and (compares or not any(single.label for single in runs)):
        click.echo(text.comparison(runs), file=out)
    try:
        write_files(runs, answers, told, None if part is None else part.dump())
    except OSError as error:
        click.echo(f"{error.filename}: cannot be written: {(error.strerror or 'unusable').lower()}", err=True)
        return UNUSABLE
    return _status(runs, told, compares)


def _status(runs: Sequence[RunResult], told: Sequence[ConditionVerdict], compares: bool) -> int:
    """The exit status, and why it is not 0. Runs that it only ``compares`` were not made here."""
    failures = [one for one in told if not one.ok]
    for one in failures:
        click.echo(f"failed: {one.run}: {one.failure}", err=True)
    if compares:
        return FAILED if failures else GOOD
    unreached = [single for single in runs if _is_unreached(single.tally)]
    for single in unreached:
        fault = single.tally.failures[0]
        click.echo(f"failed: {single.name}: no request had a connection: {fault.kind}: {fault.example}", err=True)
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
    """Not one of its requests had a connection."""
    unconnected = sum(row.count for row in tally.failures if row.phase == "connect")
    return 0 < unconnected == tally.counts["started"]


def _advised(error: NotReady, key: Credential, plan: Scenario) -> str:
    return f"{error}\n{sentence(advice(key, plan))}" if error.kind == REFUSED else str(error)


def _advise(runs: Sequence[RunResult], plan: Scenario, keys: Mapping[str, Credential]) -> None:
    """Advice on keys that were refused."""
    for single in runs:
        if any(failure.kind == REFUSED for failure in single.tally.failures):
            say(sentence(f"{REFUSED}: {single.name}: {advice(keys[single.target], plan)}"))
