"""The result of ``trigate import``: the new file, the settings that were lost, and the summary."""

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import yaml

from gateway.commands.imports.imported_secrets import SecretNames
from gateway.commands.imports.imported_values import escape_dollars
from gateway.commands.imports.losses import Group, Loss
from gateway.commands.terminal import count_text
from gateway.config.loading import from_mapping
from gateway.config.model_names import ModelNames
from gateway.config.names import Found, Names
from providers.endpoints.model_types import ModelType, model_type
from streams.errors import GatewayError

VERSION = "v0.4.0"
PORT: Final = 4000
"""LiteLLM's port."""
NO_KEYS_WARNING: Final = (
    "The file has no master_key, so every client that can connect may use the gateway. If you set LITELLM_MASTER_KEY "
    "for LiteLLM, add that key to client_keys."
)

_SHOWN = 6  # losses of a group in the summary


@attrs.frozen
class Deployment:
    """An item of LiteLLM's ``model_list`` with its new ``entry``.

    ``order`` applies among the items of the same name. So does the first of ``weights`` that any of them has: LiteLLM
    reads ``weight``, ``rpm`` and ``tpm``. ``attempts`` is the maximum number of requests to providers for one client
    request."""

    entry: dict[str, Any]
    order: float | None = None
    weights: tuple[float, ...] = ()
    attempts: int | None = None

    @property
    def name(self) -> str:
        return str(self.entry.get("name", self.entry["model"]))

    @property
    def model(self) -> str:
        """The model's id at the provider."""
        return str(self.entry["model"].partition("/")[2])

    @property
    def type(self) -> ModelType:
        """The type of the model, from the entry or else from the model's name."""
        found: ModelType = self.entry.get("type") or model_type(self.model)
        return found


@attrs.define
class Result:
    """The sections of the new file, and the lost settings of the old one."""

    entries: list[tuple[list[str], dict[str, Any]]] = attrs.field(factory=list)
    deployments: dict[str, list[Deployment]] = attrs.field(factory=dict)
    """The deployments by the name that clients use, without patterns."""
    aliases: dict[str, Any] = attrs.field(factory=dict)
    same: dict[str, str] = attrs.field(factory=dict)
    """Aliases of names with several targets, by alias: each alias repeats the targets."""
    attempts: int | None = None
    retries: dict[str, Any] = attrs.field(factory=dict)
    circuit: dict[str, Any] = attrs.field(factory=dict)
    notes_on_retries: list[str] = attrs.field(factory=list)
    client_keys: list[dict[str, Any]] = attrs.field(factory=list)
    client_groups: list[dict[str, Any]] = attrs.field(factory=list)
    issuers: list[dict[str, Any]] = attrs.field(factory=list)
    opening_spend: list[dict[str, Any]] = attrs.field(factory=list)
    steps: list[dict[str, Any]] = attrs.field(factory=list)
    cache: dict[str, Any] = attrs.field(factory=dict)
    """The store of cached answers."""
    budgets: list[str] = attrs.field(factory=list)
    """The budgets of all clients together."""
    timeouts: dict[str, str] = attrs.field(factory=dict)
    limits: dict[str, Any] = attrs.field(factory=dict)
    providers: dict[str, Mapping[str, Any]] = attrs.field(factory=dict)
    """Providers that the catalogue lacks."""
    secrets: SecretNames = attrs.field(factory=SecretNames)
    tracing: dict[str, Any] | None = None
    variables: Mapping[str, Any] = attrs.field(factory=dict)
    """The variables that the old file sets."""
    provider_defaults: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    """Members of ``litellm_params`` for models without them, by the prefix of their provider."""
    filters_tags: bool = False
    """True if LiteLLM chose among the models of a name by the tags of requests."""
    enforced_rates: Mapping[str, frozenset[str]] = attrs.field(factory=dict)
    """The rates of models that LiteLLM enforces, by model name; ``*`` are all models. Other rates are only weights."""
    strategies: Mapping[str, str] = attrs.field(factory=dict)
    """LiteLLM's routing strategies by model name; ``*`` are all other models."""
    access_groups: dict[str, list[str]] = attrs.field(factory=dict)
    models: int = 0
    """The number of items in the old ``model_list``."""
    missing: list[Loss] = attrs.field(factory=list)
    """Items without a new entry; ``losses`` has them, too."""
    missing_names: dict[str, str] = attrs.field(factory=dict)
    """The names of these items in the old file, with their models."""
    hidden: dict[str, list[str]] = attrs.field(factory=dict)
    """The entries whose name became an alias of other models, by that name."""
    compatibility: list[str] = attrs.field(factory=list)
    """The servers whose paths and headers the clients need."""
    reads_bodies: bool = False
    """True if clients send LiteLLM's own members in bodies."""
    needless: list[str] = attrs.field(factory=list)
    """Settings that need no counterpart: they describe what the gateway does anyway, or are read elsewhere."""
    missing_aliases: list[str] = attrs.field(factory=list)
    """The aliases of the old file that are not in the new one."""
    losses: list[Loss] = attrs.field(factory=list)
    unpriced: bool = False
    """True if a budget in dollars allows models without a price."""
    knows_keys: bool = False
    """True if the operator exported the client keys of LiteLLM's database."""
    no_longer_good: tuple[str, ...] = ()
    """Client keys that are blocked or expired."""
    remarks: list[str] = attrs.field(factory=list)
    """Comments at the end of the file about omitted settings."""

    @property
    def names(self) -> set[str]:
        """The names of entries in the new file."""
        return {entry.get("name", entry["model"]) for _, entry in self.entries}

    @property
    def requested_names(self) -> list[str]:
        """The names and patterns of the old file that the new one serves, without aliases."""
        return [*self.deployments, *sorted(name for name in self.names if "*" in name)]

    def name_test(self) -> Callable[[str], bool]:
        """Return a function that tests whether the new file serves a name."""
        found, written = self.finder(), {*self.names, *self.aliases, *self.deployments}

        def is_served(name: str) -> bool:
            return name in written or (not self.is_missing(name) and found(name) is not None)

        return is_served

    def is_missing(self, name: str) -> bool:
        """Return whether LiteLLM served ``name`` by a model that has no entry in the new file.

        An entry of another provider may still match the name by its family."""
        if name in self.deployments or name in self.names:
            return False
        if name in self.missing_aliases:
            return True
        plain = name.replace("$$", "$")
        patterns = {*self.missing_names, *(one.replace("$$", "$") for one in self.names if "*" in one)}
        fitting = [one for one in patterns if one == plain or ("*" in one and fnmatch.fnmatchcase(plain, one))]
        return bool(fitting) and max(fitting, key=len) in self.missing_names

    @property
    def refused_names(self) -> list[str]:
        """The names that clients could not request, and that the new file would serve.

        They are those of models without an entry, if there is a wildcard, and the new names of entries in groups."""
        kept = {*self.deployments, *self.aliases}
        of_groups = (one.name for deployments in self.deployments.values() for one in deployments)
        hidden = [name for name in dict.fromkeys(of_groups) if name not in kept and "*" not in name]
        return [*hidden, *self._missing_names()]

    def _missing_names(self) -> list[str]:
        if not any("*" in name for name in self.names):
            return []
        kept = {*self.names, *self.deployments, *self.aliases}
        missing = (escape_dollars(name) for name in (*self.missing_names, *self.missing_aliases))
        return [name for name in dict.fromkeys(missing) if name not in kept]

    def finder(self) -> Callable[[str], Found | None]:
        """Return a function that finds the entry for a name, without aliases."""
        entries: dict[str, dict[str, Any]] = {}
        for number, (_, entry) in enumerate(self.entries):
            name = entry.get("name", entry["model"])
            name = f"{name} {number}" if name in entries else name  # items of a group still share a name
            entries[name] = {**entry, "name": name} if "*" not in name else entry
        content = {"version": VERSION, "providers": self.providers, "model_providers": [*entries.values()]}
        direct = Names(from_mapping(content).entries, {}, rules=ModelNames(exact=True)).direct

        def find(name: str) -> Found | None:
            try:
                return direct(name)
            except GatewayError:  # several entries match
                return None

        return find

    def lose_model(self, name: str | None, loss: Loss) -> str:
        """Record that the item of ``model_list`` with this ``name`` has no entry. Return the comment."""
        self.missing.append(loss)
        if name is not None:
            self.missing_names.setdefault(name, loss.what)
        self.losses.append(loss)
        return str(loss)

    def add_losses(self, losses: Sequence[Loss]) -> None:
        """Record lost settings, with comments at the end of the file."""
        self.losses += losses
        self.remarks += map(str, losses)

    def note_loss(self, what: str, reason: tuple[Group, str]) -> None:
        """Record a lost setting, with a comment at the end of the file."""
        self.add_losses([Loss(reason[0], what, reason[1])])

    def leave_out(self, what: str, reason: tuple[Group, str]) -> str:
        """Record a lost setting, and return the comment."""
        loss = Loss(reason[0], what, reason[1])
        self.losses.append(loss)
        return str(loss)


# The text


def lines(result: Result, source: str) -> Iterator[str]:
    """Yield the lines of the new file."""
    yield f"# Converted from {one_line(source)} by trigate import. Check it: trigate check"
    if counts := ", ".join(f"{group.value} {len(losses)}" for group, losses in _group_losses(result.losses)):
        yield f"# Not converted, see the comments below: {counts}"
    yield f"version: {VERSION}"
    yield ""
    yield "listeners:"
    yield f"  # {PORT} is the old port. To listen on all addresses, as LiteLLM does: `address: 0.0.0.0`"
    yield f"  - {{type: model, name: models, address: 127.0.0.1, port: {PORT}}}"
    yield ""
    yield from _provider_lines(result)
    yield "model_providers:"
    for remarks, entry in result.entries:
        yield from (f"  # {one_line(remark)}" for remark in remarks)
        for number, (key, value) in enumerate(entry.items()):
            yield f"  {' ' if number else '-'} {key}: {as_yaml(value)}"
    if result.aliases:
        yield from ("", "model_aliases:")
        for alias, target in result.aliases.items():
            yield from _alias_lines(alias, target)
    yield from _name_lines(result)
    yield from _client_lines(result)
    yield from _step_lines(result)
    for key, value, notes in _settings(result):
        if value is not None:
            yield from ("", *(f"# {one_line(note)}" for note in notes), f"{key}: {as_yaml(value)}")
    if result.remarks:
        yield ""
        yield from (f"# {one_line(remark)}" for remark in result.remarks)


def _settings(result: Result) -> Iterator[tuple[str, Any, Sequence[str]]]:
    """Yield the root's settings that one line can contain, with the comments before them; ``None`` for absent ones."""
    yield "cache", result.cache or None, ()
    yield "budgets", result.budgets or None, ()
    yield "unpriced", "allow" if result.unpriced else None, ()
    yield "compatibility", result.compatibility or None, ()
    yield "tracing", result.tracing, ()
    yield "retries", result.retries or None, result.notes_on_retries
    yield "circuit", result.circuit or None, ("When the gateway pauses a failing target, and how long",)
    yield "timeouts", result.timeouts or None, ()
    yield "limits", result.limits or None, ("in_flight applies to each worker",) if "in_flight" in result.limits else ()


def _provider_lines(result: Result) -> Iterator[str]:
    if result.providers:
        yield "providers:"
        yield from (f"  {name}: {as_yaml(dict(settings))}" for name, settings in result.providers.items())
        yield ""


def _name_lines(result: Result) -> Iterator[str]:
    refused = {"refused": result.refused_names} if result.refused_names else {}
    yield from ("", "# As in LiteLLM, clients may request only the names in this file")
    yield f"model_names: {as_yaml({'exact': True, **refused})}"


def _client_lines(result: Result) -> Iterator[str]:
    yield from _list_lines("client_groups", result.client_groups)
    yield from _list_lines("client_keys", result.client_keys)
    if not result.client_keys and not result.issuers:
        yield from ("", f"# {NO_KEYS_WARNING}")
    yield from _list_lines("issuers", result.issuers)
    spent = "What they have spent in LiteLLM's present periods: remove it when all have ended"
    yield from _list_lines("opening_spend", result.opening_spend, spent)


def _step_lines(result: Result) -> Iterator[str]:
    yield from _list_lines("steps", result.steps)
    if result.reads_bodies or any(step.get("for") == "on_request" for step in result.steps):
        yield from ("", "client_routing: [litellm]")


def _list_lines(key: str, items: Sequence[Any], note: str | None = None) -> Iterator[str]:
    if items:
        yield from ("", *([] if note is None else [f"# {note}"]), f"{key}:")
        yield from (f"  - {as_yaml(item)}" for item in items)


def _alias_lines(alias: str, target: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of an alias; each of several targets is on its own line."""
    if "targets" not in target:
        yield f"  {as_yaml(alias)}: {as_yaml(target)}"
        return
    yield f"  {as_yaml(alias)}:"
    yield "    targets:"
    yield from (f"      - {as_yaml(one)}" for one in target["targets"])
    yield from (f"    {key}: {as_yaml(value)}" for key, value in target.items() if key != "targets")


def summary(result: Result) -> Iterator[str]:
    """Yield the lines of the summary: the converted sections, and the lost settings by group."""
    counts = [count_text(result.models, "model")]
    counts[0] = f"{len(result.entries)} of {counts[0]}"
    routes = sum("targets" in target for target in result.aliases.values())
    aliases = len(result.aliases) - routes
    counts += [count_text(aliases, "alias", "es")] if aliases else []
    counts += [f"{count_text(routes, 'name')} with several targets (groups and fallbacks)"] if routes else []
    counts += [count_text(len(result.client_groups), "group")] if result.client_groups else []
    counts += [count_text(len(result.client_keys), "client key")] if result.client_keys else []
    counts += [count_text(len(result.steps), "step")] if result.steps else []
    last = counts.pop()
    yield f"Converted: {' and '.join(filter(None, (', '.join(counts), last)))}."
    if not result.client_keys and not result.issuers:
        yield NO_KEYS_WARNING
    if result.no_longer_good:
        yield f"Omitted keys that were invalid already: {', '.join(map(one_line, result.no_longer_good))}."
    if result.losses:
        yield from summarize_losses(result.losses)
    else:
        yield "Nothing was lost."


def summarize_losses(losses: Sequence[Loss]) -> Iterator[str]:
    """Yield the lines about ``losses``, by group."""
    trifles = all(loss.group is Group.TRIFLES for loss in losses)
    yield f"Not converted, see the comments in the file{' (unimportant settings only)' if trifles else ''}:"
    for group, some in _group_losses(losses):
        shown = [one_line(loss.what) for loss in some[:_SHOWN]]
        more = [f"{len(some) - _SHOWN} more"] if len(some) > _SHOWN else []
        yield f"  {group.value} ({len(some)}): {', '.join((*shown, *more))}."


def _group_losses(losses: Sequence[Loss]) -> Iterator[tuple[Group, list[Loss]]]:
    for group in Group:
        if found := [loss for loss in losses if loss.group is group]:
            yield group, found


def as_yaml(value: Any) -> str:
    """Return ``value`` on one line of YAML."""
    return yaml.safe_dump([value], default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)[1:-2]


def one_line(text: str) -> str:
    """Return ``text`` without control characters and line breaks."""
    return re.sub(r"[^\x20-\x7e\xa0-\ud7ff]+", " ", text)
