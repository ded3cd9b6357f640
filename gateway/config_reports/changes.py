"""The differences between two configurations, as text without secrets."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any, Final

import attrs

from configfile.keys import KEY, Key, keys_of, part_of, parts_of, with_part
from gateway.config.aliases import Route
from gateway.config.allowances import Rate
from gateway.config.clients import ClientKey
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.config_reports.spelling import spelled_value
from providers.catalog.prices import Price

_COMPUTED: Final[Mapping[str, Key]] = {
    "endpoints": Key(),
    "header_limits": Key(name="ratelimits"),
    "lists_all": Key(),
    "price": Key(absent="the list's"),
    "ratelimits": Key(),
    "sign_in": Key(),
}
"""The attributes that are compared instead of the keys from which they are computed."""


@attrs.frozen(repr=False)
class Change:
    """One line about a difference; ``mark`` is ``+``, ``-`` or ``~``. ``restart`` means that it requires a restart."""

    mark: str
    text: str
    restart: bool = False

    def __str__(self) -> str:
        return f"{self.mark} {self.text}{' (needs a restart)' if self.restart else ''}"


def changes(old: Config, new: Config) -> tuple[Change, ...]:
    """Return the changes that ``new`` makes, models first."""
    return (
        *_changes_by_name("model", old.entries, new.entries, _entry_differences),
        *_changes_by_name("alias", old.aliases, new.aliases, _text_differences),
        *_changes_by_name("route", old.routes, new.routes, _route_differences),
        *_changes_by_name("client key", old.client_keys, new.client_keys, _client_differences),
        *_changes_by_name("client group", old.client_groups, new.client_groups, _member_differences),
        *_changes_of_lists(old, new),
        *_authenticator_changes(old, new),
        *_default_changes(old, new),
        *setting_changes(old, new),
    )


def key_changes(old: Config, new: Config) -> Mapping[str, tuple[str, ...]]:
    """Return the names of clients whose keys were ``added``, ``removed`` and ``changed``, and of the operator."""
    before, after = _holders(old), _holders(new)
    return {
        "added": tuple(name for name in after if name not in before),
        "removed": tuple(name for name in before if name not in after),
        "changed": tuple(name for name in after if name in before and _differ(before[name], after[name])),
    }


def _differ(one: Any, other: Any) -> bool:
    return one is not other and one != other


def _holders(config: Config) -> Mapping[str, Any]:
    own = {"ui_key": config.ui_key, "metrics_key": config.metrics_key}
    return {**_by_name(config.client_keys), **{name: key for name, key in own.items() if key is not None}}


def without_restart_settings(old: Config, new: Config) -> Config:
    """Return ``new`` with the values of ``old`` for settings that require a restart."""
    fixed = [field for field in keys_of(type(new)).values() if field.needs_restart]
    for part in parts_of(type(new)):
        kept = {field.attribute: field.value_in(old) for field in fixed if field.part is part}
        new = with_part(new, attrs.evolve(part_of(new, part), **kept)) if kept else new  # type: ignore[misc]
    return attrs.evolve(new, **{field.attribute: field.value_in(old) for field in fixed if field.part is None})


def _by_name(items: Mapping[str, Any] | Sequence[Any]) -> Mapping[str, Any]:
    return items if isinstance(items, Mapping) else {item.name: item for item in items}


def _changes_by_name(what: str, before: Any, after: Any, differences: Any) -> Iterator[Change]:
    """Yield the changes of objects, which are in a mapping by name or have their names."""
    old, new = _by_name(before), _by_name(after)
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            yield Change("+", f"{what} {name}{_item_details(new[name])}")
        elif name not in new:
            yield Change("-", f"{what} {name}")
        elif found := tuple(differences(old[name], new[name])):
            yield Change("~", f"{what} {name}: {'; '.join(found)}")


def _item_details(item: Any) -> str:
    if isinstance(item, ModelEntry):
        return f" ({item.written})" if item.written != item.name else ""
    if isinstance(item, Route):
        return f" → {spelled_value('groups', item.groups)}"
    return f" → {item}" if isinstance(item, str) else ""


def _route_differences(old: Route, new: Route) -> Iterator[str]:
    if old.groups != new.groups:
        yield f"targets {spelled_value('groups', old.groups)} → {spelled_value('groups', new.groups)}"
    yield from _member_differences(old, new)


def _text_differences(old: str, new: str) -> Iterator[str]:
    if old != new:
        yield f"{old} → {new}"


def _entry_differences(old: ModelEntry, new: ModelEntry) -> Iterator[str]:
    yield from _member_differences(old, new)
    if old.pinned != new.pinned and old.speaks == new.speaks:
        yield f"speaks is now set by the {'file' if new.pinned else 'provider'}"
    if (old.provider, old.model) != (new.provider, new.model) and old.written == new.written:
        yield "another provider"


def _client_differences(old: ClientKey, new: ClientKey) -> Iterator[str]:
    if not _differ(old, new):
        return
    yield from _key_differences(_expiries(old), _expiries(new))
    yield from _member_differences(old, new)
    if old.group_name != new.group_name:
        yield f"group {spelled_value('', old.group_name)} → {spelled_value('', new.group_name)}"


def _changes_of_lists(old: Config, new: Config) -> Iterator[Change]:
    """Yield the changes of the lists of features whose items have names, and of their order."""
    for field in keys_of(type(new)).values():
        if not field.key.items:
            continue
        before, after = _by_name(field.value_in(old)), _by_name(field.value_in(new))
        yield from _changes_by_name(field.key.items, before, after, _member_differences)
        common = [name for name in before if name in after]
        if field.key.ordered and common != [name for name in after if name in before]:
            yield Change("~", f"{field.name}: order {', '.join(before)} → {', '.join(after)}")


def _expiries(client: ClientKey) -> dict[bytes, datetime | None]:
    """Return the expiry of each key, by its digest."""
    return {key.digest: key.until for key in client.keys}


def _key_differences(old: Mapping[bytes, datetime | None], new: Mapping[bytes, datetime | None]) -> Iterator[str]:
    added, removed = len(new.keys() - old.keys()), len(old.keys() - new.keys())
    if added == removed:
        yield from ["another key" if added == 1 else f"{added} other keys"] if added else []
    else:
        yield from [f"{added} key{'' if added == 1 else 's'} added"] if added else []
        yield from [f"{removed} key{'' if removed == 1 else 's'} removed"] if removed else []
    for digest in old.keys() & new.keys():
        if old[digest] != new[digest]:
            yield f"a key until {_expiry_text(old[digest])} → {_expiry_text(new[digest])}"


def _expiry_text(end: datetime | None) -> str:
    return spelled_value("until", end, absent="without an end")


def _authenticator_changes(old: Config, new: Config) -> Iterator[Change]:
    if old.asks_for_key != new.asks_for_key:
        yield Change(
            "~",
            "client_keys: " + ("a key is now required" if new.asks_for_key else "every client may now use the gateway"),
        )


def _default_changes(old: Config, new: Config) -> Iterator[Change]:
    before, after = (config.default or "none" for config in (old, new))
    if before != after:
        yield Change("~", f"default model: {before} → {after}")


def setting_changes(old: Config, new: Config) -> Iterator[Change]:
    """Yield the changes of settings other than models and clients."""
    fixed = {field.attribute for field in keys_of(type(new)).values() if field.needs_restart}
    for name, texts in _attribute_differences(old, new):
        yield from (Change("~", text, restart=name in fixed) for text in texts)


def _member_differences(old: Any, new: Any) -> Iterator[str]:
    """Yield the members that differ between two values of a class."""
    for _, texts in _attribute_differences(old, new):
        yield from texts


def _attribute_differences(old: Any, new: Any) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield the name of each attribute that differs between two values of a class, with the texts."""
    for part in parts_of(type(old)):
        yield from _attribute_differences(part_of(old, part), part_of(new, part))
    for attribute in attrs.fields(type(old)):
        key = attribute.metadata.get(KEY) or _COMPUTED.get(attribute.name)
        if key is None or not key.compared or key.items or key.ignored is not None:
            continue
        before, after = getattr(old, attribute.name), getattr(new, attribute.name)
        if before != after:
            yield attribute.name, _value_differences(attribute, key, before, after)


def _value_differences(attribute: "attrs.Attribute[Any]", key: Key, before: Any, after: Any) -> Iterator[str]:
    name = key.name or attribute.name
    if key.told is not None:
        yield f"{name}: {key.told(after)}"
    elif key.numbered:
        yield from _numbered_differences(name, before, after)
    elif key.secret:
        yield f"{name} {'added' if not before else 'changed' if after else 'removed'}"
    elif attrs.has(type(before)) and type(before) is type(after) and not isinstance(before, Rate | Price):
        yield from (f"{name}.{text}" for text in _member_differences(before, after))
    else:
        shown = [spelled_value(name, value, attribute.type, key.absent) for value in (before, after)]
        yield f"{name} {shown[0]} → {shown[1]}" if shown[0] != shown[1] else f"{name} changed"


def _numbered_differences(name: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[str]:
    for i, (old, new) in enumerate(zip_longest(before, after)):
        if old is None or new is None:
            yield f"{name}[{i}] {'added' if old is None else 'removed'}"
        else:
            yield from (f"{name}[{i}].{text}" for text in _member_differences(old, new))
