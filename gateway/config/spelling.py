"""Values of a configuration as they may be shown to people."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import attrs

from configfile.wording import spelled_time
from gateway.config.cached_answers import CacheUse
from gateway.config.settings import (
    CircuitSettings,
    Hedge,
    KeptLedgerSettings,
    Listener,
    Retries,
    RouteTarget,
    StateStorage,
)
from providers.catalog.prices import KINDS, NAMED_PRICES, NANOS, Price

_SHARES: Final = {"budget", "error_rate", "at_most"}
_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60))


def _duration(seconds: float) -> str:
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds and seconds % size == 0), ("s", 1))
    return f"{seconds / size:g}{unit}"


def spelled_value(name: str, value: Any) -> str:
    """A value as it may be shown: of URLs without what could be a credential."""
    if name in ("base_url", "probe") and value is not None:
        parts = urlsplit(str(value))
        shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return shown + ("?…" if parts.query else "")
    if (own := _OWN_WORDS.get(type(value))) is not None:
        return own(value)
    match value:
        case datetime():
            return spelled_time(value)
        case None:
            return {
                "connections": "by descriptors",
                "connections_per_address": "half",
                "models": "all",
                "only": "all",
                "sticky": "false",
                "until": "without an end",
                "base_url": "the provider's own",
                "price": "the list's",
            }.get(name, "none")
        case bool():
            return str(value).lower()
        case float():
            return f"{value * 100:g}%" if name in _SHARES else _duration(value)
        case Retries() | CircuitSettings() | Hedge() | KeptLedgerSettings() | CacheUse():
            return spelled_value(name, attrs.asdict(value))
        case Listener():
            return value.place + "".join(f" {word}" for word in _ways(value))
        case StateStorage():
            return str(value.type)
        case Mapping():
            return "{" + ", ".join(f"{key}: {spelled_value(key, member)}" for key, member in value.items()) + "}"
        case tuple():
            return ", ".join(map(_member, value)) or "none"
    return str(value)


def _member(value: Any) -> str:
    """A member of a list; of a route's, a group of several stands in brackets."""
    return f"[{spelled_value('', value)}]" if isinstance(value, tuple) and len(value) > 1 else spelled_value("", value)


def _target(target: RouteTarget) -> str:
    plain = RouteTarget(target.target)
    said = [f"weight {target.weight:g}"] if target.weight != plain.weight else []
    said += [f"when {', '.join(sorted(target.when))}"] if target.when != plain.when else []
    return f"{target.target} ({'; '.join(said)})" if said else target.target


def _price(price: Price) -> str:
    """In dollars; of longer prompts, tiers and tools only that they have prices."""
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


def _ways(listener: Listener) -> Iterator[str]:
    """How connections come in, where it is not as they are."""
    if listener.tls is not None:
        yield f"with TLS ({', '.join(str(file) for file in attrs.astuple(listener.tls) if file is not None)})"
    if listener.proxy_protocol:
        yield "behind a proxy"
    if listener.socket is not None:
        yield f"mode {listener.mode:04o}"


_OWN_WORDS: Final[Mapping[type, Callable[[Any], str]]] = {RouteTarget: _target, Price: _price}
