"""Clients for readers: their settings and state without their keys, as ``trigate keys list`` and the HTTP API show."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from configfile.document import ConfigError
from configfile.keys import keys_of
from configfile.wording import spell_time
from gateway.config.clients import AcceptedKey, ClientKey
from gateway.config.settings import Config
from gateway.features.admin.key_changes import stored_or_empty
from gateway.features.admin.stored_clients import parse_stored, read_item, stored_clients


def client_rows(stored: Iterable[tuple[str, str]], config: Config) -> list[dict[str, Any]]:
    """Return the data of each client without its keys, those of the file first.

    ``stored`` has the names and texts in the storage. A stored client that no longer fits the file is ``refused``."""
    kept, items, refused = {}, [], {}
    for name, text in stored:
        kept[name] = stored_or_empty(name, text)
        try:
            items.append(read_item(name, parse_stored(name, text)["client"]))
        except ConfigError as error:
            refused[name] = str(error)
    found = stored_clients(items, config)
    rows = [row_of(client, kept.get(client.name, {}) if client.source != "file" else {})
            for client in found.beside(config).client_keys]  # fmt: skip
    for name, why in {**refused, **found.refused}.items():
        rows.append({**row_of(ClientKey(name, source="state storage"), kept[name]), "state": "refused", "why": why})
    return rows


def row_of(client: ClientKey, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of one client; ``kept`` is its stored data."""
    now = datetime.now(UTC)
    return {
        "name": client.name,
        "from": client.source,
        "state": client_state(client, now),
        "group": None if client.group is None else client.group.name,
        "models": client.models,
        "group_models": None if client.group is None else client.group.models,
        "only": client.only,
        "ratelimits": limit_texts(client.ratelimits),
        "budgets": [budget.text for budget in client.budgets],
        "limits": limit_texts(client.limits),
        "until": expiry_text(client.until),
        "keys": [{"until": expiry_text(key.until), "ended": _has_expired(key, now)} for key in client.keys],
        "added": kept.get("added"),
        "by": kept.get("by"),
    }


def expiry_text(end: datetime | None) -> str | None:
    return None if end is None else spell_time(end)


def limit_texts(limits: Any) -> dict[str, Any]:
    """Return the configured rates or limits of a client, as the file writes them."""
    given = ((name, field.value_in(limits)) for name, field in keys_of(type(limits)).items())
    return {name: getattr(value, "text", value) for name, value in given if value is not None and value is not False}


def _has_expired(key: AcceptedKey, now: datetime) -> bool:
    return key.until is not None and key.until <= now


def client_state(client: ClientKey, now: datetime) -> str:
    """Return whether a client has a key that has not expired."""
    has_expired = client.until is not None and client.until <= now
    all_expired = bool(client.keys) and all(_has_expired(key, now) for key in client.keys)
    return "ended" if has_expired or all_expired else "good"
