"""Converts client keys and teams in LiteLLM's database; both store the SHA-256 of a key, so clients keep theirs."""

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from configfile.wording import spell_time
from gateway.commands.imports.imported_values import escape_dollars, free_name, items_of
from gateway.commands.imports.litellm_budgets import (
    LASTING,
    WHY_LASTING,
    converted_limits,
    lifetime_rest,
    limit_rejection,
    opening_spend,
    spend_losses,
)
from gateway.commands.imports.litellm_columns import column_losses, lost_columns
from gateway.commands.imports.litellm_rows import (
    KEYS,
    TEAMS,
    name_list,
    read_boolean,
    read_list,
    read_mapping,
    read_text,
    read_time,
)
from gateway.commands.imports.losses import Group, Reason
from gateway.commands.imports.result import OMITTED, Result

_EVERY_PATH: Final = frozenset({"*", "/*"})
_ALL_ROUTES: Final = frozenset(("*", "/*", "/v1/*", "llm_api_routes", "llm_api_routes_without_mcp", "openai_routes",
     "anthropic_routes", "google_routes"))  # fmt: skip
"""Values of ``allowed_routes`` with the paths of all types of models."""

ALL: Final = frozenset({"all-proxy-models", "*"})
_ENFORCED: Final = ("rpm_limit", "tpm_limit", "max_parallel_requests")
_ENFORCED_OF_TEAMS: Final = _ENFORCED[:2]
"""The limits that LiteLLM enforces: a limit of 0 rejects every request."""

NONE: Final = "no-default-models"
OF_THE_TEAM: Final = "all-team-models"


@attrs.frozen
class Team:
    """A team as an item of ``client_groups``.

    ``row`` is that of its table, empty if the database lacks it. ``is_empty``: none of its models was converted.
    ``rejection`` is the reason why LiteLLM rejects its keys."""

    name: str
    item: Mapping[str, Any]
    row: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    is_empty: bool = False
    rejection: str | None = None


@attrs.frozen(repr=False)
class ServedNames:
    """The names that the new file serves, as LiteLLM has them.

    ``names`` are without aliases, ``aliases`` are those of all clients with their models, ``groups`` the models of each
    access group."""

    is_known: Callable[[str], bool]
    names: Sequence[str]
    aliases: Mapping[str, str]
    groups: Mapping[str, Sequence[str]]

    def allowed_names(self, models: Sequence[str]) -> tuple[list[str] | None, list[str]]:
        """Return the names that a key or team with these ``models`` may use, ``None`` for all, and the unserved ones.

        Access groups are replaced by their models."""
        if not models or ALL & set(models):
            return None, []
        wanted = [model for one in models for model in self.groups.get(one, (one,)) if one != NONE]
        each = [*dict.fromkeys(wanted)]
        return [one for one in each if self.is_known(one)], [one for one in each if not self.is_known(one)]


def _served_names(result: Result) -> ServedNames:
    is_served = result.name_test()
    aliases = {
        _plain(alias): _plain(str(route.get("target", "")))
        for alias, route in {**result.aliases, **result.model_ids}.items()
        if alias not in result.deployments
    }
    names = [_plain(name) for name in result.requested_names]
    return ServedNames(lambda name: is_served(escape_dollars(name)), names, aliases, result.access_groups)


def _plain(name: str) -> str:
    """Return a name in the new file as LiteLLM has it."""
    return name.replace("$$", "$")


def _convert_teams(
    ids: Iterable[str], rows: Mapping[str, Mapping[str, Any]], served: ServedNames, now: datetime, result: Result
) -> dict[str, Team]:
    """Return the teams with these ``ids``, and record what they lose."""
    found: dict[str, Team] = {}
    called: set[str] = set()
    for id in dict.fromkeys(ids):
        row = rows.get(id, {})
        name = free_name(read_text(row.get("team_alias")) or read_text(id), called)
        called.add(name)
        allowed, unknown = served.allowed_names(read_list(row.get("models")))
        if not row:
            result.lose(f"the limits of the team {name}", (Group.PROTECTION, "the database lacks its row"), TEAMS)
        elif unknown and allowed:
            what = f"models of the team {name}: {', '.join(unknown)}"
            result.lose(what, (Group.NAMES, "they are not in this file"), TEAMS)
        if lifetime_rest(row) is not None:
            result.lose(f"{LASTING} of the team {name}", WHY_LASTING, TEAMS)
        limits, converted = converted_limits(row)
        for column, reason in lost_columns(row, converted):
            result.lose(f"{column} of the team {name}", reason, TEAMS)
        item = {"name": name, **({"models": allowed} if allowed else {}), **limits}
        is_blocked, _ = read_boolean(row.get("blocked"))
        rejection = "its team is blocked" if is_blocked else limit_rejection(row, _ENFORCED_OF_TEAMS, now, "its team")
        found[id] = Team(name, item, row, allowed == [], rejection)
    return found


def _aliases_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the names that a key or team has for other models."""
    aliases = read_mapping(row.get("aliases")).items()
    return {alias: model for alias, model in aliases if isinstance(model, str) and model != alias}


# Keys

OF_ITS_PAGES: Final = "litellm-dashboard"
"""The team of the keys that LiteLLM creates for its web interface."""


@attrs.frozen
class Token:
    """A key in the table; ``digest`` is hexadecimal, ``row`` has all columns, ``team`` and ``user`` are ids or "".

    ``unreadable`` is the reason why the row is unclear, so that the key may be invalid. ``rejection`` is the reason why
    LiteLLM rejects it, apart from its team."""

    name: str
    digest: str
    models: tuple[str, ...]
    team: str
    expires: datetime | None
    unreadable: str | None
    rejection: str | None
    row: Mapping[str, Any] = attrs.field(repr=False)
    user: str = ""


def read_token(row: Mapping[str, Any], refused: str | None, user: str, now: datetime) -> Token:
    """Return the key in a row of the table. LiteLLM may have ``refused`` it because of another table."""
    token = row["token"].strip()
    hashed = re.fullmatch(r"[0-9a-fA-F]{64}", token)
    digest = token.lower() if hashed else hashlib.sha256(token.encode()).hexdigest()
    is_key = hashed is not None or token.startswith("sk-")
    expires, wrong = read_time(row.get("expires"))
    blocked, odd = read_boolean(row.get("blocked"))
    unreadable = wrong or odd or (None if is_key else "its token is neither a SHA-256 digest nor a key")
    rejection = refused or limit_rejection(row, _ENFORCED, now)
    if expires is not None and expires <= now:
        rejection = f"expired {expires:%Y-%m-%d}"
    return Token(
        name=read_text(row.get("key_alias")) or read_text(row.get("key_name")) or f"key-{digest[:8]}",
        digest=digest,
        models=read_list(row.get("models")),
        team=read_text(row.get("team_id")),
        expires=expires,
        unreadable=unreadable,
        rejection="blocked" if blocked and unreadable is None else rejection,
        row=row,
        user=user,
    )


def add_keys(keys: Sequence[Token], team_rows: Mapping[str, Mapping[str, Any]], result: Result) -> None:
    """Add ``keys`` and their teams to ``result``, which has the models of the new file already."""
    now, served = datetime.now(UTC), _served_names(result)
    teams = _convert_teams((key.team for key in keys if key.team), team_rows, served, now, result)
    called = {str(one["name"]) for one in result.client_keys}
    held: dict[str, tuple[Token, dict[str, Any]]] = {}
    invalid: list[str] = []
    for key in keys:
        name, team = free_name(key.name, called), teams.get(key.team)
        if rejection := key.rejection or (None if team is None else team.rejection):
            invalid.append(f"{name} ({rejection})")
        elif (unsafe := _unsafe_reason(key, team)) is not None:
            result.lose(f"the key {name}", unsafe, KEYS)
        elif key.digest not in held and (item := _convert_key(key, name, team, served, result)) is not None:
            called.add(name)
            held[key.digest] = key, item
    _add_leads([*held.values()], teams, team_rows, served, result)
    ids = {key.team for key, _ in held.values()}
    used = {team.name: id for id, team in teams.items() if id in ids}
    rows = {item["name"]: key.row for key, item in held.values()}
    rows_of_teams = {name: teams[id].row for name, id in used.items() if teams[id].row}
    _lose_limits(rows, rows_of_teams, result)
    result.groups_of_teams |= {id: name for name, id in used.items()}
    result.client_keys += [_as_file_item(item, result) for _, item in held.values()]
    result.client_groups += [_as_file_item(teams[id].item, result) for id in used.values()]
    result.opening_spend += _opening_items("client", rows, now)
    result.opening_spend += _opening_items("group", rows_of_teams, now)
    _leave_invalid(invalid, result)


def _convert_key(
    key: Token, name: str, team: Team | None, served: ServedNames, result: Result
) -> dict[str, Any] | None:
    """Return the item of ``client_keys``, ``None`` if it could use no model; record what the key loses."""
    allowed, unknown = served.allowed_names([model for model in key.models if model != OF_THE_TEAM])
    if allowed == []:
        why = f"this file has none of its models: {', '.join(unknown)}" if unknown else "it may use no model"
        result.lose(f"the key {name}", (Group.NAMES, why), KEYS)
        return None
    if unknown:
        what = f"models of the key {name}: {', '.join(unknown)}"
        result.lose(what, (Group.NAMES, "they are not in this file"), KEYS)
    allowed = None if OF_THE_TEAM in key.models else allowed
    aliases = {**_aliases_of(key.row), **_aliases_of({} if team is None else team.row)}
    hidden = [one for one, model in aliases.items() if served.is_known(one) and served.aliases.get(one) != model]
    if hidden:
        everything = served.names if team is None else team.item.get("models", served.names)
        allowed = [one for one in (everything if allowed is None else allowed) if not _matches_any(one, hidden)]
        if not allowed or served.aliases.keys() & hidden:
            why = f"it has other models under these names: {', '.join(hidden)}"
            result.lose(f"the key {name}", (Group.NAMES, why), KEYS)
            return None
        why = "this client has another model under that name, and trigate would send its requests elsewhere"
        result.lose(f"{', '.join(hidden)} for the key {name}", (Group.NAMES, why), KEYS)
    return {
        "name": name, "sha256": key.digest,
        **({} if allowed is None else {"models": allowed}),
        **({} if team is None else {"group": team.name}),
        **({} if key.expires is None else {"until": spell_time(key.expires)}), **converted_limits(key.row)[0],
    }  # fmt: skip


def _matches_any(model: str, names: Sequence[str]) -> bool:
    """Return whether ``model``, a name or a pattern, serves one of ``names``."""
    return any(model == name or fnmatch.fnmatchcase(name, model) for name in names)


def _as_file_item(item: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """Return an item of ``client_keys`` or ``client_groups`` for the file.

    Clients that may use a name may use its aliases. An alias with several targets has its own name in ``models``."""
    names = {member: escape_dollars(item[member]) for member in ("name", "group") if member in item}
    if "models" not in item:
        return {**item, **names}
    routes = [escape_dollars(model) for model in item["models"]]
    same = [alias for alias, name in result.same.items() if name in routes and alias not in routes]
    return {**item, **names, "models": [*routes, *same]}


def _add_leads(
    held: Sequence[tuple[Token, dict[str, Any]]], teams: Mapping[str, Team],
    rows: Mapping[str, Mapping[str, Any]], served: ServedNames, result: Result,
) -> None:  # fmt: skip
    """Give the keys of teams' admins the role ``lead``, and record the admins without such a key."""
    admins = {id: admins_of(row) for id, row in rows.items()}
    leads = [(key, item) for key, item in held if _may_lead(key, admins.get(key.team, ()))]
    for key, item in leads:
        everything = teams[key.team].item.get("models", served.names)  # a client with a role needs a list of its own
        item |= {"role": "lead", "models": item.get("models", [*everything])}
    if leads:
        names = ", ".join(item["name"] for _, item in leads)
        what = "as in LiteLLM, keys of a team's admins manage those of their group (`role: lead`)"
        result.remarks.append(f"{what}: {names}")
    having = {(key.user, key.team) for key, _ in leads}
    for id, users in admins.items():
        if lost := [user for user in users if (user, id) not in having]:
            team = read_text(rows[id].get("team_alias")) or id
            what = f"the admins of the team {team}: {name_list(lost, 'users')}"
            result.lose(what, (Group.PROTECTION, "set `role: lead` for a key of each"), TEAMS, lost)


def admins_of(row: Mapping[str, Any]) -> list[str]:
    """Return the users who may manage a team's keys."""
    members = items_of(row.get("members_with_roles"))
    found = [read_text(one.get("user_id")) for one in members if one.get("role") == "admin"]
    return [*dict.fromkeys(filter(None, (*found, *read_list(row.get("admins")))))]


def _may_lead(key: Token, admins: Sequence[str]) -> bool:
    """Return whether LiteLLM lets a key manage its team's keys: its user is an admin, and it may use all paths."""
    routes = read_list(key.row.get("allowed_routes"))
    return key.user in admins and (not routes or not _EVERY_PATH.isdisjoint(routes))


def _opening_items(owner: str, rows: Mapping[str, Mapping[str, Any]], now: datetime) -> Iterator[dict[str, Any]]:
    """Yield the items of ``opening_spend`` for the ``owner``s with these rows."""
    for name, row in rows.items():
        if (spent := opening_spend(row, now)) is not None:
            yield {owner: escape_dollars(name), **spent}


def _unsafe_reason(key: Token, team: Team | None) -> Reason | None:
    """Return the reason why a key could have more permissions than in LiteLLM."""
    if key.unreadable is not None:
        return Group.PROTECTION, f"it may be invalid: {key.unreadable}"
    routes = read_list(key.row.get("allowed_routes"))  # a key without any can use all
    if routes and not _ALL_ROUTES & set(routes):
        return Group.PROTECTION, f"it may only use {', '.join(routes)}, and a client key has no list of paths"
    if team is not None and team.is_empty:
        return Group.NAMES, f"this file has none of the models of its team {team.name}"
    if OF_THE_TEAM in key.models or (not key.models and team is not None):
        if team is None:
            return Group.PROTECTION, "it may use its team's models, but has no team"
        if not team.row:
            return Group.PROTECTION, "it may use its team's models, and the database lacks its row"
    return None


def _lose_limits(rows: Mapping[str, Mapping[str, Any]], of_teams: Mapping[str, Any], result: Result) -> None:
    """Record the settings that keys lost, and what keys and teams have spent of budgets without a known end."""
    if lasting := [name for name, row in rows.items() if lifetime_rest(row) is not None]:
        result.lose(f"{LASTING} of {name_list(lasting)}", WHY_LASTING, KEYS, lasting)
    columns = ((name, row, _converted_columns(row)) for name, row in rows.items())
    result.losses += spend_losses("keys", rows, KEYS)
    result.losses += spend_losses("teams", of_teams, TEAMS)
    result.losses += column_losses(columns, "", "keys", KEYS)


def _converted_columns(row: Mapping[str, Any]) -> set[str]:
    _, limited = converted_limits(row)
    return limited | {"allowed_routes"} if read_list(row.get("allowed_routes")) == ("llm_api_routes",) else limited


def _leave_invalid(invalid: Sequence[str], result: Result) -> None:
    """Record the keys that LiteLLM rejects."""
    result.no_longer_good = tuple(invalid)
    free = [entry.get("name", entry["model"]) for _, entry in result.entries if entry.get("price") == "free"]
    if free and any("exhausted" in one for one in invalid):
        why = "LiteLLM counts no budget for free models: create keys for these models without a budget"
        result.lose(f"{', '.join(free)} for keys whose budget is exhausted", (Group.NAMES, why))
    result.remarks += [f"{OMITTED}{one}" for one in invalid]
