"""``trigate init``: writes a first configuration, for plans, providers with keys in the environment and a local
Ollama."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import attrs
import click
import msgspec

from configfile.document import ConfigError
from configfile.users_files import replace_file
from gateway.commands.dotenv import advise_loading, names_in_dotenv
from gateway.commands.fetching import FetchError, fetch
from gateway.commands.plans import PersonalPlan, plans_here
from gateway.commands.terminal import count_text, say, wrap_sentences
from gateway.config_files.loading import load
from gateway.file_search import users_file
from providers.catalog.provider import Provider
from providers.catalog.providers import CATALOG
from streams.surrogates import NOT_JSON

VARIABLE = "OLLAMA_HOST"
"""Ollama's own variable for its address; scheme, host and port are optional."""

_TIMEOUT = 0.5
_HERE = {"localhost": "localhost", "127.0.0.1": "127.0.0.1", "::1": "[::1]", "0.0.0.0": "localhost", "::": "localhost"}
"""Host names of this machine, with the address to use: init queries no other host, and uses no proxy."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")


@attrs.frozen
class Local:
    """The ``models`` of a local Ollama, the latest first; ``base_url`` is None for the default address."""

    models: tuple[str, ...]
    large: str
    small: str
    base_url: str | None = None


@attrs.frozen
class _Details:
    family: str = ""


@attrs.frozen
class _Tag:
    name: str
    size: int = 0
    details: _Details | None = None

    @property
    def generates_text(self) -> bool:
        """Whether the model generates text, unlike embedding models."""
        family = self.details.family if self.details is not None else ""
        return _NAME.fullmatch(self.name) is not None and "embed" not in self.name and "bert" not in family


@attrs.frozen
class _Tags:
    models: tuple[_Tag, ...] = ()


def query_local_ollama(env: Mapping[str, str]) -> Local | None:
    """Return the models of the local Ollama; ``None`` if it does not respond in 0.5 s or has no chat model."""
    address = _local_address(env.get(VARIABLE, ""))
    if address is None:
        return None
    try:
        tags = msgspec.json.decode(_fetch_model_list(*address), type=_Tags)
    except (FetchError, *NOT_JSON):
        return None
    found = [tag for tag in tags.models if tag.generates_text]
    if not found:
        return None
    by_size = sorted(found, key=lambda tag: tag.size)
    base_url = f"http://{_HERE[address[0]]}:{address[1]}"
    usual = base_url == CATALOG["ollama"].base_url
    names = tuple(tag.name for tag in found)
    return Local(names, by_size[-1].name, by_size[0].name, None if usual else base_url)


def _local_address(given: str) -> tuple[str, int] | None:
    """Return host and port, ``None`` for another machine or an invalid address."""
    text = given.strip()
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        host, port = parts.hostname or "localhost", parts.port or 11434
    except ValueError:
        return None
    return (host, port) if host in _HERE and parts.scheme in ("", "http") else None


def _fetch_model_list(host: str, port: int) -> bytes:
    """Return the JSON list of Ollama's models. Raises ``FetchError``."""
    status, body = fetch(f"http://{_HERE[host]}:{port}/api/tags", {"accept": "application/json"}, _TIMEOUT)
    return body if status == 200 else b"{}"


FILE = Path("trigate.yaml")


@attrs.frozen
class Start:
    """The models of a provider for a new configuration: ``large`` as the default, ``small`` for small tasks."""

    large: str
    small: str


STARTS: Mapping[str, Start] = {
    "openai": Start("gpt-6.1-sol", "gpt-6-luna"),
    "anthropic": Start("claude-sonnet-5-5", "claude-haiku-5-5"),
    "gemini": Start("gemini-3.8-flash", "gemini-3.5-flash-lite"),
    "xai": Start("grok-4.7", "grok-4.3"),
}
"""Exceptions; other providers start with the first and the last model in the catalogue."""

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "project": ("GOOGLE_CLOUD_PROJECT",),
    "location": ("GOOGLE_CLOUD_LOCATION",),
}
"""The vendors' own variables for parts of an address."""

LIKELY: Mapping[str, str] = {"region": "us-east-1", "project": "PROJECT", "location": "global"}
"""Example values for comments if no variable is set."""


SHARED_KEYS = {"GITHUB_TOKEN", "HF_TOKEN"}
"""Variables that often serve other purposes: their providers are written as comments."""


def run(file: Path | None, force: bool) -> int:
    """Run ``trigate init`` and return its exit status: 0, or 1 if the file was not written."""
    path = file or FILE
    if path.exists() and not force:
        say(f"{path} exists already: overwrite it with --force, or give another FILE")
        return 1
    found = providers_with_keys(os.environ)
    usable = [row for row in found if row.base_url is not None and row.key_env not in SHARED_KEYS]
    usable = [row for row in usable if all(_address_part(name, os.environ) for name in row.missing_settings(None))]
    models = [row for row in usable if start_of(row) is not None]
    default, here = models[0] if models else None, query_local_ollama(os.environ)
    plans = plans_here(os.environ)
    others = [row for row in found if row not in usable]
    state = path.absolute().with_suffix(".sqlite")
    text = configuration(usable, default, others, here, os.environ, state, plans)
    try:
        data = text.encode()
    except UnicodeEncodeError:  # of the state file's path
        say(f"cannot write {path}: the configuration contains its path, which is not UTF-8: give another FILE")
        return 1
    try:
        if path == users_file(os.environ):
            path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)
    except OSError as error:
        say(f"cannot write {path}: {(error.strerror or 'unwritable').lower()}")
        return 1
    _print_summary(path, usable, here, plans)
    return 0


def providers_with_keys(env: Mapping[str, str]) -> list[Provider]:
    """Return the providers whose keys are in ``env``; the first one if several use the same variable."""
    rows: dict[str, Provider] = {}
    for row in CATALOG.values():
        if row.key_env and env.get(row.key_env):
            rows.setdefault(row.key_env, row)
    return list(rows.values())


def _address_part(name: str, env: Mapping[str, str]) -> str:
    """Return the value in ``env`` for a part of an address, "" if there is no valid one."""
    value = next((env[variable] for variable in SETTINGS.get(name, ()) if env.get(variable)), "")
    return value if value.replace("-", "").isalnum() else ""


def start_of(row: Provider) -> Start | None:
    """Return the initial models of a provider, None if no model is known."""
    return STARTS.get(row.id) or (Start(row.models[0], row.models[-1]) if row.models else None)


def _print_summary(path: Path, usable: Sequence[Provider], here: Local | None, plans: Sequence[PersonalPlan]) -> None:
    names = [f"your {plan.title} plan" for plan in plans] + [row.display_name for row in usable]
    if here is not None:
        names.append(f"Ollama on this machine ({count_text(len(here.models), 'model')})")
    says = ", ".join(names) + ("" if usable else "; the environment has no key of a provider")
    if not names:
        says = (
            "an example: there is no key of a provider in the environment, and no Ollama with a model on this machine. "
            "Edit model_providers; or set a key, such as OPENAI_API_KEY, and run trigate init --force"
        )
    sentences = [f"wrote {path} with {says}"]
    in_file = dict.fromkeys(names_in_dotenv().difference(os.environ), "any")
    if unset := [str(row.key_env) for row in providers_with_keys(in_file)]:
        sentences.append(advise_loading(unset, ", then trigate init --force"))
    for line in wrap_sentences(sentences):
        click.echo(line)
    try:
        load(path, os.environ)
    except ConfigError as error:  # such as an environment that changed meanwhile
        say(str(error))
    option = "" if path in (FILE, users_file(os.environ)) else f" --config {path}"
    commands = {
        f"trigate check{option}": "find mistakes",
        f"trigate doctor{option}": "test each model",
        f"trigate serve{option}": "run the gateway",
        f"trigate connect claude{option}": "connect a client; --list shows all",
        **{
            f"trigate connect {plan.program} --login{option} --": f"run {plan.program_title} with your plan"
            for plan in plans
        },
    }
    width = max(map(len, commands))
    for command, what in commands.items():
        click.echo(f"then: {command:{width}}  {what}")


# The text


def configuration(
    usable: Sequence[Provider],
    default: Provider | None,
    others: Sequence[Provider] = (),
    here: Local | None = None,
    env: Mapping[str, str] = MappingProxyType({}),
    state: Path = Path("trigate.sqlite"),
    plans: Sequence[PersonalPlan] = (),
) -> str:
    """Return a commented configuration without secrets, for the providers ``usable``, the local models ``here`` and the
    ``plans``.

    ``others`` become comments. Regions and the like come from ``env``; ``state`` is the state file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only this command needs it

    templates = Environment(
        loader=PackageLoader("gateway", "commands/templates"),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    templates.filters |= {
        "address_settings": lambda row: _address_settings(row, env),
        "comment_out": _comment_out,
        "start": start_of,
        "yaml_path": _yaml_path,
    }
    return templates.get_template("first_config.yaml.jinja").render(
        usable=usable,
        default=default,
        here=here,
        others=others,
        plans=plans,
        own_names={plan.keyed: plan.keyed_entry for plan in plans if plan.keyed_entry != plan.keyed},
        families={plan.family: _family_targets(plan, usable, here) for plan in plans},
        targets_by_alias=_targets_by_alias(default, here, usable, plans),
        has_unknown_models=default is None and here is None and usable and not plans,
        state=state,
    )


def _yaml_path(path: Path) -> str:
    """Return ``path`` as a YAML value, with dollar signs escaped."""
    text = str(path).replace("$", "$$")
    return text if re.fullmatch(r"[\w./$-]+", text) else json.dumps(text, ensure_ascii=False)


def _address_settings(row: Provider, env: Mapping[str, str]) -> list[str]:
    """Return the settings for the provider's address, from ``env`` or as examples to correct."""
    found = ((name, _address_part(name, env)) for name in row.missing_settings(None))
    return [f"{name}: {known}" if known else f"{name}: {LIKELY[name]}   # yours" for name, known in found]


def _family_targets(plan: PersonalPlan, usable: Sequence[Provider], here: Local | None) -> str:
    """Return the targets of a family of names in YAML: the plan, a key once the plan is exhausted, the local model."""
    paid = f"{{target: {plan.keyed_entry}/*, when: [quota, rate_limited, overloaded]}}"
    keyed = [paid] if any(row.id == plan.keyed for row in usable) else []
    return ", ".join([f"{plan.entry}/*", *keyed, *([f"ollama/{here.large}"] if here is not None else [])])


def _targets_by_alias(
    default: Provider | None, here: Local | None, usable: Sequence[Provider], plans: Sequence[PersonalPlan]
) -> Mapping[str, Sequence[str]]:
    """Return the targets of the aliases. The second provider is the fallback of the first."""
    starts: list[tuple[str, Start | Local]] = []
    if default is not None:
        rows = [default, *(row for row in usable if row is not default and start_of(row) is not None)][:2]
        names = {plan.keyed: plan.keyed_entry for plan in plans}
        starts = [(names.get(row.id, row.id), start) for row in rows if (start := start_of(row)) is not None]
    elif here is not None:
        starts = [("ollama", here)]
    elif plans:
        return {}
    if not starts:  # no model is known
        name = f"{usable[0].id}/MODEL" if usable else "ollama/llama3.2"
        return {"smart": [name], "fast": [name]}
    return {
        "smart": [f"{id}/{start.large}" for id, start in starts],
        "fast": [f"{id}/{start.small}" for id, start in starts],
    }


def _comment_out(text: str) -> str:
    return "".join(line if line.startswith("#") or not line.strip() else f"# {line}" for line in text.splitlines(True))
