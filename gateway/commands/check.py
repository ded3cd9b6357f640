"""``trigate check``: the mistakes of a configuration, and what two of them differ in."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import click

from configfile.document import sentence
from gateway.commands.terminal import say
from gateway.config.changes import changes
from gateway.config.listening import exposure
from gateway.config.loading import Config, ConfigError, discover, load, trust_in, users_file
from gateway.config.model_entry import ModelEntry
from gateway.config.names import listed_names
from gateway.serving.tls import CertificateFailed
from providers.endpoints.endpoint import ENDPOINTS, STANDARD_PLACES
from providers.neutral.fields import generic


def load_or_explain(config: Path | None, with_env: bool = True, within: Collection[str] | None = None) -> Config | None:
    """The config that the command line means, with the environment or parts ``within`` it; ``None`` after its mistakes
    have been printed."""
    try:
        found = discover(Path.cwd(), os.environ, config)
        if config is None and found == users_file(os.environ) != Path.cwd() / found.name:
            say(f"There is no configuration in this folder: taking yours, {found}.")
        trust = trust_in(found, os.environ, config)
        return load(_short(found), os.environ if with_env else None, trust=trust, within=within)
    except ConfigError as error:
        say(str(error))
        return None


def _short(path: Path) -> Path:
    """The path as one would write it here: every message begins with it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def check(path: Path | None, no_env: bool, strict: bool = False, *, endpoints: bool = False) -> int:
    """Exit status 0 for a good config, 1 for one with mistakes. If ``strict``, a setting without effect is one. With
    ``endpoints`` it says what each entry has beside conversations."""
    config = load_or_explain(path, not no_env)
    if config is None:
        return 1
    if strict and config.ineffective:
        say(ConfigError(config.ineffective).listed("settings that have no effect"))
        return 1
    remarks = (*config.remarks, *(("warning", f"{exposure(one)} (serve refuses it)") for one in config.exposed))
    for kind, text in remarks:
        say(sentence(f"{kind}: {text}"))
    try:
        for text in () if no_env else _certificate_remarks(config):
            say(sentence(f"warning: {text}"))
    except CertificateFailed as error:
        say(f"{config.path}: {error}")
        return 1
    models = len({*config.aliases, *config.routes, *(name for one in config.entries for name in listed_names(one))})
    click.echo(f"{config.path}: good ({_counted(len(config.entries), 'provider')}, {_counted(models, 'model name')})")
    for line in _endpoints(config) if endpoints else ():
        click.echo(line)
    if (idle := no_effect(config)) is not None:
        say(f"WARNING: {idle}", fg="red", bold=True)
    return 0


def _certificate_remarks(config: Config) -> Sequence[str]:
    if all(one.tls is None for one in config.listeners):
        return ()
    from gateway.commands.listening import certificate_remarks  # with the server's library, which nothing else needs

    return certificate_remarks(config)


def _endpoints(config: Config) -> Iterator[str]:
    """What each entry has beside conversations, with the paths where they are not the usual ones."""
    for entry in config.entries:
        had = ((name, entry.place_of(name, entry.model)) for name in ENDPOINTS)
        told = (
            (name if place == STANDARD_PLACES.get(name) else f"{name} at {place}")
            + (_at_once(entry) if name == "embeddings" else "")
            for name, place in had
            if place
        )
        yield f"  {entry.name}: {', '.join(told) or 'conversations alone'}"


def _at_once(entry: ModelEntry) -> str:
    """How many texts are embedded at once, where a longer list is cut."""
    traits = entry.embeddings_of(entry.model)
    return f" for {traits.inputs} texts at once" if traits.inputs is not None and traits.splits else ""


def no_effect(config: Config) -> str | None:
    """A sentence on the settings that change nothing, if there are any."""
    names = tuple(dict.fromkeys(generic(setting.path) for setting in config.ineffective))
    if not names:
        return None
    which = f"{_counted(len(names), 'setting')} in {config.path} {'has' if len(names) == 1 else 'have'} no effect"
    hint = "trigate check says why, and trigate check --strict refuses the file"
    return f"{which}: {', '.join(names)} ({hint})."


def check_difference(old: Path, new: Path | None, no_env: bool) -> int:
    """Exit status as diff's: 0 if nothing would change, 1 if something would, 2 if one of the two has mistakes."""
    before, after = load_or_explain(old, not no_env), load_or_explain(new, not no_env)
    if before is None or after is None:
        return 2
    found = changes(before, after)
    for change in found:
        click.echo(str(change))
    return 1 if found else 0


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
