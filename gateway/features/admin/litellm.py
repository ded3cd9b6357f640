"""LiteLLM's key endpoints that programs call, in its shapes. They change the same clients as ``/admin/v1/keys``."""

import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from configfile.wording import nearest, spell_time
from gateway.commands.imports.litellm_limits import RATES, read_limits
from gateway.config.clients import ClientKey
from gateway.features.admin.bodies import read_text
from gateway.features.admin.calls import AdminAnswer, AdminCall
from gateway.features.admin.errors import conflict, not_found
from gateway.features.admin.key_changes import stored_or_empty, stored_settings
from gateway.features.admin.key_items import read_new_item
from gateway.features.admin.key_storage import (
    changeable_text,
    current_config,
    refresh_keys,
    revoke_clients,
    stored_texts,
    writable_keys,
)
from gateway.features.admin.keys import store_client
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
    info, key = key_info(stored.made.client, stored.made.written), stored.made.key
    shown = {**info, "key": key, "key_name": f"sk-...{(key or '')[-4:]}", "token_id": info["token"]}
    return AdminAnswer(shown, headers=_dropped_header(read.dropped))


async def show_key(call: AdminCall) -> AdminAnswer:
    """Show a client by its key, the digest of its key, or its name."""
    await refresh_keys(call)
    client = _find(call, _wanted_key(call.query))
    info = key_info(client, stored_or_empty(client.name, stored_texts(call).get(client.name)))
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
    infos = [key_info(client, stored_or_empty(client.name, texts.get(client.name))) for client in some]
    full = call.query.get("return_full_object", "").lower() in ("true", "1")
    keys = infos if full else [info["token"] or info["key_alias"] for info in infos]
    pages = -(-len(found) // size)
    return AdminAnswer({"keys": keys, "total_count": len(found), "current_page": page, "total_pages": pages})


async def update_key(call: AdminCall) -> AdminAnswer:
    """Change the given settings of a client."""
    body = await call.body()
    wanted = _wanted_key(body)
    await refresh_keys(call)
    client = _find(call, wanted)
    period = {"budget_duration": key_info(client, {})["budget_duration"]} if "max_budget" in body else {}
    read = read_members({**period, **{name: value for name, value in body.items() if name != "key"}}, _now())
    if read.name not in (None, client.name):
        raise invalid("key_alias: a client cannot be renamed", "key_alias")
    text = await changeable_text(call, client.name)
    if text is None:
        raise _unknown()
    before = stored_settings(client.name, text)
    rates = {**before.get("ratelimits", {}), **read.settings.get("ratelimits", {})}
    settings = {**before, **read.settings, **({"ratelimits": rates} if rates else {})}
    if "budgets" in read.settings:  # in place of the one that LiteLLM's programs see
        kept = [*before.get("budgets", ())]
        at = next((at for at, one in enumerate(client.budgets) if one.currency == "usd"), len(kept))
        settings["budgets"] = [*kept[:at], *read.settings["budgets"], *kept[at + 1 :]]
    if "models" in body and body["models"] is not None and "models" not in read.settings:
        settings.pop("models", None)  # an empty list means all
    stored = await store_client(call, client.name, read_new_item(client.name, settings))
    return AdminAnswer(key_info(stored.made.client, stored.made.written), headers=_dropped_header(read.dropped))


async def delete_keys(call: AdminCall) -> AdminAnswer:
    """Revoke clients by their keys, the digests of these, or their names."""
    body = await call.body("keys", "key_aliases")
    wanted = [*_texts(body, "keys"), *_texts(body, "key_aliases")]
    if not 1 <= len(wanted) <= MOST_AT_ONCE:
        raise invalid(f"keys must have 1 to {MOST_AT_ONCE} keys", "keys")
    writable_keys(call)
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


def _dropped_header(names: tuple[str, ...]) -> Headers:
    return (("x-trigate-dropped", ",".join(names)),) if names else ()


ALL_MODELS: Final = frozenset(("all-proxy-models", "all-team-models", "*"))
NO_MODELS: Final = "no-default-models"

_DROPPED: Final = ("metadata", "tags")
_LIMITS: Final = (*(column for column, _, _ in RATES), "max_budget")
_CONVERTED: Final = ("key_alias", "team_id", "duration", "budget_duration", "models", *_LIMITS)
_NO_EFFECT: Final[Mapping[str, Any]] = {"spend": 0, "key_type": "default"}
"""Values with which a member has no effect."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,6})([smhdw])")
_INSTEAD: Final[Mapping[str, str]] = {
    "key": "the gateway creates keys; PUT /admin/v1/keys/NAME stores the sha256 of an existing one",
    "user_id": "people come from `issuers` in the configuration's file, with limits of their own",
    "allowed_routes": "a client has no list of paths",
    "permissions": "a client has no list of permissions",
    "guardrails": "checks of texts are `steps` in the configuration's file, with `groups`",
    "aliases": "a client has no aliases of its own: write `model_aliases` in the configuration's file",
    "model_max_budget": "write `budgets` in the entries of these models in the configuration's file",
    "soft_budget": "a budget has no second amount: use an alert on its metric",
    "blocked": "DELETE /admin/v1/keys/NAME revokes a client",
    "auto_rotate": "POST /admin/v1/keys/NAME/rotate rotates a key",
}


@attrs.frozen(eq=False, repr=False)
class LiteLlmKey:
    """A request for a key: its client's ``name``, its ``settings``, and the members that were dropped."""

    name: str | None
    settings: dict[str, Any]
    dropped: tuple[str, ...]


def read_members(body: Mapping[str, Any], now: datetime) -> LiteLlmKey:
    """Return the client in the body of ``/key/generate`` or ``/key/update``.

    Raises ``GatewayError`` (400) for members that limit or permit something which no setting expresses."""
    members = {name: value for name, value in body.items() if not _has_no_effect(name, value)}
    for name in members:
        if name not in (*_CONVERTED, *_DROPPED):
            raise _not_converted(name)
    settings = _limits(members)
    if (group := members.get("team_id")) is not None:
        settings["group"] = group
    if (duration := members.get("duration")) is not None:
        settings["until"] = spell_time((now + timedelta(seconds=_seconds(duration))).replace(microsecond=0))
    settings |= _models(members)
    return LiteLlmKey(_alias(members), settings, tuple(name for name in _DROPPED if name in members))


def _has_no_effect(name: str, value: Any) -> bool:
    """Return whether a member asks for nothing; a limit of 0 does."""
    if value is None or value is False or value in ("", [], {}):
        return True
    return name in _NO_EFFECT and value == _NO_EFFECT[name]


def _limits(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits. Each of them is converted, or the request is refused."""
    period = members.get("budget_duration", members.get("duration"))
    row = {**members, "budget_duration": period}
    settings, converted = read_limits(row)
    for name in _LIMITS:
        if name in members and name not in converted:
            expected = "a positive whole number"
            if name == "max_budget":
                expected = "an amount above 0 with a budget_duration (or duration) such as 1d, 30d or 1mo"
            raise invalid(f"{name} {str(members[name])[:40]!r}: expected {expected}", name)
    return settings


def _models(members: Mapping[str, Any]) -> dict[str, Any]:
    models = members.get("models", [])
    if not isinstance(models, list) or not all(isinstance(one, str) for one in models):
        raise invalid("models must be a list of names", "models")
    if NO_MODELS in models:
        return {"models": []}
    return {} if not models or ALL_MODELS.intersection(models) else {"models": models}


def _alias(members: Mapping[str, Any]) -> str | None:
    alias = members.get("key_alias")
    if alias is not None and not isinstance(alias, str):
        raise invalid("key_alias must be text", "key_alias")
    return alias


def _seconds(text: Any) -> int:
    """Return the seconds of a duration. Raises ``GatewayError`` (400)."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None or (seconds := int(match[1]) * _UNITS[match[2]]) > 100 * 366 * 86400:
        raise invalid(f"duration {str(text)[:40]!r}: expected a number and s, m, h, d or w, such as 30d", "duration")
    return seconds


def _not_converted(name: str) -> GatewayError:
    near = nearest(name[:100], _CONVERTED)
    advice = _INSTEAD.get(name) or (f"did you mean {near}?" if near else "remove it, or use PUT /admin/v1/keys/NAME")
    return invalid(f"{name[:100]} cannot be converted: {advice}", name[:100], code="not_converted")


def digest_in(key: str) -> str:
    """Return the digest of a key in a request, which may be the key itself or LiteLLM's name for it, its digest."""
    return key.lower() if re.fullmatch(r"[0-9a-fA-F]{64}", key) else hashlib.sha256(key.encode()).hexdigest()


def key_info(client: ClientKey, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return a client in LiteLLM's form; ``kept`` is its stored data.

    The digests of keys in the file are left out: people choose weak keys."""
    rates = client.ratelimits
    budget = next((one for one in client.budgets if one.currency == "usd"), None)
    return {
        "token": client.keys[-1].digest.hex() if client.keys and client.source != "file" else None,
        "key_alias": client.name,
        "key_name": None,
        "team_id": client.group_name,
        "models": list(client.models or ()),
        "expires": None if client.until is None else spell_time(client.until),
        "max_budget": None if budget is None else budget.most / 1e9,
        "budget_duration": None if budget is None else budget.text.partition("/")[2],
        "rpm_limit": _per_minute(rates.requests),
        "tpm_limit": _per_minute(rates.tokens),
        "max_parallel_requests": rates.concurrent,
        "blocked": client.until is not None and client.until <= datetime.now(UTC),
        "created_at": kept.get("added"),
        "created_by": kept.get("by"),
        "metadata": {},
    }


def _per_minute(rate: Any) -> int | None:
    return None if rate is None else int(rate.amount * 60 / rate.seconds)
