"""LiteLLM's requests for a key as settings of a client: members are converted, dropped by name, or refused."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from configfile.wording import nearest, spell_time
from gateway.config.clients import ClientKey
from gateway.config.litellm_limits import RATES, limited_columns, limits_of
from streams.errors import GatewayError, invalid

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
    given = {name: value for name, value in body.items() if not _has_no_effect(name, value)}
    for name in given:
        if name not in (*_CONVERTED, *_DROPPED):
            raise _not_converted(name)
    settings = _limits(given)
    if (group := given.get("team_id")) is not None:
        settings["group"] = group
    if (duration := given.get("duration")) is not None:
        settings["until"] = spell_time((now + timedelta(seconds=_seconds(duration))).replace(microsecond=0))
    settings |= _models(given)
    return LiteLlmKey(_alias(given), settings, tuple(name for name in _DROPPED if name in given))


def _has_no_effect(name: str, value: Any) -> bool:
    """Return whether a member asks for nothing; a limit of 0 does."""
    if value is None or value is False or value in ("", [], {}):
        return True
    return name in _NO_EFFECT and value == _NO_EFFECT[name]


def _limits(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits. Each of them is converted, or the request is refused."""
    period = members.get("budget_duration", members.get("duration"))
    row = {**members, "budget_duration": period}
    settings, converted = limits_of(row), set(limited_columns(row))
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


def key_info(client: ClientKey, added: str | None, by: str | None) -> dict[str, Any]:
    """Return a client in LiteLLM's form. The digests of keys in the file are left out: people choose weak keys."""
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
        "created_at": added,
        "created_by": by,
        "metadata": {},
    }


def _per_minute(rate: Any) -> int | None:
    return None if rate is None else int(rate.amount * 60 / rate.seconds)
