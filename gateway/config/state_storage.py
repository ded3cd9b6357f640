"""The storage of conversations, and what it needs."""

import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from gateway.config.expanded import Unresolved
from gateway.config.findings import Findings
from gateway.config.schema import RawStateStorage, given
from gateway.config.settings import STORAGE, StateStorage, StorageType

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
    changes = given(raw)
    changes["path"] = Path(raw.path) if raw.path else None
    if isinstance(changes.get("encryption_key"), Unresolved):
        del changes["encryption_key"]
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
