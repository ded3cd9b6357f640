"""The storage of conversations, and what it needs."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs

from configfile.expanded import Unresolved
from gateway.config.findings import Findings
from gateway.config.schema import RawStateStorage, given
from gateway.config.settings import STORAGE, KeptLedgerSettings, StateStorage, StorageType
from gateway.config.urls import is_loopback

_PLACES: Mapping[StorageType, str] = {"sqlite": "path", "postgres": "connection_string"}
_PLACES_SUCH_AS: Mapping[StorageType, str] = {
    "sqlite": "/var/lib/trigate/state.sqlite",
    "postgres": "postgresql://trigate:$PASSWORD@db.example:5432/trigate",
}


def build_state_storage(raw: RawStateStorage | None, findings: Findings) -> StateStorage | None:
    if raw is None:
        return None
    for kind, key in _PLACES.items():
        there = getattr(raw, key) is not None
        if raw.type == kind and not getattr(raw, key) and ("state_storage", key) not in findings.faulty:
            found = f"{raw.type} needs a {key}" if not there else "empty"
            findings.wrong(("state_storage", key), found, f"give it one, such as {_PLACES_SUCH_AS[kind]}")
        elif raw.type != kind and there:
            findings.no_effect(("state_storage", key), f"{raw.type} has no use for it, ignored")
    text = raw.connection_string
    if raw.type == "postgres" and text and not isinstance(text, Unresolved) and not _is_connection_string(text):
        advice = "write postgresql://USER:PASSWORD@HOST:5432/DATABASE, with special characters as %40 and so on"
        findings.wrong(("state_storage", "connection_string"), "no connection string", advice)
    elif raw.type == "postgres" and text and not isinstance(text, Unresolved) and _may_cross_in_clear(text):
        findings.warn(
            "state_storage: the connection to PostgreSQL on another machine says no sslmode, so that whoever is on the "
            "way may switch encryption off: add ?sslmode=verify-full (or another on purpose)"
        )
    if raw.ledger is not None and raw.type not in _PLACES:
        findings.no_effect(("state_storage", "ledger"), f"{raw.type} keeps no ledger: sqlite and postgres do, ignored")
    changes = given(raw)
    if raw.ledger is not None:
        changes["ledger"] = KeptLedgerSettings(**given(raw.ledger))
    changes["path"] = Path(raw.path) if raw.path else None
    if raw.encryption_key is not None:
        changes["encryption_key"] = tuple(key for key in raw.encryption_key if isinstance(key, bytes))
    return attrs.evolve(STORAGE[raw.type], **changes)


def _is_connection_string(text: str) -> bool:
    """True if ``text`` reads as a URL or as parameters of a connection: to libpq, where it is there."""
    try:
        from psycopg import Error
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:  # a file may be checked elsewhere than it is served
        return re.match(r"postgres(ql)?://|\s*[a-z_]+\s*=", text) is not None
    try:
        return bool(conninfo_to_dict(text))
    except Error:
        return False


_SAYS_SSLMODE: Final = re.compile(r"(?:^|[?&\s])sslmode\s*=")
_HOST: Final = re.compile(r"(?:^|\s)host(?:addr)?\s*=\s*'?([^'\s]*)")


def _may_cross_in_clear(text: str) -> bool:
    """True if a connection leaves this machine and nothing is said of its encryption: libpq then does without it where
    the server, or who pretends to be it, has none."""
    if _SAYS_SSLMODE.search(text):
        return False
    if "://" in text:
        hosts = [re.sub(r":[0-9]*$", "", place) for place in urlsplit(text).netloc.rpartition("@")[2].split(",")]
    else:
        hosts = [host for found in _HOST.findall(text) for host in found.split(",")]
    return any(host and not host.startswith(("/", "%2F", "@")) and not is_loopback(host.strip("[]")) for host in hosts)
