"""``trigate status``, ``reload``, ``stop`` and ``logs``: the gateways that this user runs."""

import math
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from configfile.document import ConfigError
from gateway.commands.client import KEY_VARIABLE
from gateway.commands.explaining import running_gateway
from gateway.commands.fetching import FetchError, fetch
from gateway.commands.registry import RegisteredGateway, running_gateways
from gateway.commands.running_gateways import local_url
from gateway.commands.terminal import columns, echo_styled, print_rows, say
from gateway.config_files.loading import load
from gateway.features.known import features_of
from gateway.file_search import find_config_file
from gateway.health.health import without_covered
from gateway.named_imports import import_named

GOOD, FAILED, NOT_RUNNING = 0, 1, 3
LINES: Final = 40
RELOAD_SECONDS: Final = 30.0
_POLL: Final = 0.05
_LABEL: Final = 10
_START: Final = "run trigate serve, or trigate connect CLIENT --, which starts one"


# The choice


def _choose(number: int | None) -> RegisteredGateway:
    """Return the gateway with the port or process ``number``, else the only one, or the one of the configuration here.

    Exits with a message if that is no single gateway of this user."""
    found = running_gateways()
    chosen = [one for one in found if number in (None, one.process, *(urlsplit(url).port for url in one.urls))]
    if number is None and len(chosen) > 1:
        here = _file_here()
        chosen = [one for one in chosen if one.file == here] or chosen
    if len(chosen) == 1:
        return chosen[0]
    if not found:
        say(f"No gateway of yours is running: {_start_advice()}.")
    elif not chosen:
        say(f"None of your gateways has the port or process {number}: {_names_of(found)}.")
    else:
        say(f"You run several gateways: give the port or the process of one: {_names_of(chosen)}.")
    sys.exit(NOT_RUNNING if not found else 2)


def _start_advice() -> str:
    """Return what to do: start a gateway, or control the one of another user."""
    root = local_url()
    if _responds(root):
        return f"the one on {root} belongs to another user, a container or another state folder"
    return _START


def _responds(root: str) -> bool:
    try:
        fetch(f"{root}/healthz", {}, 1.0)
    except FetchError:
        return False
    return True


def _names_of(found: Sequence[RegisteredGateway]) -> str:
    return ", ".join(f"{_where(one)} (process {one.process})" for one in found)


def _where(one: RegisteredGateway) -> str:
    return ", ".join(one.urls)


def _file_here() -> str | None:
    """Return the path of the configuration that ``serve`` would use here, ``None`` if there is none."""
    try:
        return str(find_config_file(Path.cwd(), os.environ).absolute())
    except ConfigError:
        return None


# Status


def status() -> int:
    """Run ``trigate status``, and return 0, or 3 if no gateway of this user is running."""
    found = running_gateways()
    if not found:
        say(f"No gateway of yours is running: {_start_advice()}.")
        return NOT_RUNNING
    width = columns(sys.stdout)
    for number, one in enumerate(found):
        head = click.style(f"trigate {one.version}", bold=True)
        echo_styled(f"{'' if number == 0 else chr(10)}{head} on {_where(one)}, process {one.process}")
        print_rows(_rows_of(one), _LABEL, width)
    return GOOD


def _rows_of(one: RegisteredGateway) -> Iterator[tuple[str, str]]:
    yield "since", f"{_time_text(one.since)} ({_duration_text(time.time() - one.since)})"
    yield "file", _file_text(one)
    if one.reloaded is not None and not one.reloaded.good:
        yield "", f"the reload at {_time_text(one.reloaded.at)} failed: {one.reloaded.lines[0]}"
    yield "log", _log_text(one)
    yield from _traffic_rows(one)
    yield from _rows_of_features(one)


def _file_text(one: RegisteredGateway) -> str:
    if not one.file:
        return "none: this is the demo"
    last = one.reloaded
    used = max(one.since, last.at if last is not None and last.good else 0.0)
    reloaded = f", reloaded {_time_text(used)}" if used > one.since else ""
    try:
        changed = Path(one.file).stat().st_mtime > used
    except OSError:
        return f"{_short(one.file)}{reloaded}; it cannot be read any more"
    return f"{_short(one.file)}{reloaded}" + ("; changed since, so run trigate reload" if changed else "")


def _traffic_rows(one: RegisteredGateway) -> Iterator[tuple[str, str]]:
    """Yield the running requests and the unavailable targets."""
    url = next((url for url in one.urls if url.startswith("http")), None)
    if url is None:
        return
    try:
        ready = running_gateway(url, os.environ.get(KEY_VARIABLE))
    except click.ClickException as error:
        yield "targets", f"unknown: {error.message.removeprefix(f'{url}/readyz?verbose ')}"
        return
    of_one = "" if one.workers == 1 else f" (of one of {one.workers} workers)"
    yield "streams", f"{sum(target.open for target in ready.targets)} running{of_one}"
    out = without_covered([target for target in ready.targets if target.reason is not None])
    for number, target in enumerate(out):
        seconds = f" for {_duration_text(target.seconds)}" if target.seconds else ""
        yield "" if number else "targets", f"{target.target}: unavailable{seconds} ({target.reason})"
    if not out:
        yield "targets", f"all available ({len(ready.targets)})" if len(ready.targets) > 1 else "available"


def _rows_of_features(one: RegisteredGateway) -> Iterator[tuple[str, str]]:
    """Yield the rows of features, such as the spending."""
    if not one.file:
        return
    try:
        config = load(Path(one.file), os.environ, trust=one.trust, within=("state_storage", "secret_stores"))
    except ConfigError:
        return  # ``trigate check`` lists the mistakes
    for feature in features_of(config):
        if feature.status and feature.is_wanted(config):
            yield import_named(feature.status)(config)


def _time_text(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _duration_text(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 48:
        return f"{hours / 24:.0f} days"
    if hours >= 1:
        return f"{int(hours)} h {int(minutes) % 60} min"
    return f"{int(minutes)} min" if minutes >= 1 else f"{max(seconds, 1):.0f} s"


def _short(path: str) -> str:
    """Return ``path`` with ``~`` for the home directory, without bytes that cannot be printed."""
    home = Path.home()
    return click.format_filename(f"~/{Path(path).relative_to(home)}" if Path(path).is_relative_to(home) else path)


# Reload and stop


def reload(number: int | None) -> int:
    """Run ``trigate reload``, and return 0, 1 if the gateway keeps its configuration, or 3 without a gateway."""
    one = _choose(number)
    if not one.file:
        say("The demo has no configuration to reload.")
        return FAILED
    _send_signal(one, signal.SIGHUP)
    after = _await(one, lambda now: now is None or now.reloaded != one.reloaded, RELOAD_SECONDS)
    if after is None:
        say("The gateway has ended.")
        return FAILED
    if after.reloaded is None or after.reloaded == one.reloaded:
        say(f"The gateway has not reloaded after {RELOAD_SECONDS:g} s: trigate logs shows what it does.")
        return FAILED
    if not after.reloaded.good:
        for line in after.reloaded.lines:
            say(line)
        say("The gateway keeps its previous configuration.")
        return FAILED
    click.echo(f"reloaded {_short(one.file)}: {'; '.join(after.reloaded.lines) or 'no changes'}")
    return GOOD


def stop(number: int | None) -> int:
    """Run ``trigate stop``, and return 0, or 3 without a gateway. Ctrl-C ends the wait alone."""
    one = _choose(number)
    _send_signal(one, signal.SIGTERM)
    if _await(one, lambda now: now is None, 1.0) is not None:
        say("It finishes its running requests first. To end them: trigate stop, once more.")
        try:
            _await(one, lambda now: now is None, math.inf)
        except KeyboardInterrupt:
            say("The gateway is still finishing its requests.")
            return FAILED
    click.echo(f"stopped the gateway on {_where(one)}")
    return GOOD


def _send_signal(one: RegisteredGateway, number: signal.Signals) -> None:
    if one.process == 0:
        say("This gateway runs in a container: control it there.")
        sys.exit(FAILED)
    try:
        os.kill(one.process, number)
    except ProcessLookupError:
        pass  # it has just ended
    except PermissionError:
        say(f"Process {one.process} belongs to another user: run this command as that user.")
        sys.exit(FAILED)


def _await(
    one: RegisteredGateway, is_done: Callable[[RegisteredGateway | None], bool], seconds: float
) -> RegisteredGateway | None:
    """Return the state of a gateway once it ``is_done``, or after so many seconds; ``None`` if it has ended."""
    until = time.monotonic() + seconds
    while True:
        found = (now for now in running_gateways() if (now.process, now.since) == (one.process, one.since))
        now = next(found, None)
        if is_done(now) or time.monotonic() > until:
            return now
        time.sleep(_POLL)


# The log


def _log_text(one: RegisteredGateway) -> str:
    if one.log_file is not None:
        return _short(one.log)
    return f"terminal {one.log}" if one.log.startswith("/") else one.log


def logs(number: int | None, follow: bool) -> int:
    """Run ``trigate logs``: become a program that shows the log. Return 1 if none can."""
    one = _choose(number)
    say(f"The log of the gateway on {_where(one)}: {_log_text(one)}")
    if one.is_in_journal:
        command = [*one.log.split(), "-n", str(LINES), *(["-f"] if follow else [])]
    elif one.log_file is not None:
        command = ["tail", "-n", str(LINES), *(["-F"] if follow else []), one.log]
    else:
        say("To keep it in a file: trigate serve 2>> FILE")
        return FAILED
    if (program := shutil.which(command[0])) is not None:
        os.execve(program, command, os.environ)
    say(f"{command[0]} is not installed. It would show the log: {shlex.join(command)}")
    return FAILED
