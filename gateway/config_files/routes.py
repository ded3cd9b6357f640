"""The meanings of names in ``model_aliases`` and Plano's preferences: a model or a route."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.wording import describe
from gateway.config.aliases import Balance, Route, RouteTarget
from gateway.config.attempts import Retries
from gateway.config.findings import Findings
from gateway.config.model_entry import ModelEntry
from gateway.config.names import Found
from gateway.config.settings import Config
from gateway.config_files.entries import Entries
from gateway.config_files.values import with_completed_parts
from providers.endpoints.model_types import bare_name
from streams.errors import GatewayError


@attrs.frozen(repr=False)
class Aliases:
    """The names of a configuration besides its entries'; ``single`` are aliases of one model."""

    single: dict[str, str] = attrs.field(factory=dict)
    routes: dict[str, Route] = attrs.field(factory=dict)


_PLAIN: Final = Route()


@attrs.frozen(repr=False)
class _TargetItem:
    """An item of ``targets``, and its path in the file."""

    path: Path
    target: RouteTarget
    alias: Route = _PLAIN
    """The alias, if it is a wildcard."""


_Groups: TypeAlias = tuple[tuple[_TargetItem, ...], ...]

_NO_NAME: Final = ("the name is empty", "write the name that clients request")


def build_aliases(config: Config, entries: Entries, findings: Findings) -> Aliases:
    """Return the aliases and routes of a file, whose ``config.retries`` are final."""
    targets = _Targets(config.model_aliases, entries, findings)
    made = Aliases()
    for name, item in config.model_aliases.items():
        path: Path = ("model_aliases", name)
        if not name:
            findings.wrong(path, *_NO_NAME)
            continue
        if name.count("*") > 1:
            findings.wrong(path, f"{describe(name)} has several *", "write one * for the part that differs")
            continue
        has_targets = "groups" in findings.given_attributes(path)
        if has_targets and item.target is not None:
            findings.wrong((*path, "target"), "it cannot be combined with targets", "remove one of them")
        elif not has_targets and item.target is None:
            if not findings.is_faulty(path, ("target", "targets")):
                findings.wrong(path, "neither target nor targets is set", "set `target` to a model")
        elif item.target is None or item != Route(item.target) or "*" in name:
            if groups := targets.valid_groups(tuple(_item_groups(name, item, findings)), (*path, "targets")):
                made.routes[name] = _build_route(name, item, groups, config, findings)
                _check_vectors(targets.found_targets(groups), findings)
        elif targets.entry_and_model(_TargetItem((*path, "target"), RouteTarget(item.target))) is not None:
            made.single[name] = item.target
    _check_default(made, entries, findings)
    for preference in _all_preferences(config):
        _add_preference(preference, made, targets)
    return made


def _check_default(made: Aliases, entries: Entries, findings: Findings) -> None:
    default_names = dict(entries.names.defaults)
    for route in (one for one in made.routes.values() if one.default):
        if route.is_wildcard:
            found = f"{route.name} stands for many models"
            findings.wrong(("model_aliases", route.name, "default"), found, "set `default` for one model")
            continue
        first = default_names.setdefault(entries.names.type_of(route), route.name)
        if first != route.name:
            found = f"{first} is also the default"
            findings.wrong(
                ("model_aliases", route.name, "default"), found, "set `default` for only one name of each type"
            )


# Plano's preferences

_BALANCE: Final[Mapping[str, Balance]] = {"cheapest": "cheapest", "fastest": "lowest_latency"}


@attrs.frozen(repr=False)
class _Preference:
    """A routing preference of a file: its ``targets``, in a single group if it has a ``balance``."""

    name: str
    path: Path
    targets: tuple[_TargetItem, ...]
    balance: Balance | None = None


def _all_preferences(config: Config) -> Iterator[_Preference]:
    """Yield the preferences at the root, then those of entries, which newer Plano versions move to the root."""
    for i, item in enumerate(config.routing_preferences):
        path: Path = ("routing_preferences", i)
        targets = tuple(_TargetItem((*path, "models", j), RouteTarget(model)) for j, model in enumerate(item.models))
        prefer = item.selection_policy.prefer if item.selection_policy is not None else "none"
        yield _Preference(item.name, path, targets, _BALANCE.get(prefer))
    key = "llm_providers" if config.model_providers is None else "model_providers"
    yield from _entry_preferences(key, getattr(config, key) or ())


def _entry_preferences(key: str, entries: Sequence[ModelEntry | None]) -> Iterator[_Preference]:
    found: dict[str, list[_TargetItem]] = {}
    for i, entry in enumerate(entries):
        for j, item in enumerate(() if entry is None else entry.routing_preferences):
            place: Path = (key, i, "routing_preferences", j)
            name = entry.name or entry.written if entry is not None else ""
            found.setdefault(item.name, []).append(_TargetItem(place, RouteTarget(name)))
    for name, targets in found.items():
        yield _Preference(name, targets[0].path, tuple(targets))


def _add_preference(preference: _Preference, made: Aliases, targets: "_Targets") -> None:
    """Add a preference's route, unless a name is equal: names have priority."""
    name, findings = preference.name, targets.findings
    if not name:
        findings.wrong((*preference.path, "name"), *_NO_NAME)
        return
    if name in targets.aliases or name in made.routes or targets.entries.names.has(name):
        findings.no_effect((*preference.path, "name"), f"another entry or alias has the name {describe(name)}")
        return
    items = preference.targets
    written: _Groups = (items,) if preference.balance else tuple((item,) for item in items)
    if groups := targets.valid_groups(written, (*preference.path, "models")):
        route = Route(name=name, groups=_targets_only(groups))
        made.routes[name] = attrs.evolve(route, balance=preference.balance or route.balance)


# Routes


def _item_groups(name: str, item: Route, findings: Findings) -> Iterator[tuple[_TargetItem, ...]]:
    path, alias = ("model_aliases", name), Route(name=name) if "*" in name else _PLAIN
    if item.target is not None:
        yield (_TargetItem((*path, "target"), RouteTarget(item.target), alias),)
    for i, group in enumerate(item.groups):
        here = (*path, "targets", i)
        is_list = findings.is_list(here)
        yield tuple(_TargetItem((*here, j) if is_list else here, target, alias) for j, target in enumerate(group))


def _targets_only(groups: _Groups) -> tuple[tuple[RouteTarget, ...], ...]:
    return tuple(tuple(place.target for place in group) for group in groups)


def _build_route(name: str, item: Route, groups: _Groups, config: Config, findings: Findings) -> Route:
    own = item.retries
    if own is not None:
        own = findings.laid_over(config.retries or Retries(), own, ("model_aliases", name, "retries"))
    made = attrs.evolve(item, name=name, target=None, groups=_targets_only(groups), retries=own)
    return with_completed_parts(made, ("model_aliases", name), config, findings)


# Vectors of different models or dimensions are not comparable


def _check_vectors(targets: Iterable[tuple[Path, Found]], findings: Findings) -> None:
    """Report a route whose ``targets`` would return vectors of several models (tashfeenahmed/freellmapi#195)."""
    found = list(targets)
    embedders = [one for _, one in found if one.entry.type_of(one.model) == "embedding"]
    if not embedders:
        return
    first = embedders[0]
    for place, other in found:
        if bare_name(other.model) != bare_name(first.model):
            two = f"{describe(first.model)} and {describe(other.model)}"
            advice = "vectors of different models cannot be compared: give each model its own route"
            findings.wrong(place, f"this route mixes an embedding model with another model: {two}", advice)
        elif (wide := _vector_length(other)) != (usual := _vector_length(first)):
            two = f"{wide or 'its own length'} and {usual or 'its own length'}"
            findings.wrong(
                place, f"this route mixes dimensions of one model: {two}", "set the same value in both entries"
            )


def _vector_length(found: Found) -> int | None:
    return found.entry.embeddings_of(found.model).dimensions


@attrs.frozen(repr=False)
class _Targets:
    """The checks of targets in one file."""

    aliases: Mapping[str, Route]
    entries: Entries
    findings: Findings

    def valid_groups(self, groups: _Groups, path: Path) -> _Groups:
        """Return a route's ``groups`` at ``path`` with valid targets only; others are reported, or are variables not
        expanded."""
        if not any(groups) and path not in self.findings.faulty:
            self.findings.wrong(path, "the list is empty", "list at least one model")
            return ()
        seen: dict[tuple[str, str], str] = {}
        found = []
        for i, group in enumerate(groups):
            self._check_group(group, (*path, i))
            found.append(tuple([place for place in group if self._is_known(place, seen)]))
        every = [place for group in groups for place in group]
        if every and all(place.target.kinds and not place.target.failures for place in every):
            found_kinds = "each target is for some kinds of requests only"
            self.findings.wrong(path, found_kinds, "add a target without `when`, for all others")
        return tuple(filter(None, found))

    def _check_group(self, group: tuple[_TargetItem, ...], path: Path) -> None:
        if not group:
            self.findings.wrong(path, "the list is empty", "list at least one model")
        elif not any(place.target.weight for place in group):
            self.findings.wrong(path, "every weight in the group is 0", "set a weight above 0 for one target of it")

    def _is_known(self, place: _TargetItem, seen: dict[tuple[str, str], str]) -> bool:
        if not place.target.when:
            found = "the list is empty"
            self.findings.wrong((*place.path, "when"), found, "list at least one failure, or remove it")
        where = self.entry_and_model(place)
        if where is None:
            return False
        if where in seen:
            found = f"{describe(place.target.target)} appears twice in this route"
            found += f", as {describe(seen[where])}" if seen[where] != place.target.target else ""
            self.findings.wrong(
                place.path, found, "list each target once: after all have failed, the gateway tries them again"
            )
        seen.setdefault(where, place.target.target)
        return True

    def found_targets(self, groups: _Groups) -> Iterator[tuple[Path, Found]]:
        """Yield the targets of ``groups`` with their meanings."""
        for place in (place for group in groups for place in group):
            if (found := self.entries.names.target(place.alias, place.target.target)) is not None:
                yield place.path, found

    def entry_and_model(self, place: _TargetItem) -> tuple[str, str] | None:
        """Return the entry and model of the target at ``place``; report it if it is invalid."""
        path, name = place.path, place.target.target
        try:
            found = self.entries.names.target(place.alias, name)
        except GatewayError as error:
            self.findings.wrong(path, str(error), "change the name")
            return None
        if found is not None:
            return found.entry.name, found.model
        if self.entries.complete and not isinstance(name, Unresolved):
            self.findings.wrong(path, *self._unknown(name))
        return None

    def _unknown(self, name: str) -> tuple[str, str, str | None]:
        """Return why ``name`` is no target, what to write instead, and the name that was probably meant."""
        found, advice = f"{describe(name)} is not a configured model", "use the name of one of model_providers"
        if any(entry.name == name for entry in self.entries.all_entries):
            return (
                f"{describe(name)} is not a single model",
                f"choose one of its models: {name.removesuffix('*')}MODEL, or give the alias a name with a *, such as "
                "'claude-*'",
                None,
            )
        if (alias := self.aliases.get(name)) is not None:
            return f"{describe(name)} is {'a route' if alias.groups else 'an alias'} itself", advice, None
        return found, advice, self.entries.nearest(name)
