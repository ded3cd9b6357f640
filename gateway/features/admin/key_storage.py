"""The clients in the storage, as the HTTP API reads and writes them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.config.settings import Config
from gateway.features.admin.calls import AdminCall
from gateway.features.admin.errors import conflict, not_found, not_permitted
from gateway.features.admin.followed_keys import FollowedKeys
from gateway.features.admin.key_changes import client_change, stored_settings
from gateway.features.admin.key_store import ItemChange, KeyEvent, KeyStore, KeyTaken
from gateway.stores.errors import Changed
from streams.errors import GatewayError

_NOT_STORED: Final = "this configuration stores no keys: set `stored_keys: true` and a `state_storage` in the file"
_CHANGED: Final = "another caller changed {} at the same time: read it again, and repeat the change"


async def refresh_keys(call: AdminCall) -> None:
    """Read changes of other processes, so that a caller sees its own changes on each of them."""
    keys = call.admin.keys
    if keys is not None and call.config.stored_clients != "off" and not keys.stale:
        await keys.apply_changes()


def current_config(call: AdminCall) -> Config:
    keys = call.admin.keys
    return call.config if keys is None or keys.config is None else keys.config


def stored_texts(call: AdminCall) -> Mapping[str, str]:
    keys = call.admin.keys
    return {} if keys is None or call.config.stored_clients == "off" else keys.texts


def stored_creations(call: AdminCall) -> Mapping[str, tuple[str, str]]:
    """Return when each stored client was added, and by whom."""
    keys = call.admin.keys
    return {} if keys is None or call.config.stored_clients == "off" else keys.creations


def stored_group(name: str, text: str) -> str | None:
    group = stored_settings(name, text).get("group")
    return group if isinstance(group, str) else None


# Writing


def writable_keys(call: AdminCall) -> tuple[FollowedKeys, KeyStore]:
    """Return the storage of keys. Raises ``GatewayError`` (403) if the file allows no stored keys."""
    keys = call.admin.keys
    if keys is None or call.config.stored_clients == "off":
        raise not_permitted(_NOT_STORED, "stored_keys_off")
    return keys, keys.store


async def changeable_text(call: AdminCall, name: str) -> str | None:
    """Return the stored text of the client ``name``, ``None`` if no client has that name.

    Raises ``GatewayError``: 404 for a client that the caller does not see, 403 for one of the file, and if the file
    allows no stored keys."""
    _, store = writable_keys(call)
    text = await store.item(name)
    of_file = next((one for one in call.config.client_keys if one.name == name and one.source == "file"), None)
    if of_file is not None:
        if not call.caller.sees_group(of_file.group_name):
            raise unknown_key(name)
        raise not_permitted(f"{name} is in the configuration's file: change it there, and reload", "in_file")
    if text is not None and not call.caller.sees_group(stored_group(name, text)):
        raise unknown_key(name)
    return text


async def check_unused(call: AdminCall, name: str) -> None:
    """Check that a lead takes no name of a revoked client of another group, whose conversations it would continue.

    Raises ``GatewayError`` (403)."""
    _, store = writable_keys(call)
    text = None if call.caller.sees_all else await store.last_settings(name)
    if text is not None and json.loads(text).get("group") != call.caller.group:
        message = f"{name} was a client outside your group, and a new one would continue its conversations"
        raise not_permitted(f"{message}: give another name", "used_name", "name")


def unknown_key(name: str) -> GatewayError:
    return not_found(f"there is no client {name[:200]!r} that you may see", "unknown_key")


def stored_keys_of(name: str, kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the keys of a stored client. Raises ``GatewayError`` (409) for unreadable data."""
    keys = kept["client"].get("keys", [] if "certificate" in kept["client"] else None)
    if not isinstance(keys, list) or not all(isinstance(one, dict) and "sha256" in one for one in keys):
        raise conflict(f"the stored data of {name} cannot be read: revoke it, and create it again", "unreadable")
    return keys


async def write_client(
    call: AdminCall,
    name: str,
    before: str | None,
    written: Any,
    event: KeyEvent,
    status: int,
    digests: Sequence[str] = (),
) -> str | None:
    """Store a change with its row in the audit, apply it in this process, and return the stored text.

    Raises ``GatewayError`` (409) if another caller changed the client at the same time, or if another client has its
    key or certificate, and ``StoreFull``."""
    change = client_change(call.audit_entry(status), event, name, before, written, digests)
    await _write(call, (change,))
    return change.item


async def revoke_clients(call: AdminCall, texts: Mapping[str, str], status: int) -> None:
    """Revoke all clients in ``texts``, which has their stored texts by name, or none of them.

    Raises ``GatewayError`` (409) if another caller changed one at the same time."""
    entry = call.audit_entry(status)
    await _write(call, [client_change(entry, "revoked", name, text, None) for name, text in texts.items()])


async def _write(call: AdminCall, changes: Sequence[ItemChange]) -> None:
    """Store changes, and apply them in this process. Raises ``GatewayError`` (409) and ``StoreFull``."""
    keys, store = writable_keys(call)
    try:
        await store.change_all(changes, at=call.now, by=f"{call.author} over HTTP")
    except Changed as changed:
        raise conflict(_CHANGED.format(changed.args[0])) from None
    except KeyTaken as taken:
        raise taken_key_error(call, taken.args[0], "key or certificate") from None
    await keys.apply_changes()


def taken_key_error(call: AdminCall, holder: str, kind: str) -> GatewayError:
    """Return the error (409) for a key or certificate that another client has; its name is for callers who see it."""
    holder = holder if call.caller.sees_all else "another client"
    return conflict(f"{holder} has the same {kind}: give each client its own", "key_taken")
