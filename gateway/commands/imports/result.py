"""The result of ``trigate import``: the new file, the settings that were lost, and the summary."""

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import yaml

from gateway.commands.imports.imported_secrets import SecretNames
from gateway.commands.imports.imported_values import escape_dollars, is_plain
from gateway.commands.imports.losses import Group, Loss, Reason
from gateway.commands.terminal import count_text
from gateway.config.aliases import Route
from gateway.config.names import Found, Names
from gateway.config.patterns import ModelNames
from gateway.config_files.loading import from_mapping
from providers.endpoints.model_types import ModelType, model_type
from streams.errors import GatewayError

VERSION = "v0.4.0"
PORT: Final = 4000
"""LiteLLM's port."""
NO_KEYS_WARNING: Final = (
    "The file has no master_key, so every client that can connect may use the gateway. If you set LITELLM_MASTER_KEY "
    "for LiteLLM, add that key to client_keys."
)
_WITHOUT_REASON: Final = "A setting below without a reason has no counterpart, or needs none."
OMITTED: Final = "omitted, because the key was invalid already: "
"""The start of a remark on a client key."""

_SHOWN = 6  # trifles and unknown settings in the summary


@attrs.frozen
class Deployment:
    """An item of LiteLLM's ``model_list`` with its new ``entry``.

    ``order`` applies among the items of the same name. So does the first of ``weights`` that any of them has: LiteLLM
    reads ``weight``, ``rpm`` and ``tpm``. ``attempts`` is the maximum number of requests to providers for one client
    request. ``old_model`` is ``litellm_params.model``, which LiteLLM also serves as a name."""

    entry: dict[str, Any]
    order: float | None = None
    weights: tuple[float, ...] = ()
    attempts: int | None = None
    old_model: str = ""

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

    models: int = 0
    """The number of items in the old ``model_list``."""
    entries: list[tuple[list[str], dict[str, Any]]] = attrs.field(factory=list)
    """The entries, each with the comments before it."""
    deployments: dict[str, list[Deployment]] = attrs.field(factory=dict)
    """The deployments by the name that clients use, without patterns."""
    aliases: dict[str, Any] = attrs.field(factory=dict)
    wildcards: dict[str, list[str]] = attrs.field(factory=dict)
    """The targets of wildcard aliases, whose entries only they use."""
    private: list[str] = attrs.field(factory=list)
    """The names of these entries."""
    model_ids: dict[str, Any] = attrs.field(factory=dict)
    """Aliases whose names are the models of ``litellm_params``."""
    same: dict[str, str] = attrs.field(factory=dict)
    """Aliases of names with several targets, by alias: each alias repeats the targets."""
    client_keys: list[dict[str, Any]] = attrs.field(factory=list)
    client_groups: list[dict[str, Any]] = attrs.field(factory=list)
    opening_spend: list[dict[str, Any]] = attrs.field(factory=list)
    providers: dict[str, Mapping[str, Any]] = attrs.field(factory=dict)
    """Providers that the catalogue lacks."""
    settings: dict[str, Any] = attrs.field(factory=dict)
    """The other settings of the root."""
    comments: dict[str, str] = attrs.field(factory=dict)
    """The comments before settings of the root."""
    secrets: SecretNames = attrs.field(factory=SecretNames)
    variables: Mapping[str, Any] = attrs.field(factory=dict)
    """The variables that the old file sets."""
    filters_tags: bool = False
    """True if LiteLLM chose among the models of a name by the tags of requests."""
    enforced_rates: Mapping[str, frozenset[str]] = attrs.field(factory=dict)
    """The rates of models that LiteLLM enforces, by model name; ``*`` are all models. Other rates are only weights."""
    strategies: Mapping[str, str] = attrs.field(factory=dict)
    """LiteLLM's routing strategies by model name; ``*`` are all other models."""
    access_groups: dict[str, list[str]] = attrs.field(factory=dict)
    missing: list[Loss] = attrs.field(factory=list)
    """Items without a new entry; ``losses`` has them, too."""
    missing_names: dict[str, str] = attrs.field(factory=dict)
    """The names of these items and of missing aliases in the old file, with their models."""
    hidden: dict[str, list[str]] = attrs.field(factory=dict)
    """The entries whose name became an alias of other models, by that name."""
    refused_families: list[str] = attrs.field(factory=list)
    """Patterns of names that LiteLLM sends to another provider than the new file would."""
    needless: list[str] = attrs.field(factory=list)
    """Settings that need no counterpart: they describe what the gateway does anyway, or are read elsewhere."""
    losses: list[Loss] = attrs.field(factory=list)
    knows_keys: bool = False
    """True if the database of LiteLLM was read."""
    no_longer_good: tuple[str, ...] = ()
    """Client keys that are blocked or expired."""
    remarks: list[str] = attrs.field(factory=list)
    """Comments at the end of the file."""
    choices: list[str] = attrs.field(factory=list)
    """Decisions of the operator, for more comments."""
    draft: list[str] = attrs.field(factory=list)
    """Settings in comments, which the operator must complete."""
    groups_of_teams: dict[str, str] = attrs.field(factory=dict)
    """The names in ``client_groups`` by LiteLLM's id of the team."""
    key_rows: int = 0
    """The number of keys in the database."""
    undecrypted: int = 0
    """The number of models in the database that have no entry."""
    port: int = PORT
    exact: bool = True
    """True if clients may request only names in the file."""
    no_keys_warning: str = NO_KEYS_WARNING

    @property
    def values(self) -> dict[str, str]:
        """The values of variables that the old configuration has."""
        found = {str(name): str(value) for name, value in self.variables.items() if is_plain(value)}
        return found | {name: one for name, one in self.secrets.values.items() if name not in self.secrets.of_files}

    @property
    def names(self) -> set[str]:
        """The names of entries in the new file."""
        return {entry.get("name", entry["model"]) for _, entry in self.entries}

    @property
    def taken_names(self) -> set[str]:
        """The names of entries, models and aliases."""
        return {*self.names, *self.aliases, *self.model_ids, *self.deployments}

    @property
    def requested_names(self) -> list[str]:
        """The names and patterns of the old file that the new one serves, without aliases."""
        return [*self.deployments, *sorted(name for name in self.names if "*" in name and name not in self.private)]

    def name_test(self) -> Callable[[str], bool]:
        """Return a function that tests whether the new file serves a name."""
        found, written = self.finder(), self.taken_names

        def is_served(name: str) -> bool:
            if name in written:
                return True
            return not self.is_missing(name) and (bool(self.wildcard_targets(name)) or found(name) is not None)

        return is_served

    def is_missing(self, name: str) -> bool:
        """Return whether LiteLLM served ``name`` by a model that has no entry in the new file.

        An entry of another provider may still match the name by its family."""
        if name in self.deployments or name in self.names:
            return False
        plain = name.replace("$$", "$")
        served = (one.replace("$$", "$") for one in (*self.names, *self.wildcards) if "*" in one)
        patterns = {*self.missing_names, *served}
        fitting = [one for one in patterns if one == plain or ("*" in one and fnmatch.fnmatchcase(plain, one))]
        closest = max(fitting, key=lambda one: (one == plain, len(one), one in self.missing_names), default=None)
        return closest in self.missing_names

    @property
    def refused_names(self) -> list[str]:
        """The names that clients could not request, and that the new file would serve.

        They are those of models without an entry, if there is a wildcard, and the new names of entries in groups."""
        kept = {*self.deployments, *self.aliases, *self.model_ids}
        hidden = [one.name for deployments in self.deployments.values() for one in deployments if "*" not in one.name]
        hidden = [name for name in dict.fromkeys(hidden) if name not in kept]
        hidden += (f"{name}*" if "*" in name else name for name in self.private)  # longer than the name of the entry
        if not any("*" in name for name in self.names):
            return hidden
        missing = (escape_dollars(name) for name in self.missing_names)
        refused = dict.fromkeys((*missing, *self.refused_families))
        return [*hidden, *(name for name in refused if name not in {*kept, *self.names})]

    def finder(self) -> Callable[[str], Found | None]:
        """Return a function that finds the entry for a name, without aliases."""
        entries: dict[str, dict[str, Any]] = {}
        for number, (_, entry) in enumerate(self.entries):
            name = entry.get("name", entry["model"])
            name = f"{name} {number}" if name in entries else name  # items of a group still share a name
            entries[name] = {**entry, "name": name} if "*" not in name else entry
        content = {
            "version": VERSION, "unpriced": "allow", "providers": self.providers,
            "model_providers": [*entries.values()],
        }  # fmt: skip
        direct = Names(from_mapping(content).entries, {}, rules=ModelNames(exact=True)).direct

        def find(name: str) -> Found | None:
            try:
                return direct(name)
            except GatewayError:  # several entries match
                return None

        return find

    def add_wildcard(self, name: str, target: str, entry: str) -> None:
        """Add ``target`` of the ``entry`` to the wildcard alias ``name``; several targets share the requests."""
        targets = self.wildcards.setdefault(name, [])
        targets.append(target)
        self.private.append(entry)
        self.aliases[name] = {"target": target} if len(targets) == 1 else {"targets": [targets]}

    def wildcard_targets(self, name: str) -> list[str]:
        """Return the targets that a wildcard alias has for ``name``, which no other entry serves."""
        matching = [one for one in self.wildcards if Route(name=one).matches(name)]
        if not matching or name in self.taken_names:
            return []
        route = Route(name=max(matching, key=len))
        return [route.target_for(target, name) for target in self.wildcards[route.name]]

    def lose(self, what: str, reason: Reason, place: str = "", names: Iterable[str] = ()) -> None:
        """Record a lost setting."""
        self.losses.append(Loss(reason[0], what, reason[1], place, tuple(names)))

    def lose_model(self, name: str | None, what: str, why: str, place: str = "") -> None:
        """Record that the item of ``model_list`` with this ``name`` has no entry."""
        loss = Loss(Group.NAMES, what, why, place)
        self.missing.append(loss)
        if name is not None:
            self.missing_names.setdefault(name, what)
        self.losses.append(loss)


# The text


def file_content(result: Result) -> dict[str, Any]:
    """Return the content of the new file."""
    refused = {"refused": result.refused_names} if result.refused_names else {}
    found = {
        "providers": result.providers,
        "model_providers": [entry for _, entry in result.entries],
        "model_aliases": {**result.aliases, **result.model_ids},
        "model_names": {**({"exact": True} if result.exact else {}), **refused},
        "client_groups": result.client_groups,
        "client_keys": result.client_keys,
        "opening_spend": result.opening_spend,
        **result.settings,
    }
    listener = {"type": "model", "name": "models", "address": "127.0.0.1", "port": result.port}
    return {
        "version": VERSION,
        "listeners": [listener],
        **{key: value for key, value in found.items() if value},
    }


_COMMENTS: Final = {
    "retries": (
        "LiteLLM's num_retries applies to each group and fallback separately; attempts limits all requests together"
    ),
    "circuit": "When the gateway pauses a failing target, and how long",
    "listeners": f"{PORT} is the old port. To listen on all addresses, as LiteLLM does: `address: 0.0.0.0`",
    "model_names": "As in LiteLLM, clients may request only the names in this file",
    "blocked_end_users": "Blocked in LiteLLM, or without money left: remove the latter when their budgets start anew",
    "opening_spend": "What they have spent in LiteLLM's present periods: remove it when all have ended",
}


def lines(result: Result, source: str) -> Iterator[str]:
    """Yield the lines of the new file."""
    yield f"# Converted from {one_line(source)} by trigate import. Check it: trigate check"
    if counts := ", ".join(f"{group.value} {len(losses)}" for group, losses in group_losses(result.losses)):
        yield f"# Not converted, see the comments below: {counts}"
    for key, value in file_content(result).items():
        if key != "version":
            yield ""
        if (comment := result.comments.get(key, _COMMENTS.get(key))) is not None:
            yield f"# {comment}"
        if key == "model_providers":
            yield from ("model_providers:", *_entry_lines(result))
        elif isinstance(value, list) and isinstance(value[0], dict):
            yield from (f"{key}:", *(f"  - {as_yaml(item)}" for item in value))
        elif isinstance(value, dict) and key in ("model_aliases", "providers"):
            yield from (f"{key}:", *(f"  {as_yaml(name)}: {as_yaml(item)}" for name, item in value.items()))
        else:
            yield f"{key}: {as_yaml(value)}"
    if not result.client_keys and result.no_keys_warning:
        yield from ("", f"# {result.no_keys_warning}")
    if result.draft:
        yield from ("", *(f"# {line}" for line in result.draft))
    yield from _comment_lines(result)


def _entry_lines(result: Result) -> Iterator[str]:
    for notes, entry in result.entries:
        yield from (f"  # {one_line(note)}" for note in notes)
        for number, (key, value) in enumerate(entry.items()):
            yield f"  {' ' if number else '-'} {key}: {as_yaml(value)}"


def _comment_lines(result: Result) -> Iterator[str]:
    """Yield the comments at the end: the remarks and the losses. Losses without a reason share a line."""
    choices = (f"decide: {choice}" for choice in result.choices)
    plain = [*result.remarks, *choices, *(str(loss) for loss in result.losses if loss.why)]
    grouped = [(group, [one.what for one in losses if not one.why]) for group, losses in group_losses(result.losses)]
    short = [f"not converted ({group.value}): {', '.join(names)}" for group, names in grouped if names]
    if plain or short:
        yield from ("", *(f"# {one_line(one)}" for one in (*plain, *([_WITHOUT_REASON, *short] if short else []))))


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
    last = counts.pop()
    yield f"Converted: {' and '.join(filter(None, (', '.join(counts), last)))}."
    if not result.client_keys and result.no_keys_warning:
        yield result.no_keys_warning
    if result.no_longer_good:
        yield f"Omitted keys that were invalid already: {', '.join(map(one_line, result.no_longer_good))}."
    if not result.losses:
        yield "Nothing was lost."
        return
    trifles = all(loss.group is Group.TRIFLES for loss in result.losses)
    yield f"Not converted, see the comments in the file{' (unimportant settings only)' if trifles else ''}:"
    for group, losses in group_losses(result.losses):
        most = _SHOWN if group in (Group.TRIFLES, Group.UNKNOWN) else len(losses)
        shown = [one_line(loss.what) for loss in losses[:most]]
        more = [f"{len(losses) - most} more"] if len(losses) > most else []
        yield f"  {group.value} ({len(losses)}): {', '.join((*shown, *more))}."


def group_losses(losses: Sequence[Loss]) -> Iterator[tuple[Group, list[Loss]]]:
    """Yield each group with its losses, the most serious first."""
    for group in Group:
        if found := [loss for loss in losses if loss.group is group]:
            yield group, found


def as_yaml(value: Any) -> str:
    """Return ``value`` on one line of YAML."""
    return yaml.safe_dump([value], default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)[1:-2]


def one_line(text: str) -> str:
    """Return ``text`` without control characters and line breaks."""
    return re.sub(r"[^\x20-\x7e\xa0-\ud7ff]+", " ", text)
