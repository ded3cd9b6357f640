"""The models that ``trigate doctor`` tries: each target of each alias and route, each entry, one model of each wildcard
entry. What it skips has a reason, so that nothing is missing in silence."""

from collections.abc import Sequence

import attrs

from gateway.config.names import Found, Names
from gateway.config.settings import Config, ModelEntry


@attrs.frozen
class TargetToCheck:
    """A model by the name that means its entry alone; ``names`` are the aliases and routes that lead to it."""

    model: str
    names: tuple[str, ...] = ()


@attrs.frozen
class SkippedTarget:
    """A model, or an entry for all models of a provider, that is not tried, and the reason in words."""

    name: str
    why: str


@attrs.frozen
class TargetsToCheck:
    """The targets to try, in the order of their entries, and those that are skipped."""

    tried: tuple[TargetToCheck, ...]
    skipped: tuple[SkippedTarget, ...]


def targets_to_check(config: Config, models: Sequence[str] = ()) -> TargetsToCheck:
    """Return the targets of ``models``, or of the whole configuration. Raises ``GatewayError`` for an unknown model."""
    names = Names(config.entries, config.aliases, config.routes)
    led = {name: names.meaning(name).found for name in models or (*config.aliases, *config.routes)}
    by_entry: dict[str, dict[str, list[str]]] = {entry.name: {} for entry in config.entries}
    for name, targets in led.items():
        for found in targets:
            form = _name_of(found)
            by_entry[found.entry.name].setdefault(form, []).extend([name] if name != form else [])
    skipped: list[SkippedTarget] = []
    for entry in () if models else config.entries:
        own = _own_model(entry)
        if own is not None and not (entry.wildcard and by_entry[entry.name]):
            by_entry[entry.name].setdefault(own, [])
        elif not by_entry[entry.name]:
            unknown = f"trigate knows no model of {entry.provider.display_name}"
            skipped.append(SkippedTarget(entry.name, f"{unknown}; trigate doctor {entry.prefixes[0]}/MODEL tries one"))
    tried = []
    for entry in config.entries:
        for form, led_by in by_entry[entry.name].items():
            model = form.partition("/")[2] if entry.wildcard else entry.model
            if (kind := entry.type_of(model)) != "chat":
                skipped.append(SkippedTarget(form, f"its type is {kind}, and only conversations are tried"))
            else:
                tried.append(TargetToCheck(form, tuple(dict.fromkeys(led_by))))
    return TargetsToCheck(tuple(tried), tuple(skipped))


def _name_of(found: Found) -> str:
    """Return the name that means this entry and model and nothing else."""
    return f"{found.entry.prefixes[0]}/{found.model}" if found.entry.wildcard else found.entry.name


def _own_model(entry: ModelEntry) -> str | None:
    """Return the model that stands for an entry; of a wildcard the last known one, which costs least."""
    if not entry.wildcard:
        return entry.name
    known = entry.provider.models[-1:]
    return f"{entry.prefixes[0]}/{known[0]}" if known else None
