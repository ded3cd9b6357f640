"""``trigate check``: lists the mistakes in a configuration, or the differences between two."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, cast

import click

from configfile.document import ConfigError, Mistake, sentence
from configfile.document import Path as KeyPath
from configfile.expanded import Unresolved
from configfile.keys import keys_of
from gateway.commands.dotenv import with_advice
from gateway.commands.judging import judge_features
from gateway.commands.terminal import count_text, say, wrap_sentences
from gateway.config.model_entry import ModelEntry
from gateway.config.names import listed_names
from gateway.config.settings import Config, Remark, Trust
from gateway.config_files.loading import Examined, examine, in_order, load
from gateway.config_reports.changes import changes
from gateway.config_reports.exposed_listeners import exposed_listeners, exposure
from gateway.config_reports.warnings import remarks_on
from gateway.file_search import (
    FILE_VARIABLE,
    NoConfig,
    find_config_file,
    others_text,
    passed_over,
    trust_in,
    users_file,
)
from gateway.named_imports import import_named
from providers.endpoints.endpoint import ENDPOINTS, STANDARD_PLACES
from providers.neutral.fields import generic_path

_STORES: Final = "gateway.commands.secrets_in_stores"
"""A module that is slow to import, as are trio and the client for stores."""


def load_or_explain(
    config: Path | None,
    with_env: bool = True,
    within: Collection[str] | None = None,
    *,
    with_stored_secrets: bool = False,
) -> Config | None:
    """Load the configuration for the command line; return ``None`` after printing its mistakes.

    ``with_env`` resolves environment variables; ``within`` limits that to these parts of the file.
    ``with_stored_secrets`` also reads its secrets in stores."""
    try:
        file, trust = _find_file(config)
        loaded = load(file, os.environ if with_env else None, trust=trust, within=within)
        if with_stored_secrets and loaded.stored_secrets:
            return cast("Config", import_named(f"{_STORES}:load_with_stores")(loaded, file, trust, within))
        return loaded
    except ConfigError as error:
        say(with_advice(str(error)))
        if isinstance(error, NoConfig):
            _say_demo_has_none()
        return None


def _say_demo_has_none() -> None:
    """Report that the user's running demos have no file, because the user may expect to see their state."""
    running = import_named("gateway.commands.registry:running_gateways")()
    if urls := [url for one in running if not one.file for url in one.urls]:
        say(f"The demo on {', '.join(urls)} has none either: this command needs one.")


def _find_file(config: Path | None) -> tuple[Path, Trust]:
    """Return the path of the configuration, and its origin. Raises ``ConfigError``."""
    found = find_config_file(Path.cwd(), os.environ, config)
    is_named = config is not None or bool(os.environ.get(FILE_VARIABLE))
    others = () if is_named else passed_over(Path.cwd())
    if config is None and found == users_file(os.environ) != Path.cwd() / found.name:
        say(f"This directory has no configuration{f' ({others_text(others)})' if others else ''}; using {found}.")
    elif others:
        say(f"{others_text(others)}; using {found.name}.")
    # Messages begin with this path.
    shown = found.relative_to(Path.cwd()) if found.is_relative_to(Path.cwd()) else found
    return shown, trust_in(found, os.environ, config)


def load_to_serve(config: Path | None, *, may_be_exposed: bool) -> Config | None:
    """Load the configuration for ``trigate serve``; return ``None`` after printing everything that prevents serving.

    The steps of a valid file are loaded later. ``may_be_exposed`` permits listeners that other machines can use without
    a key."""
    try:
        file, trust = _find_file(config)
        found = examine(file, os.environ, trust=trust)
    except ConfigError as error:
        say(with_advice(str(error)))
        return None
    mistakes, _ = _judge(found, may_be_exposed=may_be_exposed, loads_steps="if there are mistakes")
    if mistakes:
        say(with_advice(str(ConfigError(mistakes))))
        return None
    return found.config


def check(
    path: Path | None,
    no_env: bool,
    strict: bool = False,
    *,
    endpoints: bool = False,
    imports_steps: bool = True,
    reads_secrets: bool = False,
    is_open: bool = False,
) -> int:
    """Run ``trigate check`` and return its exit status: 0 for a valid configuration, 1 for mistakes.

    With ``strict``, settings without effect are mistakes. ``endpoints`` lists the endpoints of each entry.
    ``imports_steps`` runs the code of steps, ``reads_secrets`` reads those in stores. ``is_open`` permits clients from
    other machines without a key."""
    try:
        file, trust = _find_file(path)
        found = examine(file, None if no_env else os.environ, trust=trust)
    except ConfigError as error:
        say(with_advice(str(error)))
        return 1
    config = found.config
    mistakes, remarks = _judge(
        found, reads_files=not no_env, may_be_exposed=is_open, loads_steps="always" if imports_steps else "never"
    )
    ineffective = config.ineffective if strict else ()
    if mistakes:
        say(with_advice(str(ConfigError(mistakes))))
    if ineffective:
        say(ConfigError(ineffective).list_mistakes("settings without effect"))
    if mistakes or ineffective:
        return 1
    for kind, text in (*remarks_on(config), *remarks):
        say(sentence(f"{kind}: {text}"))
    for remark in () if no_env else _ask_about_certificates(config, "certificate_remarks", config):
        say(sentence(f"warning: {remark}"))
    listed = {name for one in config.entries for name in listed_names(one)} - {*config.model_names.refused}
    models = len({*config.aliases, *config.routes, *listed})
    shown = click.format_filename(config.path or "")  # a path may have any bytes
    valid = f"{shown}: valid ({count_text(len(config.entries), 'provider')}, {count_text(models, 'model name')})"
    for line in wrap_sentences([valid, *(_endpoint_lines(config) if endpoints else ())]):
        click.echo(line)
    if (idle := ineffective_settings_text(config, "the reasons are above")) is not None:
        say(f"WARNING: {idle}", fg="red", bold=True)
    return cast("int", import_named(f"{_STORES}:print_secrets")(config)) if reads_secrets else 0


def _judge(
    found: Examined,
    *,
    may_be_exposed: bool,
    loads_steps: Literal["always", "if there are mistakes", "never"],
    reads_files: bool = True,
) -> tuple[tuple[Mistake, ...], Sequence[tuple[Remark, str]]]:
    """Return every mistake of a configuration in the order of the file; without any, also remarks of its features.

    ``reads_files`` reads its certificates. ``loads_steps``: to serve a valid configuration, its steps are loaded
    later."""
    mistakes = list(found.mistakes)
    if reads_files:
        mistakes += _ask_about_certificates(found.config, "certificate_mistakes", found)
    if not may_be_exposed:
        mistakes += _exposures(found)
    remarks: Sequence[tuple[Remark, str]] = ()
    if loads_steps == "always" or (loads_steps == "if there are mistakes" and mistakes):
        try:
            remarks = judge_features(found.config, found.mistakes)
        except ConfigError as error:
            mistakes += error.mistakes
    return in_order(mistakes), remarks


def _exposures(found: Examined) -> Iterator[Mistake]:
    """Yield a mistake for each listener that other machines can use without a key."""
    mistaken = {one.path.split("[")[0] for one in found.mistakes}
    admitting = {field.name for field in keys_of(Config).values() if field.key.admits}
    if not mistaken.isdisjoint(admitting) or _is_in_doubt(found, (), admitting):
        return  # it may be protected
    for one in exposed_listeners(found.config):
        if not _is_in_doubt(found, one.path, _PROTECTING):
            yield found.document.mistake((*one.path, "address"), *exposure(one))


def _is_in_doubt(found: Examined, path: KeyPath, keys: Collection[str]) -> bool:
    """Return whether the configuration may lack the value of one of ``keys`` at ``path``: a part of it is faulty, the
    key is misspelt, or a variable gives the value."""
    values = (found.document.at((*path, key)) for key in keys)
    return found.findings.is_faulty(path, keys) or any(isinstance(value, Unresolved) for value in values)


_PROTECTING: Final = ("tls", "serves")
"""The keys of a listener that decide whether it accepts requests without a certificate."""


def _ask_about_certificates(config: Config, function: str, asked: Config | Examined) -> Iterable[Any]:
    """Call ``function`` of ``listening`` if there are certificates: it imports the server's library."""
    if all(one.tls is None for one in config.listeners):
        return ()
    return cast("Iterable[Any]", import_named(f"gateway.commands.listening:{function}")(asked))


def _endpoint_lines(config: Config) -> Iterator[str]:
    """Yield a line for each entry: its endpoints besides conversations, and their paths if they are not standard."""
    for entry in config.entries:
        places = ((name, entry.place_of(name, entry.model)) for name in ENDPOINTS)
        texts = (
            (name if place == STANDARD_PLACES.get(name) else f"{name} at {place}")
            + (_batch_size(entry) if name == "embeddings" else "")
            for name, place in places
            if place
        )
        yield f"  {entry.name}: {', '.join(texts) or 'conversations only'}"


def _batch_size(entry: ModelEntry) -> str:
    """Return the number of texts in one request for embeddings, if the gateway splits longer lists."""
    traits = entry.embeddings_of(entry.model)
    return f" (up to {traits.inputs} texts per request)" if traits.inputs is not None and traits.splits else ""


def ineffective_settings_text(config: Config, reasons: str = "trigate check shows the reasons") -> str | None:
    """Return a sentence that lists the settings without effect, and where the ``reasons`` are; ``None`` if there are
    none."""
    names = tuple(dict.fromkeys(generic_path(setting.path) for setting in config.ineffective))
    if not names:
        return None
    which = f"{count_text(len(names), 'setting')} in {config.path} {'has' if len(names) == 1 else 'have'} no effect"
    return f"{which}: {', '.join(names)} ({reasons}; trigate check --strict reports them as mistakes)."


def check_difference(old: Path, new: Path | None, no_env: bool) -> int:
    """Print what would change, and return an exit status: 0 for no changes, 1 for changes, 2 for mistakes."""
    before, after = (load_or_explain(path, not no_env) for path in (old, new))
    if before is None or after is None:
        return 2
    found = changes(before, after)
    for change in found:
        click.echo(str(change))
    return 1 if found else 0
