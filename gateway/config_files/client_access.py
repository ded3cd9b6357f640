"""The models that clients may use, the entries that may serve them, and client groups."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import attrs

from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.keys import evolve
from configfile.wording import describe, nearest
from gateway.config.aliases import Route
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.findings import Findings
from gateway.config.model_entry import ModelEntry
from gateway.config.names import Names
from gateway.config.patterns import matches_one
from gateway.config.settings import Config
from gateway.config_files.allowance_checks import build_budgets, build_ratelimits
from gateway.config_files.entries import Entries
from gateway.config_files.values import with_completed_parts
from streams.errors import GatewayError

C = TypeVar("C", ClientKey, ClientGroup)


@attrs.frozen(repr=False, slots=False)
class AccessNames:
    """The names that a client's access may contain: entries, other model names, and groups. Parts of features find
    theirs in ``config``.

    ``invalid`` has those of invalid groups. ``config.entries`` has the invalid entries, too, and none if the names of
    some are unknown."""

    config: Config
    entries: Entries
    aliases: frozenset[str]
    groups: Mapping[str, ClientGroup] = attrs.field(factory=dict)
    invalid: frozenset[str] = frozenset()

    @classmethod
    def of(cls, config: Config) -> "AccessNames":
        """Return the names of a valid configuration."""
        entries = Entries(config.entries, Names(config.entries, {}, rules=config.model_names), True)
        groups = {group.name: group for group in config.client_groups}
        return cls(config, entries, frozenset((*config.aliases, *config.routes)), groups)

    @cached_property
    def _other_names(self) -> frozenset[str]:
        return self.aliases | {entry.name for entry in self.entries.all_entries if entry.wildcard}

    @cached_property
    def _wildcard_aliases(self) -> tuple[Route, ...]:
        return tuple(Route(name=alias) for alias in self.aliases if "*" in alias)

    def is_model(self, name: str) -> bool:
        """Return whether requests may use ``name``. Raises ``GatewayError`` if two entries have it."""
        if name in self._other_names or any(alias.matches(name) for alias in self._wildcard_aliases):
            return True
        return self.entries.names.direct(name) is not None

    def nearest(self, name: str) -> str | None:
        """Return the model that ``name`` probably means."""
        return self.entries.nearest(name, self.aliases)


def access_names(config: Config, entries: Entries, findings: Findings) -> AccessNames:
    """Return the names in a file, with its groups."""
    invalid = findings.texts_of_dropped("client_groups", config.client_groups)
    aliases = findings.names_in("model_aliases")
    known = attrs.evolve(config, entries=entries.all_entries if entries.complete else ())
    names = AccessNames(known, entries, aliases, invalid=invalid)
    return attrs.evolve(names, groups=_build_groups(config, names, findings))


def _build_groups(config: Config, names: AccessNames, findings: Findings) -> dict[str, ClientGroup]:
    """Return the groups by name."""
    groups: dict[str, ClientGroup] = {}
    for path, item in findings.present_items(config.client_groups, ("client_groups",), "add `name`"):
        if item.name in groups or not item.name:
            found = f"another group has the name {item.name}" if item.name else "the name is empty"
            findings.wrong((*path, "name"), found, "give each group its own name")
        groups.setdefault(item.name, _build_rights(item, path, names, findings))
    return groups


def build_client_rights(item: ClientKey, path: Path, names: AccessNames, findings: Findings) -> ClientKey:
    """Return a client with its group, limits and members, and report errors in its rights."""
    group = _group_of(item, path, names, findings)
    client = evolve(_build_rights(item, path, names, findings), group=group)
    if client.role == "lead" and client.group_name is None:
        findings.wrong((*path, "role"), "a lead needs a group", "add `group`, with the name of one of client_groups")
    _check_permitted_entries(client, path, names.entries, findings)
    return client


def _build_rights(item: C, path: Path, names: AccessNames, findings: Findings) -> C:
    """Return a client or a group with its limits and members. Only a client may have an empty list of models, which
    allows none."""
    _check_models(item.models, (*path, "models"), names, findings, may_be_empty=isinstance(item, ClientKey))
    check_patterns(item.only, (*path, "only"), names.config.entries if names.entries.complete else None, findings)
    ratelimits = build_ratelimits(item.ratelimits, (*path, "ratelimits"), findings)
    budgets = build_budgets(item.budgets, path, findings)
    made = evolve(item, ratelimits=ratelimits, budgets=budgets)
    return with_completed_parts(made, path, names.config, findings)


def _group_of(item: ClientKey, path: Path, names: AccessNames, findings: Findings) -> ClientGroup | None:
    """Return the group that ``item`` names, and report an unknown one."""
    if item.group_name is None or isinstance(item.group_name, Unresolved):
        return None
    if item.group_name not in names.groups and item.group_name not in names.invalid:
        found = f"there is no group {describe(item.group_name)}"
        findings.wrong(
            (*path, "group"), found, "use the name of one of client_groups", nearest(item.group_name, names.groups)
        )
    return names.groups.get(item.group_name)


def _check_permitted_entries(client: ClientKey, path: Path, entries: Entries, findings: Findings) -> None:
    """Report a client that may use no entry, because its patterns and its group's match no common one."""
    walls = client.walls
    if len(walls) < 2 or not all(walls) or not entries.complete:
        return
    if any(isinstance(pattern, Unresolved) for patterns in walls for pattern in patterns):
        return
    if not any(all(matches_one(entry.name, patterns) for patterns in walls) for entry in entries.all_entries):
        found = "none of these entries is also allowed by its group"
        findings.wrong((*path, "only"), found, "both lists apply: change one of them")


def check_patterns(
    patterns: tuple[str, ...] | None, path: Path, entries: Sequence[ModelEntry] | None, findings: Findings
) -> None:
    """Report an empty list of ``patterns``, and those that match no name of ``entries``, unless that is ``None``."""
    if patterns == ():
        findings.wrong(path, "the list is empty", "list at least one entry, or remove it to allow all")
    if entries is None or not patterns:
        return
    names = [entry.name for entry in entries]
    for i, pattern in enumerate(patterns):
        if not isinstance(pattern, Unresolved) and not any(matches_one(name, (pattern,)) for name in names):
            found, advice = (
                f"no entry matches {describe(pattern)}",
                "use the name of one of model_providers",
            )
            findings.wrong((*path, i), found, advice, nearest(pattern, names))


def _check_models(
    models: tuple[str, ...] | None, path: Path, names: AccessNames, findings: Findings, *, may_be_empty: bool
) -> None:
    if models == () and not may_be_empty:
        findings.wrong(path, "the list is empty", "list at least one model, or remove it to allow all")
    for i, model in enumerate(models or ()):
        try:
            known = isinstance(model, Unresolved) or names.is_model(model)
        except GatewayError as error:
            findings.wrong((*path, i), str(error), "change the name")
            continue
        if not known and names.entries.complete:
            found = f"{describe(model)} is not a configured model"
            near = names.nearest(model)
            advice = "use a name of model_providers or model_aliases"
            if model == "*":
                near, advice = (
                    None,
                    "remove the list to allow all; with a `role`, list each provider's, such as openai/*",
                )
            findings.wrong((*path, i), found, advice, near)
