"""LiteLLM's teams as ``client_groups``: what a team may use and spend holds for all of its keys together."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import chain, count
from typing import Any, Final

import attrs

from gateway.commands.litellm import Group, Loss
from gateway.commands.litellm_tables import (
    TEAMS,
    has_value,
    limited_columns,
    limits_of,
    read_boolean,
    read_list,
    read_rows,
    read_text,
)

ALL: Final = frozenset({"all-proxy-models", "*"})
NONE: Final = "no-default-models"
OF_THE_TEAM: Final = "all-team-models"

_ELSEWHERE: Final = (Group.PROTECTION, "what these say of models and limits is in another table: write it at the group")
_LIMITS: Final[Mapping[str, tuple[Group, str]]] = {
    "rpm_limit": (Group.PROTECTION, "it is not a whole number"),
    "tpm_limit": (Group.PROTECTION, "it is not a whole number"),
    "max_parallel_requests": (Group.PROTECTION, "it is not a whole number"),
    "max_budget": (Group.MONEY, "a budget here is for a time: minutes, hours, days or a month, 366 days at most"),
    "tpd_limit": (Group.PROTECTION, "write `budgets: [5M tokens/day]` at the group"),
    "budget_limits": (Group.MONEY, "write `budgets` in the entries of these models"),
    "organization_id": _ELSEWHERE,
    "access_group_ids": _ELSEWHERE,
    "soft_budget": (Group.MONEY, "a budget here has no second amount that only warns: alert on its metric"),
    "model_max_budget": (Group.MONEY, "write `budgets` in the entries of these models"),
}
"""The columns with limits of a team, and the reason for which each is lost where it is."""


@attrs.frozen
class Team:
    """A row of the table of teams."""

    id: str
    name: str
    models: tuple[str, ...]
    blocked: bool
    row: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen
class CarriedTeam:
    """A team that keys name by its id, as the item of ``client_groups`` that it becomes. ``known``: its row is in the
    export. ``nothing``: none of the models that it may use is carried over."""

    name: str
    item: Mapping[str, Any]
    known: bool = False
    blocked: bool = False
    nothing: bool = False


def read_teams(data: bytes, file: str) -> tuple[Team, ...]:
    """Return the teams in an export of the table. Raises ``ConfigError``, which repeats nothing of the file."""
    return tuple(
        Team(
            id=row["team_id"].strip(),
            name=read_text(row.get("team_alias")) or read_text(row["team_id"]),
            models=read_list(row.get("models")),
            blocked=read_boolean(row.get("blocked"))[0],
            row=row,
        )
        for row in read_rows(TEAMS, data, file)
    )


def carry_teams(
    ids: Iterable[str], teams: Sequence[Team], known: Callable[[str], bool], groups: Mapping[str, Sequence[str]]
) -> tuple[dict[str, CarriedTeam], list[Loss]]:
    """Return the teams that ``ids`` name, and the losses. ``known`` tells if a model can be asked for by a name;
    ``groups`` are the models of each access group."""
    rows = {team.id: team for team in teams}
    found: dict[str, CarriedTeam] = {}
    losses: list[Loss] = []
    called: set[str] = set()
    for id in dict.fromkeys(ids):
        team = rows.get(id)
        name = unique_name(read_text(id) if team is None else team.name, called)
        called.add(name)
        if team is None:
            found[id] = CarriedTeam(name, {"name": name})
            continue
        allowed, unknown = allowed_models(team.models, known, groups)
        if unknown and allowed:
            losses.append(Loss(Group.NAMES, f"models of the team {name}: {', '.join(unknown)}", "they are not above"))
        item = {"name": name, **({} if not allowed else {"models": list(allowed)}), **limits_of(team.row)}
        losses += [
            Loss(group, f"{column} of the team {name}", why)
            for column, (group, why) in _LIMITS.items()
            if has_value(team.row.get(column)) and column not in set(limited_columns(item))
        ]
        found[id] = CarriedTeam(name, item, known=True, blocked=team.blocked, nothing=allowed == ())
    return found, losses


def allowed_models(
    models: Sequence[str], known: Callable[[str], bool], groups: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...] | None, list[str]]:
    """Return the names of models that a key or a team may use, ``None`` for all, and those of them that nobody can ask
    for here. Names of access groups are written out."""
    if not models or ALL & set(models):
        return None, []
    wanted = [model for one in models for model in groups.get(one, (one,)) if one != NONE]
    each = tuple(dict.fromkeys(wanted))
    return tuple(one for one in each if known(one)), [one for one in each if not known(one)]


def unique_name(name: str, taken: Set[str]) -> str:
    """Return ``name``, with a number if it is taken."""
    return next(one for one in chain([name], (f"{name}-{i}" for i in count(2))) if one not in taken)
