"""Plano's routing preferences as routes: each names a use, and the models that are preferred for it."""

from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from configfile.document import Path
from gateway.config.schema import RawConfig, RawEntry, RawRouteTarget
from gateway.config.settings import Balance

BALANCE: Final[Mapping[str, Balance]] = {"cheapest": "cheapest", "fastest": "lowest_latency"}


@attrs.frozen
class Preference:
    """One use: the ``targets`` with their places, all of them in one group where there is a ``balance``."""

    name: str
    path: Path
    targets: tuple[tuple[Path, RawRouteTarget], ...]
    balance: Balance | None = None


def preferences(raw: RawConfig) -> Iterator[Preference]:
    """The preferences at the root, then those of entries, which newer versions of Plano lift to the root."""
    for i, item in enumerate(raw.routing_preferences or ()):
        path: Path = ("routing_preferences", i)
        targets = tuple(((*path, "models", j), RawRouteTarget(model)) for j, model in enumerate(item.models))
        prefer = item.selection_policy.prefer if item.selection_policy is not None else "none"
        yield Preference(item.name, path, targets, BALANCE.get(prefer))
    yield from _of_entries(raw)


def _of_entries(raw: RawConfig) -> Iterator[Preference]:
    key = "llm_providers" if raw.model_providers is None else "model_providers"
    found: dict[str, list[tuple[Path, RawRouteTarget]]] = {}
    for i, entry in enumerate(getattr(raw, key) or ()):
        for j, item in enumerate(() if entry is None else entry.routing_preferences or ()):
            place = ((key, i, "routing_preferences", j), RawRouteTarget(_name(entry)))
            found.setdefault(item.name, []).append(place)
    for name, targets in found.items():
        yield Preference(name, targets[0][0], tuple(targets))


def _name(entry: RawEntry) -> str:
    return entry.name or entry.model
