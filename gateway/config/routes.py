"""The names of ``model_aliases``: those that stand for one model, and routes, which stand for several targets."""

from collections.abc import Iterator
from typing import TypeAlias, cast

import attrs

from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.wording import describe, nearest
from gateway.config.attempts import changed_retries
from gateway.config.caching import build_cache_use
from gateway.config.embedders import check_vectors
from gateway.config.entries import Entries
from gateway.config.findings import Findings
from gateway.config.names import Found
from gateway.config.preferences import Preference, preferences
from gateway.config.schema import RawAlias, RawConfig, RawRouteTarget, given
from gateway.config.settings import Hedge, Retries, Route, RouteTarget
from streams.errors import GatewayError
from streams.events import UNAVAILABLE, FailureReason


@attrs.frozen
class Aliases:
    """The names of a configuration beside those of its entries: ``single`` are aliases of one model."""

    single: dict[str, str] = attrs.field(factory=dict)
    routes: dict[str, Route] = attrs.field(factory=dict)


@attrs.frozen
class _Item:
    """An item of ``targets``, and where it stands in the file."""

    path: Path
    raw: RawRouteTarget


_Groups: TypeAlias = tuple[tuple[_Item, ...], ...]


def build_aliases(raw: RawConfig, retries: Retries | None, entries: Entries, findings: Findings) -> Aliases:
    """``retries`` are the root's."""
    targets = _Targets(raw, entries, findings)
    made = Aliases()
    for name, item in raw.model_aliases.items():
        path: Path = ("model_aliases", name)
        if item.targets is not None and item.target is not None:
            findings.wrong((*path, "target"), "given beside targets", "keep one of the two")
        elif item.targets is None and item.target is None:
            if path not in findings.faulty:
                findings.wrong(path, "neither target nor targets", "name the model that it stands for")
        elif item.target is None or item != RawAlias(item.target):
            if groups := targets.known(tuple(_groups(item, path)), (*path, "targets")):
                made.routes[name] = _route(name, item, groups, retries)
                check_vectors(targets.found(groups), findings)
        elif targets.meant((*path, "target"), item.target) is not None:
            made.single[name] = item.target
    _check_default(made, entries, findings)
    for preference in preferences(raw):
        _prefer(preference, made, targets)
    return made


def _check_default(made: Aliases, entries: Entries, findings: Findings) -> None:
    default_names = dict(entries.names.defaults)
    for route in (one for one in made.routes.values() if one.default):
        first = default_names.setdefault(entries.names.type_of(route), route.name)
        if first != route.name:
            found = f"{first} is the default already"
            findings.wrong(
                ("model_aliases", route.name, "default"), found, "only one name of a type can be the default"
            )


def _prefer(preference: Preference, made: Aliases, targets: "_Targets") -> None:
    """Add the route of a preference, unless its name is taken: names come before what Plano asks a model about."""
    name, findings = preference.name, targets.findings
    if name in targets.raw.model_aliases or name in made.routes or targets.is_model(name):
        findings.no_effect((*preference.path, "name"), f"{describe(name)} is the name of something else already")
        return
    items = tuple(_Item(*target) for target in preference.targets)
    written: _Groups = (items,) if preference.balance else tuple((item,) for item in items)
    if groups := targets.known(written, (*preference.path, "models")):
        route = Route(name, tuple(tuple(_route_target(item.raw) for item in group) for group in groups))
        made.routes[name] = attrs.evolve(route, balance=preference.balance or route.balance)


def _groups(item: RawAlias, path: Path) -> Iterator[tuple[_Item, ...]]:
    if item.target is not None:
        yield (_Item((*path, "target"), RawRouteTarget(item.target)),)
    for i, one in enumerate(item.targets or ()):
        here = (*path, "targets", i)
        if isinstance(one, tuple):
            yield tuple(_Item((*here, j), member) for j, member in enumerate(one))
        else:
            yield (_Item(here, one),)


def _route(name: str, item: RawAlias, groups: _Groups, retries: Retries | None) -> Route:
    made = Route(name, tuple(tuple(_route_target(place.raw) for place in group) for group in groups))
    return attrs.evolve(
        made,
        balance=item.balance or made.balance,
        sticky=made.sticky if item.sticky is None else item.sticky or None,
        first_content=item.first_content,
        hedge=None if item.hedge is None else Hedge(**given(item.hedge)),
        retries=None if item.retries is None else changed_retries(retries, item.retries),
        default=item.default,
        cache=build_cache_use(item.cache),
    )


def _route_target(raw: RawRouteTarget) -> RouteTarget:
    made = RouteTarget(raw.target)
    return attrs.evolve(
        made,
        weight=made.weight if raw.weight is None else raw.weight,
        when=made.when if raw.when is None else _reasons(raw.when),
    )


def _reasons(words: tuple[str, ...]) -> frozenset[FailureReason]:
    """The failures that ``words`` mean."""
    named = frozenset(cast("FailureReason", word) for word in words if word != "unavailable")
    return named | UNAVAILABLE if "unavailable" in words else named


@attrs.frozen
class _Targets:
    """The check of the targets in one file."""

    raw: RawConfig
    entries: Entries
    findings: Findings

    def known(self, groups: _Groups, path: Path) -> _Groups:
        """The ``groups`` of a route, which stand at ``path``, with those of their targets that mean a model: others are
        reported, or are variables that nobody looked up."""
        if not any(groups) and path[:2] not in self.findings.faulty:
            self.findings.wrong(path, "an empty list", "name at least one model")
            return ()
        seen: dict[tuple[str, str], str] = {}
        found = []
        for i, group in enumerate(groups):
            self._check_group(group, (*path, i))
            found.append(tuple([place for place in group if self._is_known(place, seen)]))
        return tuple(filter(None, found))

    def _check_group(self, group: tuple[_Item, ...], path: Path) -> None:
        if not group:
            self.findings.wrong(path, "an empty list", "name at least one model")
        elif not any(_route_target(place.raw).weight for place in group):
            found = "a group in which every weight is 0" if len(group) > 1 else "a weight of 0 with nobody beside it"
            self.findings.wrong(path, found, "give one of a group a weight above 0")

    def _is_known(self, place: _Item, seen: dict[tuple[str, str], str]) -> bool:
        if place.raw.when == ():
            found = "an empty list"
            self.findings.wrong((*place.path, "when"), found, "name a failure that leads here, or leave it out")
        where = self.meant(place.path, place.raw.target)
        if where is None:
            return False
        if where in seen:
            found = f"{describe(place.raw.target)} is a target of this route already"
            found += f", as {describe(seen[where])}" if seen[where] != place.raw.target else ""
            self.findings.wrong(place.path, found, "name each once: where all have failed they are asked again anyway")
        seen.setdefault(where, place.raw.target)
        return True

    def found(self, groups: _Groups) -> Iterator[tuple[Path, Found]]:
        """The places of ``groups``, with what each means."""
        for place in (place for group in groups for place in group):
            if (found := self.entries.names.direct(place.raw.target)) is not None:
                yield place.path, found

    def is_model(self, name: str) -> bool:
        """Whether clients can ask for a model by ``name`` without aliases and routes."""
        try:
            return self.entries.names.direct(name) is not None
        except GatewayError:  # of several entries
            return True

    def meant(self, path: Path, name: str) -> tuple[str, str] | None:
        """The entry and the model that the target ``name`` means, if it means one; else it is reported."""
        try:
            found = self.entries.names.direct(name)
        except GatewayError as error:
            self.findings.wrong(path, str(error), "name one of them")
            return None
        if found is not None:
            return found.entry.name, found.model
        if self.entries.complete and not isinstance(name, Unresolved):
            self.findings.wrong(path, *self._unknown(name))
        return None

    def _unknown(self, name: str) -> tuple[str, str, str | None]:
        """Why ``name`` is no target, what to write in its place, and what was probably meant."""
        found, advice = f"{describe(name)} is no configured model", "name one of model_providers"
        if any(entry.name == name for entry in self.entries.made):
            return (
                f"{describe(name)} is no single model",
                f"name one of its models, as {name.removesuffix('*')}MODEL",
                None,
            )
        if (alias := self.raw.model_aliases.get(name)) is not None:
            return f"{describe(name)} is {'an alias' if alias.targets is None else 'a route'} itself", advice, None
        near = nearest(name, (word for entry in self.entries.made for word in (entry.name, entry.model)))
        return found, advice, near
