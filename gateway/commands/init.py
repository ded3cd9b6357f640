"""``trigate init``: a first configuration, with the providers whose keys are in the environment, and with the models
that an Ollama on this machine has pulled."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import click

from gateway.commands.ollama import Local, local
from gateway.config.loading import ConfigError, load
from providers.catalog.providers import CATALOG, Provider

FILE = Path("trigate.yaml")


@attrs.frozen
class Start:
    """The models of a provider that a new configuration names: ``large`` as the default, ``small`` for small tasks."""

    large: str
    small: str


STARTS: Mapping[str, Start] = {
    "openai": Start("gpt-6.1-sol", "gpt-6-luna"),
    "anthropic": Start("claude-sonnet-5-5", "claude-haiku-5-5"),
    "gemini": Start("gemini-3.8-flash", "gemini-3.5-flash-lite"),
    "xai": Start("grok-4.7", "grok-4.3"),
}
"""Where it is not the first and the last model that the catalogue lists."""

LINES: Mapping[str, str] = {
    "anthropic": "    # Translates for Chat and Responses clients: Anthropic's own Chat endpoint would lose\n"
    "    # thinking, prompt caching and PDFs.\n"
    "    speaks: [messages]\n",
}
"""What an entry needs beside its key, and why."""

SHARED_KEYS = {"GITHUB_TOKEN", "HF_TOKEN"}
"""Variables that are mostly set for something else: their providers are written as a comment."""


def run(path: Path | None, yes: bool, force: bool) -> int:
    """Write the configuration. Exit status 0, 1 where that cannot be."""
    path = path or FILE
    if path.exists() and not force:
        click.echo(f"{path} is there already: --force overwrites it, another name as FILE leaves it", err=True)
        return 1
    found = [row for row in CATALOG.values() if row.key_env and os.environ.get(row.key_env)]
    usable = [row for row in found if _is_complete(row) and row.key_env not in SHARED_KEYS]
    models = [row for row in usable if start_of(row) is not None]
    default, keyed, here = models[0] if models else None, False, local(os.environ)
    if not yes and sys.stdin.isatty():
        here = here if here is not None and _wants(here) else None
        usable, default, keyed = _ask(usable, models)
    text = configuration(usable, default, [row for row in found if row not in usable], keyed, here)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        click.echo(f"{path} cannot be written: {(error.strerror or 'unwritable').lower()}", err=True)
        return 1
    _report(path, usable, keyed, here)
    return 0


def _is_complete(row: Provider) -> bool:
    """True if it has an address that is the same for all."""
    return row.base_url is not None and not row.lacking(None)


def start_of(row: Provider) -> Start | None:
    """The models to begin with; None where none are known."""
    return STARTS.get(row.id) or (Start(row.models[0], row.models[-1]) if row.models else None)


def _wants(here: Local) -> bool:
    return click.confirm(f"Ollama runs here with {_counted(here)}: use {'it' if len(here.models) == 1 else 'them'}?",
                         default=True)  # fmt: skip


def _counted(here: Local) -> str:
    return f"{len(here.models)} model{'' if len(here.models) == 1 else 's'}"


def _ask(usable: Sequence[Provider], models: Sequence[Provider]) -> tuple[list[Provider], Provider | None, bool]:
    """The providers, the default's and whether clients need a key, as the person at the terminal says."""
    wanted = [row for row in usable if click.confirm(f"{row.key_env} is set: use {row.display_name}?", default=True)]
    choices = [row.id for row in wanted if row in models]
    default = CATALOG[choices[0]] if choices else None
    if len(choices) > 1:
        default = CATALOG[click.prompt("Whose model is the default?", type=click.Choice(choices), default=choices[0])]
    keyed = click.confirm("Will clients need a key of this gateway ($TRIGATE_API_KEY)?", default=False)
    return wanted, default, keyed


def _report(path: Path, usable: Sequence[Provider], keyed: bool, here: Local | None) -> None:
    ollama = "Ollama on this machine" + (f" ({_counted(here)})" if here is not None else "")
    names = [row.display_name for row in usable] + ([ollama] if here is not None else [])
    says = ", ".join(names) if usable else f"{ollama}: no key of a provider is in the environment"
    click.echo(f"wrote {path}, with {says}")
    if keyed and not os.environ.get("TRIGATE_API_KEY"):
        click.echo('then: export TRIGATE_API_KEY="$(openssl rand -hex 32)"')
    try:
        load(path, os.environ if not keyed else {**os.environ, "TRIGATE_API_KEY": "any"})
    except ConfigError as error:  # such as an environment that changed meanwhile
        click.echo(str(error), err=True)
    named = "" if path == FILE else f" {path}"
    option = "" if path == FILE else f" --config {path}"
    commands = {
        f"trigate check{named}": "what is wrong with it, if anything",
        f"trigate doctor{option}": "try each model",
        f"trigate serve{named}": "run it",
        f"trigate connect claude{option}": "point a client at it; --list shows which",
    }
    width = max(map(len, commands))
    for command, what in commands.items():
        click.echo(f"then: {command:{width}}  {what}")


# The text


def configuration(
    usable: Sequence[Provider],
    default: Provider | None,
    others: Sequence[Provider] = (),
    keyed: bool = False,
    here: Local | None = None,
) -> str:
    """A commented configuration for ``usable`` and the models of ``here``, with ``others`` as comments. It holds no
    secret."""
    pulled = [_pulled(here, is_default=default is None)] if here is not None else []
    entries = "\n".join([*(_entry(row, row is default) for row in usable), *pulled]) or _OLLAMA
    comments = "".join(_commented(row) for row in others)
    return (
        _HEAD
        + entries
        + (f"\n{comments}".rstrip("\n") + "\n" if comments else "")
        + _aliases(default, here, usable)
        + (_KEYS if keyed else _in_comments(_KEYS))
        + _in_comments(_STATE)
    )


_HEAD = """\
# trigate's configuration. `trigate check` shows every mistake in it, docs/configuration.md has every key.
version: v0.3.0

listeners:
  - {type: model, name: models, address: 127.0.0.1, port: 12000}   # 0.0.0.0: for other machines too; see client_keys

# $NAME is taken from the environment: no key stands in this file.
model_providers:
"""

_OLLAMA = """\
  - model: ollama/llama3.2         # a model that you have pulled: ollama list
    default: true

  # - model: openai/gpt-6-luna
  #   access_key: $OPENAI_API_KEY

  # - model: anthropic/claude-sonnet-5-5
  #   access_key: $ANTHROPIC_API_KEY
  #   speaks: [messages]
"""

_KEYS = """
# Who may come in. Without this, everybody who can connect.
client_keys:
  - name: me                       # stands in the log
    key: $TRIGATE_API_KEY          # openssl rand -hex 32
    # models: [fast]               # all, unless some are named
"""

_STATE = """
# Where responses, conversations and threads are kept that clients go on from. Without this, in memory.
state_storage:
  type: sqlite
  path: trigate.sqlite
"""


def _entry(row: Provider, is_default: bool) -> str:
    """All models of the provider, and before them the default by its name."""
    key = f"    access_key: ${row.key_env}\n{LINES.get(row.id, '')}"
    start = start_of(row)
    known = f"   # all of its models, such as {start.small}" if start else f"   # ask for {row.id}/MODEL"
    every = f"  - model: {row.id}/*{known}\n{key}"
    if not is_default or start is None:
        return every
    return f"  - model: {row.id}/{start.large}\n    default: true   # for requests that name no model\n{key}\n{every}"


def _pulled(here: Local, is_default: bool) -> str:
    """An entry for each model that Ollama has."""
    at = f"    base_url: {here.base_url}\n" if here.base_url else ""
    default = "    default: true   # for requests that name no model\n"
    entries = (
        f"  - model: ollama/{name}\n{at}{default if is_default and not number else ''}"
        for number, name in enumerate(here.models)
    )
    return "  # Pulled by the Ollama of this machine. ollama/* takes every name.\n" + "".join(entries)


def _commented(row: Provider) -> str:
    """An entry that is to be filled in or wanted first."""
    lacking = "".join(f"\n  #   {name}: …   # yours" for name in row.lacking(None))
    missing = lacking if row.base_url else f"\n  #   base_url: {row.address or 'https://…'}   # yours"
    return f"  # - model: {row.id}/MODEL{missing}\n  #   access_key: ${row.key_env}\n\n"


def _aliases(default: Provider | None, here: Local | None, usable: Sequence[Provider]) -> str:
    routed = [row for row in usable if row is not default and start_of(row) is not None]
    if default is not None and routed:
        return _NAMES + _routes((default, routed[0]))
    start = start_of(default) if default is not None else here
    maker = default.id if default is not None else "ollama"
    smart, fast = (f"{maker}/{start.large}", f"{maker}/{start.small}") if start is not None else _LOCAL
    if start is None and usable:  # a provider of whose models none is known
        smart = fast = f"{usable[0].id}/MODEL"
    aliases = f"model_aliases:\n  smart: {{target: {smart}}}\n  fast: {{target: {fast}}}\n"
    return _NAMES + (_in_comments(aliases) if start is None and usable else aliases)


def _routes(rows: Sequence[Provider]) -> str:
    """Names that the second provider answers to where the first does not."""
    starts = [(row.id, start) for row in rows if (start := start_of(row)) is not None]
    large = ", ".join(f"{id}/{start.large}" for id, start in starts)
    small = ", ".join(f"{id}/{start.small}" for id, start in starts)
    return f"{_ROUTED}model_aliases:\n  smart: {{targets: [{large}]}}\n  fast: {{targets: [{small}]}}\n"


_NAMES = "\n# Names of your own: programs ask for these, and stay as they are when the model changes.\n"
_ROUTED = """\
# Targets are tried in this order: where the first is down, overloaded or out of money, the second answers the same
# request. `trigate explain smart` shows how; a list inside the list shares the load: [[a, b], c].
"""
_LOCAL = ("ollama/llama3.2", "ollama/llama3.2")


def _in_comments(text: str) -> str:
    return "".join(line if line.startswith("#") or not line.strip() else f"# {line}" for line in text.splitlines(True))
