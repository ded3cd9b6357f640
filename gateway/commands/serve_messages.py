"""The messages of ``trigate serve``: its banner, and warnings of settings."""

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec

import gateway
from configfile.document import sentence
from configfile.keys import value_of
from gateway.commands.check import ineffective_settings_text
from gateway.commands.listening import OpenListener
from gateway.commands.terminal import columns, echo_styled, fold, say, some_of
from gateway.config.settings import Config, Remark
from gateway.log_output.setup import Log
from gateway.named_imports import import_named
from gateway.processes.descriptors import descriptor_warning
from gateway.routing.router import Router


def announce_listeners(config: Config, listeners: Sequence[OpenListener]) -> None:
    """Print the addresses of ``listeners`` and how to use them."""
    list_models = import_named("gateway.viewing.listed_models:list_models")  # not in workers, which print nothing
    names = [model.id for model in list_models(Router(config))] or [entry.name for entry in config.entries]
    default = config.default or names[0]
    watch = _live_view_text(config, listeners[0]) if value_of(config, "ui") else None
    keyed = config.asks_for_key
    print_banner(f"trigate {gateway.__version__}", listeners, names, default.replace("*", "MODEL"), watch, keyed)


def _live_view_text(config: Config, listener: OpenListener) -> str:
    """Return the URL of the live view, with a remark on the required key."""
    if config.ui_key is not None or config.asks_for_key:
        return f"{listener.url}/ui  (requires a key)"
    here = listener.is_local or listener.is_everywhere
    return f"{listener.url}/ui" + ("" if here else "  (set ui_key: this is not a loopback address)")


def print_banner(
    who: str,
    listeners: Sequence[OpenListener],
    names: Sequence[str],
    model: str,
    watch: str | None = None,
    keyed: bool = False,
) -> None:
    """Print the addresses, the models, an example command, and the URL of the live view.

    With ``keyed`` the command sends a client key from a variable.

    A closed standard output (``| head -1``) does not stop the server."""
    body = msgspec.json.encode({"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
    key = ' -H "Authorization: Bearer $TRIGATE_API_KEY"' if keyed else ""
    models = f"models  {some_of(names)}"
    if (width := columns(sys.stdout)) is not None:
        models = fold(models, width, " " * len("models  "))
    lines = [
        f"{click.style(who, bold=True)} is listening on {', '.join(_styled_address(one) for one in listeners)}",
        models.replace("models", click.style("models", dim=True), 1),
        f"{click.style('try', dim=True)}     {listeners[0].curl}/v1/chat/completions{key} -d "
        f"{shlex.quote(msgspec.json.format(body, indent=0).decode())}",
        *([f"{click.style('watch', dim=True)}   {watch}"] if watch else []),
    ]
    try:
        echo_styled("\n".join(lines))
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit must not fail either


def _styled_address(listener: OpenListener) -> str:
    everywhere = " (and all other addresses of this machine)" if listener.is_everywhere else ""
    return f"{click.style(listener.place, fg='cyan')}{everywhere}"


def print_or_log(log: Log, kind: Remark, text: str, **style: Any) -> None:
    """Print a remark for the operator, or log it if the log is JSON."""
    if log.readable:
        say(sentence(f"{'WARNING' if style else kind}: {text}"), **style)
    else:
        log.say(kind, text)


def warn_loudly(log: Log, text: str) -> None:
    """Print or log a warning that must not be missed."""
    print_or_log(log, "warning", text, fg="red", bold=True)


def warn_of_settings(config: Config, log: Log) -> None:
    """Warn of settings without effect, and of limits that this machine cannot provide."""
    limits = config.limits
    for text in (ineffective_settings_text(config), descriptor_warning(limits.connections or 0, limits.in_flight)):
        if text is not None:
            warn_loudly(log, text)


def warn_of(remarks: Iterable[tuple[Remark, str]], log: Log) -> None:
    """Warn of consequences of a configuration that its operator may not want."""
    for kind, text in remarks:
        if kind == "warning":
            warn_loudly(log, text)


def warn_if_open(config: Config, listeners: Sequence[OpenListener], log: Log) -> None:
    """Warn of a gateway that every machine can use without a key."""
    if config.asks_for_key or all(one.is_local or not one.listener.is_unguarded for one in listeners):
        return
    warn_loudly(
        log,
        "client_keys is not set: every machine that can connect can use the provider keys in this config. "
        "Set client_keys, or listen only on 127.0.0.1.",
    )
