"""``trigate load``: load one server or several, and say what came of it; or compare two reports."""

import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import click
import trio

from gateway.commands.terminal import say
from gateway.config.document import ConfigError, Document, Mistake, sentence
from gateway.loadtest import report, scenario, text
from gateway.loadtest.bodies import api_of
from gateway.loadtest.fail_if import Condition, NoCondition, parse
from gateway.loadtest.judging import judging
from gateway.loadtest.keys import Credential, advice, credential, describe_key
from gateway.loadtest.live import Lines, Screen, Terminal
from gateway.loadtest.overhead import SelfTest, self_test
from gateway.loadtest.report import NoReport, RunResult
from gateway.loadtest.running import ActiveRun, Unreachable, address_of
from gateway.loadtest.scenario import Scenario, shown
from gateway.loadtest.wire import raise_file_limit

REFUSED: Final = "status 401"  # as a tally calls it
GOOD, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130

_TARGET = re.compile(r"(?:([\w.-]+)=)?(https?://.+)")
_OTHER = re.compile(r"(?:[\w.-]+=)?\w+://.*")
_BARE = re.compile(  # host:port, or localhost or a name with a dot before a path
    r"([\w.-]+=)?((?:\w[\w.-]*|\[[\da-f:]+\]):\d+(?:[/?].*)?|(?:localhost|\w[\w-]*(?:\.[\w-]+)+)/.*(?<!\.yml)(?<!\.yaml))"
)


@attrs.frozen
class LoadOptions:
    """The options of the command line. ``load`` and ``request`` have those that a scenario would have, with the same
    names; what was not given is not in them."""

    targets: tuple[str, ...]
    load: Mapping[str, Any]
    request: Mapping[str, Any]
    json: Path | None = None
    html: Path | None = None
    fail_if: tuple[str, ...] = ()
    compare: tuple[Path, Path] | None = None
    self_test: bool = False


def run(options: LoadOptions) -> int:
    """Exit status 0 if all went well, 1 if a condition of ``--fail-if`` holds, 2 if there was nothing to run, 130 if it
    was interrupted; a report is written in all but the third case."""
    try:
        if options.compare is not None:
            return _finish(_both(*options.compare), options, _conditions(options))
        if options.self_test:
            click.echo(_cost(trio.run(self_test)))
            return GOOD
        plan, conditions = _planned(options)
        keys = _keys(plan)
        _check_writable(options)
        runs = _loaded(plan, keys)
    except (ConfigError, NoReport, Unreachable) as error:
        click.echo(_said(error), err=True)
        return UNUSABLE
    if runs is None:
        return INTERRUPTED
    status = _finish(runs, options, conditions)
    _advise(runs, plan, keys)
    return status


def _said(error: Exception) -> str:
    return error.listed("mistakes") if isinstance(error, ConfigError) else str(error)


def _cost(test: SelfTest) -> str:
    figures = (test.stream, test.event, test.delay_p50, test.delay_p99)
    stream, event, delay, worst = (f"{1e6 * figure:.0f} µs" for figure in figures)
    return f"{stream} of CPU a stream and {event} an event; an event is seen {delay} after it was sent (p99 {worst})"


# What to do


def _wrong(place: str, found: str, expected: str) -> ConfigError:
    return ConfigError((Mistake(place, "", found, expected),))


def _planned(options: LoadOptions) -> tuple[Scenario, list[Condition]]:
    """The scenario, and the conditions of the options and its own. Raises ``ConfigError`` with the mistakes of both."""
    mistakes: tuple[Mistake, ...] = ()
    conditions: list[Condition] = []
    try:
        conditions = _conditions(options)
    except ConfigError as error:
        mistakes = error.mistakes
    try:
        plan = _scenario(options)
    except ConfigError as error:
        raise ConfigError((*mistakes, *error.mistakes)) from None
    if mistakes:
        raise ConfigError(mistakes)
    return plan, conditions + [parse(condition) for condition in plan.fail_if]


def _conditions(options: LoadOptions) -> list[Condition]:
    """The conditions of ``--fail-if``. Raises ``ConfigError``."""
    found: list[Condition] = []
    mistakes: list[Mistake] = []
    for condition in options.fail_if:
        try:
            found.append(parse(condition))
        except NoCondition as error:
            mistakes.append(Mistake("", "--fail-if", error.found, error.expected))
    if mistakes:
        raise ConfigError(tuple(mistakes))
    return found


def _scenario(options: LoadOptions) -> Scenario:
    """Raises ``ConfigError``."""
    files = [word for word in options.targets if not _TARGET.fullmatch(word)]
    _check_files(files)
    targets = _targets([word for word in options.targets if word not in files])
    if len(files) > 1:
        raise _wrong(files[1], "a second file", "give one scenario, or URLs that begin with http:// or https://")
    if files:
        if given := [*options.request, *options.load]:
            found = f"options beside a scenario: {', '.join(given)}"
            raise _wrong(files[0], found, "write them into the scenario; only URLs on the command line replace its own")
        found_in_file = scenario.load(Path(files[0]), os.environ)
        return attrs.evolve(found_in_file, targets=targets) if targets else found_in_file
    if not targets:
        raise _wrong("", "nothing to load", "give a URL, as in trigate load http://127.0.0.1:12000 --model demo")
    api = options.request.get("api") or next(filter(None, map(api_of, targets.values())), "chat")
    loop = {} if {"rate", "concurrency"} & set(options.load) else {"concurrency": 1}
    content = {"targets": targets, "requests": [{**options.request, "api": api}], **loop, **options.load}
    try:
        return scenario.build(Document("command line", content), {})
    except ConfigError as error:
        raise ConfigError(tuple(map(_of_option, error.mistakes))) from None


def _check_files(words: Sequence[str]) -> None:
    """Raises ``ConfigError`` for what is meant as a URL."""
    for word in words:
        if Path(word).exists():
            continue
        if _OTHER.fullmatch(word):
            raise _wrong(shown(word), "no URL that can be loaded", "give one that begins with http:// or https://")
        if bare := _BARE.fullmatch(word):
            right = shown(f"{bare[1] or ''}http://{bare[2]}")
            raise ConfigError((Mistake(shown(word), "", "a URL without http://", "", suggestion=right),))


def _of_option(mistake: Mistake) -> Mistake:
    """Named as on the command line: nobody who typed an option has seen the scenario that they are put together to."""
    name = mistake.path.removeprefix("requests[0].")
    return attrs.evolve(mistake, file="", path=f"--{name.replace('_', '-')}") if name.isidentifier() else mistake


def _targets(words: Sequence[str]) -> dict[str, str]:
    """URLs by name; a single one needs none, others are called by their addresses."""
    found: dict[str, str] = {}
    for word in words:
        match = _TARGET.fullmatch(word)
        assert match is not None
        name = match[1] or ("" if len(words) == 1 else re.sub(r"^https?://", "", shown(match[2])))
        if name in found:
            raise _wrong(
                shown(word), f"a second target called {name}", "name them, as in trigate=http://127.0.0.1:12000"
            )
        found[name] = match[2]
    return found


def _keys(plan: Scenario) -> dict[str, Credential]:
    """The key of each target. Raises ``ConfigError``."""
    found = {target: credential(url, plan, os.environ) for target, url in plan.targets.items()}
    if plan.key_env is not None and not all(key.value for key in found.values()):
        raise _wrong("key_env", f"the environment variable {plan.key_env} is not set", f"set {plan.key_env}")
    if any(key.value and not (key.value.isprintable() and key.value.isascii()) for key in found.values()):
        raise _wrong("key_env", "the key holds characters that no header can carry", "correct the variable")
    for target, key in found.items():
        say(sentence(describe_key(plan.targets[target], key, plan)))
    return found


def _check_writable(options: LoadOptions) -> None:
    """Before the run, not after it. Raises ``ConfigError``."""
    for path in (options.json, options.html):
        if path is not None and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
            raise _wrong(str(path), "cannot be written", "give a file in a directory that is there")


# Doing it


def _loaded(plan: Scenario, keys: Mapping[str, Credential]) -> tuple[RunResult, ...] | None:
    """The runs; ``None`` if it was to end at once. Raises ``Unreachable``."""
    runs: tuple[RunResult, ...] | None = None
    try:
        runs = trio.run(_load, plan, keys, Terminal() if sys.stderr.isatty() else Lines())
    except* KeyboardInterrupt:
        click.echo("interrupted, without a report", err=True)
    return runs


async def _load(plan: Scenario, keys: Mapping[str, Credential], screen: Screen) -> tuple[RunResult, ...]:
    raise_file_limit()
    found: list[RunResult] = []
    places = {target: await address_of(plan, target) for target in plan.targets}
    async with judging(plan.strict) as judge:
        test = await self_test()
        for target, place in places.items():
            running = ActiveRun(plan, target, place, keys[target].value, judge)
            found.append(await _watched(running, screen, test))
            if running.interrupted:
                break
    return tuple(found)


async def _watched(running: ActiveRun, screen: Screen, test: SelfTest) -> RunResult:
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signal, running)
        nursery.start_soon(screen.watch, running)
        result = await running.run(test)
        nursery.cancel_scope.cancel()
    return result


async def _stop_on_signal(running: ActiveRun, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
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


def _finish(runs: Sequence[RunResult], options: LoadOptions, conditions: Sequence[Condition]) -> int:
    """Show and write the report; the exit status."""
    out = sys.stderr if options.json == Path("-") else sys.stdout
    if options.compare is None:
        for single in runs:
            click.echo(text.summary(single) + "\n", file=out)
    if len(runs) > 1:
        click.echo(text.comparison(runs), file=out)
    failures = [(single, failure) for single in runs for one in conditions if (failure := one.failure(single))]
    _write(runs, options, [f"{single.name}: {failure}" for single, failure in failures])
    for single, failure in failures:
        click.echo(f"failed: {single.name}: {failure}", err=True)
    if any(single.interrupted for single in runs) and options.compare is None:
        return INTERRUPTED
    return FAILED if failures else GOOD


def _advise(runs: Sequence[RunResult], plan: Scenario, keys: Mapping[str, Credential]) -> None:
    """Advice on keys that were refused."""
    for single in runs:
        if any(failure.kind == REFUSED for failure in single.tally.failures):
            say(sentence(f"{REFUSED}: {single.name}: {advice(keys[single.target], plan)}"))


def _write(runs: Sequence[RunResult], options: LoadOptions, failures: Sequence[str]) -> None:
    if options.json == Path("-"):
        sys.stdout.buffer.write(report.dump(runs) + b"\n")
    elif options.json is not None:
        options.json.write_bytes(report.dump(runs))
    if options.html is not None:
        from gateway.loadtest.page import page

        options.html.write_text(page(runs, failures), encoding="utf-8")
