"""The keys of clients in LiteLLM's database, as ``client_keys``: it keeps the SHA-256 of each, and so do we."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from gateway.commands.litellm import Group, Loss
from gateway.commands.litellm_tables import (
    KEYS,
    has_value,
    limited_columns,
    limits_of,
    read_boolean,
    read_list,
    read_rows,
    read_text,
    read_time,
)
from gateway.commands.litellm_teams import (
    OF_THE_TEAM,
    CarriedTeam,
    Team,
    allowed_models,
    carry_teams,
    unique_name,
)

_OF_ITS_PAGES: Final = "litellm-dashboard"
"""The team of the keys that LiteLLM makes for a visit of its pages."""

_GIVE_TEAMS: Final = "--teams FILE takes them over from an export of LiteLLM_TeamTable"

_NOT_WHOLE: Final = (Group.PROTECTION, "it is not a whole number")
_DOORS: Final = (Group.PROTECTION, "a client key has no list of paths or permissions")
_ELSEWHERE: Final = (Group.PROTECTION, "what these say of models and limits is in another table: write it at the key")
_LIMITS: Final[Mapping[str, tuple[Group, str]]] = {
    "rpm_limit": _NOT_WHOLE, "tpm_limit": _NOT_WHOLE, "max_parallel_requests": _NOT_WHOLE,
    "allowed_routes": _DOORS, "permissions": _DOORS, "object_permission_id": _DOORS,
    "policies": (Group.PROTECTION, "guardrails are not here"),
    "max_budget": (Group.MONEY, "a budget here is for a time: minutes, hours, days or a month, 366 days at most"),
    "soft_budget": (Group.MONEY, "a budget here has no second amount that only warns: alert on its metric"),
    "model_max_budget": (Group.MONEY, "write `budgets` in the entries of these models"),
    "tpd_limit": (Group.PROTECTION, "write `budgets: [5M tokens/day]` at the key"),
    "budget_limits": (Group.MONEY, "write `budgets` in the entries of these models"),
    "organization_id": _ELSEWHERE, "project_id": _ELSEWHERE, "access_group_ids": _ELSEWHERE,
    "budget_id": (Group.MONEY, "the budget is in another table: write it under `budgets` of the key"),
    "aliases": (Group.NAMES, "a client has no names of its own: write model_aliases, which are for all"),
}  # fmt: skip
"""The columns with limits and names of a single key, and the reason for which each is lost where it is."""


@attrs.frozen
class Token:
    """A row of the table. ``digest`` is in hexadecimal, ``expires`` None for a key without an end; ``row`` has all
    columns."""

    name: str
    digest: str
    models: tuple[str, ...]
    team: str
    """The id of its team, empty without one."""
    blocked: bool
    expires: datetime | None
    unreadable: str | None
    """What cannot be understood of the row, and might say that the key is no longer good."""
    row: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen
class ClientKeys:
    """Items of ``client_keys`` and ``client_groups``, what they lose of the old ones, and the keys that LiteLLM would
    refuse."""

    items: tuple[dict[str, Any], ...]
    groups: tuple[Mapping[str, Any], ...]
    losses: tuple[Loss, ...]
    no_longer_good: tuple[str, ...]


def read_keys(data: bytes, file: str) -> tuple[Token, ...]:
    """Return the keys in an export of the table. Raises ``ConfigError``, which repeats nothing of the file."""
    return tuple(_token(row) for row in read_rows(KEYS, data, file) if row.get("team_id") != _OF_ITS_PAGES)


def _token(row: dict[str, Any]) -> Token:
    token = row["token"].strip()
    hashed = re.fullmatch(r"[0-9a-fA-F]{64}", token)
    digest = token.lower() if hashed else hashlib.sha256(token.encode()).hexdigest()
    expires, wrong = read_time(row.get("expires"))
    blocked, odd = read_boolean(row.get("blocked"))
    return Token(
        name=read_text(row.get("key_alias")) or read_text(row.get("key_name")) or f"key-{digest[:8]}",
        digest=digest,
        models=read_list(row.get("models")),
        team=read_text(row.get("team_id")),
        blocked=blocked,
        expires=expires,
        unreadable=wrong or odd,
        row=row,
    )


def carry_keys(
    keys: Sequence[Token],
    teams: Sequence[Team],
    known: Callable[[str], bool],
    groups: Mapping[str, Sequence[str]],
    taken: Set[str],
    now: datetime | None = None,
) -> ClientKeys:
    """Return what becomes of ``keys`` and their ``teams``. ``known`` tells if a model can be asked for by a name;
    ``groups`` are the models of each access group, and ``taken`` the names of clients that exist."""
    now = now or datetime.now(UTC)
    items: dict[str, dict[str, Any]] = {}
    losses: list[Loss] = []
    no_longer_good: list[str] = []
    called = set(taken)
    carried, of_teams = carry_teams((key.team for key in keys if key.team), teams, known, groups)
    for key in keys:
        name = unique_name(key.name, called)
        team = carried.get(key.team)
        if (reason := _refused(key, team, now)) is not None:
            no_longer_good.append(f"{name} ({reason})")
            continue
        if (loss := _unsafe(name, key, team)) is not None:
            losses.append(loss)
            continue
        if key.digest in items:
            continue
        own = [model for model in key.models if model != OF_THE_TEAM]
        allowed, unknown = allowed_models(own, known, groups)
        if allowed == ():
            losses.append(Loss(Group.NAMES, f"the key {name}", _none_left(unknown)))
            continue
        if unknown:
            losses.append(Loss(Group.NAMES, f"models of the key {name}: {', '.join(unknown)}", "they are not above"))
        called.add(name)
        items[key.digest] = {
            "name": name, "sha256": key.digest,
            **({} if allowed is None or OF_THE_TEAM in key.models else {"models": list(allowed)}),
            **({} if team is None else {"group": team.name}),
            **({} if key.expires is None else {"until": _spelled(key.expires)}), **limits_of(key.row),
        }  # fmt: skip
    held = [key for key in keys if key.digest in items]
    used = {item["group"] for item in items.values() if "group" in item}
    losses += of_teams
    losses += _without_limits(held, items)
    losses += _without_team(held, items, carried)
    return ClientKeys(
        tuple(items.values()),
        tuple(team.item for team in carried.values() if team.name in used),
        tuple(losses),
        tuple(no_longer_good),
    )


def _spelled(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _refused(key: Token, team: CarriedTeam | None, now: datetime) -> str | None:
    """Return the reason for which LiteLLM would refuse the key."""
    if key.blocked and key.unreadable is None:
        return "blocked"
    if team is not None and team.blocked:
        return "its team is blocked"
    return f"expired {key.expires:%Y-%m-%d}" if key.expires is not None and key.expires <= now else None


def _unsafe(name: str, key: Token, team: CarriedTeam | None) -> Loss | None:
    """Return the loss of a key that might open more here than it did there."""
    if key.unreadable is not None:
        return Loss(Group.PROTECTION, f"the key {name}", f"it may be no longer good: {key.unreadable}")
    if team is not None and team.nothing:
        return Loss(Group.NAMES, f"the key {name}", f"of the models of its team {team.name} none is above")
    is_by_team = OF_THE_TEAM in key.models or (not key.models and team is not None)
    if is_by_team and team is None:
        return Loss(Group.PROTECTION, f"the key {name}", "it may use the models of its team, and has no team")
    if is_by_team and team is not None and not team.known:
        why = f"it may use the models of its team, which are in another table: {_GIVE_TEAMS}"
        return Loss(Group.PROTECTION, f"the key {name}", why)
    return None


def _none_left(unknown: Sequence[str]) -> str:
    return f"of its models none is above: {', '.join(unknown)}" if unknown else "it may use no model of its own"


def _without_limits(held: Sequence[Token], items: Mapping[str, dict[str, Any]]) -> Iterator[Loss]:
    """Yield the limits that keys had and have no longer, a loss for each column: two hundred keys are usual."""
    for column, (group, why) in _LIMITS.items():
        lost = [key for key in held if has_value(key.row.get(column))]
        some = [items[key.digest]["name"] for key in lost if column not in set(limited_columns(items[key.digest]))]
        if some:
            yield Loss(group, f"{column} of {_some(some)}", why)


def _without_team(
    held: Sequence[Token], items: Mapping[str, dict[str, Any]], carried: Mapping[str, CarriedTeam]
) -> Iterator[Loss]:
    """Yield the loss of the limits of teams whose rows are not in an export."""
    lost = [key for key in held if key.team in carried and not carried[key.team].known]
    if some := [items[key.digest]["name"] for key in lost]:
        why = f"their models and limits are in another table: {_GIVE_TEAMS}"
        yield Loss(Group.PROTECTION, f"the teams of {_some(some)}", why)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    if len(names) == 1:
        return shown
    return f"{len(names)} keys ({shown}{', …' if len(names) > 5 else ''})"
