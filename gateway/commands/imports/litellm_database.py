"""Reads keys, teams, users and budgets of LiteLLM's database, which is a PostgreSQL server.

The connection is read-only. Messages contain no content of rows and no part of the connection string."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, compress
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs
import msgspec

from configfile.document import ConfigError, Mistake
from gateway.commands.imports.imported_values import free_name
from gateway.commands.imports.litellm import Clients
from gateway.commands.imports.litellm_budgets import closed_column, exhausted_text, opening_spend
from gateway.commands.imports.litellm_columns import (
    LOST_TABLES,
    PREFIX,
    SETTINGS,
    VARIABLES,
    is_record,
    lost_columns,
    lost_tables,
    stored_settings,
)
from gateway.commands.imports.litellm_keys import keys_of_rows, teams_of_rows
from gateway.commands.imports.litellm_models import MODELS_TABLE, STORED
from gateway.commands.imports.litellm_rows import (
    KEYS,
    TEAMS,
    has_value,
    name_list,
    read_boolean,
    read_list,
    read_mapping,
    read_text,
)
from gateway.commands.imports.litellm_secrets import Decryption, Undecryptable, is_encrypted
from gateway.commands.imports.losses import Group, Loss, Reason
from gateway.commands.terminal import count_text

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = Mapping[str, Sequence[Row]]

ALIASES: Final = "LiteLLM_ModelTable"
BUDGETS: Final = "LiteLLM_BudgetTable"
MEMBERS: Final = "LiteLLM_TeamMembership"
ORGANIZATIONS: Final = "LiteLLM_OrganizationTable"
PROJECTS: Final = "LiteLLM_ProjectTable"
USERS: Final = "LiteLLM_UserTable"
END_USERS: Final = "LiteLLM_EndUserTable"
CREDENTIALS: Final = "LiteLLM_CredentialsTable"
SIGN_IN: Final = "LiteLLM_SSOConfig"
ROTATED: Final = "LiteLLM_DeprecatedVerificationToken"
TABLES: Final = (KEYS, TEAMS, BUDGETS, USERS, END_USERS, MODELS_TABLE, CREDENTIALS, ROTATED, ALIASES)
"""The tables that are converted; older versions of LiteLLM lack some."""
_WHOLE: Final = frozenset((*TABLES, SETTINGS, *(f"{PREFIX}{name}" for name in LOST_TABLES)))
"""The tables whose rows are read; of others, only the existence of rows matters."""

_PROXY: Final = "litellm-proxy-budget"
"""The user whose row has what all clients together have spent of ``litellm_settings.max_budget``."""

_OF_BUDGETS: Final = (
    "max_budget", "budget_duration", "budget_reset_at", "soft_budget", "max_parallel_requests", "tpm_limit",
    "rpm_limit", "tpd_limit", "model_max_budget",
)  # fmt: skip
"""The columns with which a row of the table of budgets limits a key."""

_RATES: Final = ("rpm_limit", "tpm_limit")

_PRISMA: Final = frozenset(
    ["connection_limit", "pool_timeout", "pgbouncer", "schema", "socket_timeout", "sslaccept", "statement_cache_size"]
)
"""Parameters of a connection string that only LiteLLM's client, Prisma, knows."""

_CONNECT_SECONDS: Final = 10
_CONNECT: Final = "connect to the database: give its connection string, or the name of a variable with it"


def read_database(source: str, environ: Mapping[str, str], salt_key: str | None = None) -> Clients:
    """Return the clients in ``source``: a connection string, or the name of a variable with one.

    ``salt_key`` decrypts models and credentials. Raises ``ConfigError``."""
    if source.startswith(("postgres://", "postgresql://")):
        tables = _read_server(source, "the database")
    elif source in environ:
        tables = _read_server(environ[source], f"the database in {source}")
    elif Path(source).exists():
        raise _mistake("--database", f"{source} is a file, and trigate import reads no dumps", _CONNECT)
    else:
        raise _mistake("--database", f"there is no environment variable {source}", _CONNECT)
    if not tables.get(KEYS):
        raise _mistake("--database", f"there is no table {KEYS}, or it has no rows", "give LiteLLM's database")
    return clients_of_tables(tables, Decryption(salt_key))


def _mistake(place: str, found: str, expected: str) -> ConfigError:
    return ConfigError((Mistake(place, "", found, expected),))


# A live server

_LISTED: Final = """SELECT relname, has_table_privilege(oid, 'SELECT') FROM pg_class
    WHERE relkind IN ('r', 'p', 'f') AND relname LIKE 'LiteLLM\\_%' AND pg_table_is_visible(oid) ORDER BY relname"""
UNREADABLE: Final = "tables that were not read"
"""The name for rows with the names of such tables."""


def _read_server(url: str, name: str) -> Tables:
    """Return the tables of a running server. Raises ``ConfigError``."""
    try:
        import psycopg
    except ImportError:
        raise _mistake(name, "the package psycopg is missing", "install trigate[postgres]") from None
    address, schema = _without_prisma(url)
    try:
        with psycopg.connect(address, connect_timeout=_CONNECT_SECONDS) as connection:
            connection.read_only = True
            if schema:
                connection.execute("SELECT set_config('search_path', %s, true)", (f'"{schema}"',))
            rows: dict[str, list[Row]] = {}
            for table, is_readable in connection.execute(_LISTED).fetchall():
                if is_record(table) and table not in TABLES:
                    continue
                if not is_readable and table not in TABLES:
                    rows.setdefault(UNREADABLE, []).append({"table": table})
                    continue
                query = (
                    "SELECT row_to_json(t)::text FROM {} AS t" if table in _WHOLE else "SELECT '{{}}' FROM {} LIMIT 1"
                )
                cursor = connection.execute(psycopg.sql.SQL(query).format(psycopg.sql.Identifier(table)))
                rows[table] = [msgspec.json.decode(text) for (text,) in cursor]
            return rows
    except psycopg.Error as error:
        reason = error.sqlstate or type(error).__name__
        advice = "check the connection string, and that its user may read LiteLLM's tables"
        raise _mistake(name, f"it cannot be read ({reason})", advice) from None


def _without_prisma(url: str) -> tuple[str, str | None]:
    """Return a connection string without Prisma's own parameters, and the schema that they name."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    kept = urlencode([(name, value) for name, value in query if name not in _PRISMA])
    plain = urlunsplit((parts.scheme, parts.netloc, parts.path, kept, parts.fragment))
    return plain, dict(query).get("schema")


# Clients


def clients_of_tables(tables: Tables, decryption: Decryption = Decryption()) -> Clients:  # noqa: B008  it is frozen
    """Return the keys and teams of these tables, with the budgets and users that limit them, and decrypted models."""
    now = datetime.now(UTC)
    budgets, users = _rows_by(tables, BUDGETS, "budget_id"), _rows_by(tables, USERS, "user_id")
    teams = _rows_by(tables, TEAMS, "team_id")
    rejection = _make_rejection(tables, budgets, users, teams, now)
    groups: dict[str, Row] = {}
    rows = []
    refused: dict[str, str] = {}
    owners = {row["token"]: read_text(row.get("user_id")) for row in tables.get(KEYS, ()) if row.get("token")}
    for row in tables.get(KEYS, ()):
        if not read_text(row.get("token")):
            continue
        key = _with_budget(row, budgets)
        if (reason := rejection(row)) is not None:
            refused[row["token"]] = reason
        user = users.get(str(key.get("user_id")))
        if user is not None:
            key["user_id"] = None  # its limits are those of a group, or do not apply to a team's key
            is_limited = any(_is_given(user.get(name)) for name in _OF_BUDGETS) or read_list(user.get("models"))
            if is_limited and not has_value(key.get("team_id")):
                id = free_name(f"user {user['user_id']}", teams)
                limits = {name: user.get(name) for name in ("models", "spend", *_OF_BUDGETS)}
                key["team_id"], groups[id] = id, {**limits, "team_id": id, "team_alias": _user_name(user)}
        rows.append(key)
    aliases = {str(row.get("id")): row.get("aliases") for row in tables.get(ALIASES, ())}
    team_rows = [
        {**row, "aliases": aliases[str(row["model_id"])], "model_id": None}
        if str(row.get("model_id")) in aliases
        else row
        for row in tables.get(TEAMS, ())
        if read_text(row.get("team_id"))
    ]
    found_teams = teams_of_rows([*team_rows, *groups.values()])
    proxy = opening_spend(users.get(_PROXY, {}), now)
    variables = _decrypt_variables(tables, decryption)
    if variables:
        is_other = [row.get("param_name") != VARIABLES for row in tables[SETTINGS]]
        tables = {**tables, SETTINGS: [*compress(tables[SETTINGS], is_other)]}
    blocked = [read_text(row.get("model_name")) for row in tables.get(MODELS_TABLE, ()) if row.get("blocked") is True]
    models = [row for row in tables.get(MODELS_TABLE, ()) if row.get("blocked") is not True]
    stored = _decrypt_rows(models, "model_name", decryption, _model_item)
    credentials = _decrypt_rows(tables.get(CREDENTIALS, ()), "credential_name", decryption, _credential_item)
    return Clients(
        tuple(
            attrs.evolve(key, refused=refused.get(key.row["token"]), user=owners.get(key.row["token"], ""))
            for key in keys_of_rows(rows)
        ),
        found_teams,
        (
            *_losses(tables),
            *stored.losses("models", MODELS_TABLE),
            *credentials.losses("credentials", CREDENTIALS),
            *lost_tables(tables, (*TABLES, UNREADABLE)),
            *_column_losses(tables),
        ),
        () if proxy is None else (proxy,),
        models=(*chain(*stored.lost.values()), *blocked),
        stored_models=stored.items,
        credentials=credentials.items,
        variables=variables,
        key_rows=len(tables.get(KEYS, ())),
        sign_in=_decrypt_sign_in(tables, decryption),
        leads={
            team.id: [mail for user in team.admins if (mail := read_text(users.get(user, {}).get("user_email")))]
            for team in found_teams
        },
        remarks=[f"omitted, because LiteLLM blocks the model: {name}" for name in blocked],
        settings=stored_settings(tables.get(SETTINGS, ())),
        closed_end_users=tuple(_closed_end_users(tables, budgets)),
    )


# Encrypted rows


@attrs.frozen
class _DecryptedRows:
    """The rows of a table as ``items``, and the names of the ``lost`` ones by the reason."""

    items: list[Row] = attrs.field(factory=list, repr=False)
    lost: dict[str, list[str]] = attrs.field(factory=dict)

    def losses(self, noun: str, table: str) -> Iterator[Loss]:
        for why, names in self.lost.items():
            listed = name_list([*dict.fromkeys(names)], noun)
            yield Loss(Group.NAMES, f"{noun} that are only in the database: {listed}", why, table, tuple(names))


def _decrypt_rows(
    rows: Sequence[Row], name: str, decryption: Decryption, convert: Callable[[Row, Decryption], Row]
) -> _DecryptedRows:
    found = _DecryptedRows()
    for row in rows:
        try:
            found.items.append(convert(row, decryption))
        except Undecryptable as error:
            found.lost.setdefault(str(error), []).append(read_text(row.get(name)))
    return found


def _model_item(row: Row, decryption: Decryption) -> Row:
    """Return an item of ``model_list`` for a stored model. Raises ``Undecryptable``."""
    params, info = read_mapping(row.get("litellm_params")), read_mapping(row.get("model_info"))
    if not is_encrypted(params.get("model")):
        raise Undecryptable("LiteLLM did not encrypt them: write them into the file")
    found = {"model_name": row.get("model_name"), "litellm_params": decryption.decrypt(params)}
    return {**found, "model_info": {**info, STORED: True}}


def _credential_item(row: Row, decryption: Decryption) -> Row:
    """Return an item of ``credential_list`` for a stored credential. Raises ``Undecryptable``."""
    values = decryption.decrypt(read_mapping(row.get("credential_values")))
    return {"credential_name": row.get("credential_name"), "credential_values": values}


def _decrypt_variables(tables: Tables, decryption: Decryption) -> dict[str, str]:
    """Return the variables that LiteLLM sets from its database, empty if they cannot be decrypted."""
    rows = [row for row in tables.get(SETTINGS, ()) if row.get("param_name") == VARIABLES]
    try:
        found = [decryption.decrypt(read_mapping(row.get("param_value"))) for row in rows if decryption.key]
    except Undecryptable:
        return {}
    return {name: str(value) for variables in found for name, value in variables.items()}


def _decrypt_sign_in(tables: Tables, decryption: Decryption) -> dict[str, Any]:
    """Return the settings for the sign-in of people; those that cannot be decrypted have their names as values."""
    found: dict[str, Any] = {}
    for row in tables.get(SIGN_IN, ()):
        for name, value in read_mapping(row.get("sso_settings")).items():
            try:
                found[name] = decryption.decrypt(value)
            except Undecryptable:
                found[name] = "" if name.endswith("_secret") else name.upper()
    return found


def _rows_by(tables: Tables, table: str, column: str) -> dict[str, Row]:
    """Return the rows of a table by the id in ``column``."""
    return {str(row.get(column)): row for row in tables.get(table, ())}


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
        for owner, whose in (
            (project, "of its project"), (organization, "of its organization"), (member, "of its user in its team"),
        ):  # fmt: skip
            limits = _with_budget(owner, budgets)
            if owner and (until := exhausted_text(limits, now, carried=False)) is not None:
                return f"the budget {whose} is exhausted {until}"
            if owner and (closed := closed_column(limits, _RATES)) is not None:
                return f"the {closed} {whose} is 0"
        return None

    return rejection


def _with_budget(row: Row, budgets: Mapping[str, Row]) -> Row:
    """Return the row of a key with the limits of the budget that it refers to, unless it has limits of its own."""
    budget = budgets.get(str(row.get("budget_id")))
    if budget is None:
        return dict(row)
    limits = {name: budget.get(name) for name in _OF_BUDGETS if not _is_given(row.get(name))}
    return {**row, **limits, "budget_id": None}


def _is_given(value: Any) -> bool:
    """Return whether a column of limits has a value, which may be 0."""
    return has_value(value) or (value == 0 and value is not False)


def _user_name(user: Row) -> str:
    return read_text(user.get("user_alias")) or read_text(user.get("user_id"))


def _closed_end_users(tables: Tables, budgets: Mapping[str, Row]) -> Iterator[str]:
    """Yield the end users whom LiteLLM rejects: they are blocked, or have spent their budgets."""
    for row in tables.get(END_USERS, ()):
        limits = _with_budget(row, budgets)
        spent = exhausted_text({**limits, "budget_reset_at": None}, datetime.now(UTC))
        if spent is not None or read_boolean(row.get("blocked"))[0]:
            yield read_text(row.get("user_id"))


# Losses

_ROLES: Final[Mapping[str, str]] = {
    "proxy_admin": "admin", "proxy_admin_viewer": "auditor", "org_admin": "lead",
}  # fmt: skip
"""LiteLLM's roles with rights over other clients, and those of trigate."""


_OF_MASTER_KEY: Final = "default_user_id"
"""The user of the master key, whose item of ``client_keys`` has its role."""


def _losses(tables: Tables) -> Iterator[Loss]:
    end_users = tables.get(END_USERS, ())
    if limited := [read_text(row.get("user_id")) for row in end_users if has_value(row.get("budget_id"))]:
        why = "a program's end users have no budgets of their own: set `budgets` for the program's key"
        yield Loss(
            Group.MONEY, f"the budgets of {count_text(len(limited), 'end user')}", why, END_USERS, tuple(limited)
        )
    if confined := [read_text(row.get("user_id")) for row in end_users if read_list(row.get("models"))]:
        why = "set `models` for the key of their program"
        yield Loss(
            Group.PROTECTION, f"the models of {name_list(confined, 'end users')}", why, END_USERS, tuple(confined)
        )
    if regional := [row for row in end_users if has_value(row.get("allowed_model_region"))]:
        why = "set `models` for the program's key"
        yield Loss(Group.RESIDENCY, f"the regions of {count_text(len(regional), 'end user')}", why, END_USERS)
    for row in tables.get(UNREADABLE, ()):
        yield Loss(
            Group.UNKNOWN, f"the table {row['table']}", "the database user may not read it: grant SELECT", row["table"]
        )
    if rotated := tables.get(ROTATED, ()):
        why = "they end soon: let clients use the new keys before the move"
        yield Loss(Group.NAMES, f"{count_text(len(rotated), 'rotated key')} that LiteLLM still accepts", why, ROTATED)
    for role, ours in _ROLES.items():
        users = (row for row in tables.get(USERS, ()) if row.get("user_role") == role)
        if people := [_user_name(row) for row in users if row.get("user_id") != _OF_MASTER_KEY]:
            what = f"the role {role} of {name_list(people, 'users')}"
            yield Loss(Group.PROTECTION, what, f"set `role: {ours}` for a key of each", USERS, tuple(people))


def _column_losses(tables: Tables) -> Iterator[Loss]:
    """Yield the losses of columns of users, end users and budgets."""
    yield from _lost_of(END_USERS, tables.get(END_USERS, ()), "end users", "user_id", ("user_id", "budget_id"))
    yield from _lost_of(BUDGETS, tables.get(BUDGETS, ()), "budgets", "budget_id", ("budget_id", *_OF_BUDGETS))
    owners = {str(row.get("user_id")) for row in tables.get(KEYS, ())}
    users = [row for row in tables.get(USERS, ()) if str(row.get("user_id")) in owners]
    yield from _lost_of(USERS, users, "users", "user_id", ("user_id", "max_budget", "max_parallel_requests", *_RATES))
    of_teams = {str(row.get("user_id")) for row in tables.get(KEYS, ()) if has_value(row.get("team_id"))}
    rated = [_user_name(row) for row in users if str(row["user_id"]) in of_teams and any(map(row.get, _RATES))]
    if rated:
        why = "a key of a team cannot also be in a group for its user: set `ratelimits` for these keys"
        yield Loss(
            Group.PROTECTION, f"the rates of {name_list(rated, 'users')} for keys of teams", why, USERS, tuple(rated)
        )


def _lost_of(table: str, rows: Sequence[Row], noun: str, name: str, converted: Sequence[str]) -> Iterator[Loss]:
    """Yield one loss for each column that ``rows`` of a table lose."""
    owners: dict[tuple[str, Reason], list[str]] = {}
    for row in rows:
        for lost in lost_columns(row, converted):
            owners.setdefault(lost, []).append(read_text(row.get(name)))
    for (column, (group, why)), names in owners.items():
        yield Loss(group, f"{column} of {noun}: {name_list(names, noun)}", why, table, tuple(names))
