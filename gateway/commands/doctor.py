"""``trigate doctor``: sends typical requests to each model, and reports which features work.

It starts a gateway with the configuration on a free port and sends requests over HTTP, so that the results are those
of a client. It stores nothing and needs no client key. It tests each target of aliases and routes separately.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import click
import msgspec
import trio

from configfile.document import ConfigError, sentence
from gateway.app import create_app
from gateway.commands.check import load_or_explain
from gateway.commands.explaining import report_unknown
from gateway.commands.fetching import client_of
from gateway.commands.judging import try_features
from gateway.commands.probing import COUNT, FEATURES, CheckOutcome, Checkup, ModelCheck, State, examine
from gateway.commands.server_requests import Server
from gateway.commands.tables import Cell, TableColumn, table_lines
from gateway.commands.terminal import columns, count_text, echo_styled, fold, run_or_exit, say
from gateway.config.model_entry import ModelEntry
from gateway.config.names import Names
from gateway.config.settings import Config
from gateway.logs.masking import Mask
from gateway.processes.binding import bind
from gateway.routing.router import Router
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.worker import serve
from providers.apis import CODECS
from streams.errors import GatewayError
from streams.events import APIS, Api


def targets_to_check(
    config: Config, models: Sequence[str] = ()
) -> tuple[Mapping[str, Sequence[str]], Mapping[str, str]]:
    """Return the targets of ``models``, or of the whole configuration. Raises ``GatewayError`` for an unknown model.

    The first mapping has the models to test in the order of their entries, by the name that only their entry has, each
    with the aliases and routes that use it. The second has the skipped models and entries, each with the reason."""
    names = Names.of(config)
    by_entry: dict[str, dict[str, list[str]]] = {entry.name: {} for entry in config.entries}
    for name in models or (name for name in (*config.aliases, *config.routes) if "*" not in name):
        for found in names.meaning(name).found:
            form = f"{found.entry.prefixes[0]}/{found.model}" if found.entry.wildcard else found.entry.name
            by_entry[found.entry.name].setdefault(form, []).extend([name] if name != form else [])
    tried: dict[str, Sequence[str]] = {}
    skipped: dict[str, str] = {}
    for entry in () if models else config.entries:
        own = _own_model(entry)
        if own is not None and not (entry.wildcard and by_entry[entry.name]):
            by_entry[entry.name].setdefault(own, [])
        elif not by_entry[entry.name]:
            unknown = f"trigate knows no model name of {entry.provider.display_name}"
            skipped[entry.name] = f"{unknown}; give one: trigate doctor {entry.prefixes[0]}/MODEL"
    for entry in config.entries:
        for form, aliases in by_entry[entry.name].items():
            model = form.partition("/")[2] if entry.wildcard else entry.model
            if (kind := entry.type_of(model)) != "chat":
                skipped[form] = f"its type is {kind}, and doctor tests only chat models"
            else:
                tried[form] = tuple(dict.fromkeys(aliases))
    return tried, skipped


def _own_model(entry: ModelEntry) -> str | None:
    """Return the model to test for an entry; for a wildcard the last known one, which is the cheapest."""
    if not entry.wildcard:
        return entry.name
    known = entry.provider.models[-1:]
    return f"{entry.prefixes[0]}/{known[0]}" if known else None


LOCAL = "127.0.0.1"

SIGN_IN = "trigate.sign_in"
"""The logger of sign-ins: responses do not explain a failed sign-in."""


class _StderrHandler(logging.Handler):
    """A log handler that prints messages on standard error, with secrets masked."""

    def emit(self, record: logging.LogRecord) -> None:
        say(Mask()(record.getMessage()))


_STDERR = _StderrHandler()


@contextlib.contextmanager
def _quiet_log() -> Iterator[None]:
    """Silence the log except for failed sign-ins: the table shows all other failures."""
    ours, sign_in, nothing = logging.getLogger("trigate"), logging.getLogger(SIGN_IN), logging.NullHandler()
    propagated = ours.propagate
    ours.addHandler(nothing)
    sign_in.addHandler(_STDERR)
    ours.propagate = False
    try:
        yield
    finally:
        ours.propagate = propagated
        ours.removeHandler(nothing)
        sign_in.removeHandler(_STDERR)


@_quiet_log()
def run(models: Sequence[str], path: Path | None, apis: Sequence[Api], timeout: float, jobs: int, as_json: bool) -> int:
    """Run ``trigate doctor`` and return its exit status.

    It is 0 if every model answers and streams, 1 if one does not or the config is invalid, 2 for an unknown model.
    ``timeout`` is the time for one response in seconds, ``jobs`` the number of models to test concurrently."""
    if file := next((one for one in models if one.endswith((".yaml", ".yml")) and Path(one).is_file()), None):
        say(f"{file} is a file, not a model: trigate doctor --config {file}")
        return 2
    config = load_or_explain(path, with_stored_secrets=True)
    if config is None:
        return 1
    try:
        tried, skipped = targets_to_check(config, models)
    except GatewayError as error:
        report_unknown(config, error)
        return 2
    if not tried:
        say(f"{config.path} lists no model names: give some, such as trigate doctor groq/MODEL")
        for line in _skipped_lines(skipped):
            say(line)
        return 2
    names = attrs.evolve(config.model_names, refused=())  # also entries that only aliases reach
    config = attrs.evolve(config, aliases={}, routes={}, model_names=names)
    checks = _model_checks(config, tried, apis)
    if sys.stderr.isatty():
        say(f"testing {count_text(len(checks), 'model')} …")
    try:
        run_or_exit(try_features, config)  # otherwise the gateway's start would fail with a traceback
    except ConfigError as error:
        say(str(error))
        return 1
    found: Sequence[Checkup] = run_or_exit(_run_checks, config, checks, timeout, jobs)
    echo_styled((_json_report if as_json else _text_report)(found, skipped))
    return _exit_status(found)


def _exit_status(found: Sequence[Checkup]) -> int:
    return 0 if all(one.good or one.is_skipped for one in found) else 1


def _model_checks(config: Config, targets: Mapping[str, Sequence[str]], apis: Sequence[Api]) -> list[ModelCheck]:
    """Return a check for each target and API; the default API is one that needs no translation."""
    router = Router(config)
    return [
        ModelCheck(model, api, router.resolve(model, api), tuple(names))
        for model, names in targets.items()
        for api in apis or (_native_api(router, model),)
    ]


def _native_api(router: Router, name: str) -> Api:
    """Return an API that needs no translation for the model; the preferred ones are responses, messages and chat."""
    apis = (*reversed(APIS), *CODECS)
    return next((api for api in apis if router.resolve(name, api).lane == "byte"), APIS[0])


async def _run_checks(config: Config, checks: Sequence[ModelCheck], limit: float, jobs: int) -> list[Checkup]:
    """Start a gateway and run ``checks`` through it. Return the results in the same order."""
    sock = bind(LOCAL, 0)
    url = f"http://{LOCAL}:{sock.getsockname()[1]}"
    lifecycle, ready = Lifecycle(), trio.Event()
    app = create_app(attrs.evolve(config, client_keys=(), stored_clients="off", rule_clients=()), lifecycle)
    found: list[Checkup | None] = [None] * len(checks)
    places = trio.CapacityLimiter(jobs)
    async with trio.open_nursery() as gateway:
        gateway.start_soon(partial(serve, app, [sock], state=lifecycle, drain=1, signals=False, ready=ready.set))
        await ready.wait()
        async with client_of(url) as client:
            server = Server(url, client, limit)

            async def check(number: int, one: ModelCheck) -> None:
                async with places:
                    found[number] = await examine(server, one)

            async with trio.open_nursery() as nursery:
                for number, one in enumerate(checks):
                    nursery.start_soon(check, number, one)
        lifecycle.stop()
    return [one for one in found if one is not None]


# Printing


def _json_report(found: Sequence[Checkup], skipped: Mapping[str, str]) -> str:
    value: list[dict[str, Any]] = [{**attrs.asdict(one), "good": one.good} for one in found]
    left_out = [{"name": name, "why": why} for name, why in skipped.items()]
    content = {"good": _exit_status(found) == 0, "models": value, "skipped": left_out}
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode()


_WORDS: dict[State, str] = {"ok": "ok", "absent": "no", "failed": "FAILS", "skipped": "-"}
_COLOURS: dict[State, str] = {"ok": "green", "absent": "yellow", "failed": "red", "skipped": "bright_black"}


def _text_report(found: Sequence[Checkup], skipped: Mapping[str, str]) -> str:
    """Return the table, then the reasons for failures and skipped models."""
    names = (TableColumn("", "name"), TableColumn("api", "name"))
    columns = (*names, *(TableColumn(title, "word") for title in FEATURES), TableColumn("first byte"))
    rows = [
        (one.title, one.api, *(_outcome_cell(one.outcomes[name], name) for name in FEATURES), _first_byte_text(one))
        for one in found
    ]
    lines = table_lines(columns, rows)
    after = [*_failure_lines(found)]
    after += [click.style(_wrap(line), fg=_COLOURS["skipped"]) for line in _skipped_lines(skipped)]
    return "\n".join(line.rstrip() for line in [*lines, *([""] if after else []), *after])


def _skipped_lines(skipped: Mapping[str, str]) -> list[str]:
    return [sentence(f"skipped {name}: {why}") for name, why in skipped.items()]


def _outcome_cell(outcome: CheckOutcome, feature: str) -> Cell:
    text = outcome.says if outcome.state == "ok" and feature == COUNT else _WORDS[outcome.state]
    return text, _COLOURS[outcome.state]


def _first_byte_text(checkup: Checkup) -> str:
    ms = checkup.outcomes["stream"].first_byte_ms
    return "-" if ms is None else f"{ms:.0f} ms"


def _failure_lines(found: Sequence[Checkup]) -> list[str]:
    """Return a line for each failure; features with the same failure share a line."""
    lines = []
    for one in found:
        by_failure: dict[tuple[State, str], list[str]] = {}
        for name, outcome in one.outcomes.items():
            if outcome.state != "ok" and outcome.says:
                by_failure.setdefault((outcome.state, outcome.says), []).append(name)
        for (state, says), names in by_failure.items():
            tests = "test" if len(names) == 1 else "tests"
            what = "" if len(names) == len(FEATURES) else f", {tests} {', '.join(names)}"
            lines.append(click.style(_wrap(sentence(f"{one.model} ({one.api}){what}: {says}")), fg=_COLOURS[state]))
    return lines


def _wrap(line: str) -> str:
    """Wrap ``line`` to the width of the terminal, and only there."""
    return line if (width := columns(sys.stdout)) is None else fold(line, width, "  ")
