"""Configuration values as text for people."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import attrs

from configfile.keys import keys_of, kind_of, present
from configfile.kinds import spell_duration
from configfile.wording import spell_time
from gateway.config.aliases import RouteTarget
from gateway.config.listening import Listener
from gateway.config.state_storage import StateStorage
from providers.catalog.prices import KINDS, NAMED_PRICES, NANOS, Price

ShownMembers: TypeAlias = Literal["all", "given"]
"""The members in the text of a settings object: the value of ``shown_members`` in its class."""


def spelled_value(name: str, value: Any, of: Any = None, absent: str = "none") -> str:
    """Return a value as text, without credentials in URLs; ``of`` is the type of its key."""
    if value is None:
        return absent
    if name in ("base_url", "probe"):
        parts = urlsplit(str(value))
        url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return url + ("?…" if parts.query else "")
    if isinstance(value, int | float) and (kind := kind_of(present(of))) is not None and kind.spell is not None:
        return kind.spell(value)
    if isinstance(value, float):
        return spell_duration(value)
    if (own := _OWN_WORDS.get(type(value))) is not None:
        return own(value)
    match value:
        case datetime():
            return spell_time(value)
        case bool():
            return str(value).lower()
        case Listener():
            return value.place + "".join(f" {word}" for word in _listener_details(value))
        case StateStorage():
            return str(value.type)
        case Mapping():
            return "{" + ", ".join(f"{key}: {_member_text(key, member)}" for key, member in value.items()) + "}"
        case tuple():
            return ", ".join(map(_list_item_text, value)) or "none"
    shown = _shown_members(type(value))
    return str(value) if shown is None else _members_text(value, shown)


def _shown_members(cls: Any) -> ShownMembers | None:
    """Return which members of a class to show, ``None`` if its instances have a text of their own.

    The text that Python gives to others has their address."""
    own = cls.__str__ is not object.__str__ or not attrs.has(cls) or not keys_of(cls)
    found: ShownMembers | None = getattr(cls, "shown_members", None if own else "all")
    return found


def _members_text(value: Any, shown: ShownMembers) -> str:
    """Return the members of a settings object as text."""
    fields = [one for one in keys_of(type(value)).values() if not one.key.secret]
    if shown == "given":
        given = {one.name: one.value_in(value) for one in fields}
        return spelled_value("", {name: one for name, one in given.items() if one and one != type(one)()})
    return "{" + ", ".join(f"{one.name}: {spelled_value('', one.value_in(value), one.type)}" for one in fields) + "}"


def _member_text(name: str, value: Any) -> str:
    """Return a mapping's value as text. Its numbers have no unit."""
    return f"{value:g}" if isinstance(value, float) else spelled_value(name, value)


def _list_item_text(value: Any) -> str:
    """Return a member of a list as text. A route's group of targets is in brackets."""
    return f"[{spelled_value('', value)}]" if isinstance(value, tuple) and len(value) > 1 else spelled_value("", value)


def _target_text(target: RouteTarget) -> str:
    plain = RouteTarget(target.target)
    said = [f"weight {target.weight:g}"] if target.weight != plain.weight else []
    said += [f"when {', '.join(sorted(target.when))}"] if target.when != plain.when else []
    return f"{target.target} ({'; '.join(said)})" if said else target.target


def _price_text(price: Price) -> str:
    """Return a price in dollars; for longer prompts, tiers and tools, only that they have prices."""
    if price.origin in NAMED_PRICES:
        return price.origin
    kinds = {kind: getattr(price, kind) for kind in KINDS}
    said = [f"{kind}: {nanos / NANOS:g}" for kind, nanos in kinds.items() if nanos is not None]
    more = ["above: …"] if price.above else []
    more += ["tiers: …"] if price.tiers else []
    more += (
        [f"per: {{{', '.join(f'{unit}: {nanos / NANOS / 10**6:g}' for unit, nanos in price.units)}}}"]
        if price.units
        else []
    )
    return f"{{{', '.join((*said, *more, *(['tools: …'] if price.fees else [])))}}}"


def _listener_details(listener: Listener) -> Iterator[str]:
    """Yield how connections to a listener differ from the default."""
    if listener.tls is not None:
        yield f"with TLS ({', '.join(str(file) for file in attrs.astuple(listener.tls) if file is not None)})"
    if listener.proxy_protocol:
        yield "behind a proxy"
    if listener.socket is not None:
        yield f"mode {listener.mode:04o}"


_OWN_WORDS: Final[Mapping[type, Callable[[Any], str]]] = {
    RouteTarget: _target_text, Price: _price_text,
}  # fmt: skip
