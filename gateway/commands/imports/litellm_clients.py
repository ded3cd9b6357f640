"""Adds the clients of LiteLLM's database: its keys, with the teams, users, projects and budgets that limit them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from gateway.commands.imports.imported_values import escape_dollars, free_name
from gateway.commands.imports.litellm_budgets import exhausted_text, limit_rejection, opening_spend
from gateway.commands.imports.litellm_columns import column_losses, lost_tables
from gateway.commands.imports.litellm_database import Row, Tables
from gateway.commands.imports.litellm_keys import OF_ITS_PAGES, Token, add_keys, read_token
from gateway.commands.imports.litellm_rows import (
    ALIASES,
    BUDGETS,
    END_USERS,
    KEYS,
    MEMBERS,
    ORGANIZATIONS,
    PROJECTS,
    ROTATED,
    TEAMS,
    UNREADABLE,
    USERS,
    has_value,
    name_list,
    read_boolean,
    read_list,
    read_mapping,
    read_text,
)
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Result
from gateway.commands.terminal import count_text

_PROXY: Final = "litellm-proxy-budget"
"""The user whose row has what all clients together have spent of ``litellm_settings.max_budget``."""

_OF_BUDGETS: Final = (
    "max_budget", "budget_duration", "budget_reset_at", "soft_budget", "max_parallel_requests", "tpm_limit",
    "rpm_limit", "tpd_limit", "model_max_budget",
)  # fmt: skip
"""The columns with which a row of the table of budgets limits a key."""

_RATES: Final = ("rpm_limit", "tpm_limit")


def add_clients(tables: Tables, result: Result) -> None:
    """Add the keys and teams of these tables to ``result``, with the budgets and users that limit them."""
    now = datetime.now(UTC)
    if proxy := opening_spend(_rows_by(tables, USERS, "user_id").get(_PROXY, {}), now):
        result.opening_spend.append({key: escape_dollars(value) for key, value in proxy.items()})
    result.key_rows = len(tables.get(KEYS, ()))
    if closed := [*_closed_end_users(tables)]:
        result.settings |= {"client_routing": ["litellm"], "blocked_end_users": closed}
    _lose_owners(tables, result)
    result.losses += lost_tables(tables)
    _lose_columns(tables, result)
    teams = _rows_of_teams(tables)
    add_keys(_keys_of(tables, teams, now), teams, result)


def _keys_of(tables: Tables, teams: dict[str, Row], now: datetime) -> list[Token]:
    """Return the keys, and add a team to ``teams`` for each user who limits keys without one."""
    budgets, users = _rows_by(tables, BUDGETS, "budget_id"), _rows_by(tables, USERS, "user_id")
    rejection = _make_rejection(tables, budgets, users, dict(teams), now)
    ids = {*teams}
    found = []
    for row in tables.get(KEYS, ()):
        if not read_text(row.get("token")) or row.get("team_id") == OF_ITS_PAGES:
            continue
        key = _with_budget(row, budgets)
        user = users.get(str(row.get("user_id")))
        if user is not None:
            key["user_id"] = None  # its limits are those of a group, or do not apply to a team's key
            limits = {name: user.get(name) for name in _OF_BUDGETS}
            is_limited = any(map(_is_given, limits.values())) or read_list(user.get("models"))
            if is_limited and not has_value(key.get("team_id")):
                id = key["team_id"] = free_name(f"user {user['user_id']}", ids)
                own = {"models": user.get("models"), "spend": user.get("spend"), **limits}
                teams[id] = {**own, "team_id": id, "team_alias": _user_name(user)}
        found.append(read_token(key, rejection(row), read_text(row.get("user_id")), now))
    return found


def _rows_by(tables: Tables, table: str, column: str) -> dict[str, Row]:
    """Return the rows of a table by the id in ``column``."""
    return {str(row.get(column)): row for row in tables.get(table, ())}


def _rows_of_teams(tables: Tables) -> dict[str, Row]:
    """Return the rows of teams by id, with the aliases that LiteLLM has in another table."""
    aliases = {str(row.get("id")): row.get("aliases") for row in tables.get(ALIASES, ())}
    found: dict[str, Row] = {}
    for row in tables.get(TEAMS, ()):
        if id := read_text(row.get("team_id")):
            of_team = str(row.get("model_id"))
            has_aliases = of_team in aliases
            found[id] = {**row, "aliases": aliases[of_team], "model_id": None} if has_aliases else row
    return found


def _make_rejection(
    tables: Tables, budgets: Mapping[str, Row], users: Mapping[str, Row], teams: Mapping[str, Row], now: datetime
) -> Callable[[Row], str | None]:
    """Return a function that returns the reason why LiteLLM rejects a key because of its user, project and so on."""
    projects = _rows_by(tables, PROJECTS, "project_id")
    organizations = _rows_by(tables, ORGANIZATIONS, "organization_id")
    members = {(str(row.get("user_id")), str(row.get("team_id"))): row for row in tables.get(MEMBERS, ())}

    def rejection(key: Row) -> str | None:
        user, team = users.get(str(key.get("user_id")), {}), teams.get(str(key.get("team_id")), {})
        project = projects.get(str(key.get("project_id")), {})
        organization = organizations.get(str(key.get("organization_id") or team.get("organization_id")), {})
        member = members.get((str(key.get("user_id")), str(key.get("team_id"))), {})
        if read_mapping(user.get("metadata")).get("scim_active") is False:
            return "its user is deactivated"
        if read_boolean(project.get("blocked"))[0]:
            return "its project is blocked"
        owners = {"its project": project, "its organization": organization, "its user in its team": member}
        found = (
            limit_rejection(_with_budget(owner, budgets), _RATES, now, whose, carried=False)
            for whose, owner in owners.items()
            if owner
        )
        return next(filter(None, found), None)

    return rejection


def _with_budget(row: Row, budgets: Mapping[str, Row]) -> Row:
    """Return the row of a key with the limits of the budget that it refers to, unless it has limits of its own."""
    budget = budgets.get(str(row.get("budget_id")))
    if budget is None:
        return dict(row)
    limits = {name: budget.get(name) for name in _OF_BUDGETS if not _is_given(row.get(name))}
    return {**row, **limits, "budget_id": None}


def _is_given(value: object) -> bool:
    """Return whether a column of limits has a value, which may be 0."""
    return has_value(value) or (value == 0 and value is not False)


def _user_name(user: Row) -> str:
    return read_text(user.get("user_alias")) or read_text(user.get("user_id"))


def _closed_end_users(tables: Tables) -> Iterator[str]:
    """Yield the end users whom LiteLLM rejects: they are blocked, or have spent their budgets."""
    budgets = _rows_by(tables, BUDGETS, "budget_id")
    for row in tables.get(END_USERS, ()):
        limits = _with_budget(row, budgets)
        spent = exhausted_text({**limits, "budget_reset_at": None}, datetime.now(UTC))
        if spent is not None or read_boolean(row.get("blocked"))[0]:
            yield read_text(row.get("user_id"))


# Losses

_OF_END_USERS: Final = (
    ("budget_id", Group.MONEY, "budgets", "a program's end users have no budgets of their own: set `budgets` for the "
     "program's key"),
    ("models", Group.PROTECTION, "models", "set `models` for the key of their program"),
    ("allowed_model_region", Group.RESIDENCY, "regions", "set `models` for the program's key"),
)  # fmt: skip
"""The columns of end users with settings, and their losses."""

_ROLES: Final[Mapping[str, str]] = {
    "proxy_admin": "admin", "proxy_admin_viewer": "auditor", "org_admin": "lead",
}  # fmt: skip
"""LiteLLM's roles with rights over other clients, and those of trigate."""


_OF_MASTER_KEY: Final = "default_user_id"
"""The user of the master key, whose item of ``client_keys`` has its role."""


def _lose_owners(tables: Tables, result: Result) -> None:
    """Record the settings of end users and the roles of users, unread tables, and rotated keys."""
    for column, group, what, why in _OF_END_USERS:
        rows = (row for row in tables.get(END_USERS, ()) if has_value(row.get(column)))
        if names := [read_text(row.get("user_id")) for row in rows]:
            result.lose(f"the {what} of end users: {name_list(names, 'end users')}", (group, why), END_USERS, names)
    for row in tables.get(UNREADABLE, ()):
        why = "the database user may not read it: grant SELECT"
        result.lose(f"the table {row['table']}", (Group.UNKNOWN, why), row["table"])
    if rotated := tables.get(ROTATED, ()):
        why = "they end soon: let clients use the new keys before the move"
        what = f"{count_text(len(rotated), 'rotated key')} that LiteLLM still accepts"
        result.lose(what, (Group.NAMES, why), ROTATED)
    for role, ours in _ROLES.items():
        users = (row for row in tables.get(USERS, ()) if row.get("user_role") == role)
        if people := [_user_name(row) for row in users if row.get("user_id") != _OF_MASTER_KEY]:
            what = f"the role {role} of {name_list(people, 'users')}"
            result.lose(what, (Group.PROTECTION, f"set `role: {ours}` for a key of each"), USERS, people)


def _lose_columns(tables: Tables, result: Result) -> None:
    """Record the lost columns of users, end users and budgets."""
    owners = {str(row.get("user_id")) for row in tables.get(KEYS, ())}
    users = [row for row in tables.get(USERS, ()) if str(row.get("user_id")) in owners]
    for table, rows, noun, id, converted in (
        (END_USERS, tables.get(END_USERS, ()), "end users", "user_id", ("budget_id",)),
        (BUDGETS, tables.get(BUDGETS, ()), "budgets", "budget_id", _OF_BUDGETS),
        (USERS, users, "users", "user_id", ("max_budget", "max_parallel_requests", *_RATES)),
    ):
        named = ((read_text(row.get(id)), row, (id, *converted)) for row in rows)
        result.losses += column_losses(named, f"{noun}: ", noun, table)
    _lose_rates(users, tables.get(KEYS, ()), result)


def _lose_rates(users: Sequence[Row], keys: Sequence[Row], result: Result) -> None:
    """Record the rates of users, which LiteLLM also enforces for their keys of teams."""
    of_teams = {str(row.get("user_id")) for row in keys if has_value(row.get("team_id"))}
    rated = [_user_name(row) for row in users if str(row["user_id"]) in of_teams and any(map(row.get, _RATES))]
    if rated:
        why = "a key of a team cannot also be in a group for its user: set `ratelimits` for these keys"
        what = f"the rates of {name_list(rated, 'users')} for keys of teams"
        result.lose(what, (Group.PROTECTION, why), USERS, rated)
