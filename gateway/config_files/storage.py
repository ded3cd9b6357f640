"""The checks of the storage of conversations and of that of counters."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from configfile.expanded import Unresolved
from gateway.config.findings import Findings
from gateway.config.state_storage import STORAGE, CounterSettings, StateStorage
from gateway.config_files.packages import warn_of_missing
from gateway.config_files.values import with_completed_parts
from gateway.http.urls import crosses_in_clear, is_loopback

_PLACES: Final[Mapping[str, tuple[str, str]]] = {
    "sqlite": ("path", "/var/lib/trigate/state.sqlite"),
    "postgres": ("connection_string", "postgresql://trigate:$PASSWORD@db.example:5432/trigate"),
}
"""The key with the place of each type, and an example."""


def check_place(storage: Any, places: Mapping[str, tuple[str, str]], name: str, findings: Findings) -> None:
    """Report a key of the mapping ``name`` with the place of ``storage`` that is missing, or that its type does not
    use, and a missing package."""
    given = findings.given_attributes((name,))
    warn_of_missing(f"{name}.type", storage.type, findings)
    for kind, (key, such_as) in places.items():
        if storage.type != kind and key in given:
            findings.no_effect((name, key), f"type {storage.type} does not use it; ignored")
        elif storage.type == kind and not getattr(storage, key) and (name, key) not in findings.faulty:
            found = "empty" if key in given else f"{kind} needs a {key}"
            findings.wrong((name, key), found, f"set it, such as {such_as}")


def build_state_storage(storage: StateStorage | None, config: Any, findings: Findings) -> StateStorage | None:
    """Return the storage of ``config`` with its type's defaults."""
    if storage is None:
        return None
    check_place(storage, _PLACES, "state_storage", findings)
    if storage.encryption_key:
        warn_of_missing("state_storage.encryption_key", "encryption", findings)
    text = storage.connection_string
    if storage.type == "postgres" and text and not isinstance(text, Unresolved):
        _check_connection_string(text, findings)
    made = findings.laid_over(STORAGE[storage.type], storage, ("state_storage",))
    made = attrs.evolve(made, encryption_key=tuple(key for key in made.encryption_key if isinstance(key, bytes)))
    return with_completed_parts(made, ("state_storage",), config, findings)


def _check_connection_string(text: str, findings: Findings) -> None:
    if not _is_connection_string(text):
        advice = "write postgresql://USER:PASSWORD@HOST:5432/DATABASE, with special characters as %40 and so on"
        findings.wrong(("state_storage", "connection_string"), "not a connection string", advice)
    elif _may_cross_in_clear(text):
        findings.warn(
            "state_storage: the connection to PostgreSQL on another machine has no sslmode, so an attacker on the "
            "network can disable TLS: add ?sslmode=verify-full, or set another value explicitly"
        )


def _is_connection_string(text: str) -> bool:
    """Return whether ``text`` is a URL or connection parameters, checked by libpq if installed."""
    try:
        import psycopg.conninfo
    except ImportError:  # a file may be checked on another machine
        return re.match(r"postgres(ql)?://|\s*[a-z_]+\s*=", text) is not None
    try:
        return bool(psycopg.conninfo.conninfo_to_dict(text))
    except psycopg.Error:
        return False


_SAYS_SSLMODE: Final = re.compile(r"(?:^|[?&\s])sslmode\s*=")
_HOST: Final = re.compile(r"(?:^|\s)host(?:addr)?\s*=\s*'?([^'\s]*)")


def _may_cross_in_clear(text: str) -> bool:
    """Return whether a connection leaves this machine without required encryption: libpq then accepts an unencrypted
    server, also an impostor's."""
    if _SAYS_SSLMODE.search(text):
        return False
    if "://" in text:
        hosts = [re.sub(r":[0-9]*$", "", place) for place in urlsplit(text).netloc.rpartition("@")[2].split(",")]
    else:
        hosts = [host for found in _HOST.findall(text) for host in found.split(",")]
    return any(host and not host.startswith(("/", "%2F", "@")) and not is_loopback(host.strip("[]")) for host in hosts)


# The storage of counters

_SUCH_AS: Final = {
    "redis": "rediss://:$PASSWORD@redis.example:6379/0",
    "postgres": "postgresql://trigate:$PASSWORD@db.example:5432/trigate",
}
_SCHEMES: Final = {"redis": ("redis", "rediss", "unix"), "postgres": ("postgresql", "postgres")}


def check_counters(counters: CounterSettings, findings: Findings) -> None:
    """Report an address that is missing, invalid or without effect, and a missing package."""
    url, place = counters.url, ("counters", "url")
    warn_of_missing("counters.type", counters.type, findings)
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
