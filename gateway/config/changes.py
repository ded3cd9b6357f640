"""The differences between two configurations, in words for people: no line repeats a secret."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from gateway.config.allowances import Rate
from gateway.config.settings import ClientGroup, ClientKey, Config, ModelEntry, Route
from gateway.config.spelling import spelled_value
from providers.catalog.prices import Price

FIXED: Final = (
    "listeners",
    "counters",
    "cache",
    "state_storage",
    "metrics",
    "tracing",
    "ca_path",
    "write_timeout",
    "drain",
    "drain_delay",
)
"""Settings of a ``Config`` that a running process keeps as they were when it started."""

_NO_SETTING: Final = {
    "version",
    "ineffective",
    "warnings",
    "notes",
    "path",
    "trust",
    "entries",
    "aliases",
    "routes",
    "client_keys",
    "client_groups",
    "stored_keys",
}
_WRITTEN: Final[Mapping[str, str]] = {
    "ca_path": "overrides.upstream_tls_ca_path",
    "header_limits": "ratelimits",
}
_SECRET: Final = {
    "key",
    "digest",
    "connection_string",
    "url",
    "encryption_key",
    "signing_key",
    "headers",
    "ui_key",
    "metrics_key",
    "keys",
    "external_id",
    "client_secret",
}
_DERIVED: Final = {"provider", "model", "name", "pinned"}
"""Of an entry: they are in ``written``, in how it is called and in ``speaks``."""


@attrs.frozen
class Change:
    """One line; ``mark`` is ``+``, ``-`` or ``~``. ``restart``: a running process does not take it over."""

    mark: str
    text: str
    restart: bool = False

    def __str__(self) -> str:
        return f"{self.mark} {self.text}{' (needs a restart)' if self.restart else ''}"


def changes(old: Config, new: Config) -> tuple[Change, ...]:
    """The changes that ``new`` brings, models first."""
    return (
        *_named("model", _by_name(old.entries), _by_name(new.entries), _entry),
        *_named("alias", old.aliases, new.aliases, _plain),
        *_named("route", old.routes, new.routes, _route),
        *_named("client key", _by_name(old.client_keys), _by_name(new.client_keys), _client_key),
        *_named("client group", _groups(old), _groups(new), _members),
        *_authenticator(old, new),
        *_default(old, new),
        *_settings(old, new),
    )


def key_changes(old: Config, new: Config) -> Mapping[str, tuple[str, ...]]:
    """The names of clients whose keys were ``added``, ``removed`` and ``changed``, and of the
    operator."""
    before, after = _holders(old), _holders(new)
    return {
        "added": tuple(name for name in after if name not in before),
        "removed": tuple(name for name in before if name not in after),
        "changed": tuple(name for name in after if name in before and before[name] != after[name]),
    }


def _holders(config: Config) -> Mapping[str, Any]:
    own = {"ui_key": config.ui_key, "metrics_key": config.metrics_key}
    return {**_by_name(config.client_keys), **{name: key for name, key in own.items() if key is not None}}


def kept(old: Config, new: Config) -> Config:
    """``new`` as a process that was started with ``old`` can take it over."""
    return attrs.evolve(new, **{name: getattr(old, name) for name in FIXED})


def _by_name(items: Sequence[Any]) -> dict[str, Any]:
    return {item.name: item for item in items}


def _named(what: str, old: Mapping[str, Any], new: Mapping[str, Any], differences: Any) -> Iterator[Change]:
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            yield Change("+", f"{what} {name}{_about(new[name])}")
        elif name not in new:
            yield Change("-", f"{what} {name}")
        elif found := tuple(differences(old[name], new[name])):
            yield Change("~", f"{what} {name}: {'; '.join(found)}")


def _about(item: Any) -> str:
    if isinstance(item, ModelEntry):
        return f" ({item.written})" if item.written != item.name else ""
    if isinstance(item, Route):
        return f" → {spelled_value('groups', item.groups)}"
    return f" → {item}" if isinstance(item, str) else ""


def _groups(config: Config) -> dict[str, ClientGroup]:
    return {group.name: group for group in config.client_groups}


def _route(old: Route, new: Route) -> Iterator[str]:
    if old.groups != new.groups:
        yield f"targets {spelled_value('groups', old.groups)} → {spelled_value('groups', new.groups)}"
    yield from _members(old, new, without=("groups", "default"))


def _plain(old: str, new: str) -> Iterator[str]:
    if old != new:
        yield f"{old} → {new}"


def _entry(old: ModelEntry, new: ModelEntry) -> Iterator[str]:
    yield from _members(old, new, without=(*_DERIVED, "default"))
    if old.pinned != new.pinned and old.speaks == new.speaks:
        yield f"speaks is the {'file' if new.pinned else 'provider'}'s own now"
    if (old.provider, old.model) != (new.provider, new.model) and old.written == new.written:
        yield "another provider"


def _client_key(old: ClientKey, new: ClientKey) -> Iterator[str]:
    yield from _accepted_keys(_ends(old), _ends(new))
    if old.certificate != new.certificate:
        yield f"certificate {spelled_value('', old.certificate)} → {spelled_value('', new.certificate)}"
    if old.until != new.until:
        yield f"until {spelled_value('until', old.until)} → {spelled_value('until', new.until)}"
    yield from (f"limits.{text}" for text in _members(old.limits, new.limits))
    yield from (f"ratelimits.{text}" for text in _members(old.ratelimits, new.ratelimits))
    yield from (f"realtime.{text}" for text in _members(old.realtime, new.realtime))
    for name in ("models", "only", "budgets", "cache", "passthrough"):
        if (before := getattr(old, name)) != (after := getattr(new, name)):
            yield f"{name} {spelled_value(name, before)} → {spelled_value(name, after)}"
    before, after = (None if key.group is None else key.group.name for key in (old, new))
    if before != after:
        yield f"group {spelled_value('', before)} → {spelled_value('', after)}"


def _ends(client: ClientKey) -> dict[bytes, datetime | None]:
    """The end of each key, by the key's digest."""
    return {key.digest: key.until for key in client.keys}


def _accepted_keys(old: Mapping[bytes, datetime | None], new: Mapping[bytes, datetime | None]) -> Iterator[str]:
    added, removed = len(new.keys() - old.keys()), len(old.keys() - new.keys())
    if added == removed:
        yield from ["another key" if added == 1 else f"{added} other keys"] if added else []
    else:
        yield from [f"{added} key{'' if added == 1 else 's'} added"] if added else []
        yield from [f"{removed} key{'' if removed == 1 else 's'} removed"] if removed else []
    for digest in old.keys() & new.keys():
        if old[digest] != new[digest]:
            yield f"a key until {spelled_value('until', old[digest])} → {spelled_value('until', new[digest])}"


def _authenticator(old: Config, new: Config) -> Iterator[Change]:
    if old.asks_for_key != new.asks_for_key:
        yield Change(
            "~", "client_keys: " + ("a key is required now" if new.asks_for_key else "everybody may come in now")
        )
    if (old.stored_keys == "off") != (new.stored_keys == "off"):
        words = "let nobody in any longer" if new.stored_keys == "off" else "let in, too"
        yield Change("~", f"stored_keys: those that are kept in the state storage {words}")


def _default(old: Config, new: Config) -> Iterator[Change]:
    before, after = (config.default or "none" for config in (old, new))
    if before != after:
        yield Change("~", f"default model: {before} → {after}")


def _settings(old: Config, new: Config) -> Iterator[Change]:
    for name in attrs.fields_dict(Config):
        before, after = getattr(old, name), getattr(new, name)
        if name in _NO_SETTING or before == after:
            continue
        written = _WRITTEN.get(name, name)
        if name in _SECRET:
            yield Change("~", _secret(name, before, after))
            continue
        for text in _differing(written, name, before, after):
            yield Change("~", text, restart=name in FIXED)


def _differing(written: str, name: str, before: Any, after: Any) -> Iterator[str]:
    if attrs.has(type(before)) and type(before) is type(after) and not isinstance(before, Rate | Price):
        yield from (f"{written}.{text}" for text in _members(before, after))
    else:
        shown = spelled_value(name, before), spelled_value(name, after)
        yield f"{written} {shown[0]} → {shown[1]}" if shown[0] != shown[1] else f"{written} changed"


def _members(old: Any, new: Any, without: Sequence[str] = ()) -> Iterator[str]:
    """The members that differ between two values of a class."""
    for name in attrs.fields_dict(type(old)):
        before, after = getattr(old, name), getattr(new, name)
        if name in without or before == after:
            continue
        if name in _SECRET:
            yield _secret(name, before, after)
        else:
            yield from _differing("model" if name == "written" else name, name, before, after)


def _secret(name: str, before: Any, after: Any) -> str:
    word = {"key": "access_key"}.get(name, name)
    if not before:
        return f"{word} added"
    return f"{word} changed" if after else f"{word} removed"
