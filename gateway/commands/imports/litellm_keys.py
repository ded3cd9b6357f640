"""Converts client keys and teams in LiteLLM's database; both store the SHA-256 of a key, so clients keep theirs."""

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from configfile.wording import spell_time
from gateway.commands.imports.imported_values import escape_dollars, free_name
from gateway.commands.imports.litellm_budgets import (
    closed_column,
    converted_limits,
    exhausted_text,
    lifetime_losses,
    lifetime_rest,
    opening_spend,
    spend_losses,
    with_periods,
)
from gateway.commands.imports.litellm_columns import lost_columns
from gateway.commands.imports.litellm_limits import limited_columns
from gateway.commands.imports.litellm_rows import (
    KEYS,
    TEAMS,
    name_list,
    read_boolean,
    read_list,
    read_mapping,
    read_objects,
    read_text,
    read_time,
)
from gateway.commands.imports.losses import Group, Loss, Reason
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
    """A row of the table of teams."""

    id: str
    name: str
    models: tuple[str, ...]
    blocked: bool
    row: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def admins(self) -> list[str]:
        """The users who may manage the team's keys."""
        members = read_objects(self.row.get("members_with_roles"))
        found = [read_text(one.get("user_id")) for one in members if one.get("role") == "admin"]
        return [*dict.fromkeys(filter(None, (*found, *read_list(self.row.get("admins")))))]


@attrs.frozen
class ConvertedTeam:
    """A team as an item of ``client_groups``.

    ``known``: the database has its row. ``nothing``: none of its models was converted. ``rejection`` is the reason why
    LiteLLM rejects its keys. ``aliases`` are the names that its keys have for other models."""

    name: str
    item: Mapping[str, Any]
    known: bool = False
    nothing: bool = False
    rejection: str | None = None
    aliases: Mapping[str, str] = attrs.field(factory=dict)


def teams_of_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[Team, ...]:
    """Return the teams in rows of the table."""
    return tuple(
        Team(
            id=row["team_id"].strip(),
            name=read_text(row.get("team_alias")) or read_text(row["team_id"]),
            models=read_list(row.get("models")),
            blocked=read_boolean(row.get("blocked"))[0],
            row=row,
        )
        for row in rows
    )


def convert_teams(
    ids: Iterable[str],
    teams: Sequence[Team],
    known: Callable[[str], bool],
    groups: Mapping[str, Sequence[str]],
    now: datetime,
) -> tuple[dict[str, ConvertedTeam], list[Loss]]:
    """Convert the teams with these ``ids``, and return the losses, too.

    ``known`` tests whether the new file serves a model name; ``groups`` are the models of each access group."""
    rows = {team.id: team for team in teams}
    found: dict[str, ConvertedTeam] = {}
    losses: list[Loss] = []
    called: set[str] = set()
    for id in dict.fromkeys(ids):
        team = rows.get(id)
        name = free_name(read_text(id) if team is None else team.name, called)
        called.add(name)
        if team is None:
            found[id] = ConvertedTeam(name, {"name": name})
            losses.append(Loss(Group.PROTECTION, f"the limits of the team {name}", "the database lacks its row"))
            continue
        allowed, unknown = allowed_models(team.models, known, groups)
        if unknown and allowed:
            what = f"models of the team {name}: {', '.join(unknown)}"
            losses.append(Loss(Group.NAMES, what, "they are not in this file"))
        item = {"name": name, **({} if not allowed else {"models": list(allowed)}), **converted_limits(team.row)}
        losses += lifetime_losses(f"the team {name}", [team.row])
        limited = set(limited_columns(with_periods(team.row)))
        losses += [
            Loss(group, f"{column} of the team {name}", why) for column, (group, why) in lost_columns(team.row, limited)
        ]
        found[id] = ConvertedTeam(
            name, item, True, allowed == (), _rejection_of_team(team, now), _aliases_of(team.row)
        )  # fmt: skip
    return found, losses


def _rejection_of_team(team: Team, now: datetime) -> str | None:
    if team.blocked:
        return "its team is blocked"
    if (closed := closed_column(team.row, _ENFORCED_OF_TEAMS)) is not None:
        return f"the {closed} of its team is 0"
    until = exhausted_text(team.row, now)
    return None if until is None else f"the budget of its team is exhausted {until}"


def allowed_models(
    models: Sequence[str], known: Callable[[str], bool], groups: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...] | None, list[str]]:
    """Return the model names that a key or team may use, ``None`` for all, and the names that are not served.

    Access groups are replaced by their models."""
    if not models or ALL & set(models):
        return None, []
    wanted = [model for one in models for model in groups.get(one, (one,)) if one != NONE]
    each = tuple(dict.fromkeys(wanted))
    return tuple(one for one in each if known(one)), [one for one in each if not known(one)]


def _aliases_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the names that a key or team has for other models."""
    aliases = read_mapping(row.get("aliases")).items()
    return {alias: model for alias, model in aliases if isinstance(model, str) and model != alias}


# Limits


_OF_ITS_PAGES: Final = "litellm-dashboard"
"""The team of the keys that LiteLLM creates for its web interface."""


@attrs.frozen
class Token:
    """A key in the table; ``digest`` is hexadecimal, ``expires`` may be None, ``row`` has all columns."""

    name: str
    digest: str
    models: tuple[str, ...]
    team: str
    """The id of its team, or ""."""
    blocked: bool
    expires: datetime | None
    unreadable: str | None
    """The reason why the row is unclear, so that the key may be invalid."""
    row: Mapping[str, Any] = attrs.field(repr=False)
    refused: str | None = None
    """The reason in another table why LiteLLM rejects the key."""
    user: str = ""
    """The id of its user, or ""."""


def keys_of_rows(rows: Iterable[dict[str, Any]]) -> tuple[Token, ...]:
    """Return the keys in rows of the table, without those of LiteLLM's own pages."""
    return tuple(_token_of_row(row) for row in rows if row.get("team_id") != _OF_ITS_PAGES)


def _token_of_row(row: dict[str, Any]) -> Token:
    token = row["token"].strip()
    hashed = re.fullmatch(r"[0-9a-fA-F]{64}", token)
    digest = token.lower() if hashed else hashlib.sha256(token.encode()).hexdigest()
    is_key = hashed is not None or token.startswith("sk-")
    expires, wrong = read_time(row.get("expires"))
    blocked, odd = read_boolean(row.get("blocked"))
    return Token(
        name=read_text(row.get("key_alias")) or read_text(row.get("key_name")) or f"key-{digest[:8]}",
        digest=digest,
        models=read_list(row.get("models")),
        team=read_text(row.get("team_id")),
        blocked=blocked,
        expires=expires,
        unreadable=wrong or odd or (None if is_key else "its token is neither a SHA-256 digest nor a key"),
        row=row,
    )


def add_keys(keys: Sequence[Token], teams: Sequence[Team], result: Result) -> None:
    """Add ``keys`` and their ``teams`` to ``result``, which has the models of the new file already."""
    now, is_served, groups = datetime.now(UTC), result.name_test(), result.access_groups
    served = [_plain(name) for name in result.requested_names]
    common = {  # aliases, which all clients of their models may use
        _plain(alias): _plain(str(route.get("target", "")))
        for alias, route in {**result.aliases, **result.model_ids}.items()
        if alias not in result.deployments
    }

    def is_known(name: str) -> bool:
        return is_served(escape_dollars(name))

    items: dict[str, dict[str, Any]] = {}
    losses: list[Loss] = []
    no_longer_good: list[str] = []
    called = {str(one["name"]) for one in result.client_keys}
    carried, of_teams = convert_teams((key.team for key in keys if key.team), teams, is_known, groups, now)
    for key in keys:
        name = free_name(key.name, called)
        team = carried.get(key.team)
        if (reason := _rejection_reason(key, team, now)) is not None:
            no_longer_good.append(f"{name} ({reason})")
            continue
        if (loss := _unsafe_loss(name, key, team)) is not None:
            losses.append(loss)
            continue
        if key.digest in items:
            continue
        own = [model for model in key.models if model != OF_THE_TEAM]
        allowed, unknown = allowed_models(own, is_known, groups)
        if allowed == ():
            why = f"this file has none of its models: {', '.join(unknown)}" if unknown else "it may use no model"
            losses.append(Loss(Group.NAMES, f"the key {name}", why))
            continue
        if unknown:
            what = f"models of the key {name}: {', '.join(unknown)}"
            losses.append(Loss(Group.NAMES, what, "they are not in this file"))
        allowed = None if OF_THE_TEAM in key.models else allowed
        aliases = {**_aliases_of(key.row), **(team.aliases if team is not None else {})}
        if hidden := [alias for alias, model in aliases.items() if is_known(alias) and common.get(alias) != model]:
            everything = served if team is None else team.item.get("models", served)
            allowed = tuple(
                model
                for model in (everything if allowed is None else allowed)
                if not any(model == name or fnmatch.fnmatchcase(name, model) for name in hidden)
            )
            if not allowed or common.keys() & hidden:
                why = f"it has other models under these names: {', '.join(hidden)}"
                losses.append(Loss(Group.NAMES, f"the key {name}", why))
                continue
            why = "this client has another model under that name, and trigate would send its requests elsewhere"
            losses.append(Loss(Group.NAMES, f"{', '.join(hidden)} for the key {name}", why))
        called.add(name)
        items[key.digest] = {
            "name": name, "sha256": key.digest,
            **({} if allowed is None else {"models": list(allowed)}),
            **({} if team is None else {"group": team.name}),
            **({} if key.expires is None else {"until": spell_time(key.expires)}), **converted_limits(key.row),
        }  # fmt: skip
    held = [key for key in keys if key.digest in items]
    leads = [key for key in held if _may_lead(key, teams)]
    for key in leads:
        everything = carried[key.team].item.get("models", served)  # a client with a role may only use its own list
        items[key.digest] |= {"role": "lead", "models": items[key.digest].get("models", list(everything))}
    result.remarks += _lead_remarks([items[key.digest]["name"] for key in leads])
    used = {item["group"] for item in items.values() if "group" in item}
    losses += (attrs.evolve(one, place=TEAMS) for one in (*of_teams, *_lost_admins(leads, teams)))
    result.groups_of_teams |= {id: team.name for id, team in carried.items() if team.name in used}
    lasting = [key for key in held if lifetime_rest(key.row) is not None]
    names = [items[key.digest]["name"] for key in lasting]
    losses += (
        attrs.evolve(one, names=tuple(names)) for one in lifetime_losses(name_list(names), [key.row for key in lasting])
    )
    spent_by_keys = {items[key.digest]["name"]: key.row for key in held}
    spent_by_teams = {
        carried[team.id].name: team.row for team in teams if team.id in carried and carried[team.id].name in used
    }
    losses += spend_losses("keys", spent_by_keys)
    losses += spend_losses("teams", spent_by_teams)
    losses += _limit_losses(held, items)
    opening = (*_opening_items("client", spent_by_keys, now), *_opening_items("group", spent_by_teams, now))
    result.client_keys += [_as_file_item(one, result) for one in items.values()]
    result.client_groups += [_as_file_item(team.item, result) for team in carried.values() if team.name in used]
    result.opening_spend += [{key: escape_dollars(value) for key, value in item.items()} for item in opening]
    result.losses += (attrs.evolve(one, place=one.place or KEYS) for one in losses)
    result.no_longer_good = tuple(no_longer_good)
    free = [entry.get("name", entry["model"]) for _, entry in result.entries if entry.get("price") == "free"]
    if free and any("exhausted" in one for one in no_longer_good):
        why = "LiteLLM counts no budget for free models: create keys for these models without a budget"
        result.lose(f"{', '.join(free)} for keys whose budget is exhausted", (Group.NAMES, why))
    result.remarks += [f"{OMITTED}{one}" for one in no_longer_good]


def _plain(name: str) -> str:
    """Return a name in the new file as LiteLLM has it."""
    return name.replace("$$", "$")


def _as_file_item(item: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """Return an item of ``client_keys`` or ``client_groups`` for the file.

    Clients that may use a name may use its aliases. An alias with several targets has its own name in ``models``."""
    names = {member: escape_dollars(item[member]) for member in ("name", "group") if member in item}
    if "models" not in item:
        return {**item, **names}
    routes = [escape_dollars(model) for model in item["models"]]
    same = [alias for alias, name in result.same.items() if name in routes and alias not in routes]
    return {**item, **names, "models": [*routes, *same]}


def _lead_remarks(names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"as in LiteLLM, keys of a team's admins manage those of their group (`role: lead`): {', '.join(names)}"


def _may_lead(key: Token, teams: Sequence[Team]) -> bool:
    """Return whether LiteLLM lets a key manage its team's keys: its user is an admin, and it may use all paths."""
    routes = read_list(key.row.get("allowed_routes"))
    admins = next((team.admins for team in teams if team.id == key.team), ())
    return key.user in admins and (not routes or not _EVERY_PATH.isdisjoint(routes))


def _lost_admins(leads: Sequence[Token], teams: Sequence[Team]) -> Iterator[Loss]:
    """Yield the admins of teams that have no key among ``leads``."""
    having = {(key.user, key.team) for key in leads}
    for team in teams:
        if lost := [user for user in team.admins if (user, team.id) not in having]:
            what = f"the admins of the team {team.name}: {name_list(lost, 'users')}"
            yield Loss(Group.PROTECTION, what, "set `role: lead` for a key of each", names=tuple(lost))


def _opening_items(owner: str, rows: Mapping[str, Mapping[str, Any]], now: datetime) -> Iterator[dict[str, Any]]:
    """Yield the items of ``opening_spend`` for the ``owner``s with these rows."""
    for name, row in rows.items():
        if (spent := opening_spend(row, now)) is not None:
            yield {owner: name, **spent}


def _rejection_reason(key: Token, team: ConvertedTeam | None, now: datetime) -> str | None:
    """Return the reason why LiteLLM would reject the key."""
    if key.blocked and key.unreadable is None:
        return "blocked"
    if key.expires is not None and key.expires <= now:
        return f"expired {key.expires:%Y-%m-%d}"
    if key.refused is not None:
        return key.refused
    if (closed := closed_column(key.row, _ENFORCED)) is not None:
        return f"its {closed} is 0"
    if (until := exhausted_text(key.row, now)) is not None:
        return f"its budget is exhausted {until}"
    return None if team is None else team.rejection


def _unsafe_loss(name: str, key: Token, team: ConvertedTeam | None) -> Loss | None:
    """Return a loss for a key that could have more permissions than in LiteLLM."""
    if key.unreadable is not None:
        return Loss(Group.PROTECTION, f"the key {name}", f"it may be invalid: {key.unreadable}")
    routes = read_list(key.row.get("allowed_routes"))  # a key without any can use all
    if routes and not _ALL_ROUTES & set(routes):
        why = f"it may only use {', '.join(routes)}, and a client key has no list of paths"
        return Loss(Group.PROTECTION, f"the key {name}", why)
    if team is not None and team.nothing:
        return Loss(Group.NAMES, f"the key {name}", f"this file has none of the models of its team {team.name}")
    is_by_team = OF_THE_TEAM in key.models or (not key.models and team is not None)
    if is_by_team and team is None:
        return Loss(Group.PROTECTION, f"the key {name}", "it may use its team's models, but has no team")
    if is_by_team and team is not None and not team.known:
        return Loss(Group.PROTECTION, f"the key {name}", "it may use its team's models, and the database lacks its row")
    return None


def _limit_losses(held: Sequence[Token], items: Mapping[str, dict[str, Any]]) -> Iterator[Loss]:
    """Yield one loss for each column of settings that keys lost: exports can have hundreds of keys."""
    owners: dict[tuple[str, Reason], list[str]] = {}
    for key in held:
        limited = set(limited_columns(with_periods(key.row)))
        if read_list(key.row.get("allowed_routes")) == ("llm_api_routes",):
            limited.add("allowed_routes")
        for lost in lost_columns(key.row, limited):
            owners.setdefault(lost, []).append(items[key.digest]["name"])
    for (column, (group, why)), names in owners.items():
        yield Loss(group, f"{column} of {name_list(names)}", why, names=tuple(names))
