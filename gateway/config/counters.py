"""The store of limit counters, and its requirements."""

from typing import Final, Literal
from urllib.parse import urlsplit

import attrs

from configfile.expanded import Unresolved
from configfile.keys import setting
from configfile.kinds import Secret
from gateway.config.findings import Findings
from gateway.http.urls import crosses_in_clear

_SUCH_AS: Final = {
    "redis": "rediss://:$PASSWORD@redis.example:6379/0",
    "postgres": "postgresql://trigate:$PASSWORD@db.example:5432/trigate",
}
_SCHEMES: Final = {"redis": ("redis", "rediss", "unix"), "postgres": ("postgresql", "postgres")}


@attrs.frozen(repr=False)
class CounterSettings:
    """The store of rates, budgets and slots.

    ``when_down`` decides whether gateways use their share or refuse limited requests while the store is unavailable."""

    type: Literal["memory", "redis", "postgres"] = setting(
        "`memory` is shared by all workers of this machine, and lost when they stop. `redis` (or Valkey) and "
        "`postgres` share every limit between [several gateways](limits.md#several-gateways).",
        "memory",
    )
    url: Secret | None = setting(
        "Required with `redis` and `postgres`: `rediss://user:password@host:6379/0` (`redis://` without TLS, "
        "`unix:///path/socket`), `postgresql://user:password@host:5432/database`. Keys begin with `{trigate}:`, "
        "tables with `trigate_`.",
        None,
        secret=True,
    )
    when_down: Literal["share", "refuse"] = setting(
        "While the storage is unavailable, each process uses its share of the remaining amount, or limited requests "
        "get 429.",
        "share",
    )


def check_counters(counters: CounterSettings, findings: Findings) -> None:
    """Report an address that is missing, invalid or without effect."""
    url, place = counters.url, ("counters", "url")
    if counters.type == "memory":
        if url is not None:
            findings.no_effect(place, "type memory does not use it; ignored")
    elif place not in findings.faulty and not isinstance(url, Unresolved):
        advice = f"write it like {_SUCH_AS[counters.type]}"
        if not url:
            findings.wrong(place, f"type {counters.type} needs a url", advice)
        elif not _is_store_address(url, counters.type):
            findings.wrong(place, f"not an address of {counters.type}", advice)
        elif crosses_in_clear(url):
            findings.warn(
                "counters: the connection to Redis on another machine has no TLS: write rediss:// if the server "
                "supports it"
            )


def _is_store_address(url: str, kind: str) -> bool:
    try:
        parts = urlsplit(url)
        # PostgreSQL URLs may have several hosts, each with a port
        return url.partition("://")[0] in _SCHEMES[kind] and (kind == "postgres" or parts.port != 0)
    except ValueError:  # an unclosed bracket, or a port that is no number
        return False
