"""LiteLLM's key endpoints that programs call, in its shapes. They change the same clients as ``/admin/v1/keys``."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gateway.config.clients import ClientKey
from gateway.config.key_changes import stored_or_empty, stored_settings
from gateway.endpoints.admin.bodies import check_members, read_text
from gateway.endpoints.admin.calls import AdminAnswer, AdminCall
from gateway.endpoints.admin.errors import conflict, not_found
from gateway.endpoints.admin.key_items import read_new_item
from gateway.endpoints.admin.key_storage import (
    changeable_text,
    current_config,
    refresh_keys,
    revoke_clients,
    stored_texts,
)
from gateway.endpoints.admin.keys import store_client
from gateway.endpoints.admin.litellm_members import digest_in, key_info, read_members
from gateway.http.headers import Headers
from streams.errors import GatewayError, invalid

MOST_AT_ONCE: Final = 50
"""Keys that one call may delete."""

_LARGEST_PAGE: Final = 100


async def generate_key(call: AdminCall) -> AdminAnswer:
    """Create a client, and return its key."""
    read = read_members(await call.body(), _now())
    name = f"key-{secrets.token_hex(4)}" if read.name is None else read.name
    if await changeable_text(call, name) is not None:
        raise conflict(f"the key_alias {name} exists already: use /key/update, or another name", "key_exists")
    stored = await store_client(call, name, read_new_item(name, read.settings))
    info = _info(stored.client, stored.written)
    shown = {**info, "key": stored.key, "key_name": f"sk-...{(stored.key or '')[-4:]}", "token_id": info["token"]}
    return AdminAnswer(shown, headers=_dropped_header(read.dropped))


async def show_key(call: AdminCall) -> AdminAnswer:
    """Show a client by its key, the digest of its key, or its name."""
    await refresh_keys(call)
    client = _find(call, _wanted_key(call.query))
    info = _info(client, stored_or_empty(client.name, stored_texts(call).get(client.name)))
    return AdminAnswer({"key": info["token"], "info": info})


async def list_keys(call: AdminCall) -> AdminAnswer:
    await refresh_keys(call)
    page, size = _number(call, "page", 1, 10**6), _number(call, "size", 10, _LARGEST_PAGE)
    team, alias = call.query.get("team_id"), call.query.get("key_alias")
    found = [
        client
        for client in sorted(current_config(call).client_keys, key=lambda client: client.name)
        if client.keys and team in (None, client.group_name) and alias in (None, client.name)
    ]
    texts, some = stored_texts(call), found[(page - 1) * size : page * size]
    infos = [_info(client, stored_or_empty(client.name, texts.get(client.name))) for client in some]
    full = call.query.get("return_full_object", "").lower() in ("true", "1")
    keys = infos if full else [info["token"] for info in infos]
    pages = -(-len(found) // size)
    return AdminAnswer({"keys": keys, "total_count": len(found), "current_page": page, "total_pages": pages})


async def update_key(call: AdminCall) -> AdminAnswer:
    """Change the given settings of a client."""
    body = await call.body()
    wanted = _wanted_key(body)
    await refresh_keys(call)
    client = _find(call, wanted)
    read = read_members({name: value for name, value in body.items() if name != "key"}, _now())
    if read.name not in (None, client.name):
        raise invalid("key_alias: a client cannot be renamed", "key_alias")
    text = await changeable_text(call, client.name)
    if text is None:
        raise _unknown()
    before = stored_settings(client.name, text)
    rates = {**before.get("ratelimits", {}), **read.settings.get("ratelimits", {})}
    settings = {**before, **read.settings, **({"ratelimits": rates} if rates else {})}
    if "models" in body and body["models"] is not None and "models" not in read.settings:
        settings.pop("models", None)  # an empty list means all
    stored = await store_client(call, client.name, read_new_item(client.name, settings))
    return AdminAnswer(_info(stored.client, stored.written), headers=_dropped_header(read.dropped))


async def delete_keys(call: AdminCall) -> AdminAnswer:
    """Revoke clients by their keys, the digests of these, or their names."""
    body = await call.body()
    check_members(body, ("keys", "key_aliases"))
    wanted = [*_texts(body, "keys"), *_texts(body, "key_aliases")]
    if not 1 <= len(wanted) <= MOST_AT_ONCE:
        raise invalid(f"keys must have 1 to {MOST_AT_ONCE} keys", "keys")
    await refresh_keys(call)
    texts: dict[str, str] = {}
    for name in dict.fromkeys(_find(call, one).name for one in wanted):
        text = await changeable_text(call, name)
        if text is None:
            raise _unknown()
        texts[name] = text
    await revoke_clients(call, texts, 200)
    return AdminAnswer({"deleted_keys": [digest_in(one) if one.startswith("sk-") else one for one in wanted]})


def _now() -> datetime:
    return datetime.now(UTC)


def _wanted_key(body: Mapping[str, Any]) -> str:
    wanted = read_text(body, "key")
    if not wanted:
        raise invalid("key must be the key, its SHA-256, or its key_alias", "key")
    return wanted


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    found = body.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise invalid(f"{name} must be a list of texts", name)
    return found


def _find(call: AdminCall, key_or_name: str) -> ClientKey:
    """Return the client with a key, its digest or its name. Raises ``GatewayError`` (404)."""
    digest = bytes.fromhex(digest_in(key_or_name))
    clients = current_config(call).client_keys
    found = next((one for one in clients if any(key.digest == digest for key in one.keys)), None)
    found = found or next((one for one in clients if one.name == key_or_name), None)
    if found is None:
        raise _unknown()
    return found


def _unknown() -> GatewayError:
    return not_found("there is no such key: GET /key/list shows all", "unknown_key")


def _number(call: AdminCall, name: str, default: int, most: int) -> int:
    text = call.query.get(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
    if not 1 <= number <= most:
        raise invalid(f"{name} must be a number from 1 to {most}", name)
    return number


def _info(client: ClientKey, kept: Mapping[str, Any]) -> dict[str, Any]:
    return key_info(client, kept.get("added"), kept.get("by"))


def _dropped_header(names: tuple[str, ...]) -> Headers:
    return (("x-trigate-dropped", ",".join(names)),) if names else ()
