"""The models that clients may use, the entries that may serve them, and the groups in which both hold for several."""

from collections.abc import Mapping
from functools import cached_property

import attrs

from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.wording import describe, nearest
from gateway.config.budgets import build_budgets
from gateway.config.entries import Entries
from gateway.config.findings import Findings
from gateway.config.names import Names
from gateway.config.patterns import matches_one
from gateway.config.ratelimits import build_ratelimits
from gateway.config.schema import RawClientGroup, RawClientKey, RawConfig
from gateway.config.settings import ClientGroup, ClientKey, Config
from streams.errors import GatewayError


@attrs.frozen(slots=False)
class AccessNames:
    """What the access of a client may name: entries, models by other names, and groups."""

    entries: Entries
    aliases: frozenset[str]
    groups: Mapping[str, ClientGroup] = attrs.field(factory=dict)

    @classmethod
    def of(cls, config: Config) -> "AccessNames":
        """Those of a configuration that is good."""
        entries = Entries(config.entries, Names(config.entries, {}), True)
        groups = {group.name: group for group in config.client_groups}
        return cls(entries, frozenset((*config.aliases, *config.routes)), groups)

    @cached_property
    def _others(self) -> frozenset[str]:
        return self.aliases | {entry.name for entry in self.entries.made if entry.wildcard}

    def is_model(self, name: str) -> bool:
        """True if requests may ask for ``name``. Raises ``GatewayError`` where two entries offer it."""
        return name in self._others or self.entries.names.direct(name) is not None


def access_names(raw: RawConfig, entries: Entries, findings: Findings) -> AccessNames:
    """The names of a file, with its groups."""
    names = AccessNames(entries, frozenset(raw.model_aliases))
    return attrs.evolve(names, groups=_build_groups(raw, names, findings))


def _build_groups(raw: RawConfig, names: AccessNames, findings: Findings) -> dict[str, ClientGroup]:
    """The groups by their names."""
    groups: dict[str, ClientGroup] = {}
    for i, item in enumerate(raw.client_groups or ()):
        path = ("client_groups", i)
        if item is None:
            if path not in findings.faulty:
                findings.wrong(path, "an empty item", "each item needs a name")
            continue
        if item.name in groups or not item.name:
            found = f"the name {item.name} is taken already" if item.name else "an empty name"
            findings.wrong((*path, "name"), found, "give each group its own name")
        check_access(item, path, names, findings)
        ratelimits = build_ratelimits(item.ratelimits, (*path, "ratelimits"), findings)
        budgets = build_budgets(item.budgets, path, findings)
        groups.setdefault(item.name, ClientGroup(item.name, item.models, item.only, ratelimits, budgets))
    members = {item.group for item in raw.client_keys or () if item is not None}
    for name in () if raw.stored_keys else groups.keys() - members:
        findings.warn(f"client_groups: nobody is in {name}: write `group: {name}` in an item of client_keys")
    return groups


def group_of(
    item: RawClientKey, path: Path, groups: Mapping[str, ClientGroup], findings: Findings
) -> ClientGroup | None:
    """The group that ``item`` names."""
    if item.group is None or isinstance(item.group, Unresolved):
        return None
    if item.group not in groups and not any(place[0] == "client_groups" for place in findings.faulty):
        found = f"{describe(item.group)} is no group"
        findings.wrong((*path, "group"), found, "name one of client_groups", nearest(item.group, groups))
    return groups.get(item.group)


def check_access(item: RawClientKey | RawClientGroup, path: Path, names: AccessNames, findings: Findings) -> None:
    """Report what is wrong with the models that may be used, and the entries that may serve them."""
    _check_models(item.models, (*path, "models"), names, findings)
    _check_patterns(item.only, (*path, "only"), names.entries, findings)
    if isinstance(item, RawClientKey):
        _check_patterns(item.passthrough, (*path, "passthrough"), names.entries, findings)


def check_wall(client: ClientKey, path: Path, entries: Entries, findings: Findings) -> None:
    """Report a client that no entry may serve, because its own and its group's have none in common."""
    walls = client.walls
    if len(walls) < 2 or not all(walls) or not entries.complete:
        return
    if any(isinstance(pattern, Unresolved) for patterns in walls for pattern in patterns):
        return
    if not any(all(matches_one(entry.name, patterns) for patterns in walls) for entry in entries.made):
        found = "none of these entries is one of its group's"
        findings.wrong((*path, "only"), found, "both lists hold: change one of them")


def _check_patterns(patterns: tuple[str, ...] | None, path: Path, entries: Entries, findings: Findings) -> None:
    if patterns == ():
        findings.wrong(path, "an empty list", "name at least one entry, or leave it out for all")
    names = [entry.name for entry in entries.made]
    for i, pattern in enumerate(patterns or ()):
        if isinstance(pattern, Unresolved) or not entries.complete:
            continue
        if not any(matches_one(name, (pattern,)) for name in names):
            found, advice = (
                f"no entry is called {describe(pattern)}",
                "name one of model_providers",
            )
            findings.wrong((*path, i), found, advice, nearest(pattern, names))


def _check_models(models: tuple[str, ...] | None, path: Path, names: AccessNames, findings: Findings) -> None:
    if models == ():
        findings.wrong(path, "an empty list", "name at least one model, or leave it out to allow all")
    for i, model in enumerate(models or ()):
        try:
            known = isinstance(model, Unresolved) or names.is_model(model)
        except GatewayError as error:
            findings.wrong((*path, i), str(error), "name one of them")
            continue
        if not known and names.entries.complete:
            found = f"{describe(model)} is no configured model"
            findings.wrong((*path, i), found, "name one of model_providers or model_aliases")
