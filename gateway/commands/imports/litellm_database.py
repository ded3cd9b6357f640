"""Reads keys, teams, users and budgets of LiteLLM's database: from a live PostgreSQL server, or a dump of ``pg_dump``.

The connection is read-only. Messages contain no content of rows and no part of the connection string."""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from configfile.document import ConfigError, Mistake
from gateway.commands.imports.litellm import Clients
from gateway.commands.imports.litellm_budgets import opening_spend
from gateway.commands.imports.litellm_keys import keys_of_rows, teams_of_rows
from gateway.commands.imports.litellm_rows import KEYS, TEAMS, has_value, read_boolean, read_list, read_text
from gateway.commands.imports.litellm_usage import COLUMNS, LATEST, RequestCounts
from gateway.commands.imports.litellm_usage import TABLE as LOG
from gateway.commands.imports.losses import Group, Loss

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = Mapping[str, Sequence[Row]]

BUDGETS: Final = "LiteLLM_BudgetTable"
USERS: Final = "LiteLLM_UserTable"
END_USERS: Final = "LiteLLM_EndUserTable"
MODELS: Final = "LiteLLM_ProxyModelTable"
ROTATED: Final = "LiteLLM_DeprecatedVerificationToken"
TABLES: Final = (KEYS.name, TEAMS.name, BUDGETS, USERS, END_USERS, MODELS, ROTATED)
"""The tables that are read; older versions of LiteLLM lack some."""

_PROXY: Final = "litellm-proxy-budget"
"""The user whose row has what all clients together have spent of ``litellm_settings.max_budget``."""

_OF_BUDGETS: Final = (
    "max_budget", "budget_duration", "budget_reset_at", "soft_budget", "max_parallel_requests", "tpm_limit",
    "rpm_limit", "tpd_limit", "model_max_budget",
)  # fmt: skip
"""The columns with which a row of the table of budgets limits a key."""

_PRISMA: Final = frozenset(
    ["connection_limit", "pool_timeout", "pgbouncer", "schema", "socket_timeout", "sslaccept", "statement_cache_size"]
)
"""Parameters of a connection string that only LiteLLM's client, Prisma, knows."""

_CONNECT_SECONDS: Final = 10
_COPY: Final = re.compile(rb'COPY (?:"?\w+"?\.)?"(\w+)" \((.*)\) FROM stdin;\s*')
_CUSTOM: Final = b"PGDMP"
_ESCAPED: Final = re.compile(r"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)")
_LETTERS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_DUMP: Final = "make one with: pg_dump --data-only --format=plain --table='\"LiteLLM_\"*' > litellm.sql"


def read_database(source: str, environ: Mapping[str, str]) -> Clients:
    """Return the clients in ``source``: a dump, a connection string, or the name of a variable with one.

    Raises ``ConfigError``, and ``OSError`` for an unreadable file."""
    if source.startswith(("postgres://", "postgresql://")):
        tables = _read_server(source, "the database")
    elif source in environ:
        tables = _read_server(environ[source], f"the database in {source}")
    elif not Path(source).exists():
        raise _mistake("--database", f"{source} is neither a set environment variable nor a file", "give one of both")
    else:
        with Path(source).open("rb") as file:
            tables = read_dump(file, source)
    if not tables.get(KEYS.name):
        raise _mistake("--database", f"there is no table {KEYS.name}, or it has no rows", "give LiteLLM's database")
    return clients_of_tables(tables)


def _mistake(place: str, found: str, expected: str) -> ConfigError:
    return ConfigError((Mistake(place, "", found, expected),))


# A live server


def _read_server(url: str, name: str) -> Tables:
    """Return the tables of a running server. Raises ``ConfigError``."""
    try:
        import psycopg
    except ImportError:
        raise _mistake(name, "the package psycopg is missing", "install trigate[postgres], or give a dump") from None
    address, schema = _without_prisma(url)
    try:
        with psycopg.connect(address, connect_timeout=_CONNECT_SECONDS) as connection:
            connection.read_only = True
            rows: dict[str, list[Row]] = {}
            if schema:
                connection.execute("SELECT set_config('search_path', %s, true)", (f'"{schema}"',))
            for table in TABLES:
                found = connection.execute("SELECT to_regclass(%s)", (f'"{table}"',)).fetchone()
                if found is not None and found[0] is not None:
                    query = psycopg.sql.SQL("SELECT row_to_json(t)::text FROM {} AS t")
                    cursor = connection.execute(query.format(psycopg.sql.Identifier(table)))
                    rows[table] = [msgspec.json.decode(text) for (text,) in cursor]
            _read_log(connection, psycopg.sql, rows)
            return rows
    except psycopg.Error as error:
        reason = error.sqlstate or type(error).__name__
        advice = "check the connection string, and that its user may read LiteLLM's tables; or give a dump"
        raise _mistake(name, f"it cannot be read ({reason})", advice) from None


def _read_log(connection: Any, sql: Any, rows: dict[str, list[Row]]) -> None:
    """Add the latest rows of the log of requests, if the user may read it and it has all columns."""
    needed = ("startTime", *COLUMNS)
    found = connection.execute(
        """SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = ANY(%s)
        AND has_table_privilege(attrelid, 'SELECT')""",
        (f'"{LOG}"', [*needed]),
    ).fetchone()
    if found is None or found[0] < len(needed):
        return
    query = 'SELECT row_to_json(t)::text FROM (SELECT {} FROM {} ORDER BY "startTime" DESC LIMIT {}) AS t'
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    rows[LOG] = [
        msgspec.json.decode(text)
        for (text,) in connection.execute(sql.SQL(query).format(columns, sql.Identifier(LOG), sql.Literal(LATEST)))
    ]


def _without_prisma(url: str) -> tuple[str, str | None]:
    """Return a connection string without Prisma's own parameters, and the schema that they name."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    kept = urlencode([(name, value) for name, value in query if name not in _PRISMA])
    plain = urlunsplit((parts.scheme, parts.netloc, parts.path, kept, parts.fragment))
    return plain, dict(query).get("schema")


# A dump


def read_dump(file: BinaryIO, name: str) -> Tables:
    """Return the tables in a dump in plain text, which is read line by line. Raises ``ConfigError``."""
    rows: dict[str, list[Row]] = {}
    columns: list[str] | None = None
    table, requests = "", deque[Row](maxlen=LATEST)
    for number, line in enumerate(file):
        if number == 0 and line.startswith(_CUSTOM):
            expected = f"convert it with: pg_restore --data-only -f litellm.sql {name}"
            raise _mistake(name, "this dump is not plain text", expected)
        if columns is None:
            if line.startswith(b"COPY ") and (found := _COPY.fullmatch(line)) is not None:
                table, listed = found[1].decode(), found[2].decode("utf-8", "replace")
                columns = [column.strip().strip('"') for column in listed.split(",")]
                rows.setdefault(table, []) if table in TABLES else None
        elif line.rstrip(b"\r\n") == b"\\.":
            columns = None
        elif table == LOG:
            values = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
            found_values = {name: text for name, text in zip(columns, values, strict=False) if name in COLUMNS}
            requests.append({name: _read_value(text) for name, text in found_values.items()})
        elif table in TABLES:
            values = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
            rows[table].append(dict(zip(columns, map(_read_value, values), strict=False)))
    if requests:
        rows[LOG] = [*requests]
    if not rows:
        raise _mistake(name, "this is no dump of LiteLLM's tables", _DUMP)
    return rows


def _read_value(text: str) -> str | None:
    """Return a value of COPY's text format (https://www.postgresql.org/docs/current/sql-copy.html)."""
    if text == "\\N":
        return None
    return _ESCAPED.sub(_unescape, text) if "\\" in text else text


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    if code.isdigit():
        return chr(int(code, 8))
    return chr(int(code[1:], 16)) if len(code) > 1 else _LETTERS.get(code, code)


# Clients


def clients_of_tables(tables: Tables) -> Clients:
    """Return the keys and teams of these tables, with the budgets and users that limit them."""
    budgets = {str(row.get("budget_id")): row for row in tables.get(BUDGETS, ())}
    users = {str(row.get("user_id")): row for row in tables.get(USERS, ())}
    taken = {str(row.get("team_id")) for row in tables.get(TEAMS.name, ())}
    used: dict[str, Row] = {}
    rows = []
    for row in tables.get(KEYS.name, ()):
        if not read_text(row.get("token")):
            continue
        key = _with_budget(row, budgets)
        user = users.get(str(key.get("user_id")))
        if user is not None:
            key["user_id"] = None  # its limits are those of a group, or do not apply to a team's key
            if not has_value(key.get("team_id")) and _limits_keys(user):
                id = _group_id(str(user["user_id"]), taken)
                key["team_id"], used[id] = id, {**user, "team_id": id, "team_alias": _user_name(user), "blocked": None}
        rows.append(key)
    teams = [row for row in tables.get(TEAMS.name, ()) if read_text(row.get("team_id"))]
    proxy = opening_spend(users.get(_PROXY, {}), datetime.now(UTC))
    return Clients(
        keys_of_rows(rows),
        teams_of_rows([*teams, *used.values()]),
        tuple(_losses(tables, budgets)),
        _count_requests(tables),
        () if proxy is None else (proxy,),
    )


def _count_requests(tables: Tables) -> RequestCounts:
    counts = RequestCounts()
    for row in tables.get(LOG, ()):
        counts.add(row)
    return counts


def _with_budget(row: Row, budgets: Mapping[str, Row]) -> Row:
    """Return the row of a key with the limits of the budget that it refers to, unless it has limits of its own."""
    budget = budgets.get(str(row.get("budget_id")))
    if budget is None:
        return dict(row)
    limits = {name: budget.get(name) for name in _OF_BUDGETS if not has_value(row.get(name))}
    return {**row, **limits, "budget_id": None}


def _limits_keys(user: Row) -> bool:
    """Return whether a user has a budget, limits or a list of models, which apply to keys without a team."""
    return any(has_value(user.get(name)) for name in _OF_BUDGETS) or bool(read_list(user.get("models")))


def _group_id(user: str, taken: Iterable[str]) -> str:
    """Return an id for a user's group, which no team has."""
    return next(id for id in (f"user {user}", f"user-{user}", f"the user {user}") if id not in taken)


def _user_name(user: Row) -> str:
    return read_text(user.get("user_alias")) or read_text(user.get("user_id"))


def _losses(tables: Tables, budgets: Mapping[str, Row]) -> Iterator[Loss]:
    people = tables.get(END_USERS, ())
    limited = [row for row in people if str(row.get("budget_id")) in budgets]
    if limited:
        why = "a program's end users have no budgets of their own: set `budgets` for the program's key"
        yield Loss(Group.MONEY, f"the budgets of {_count(limited, 'end user')}", why)
    if blocked := [row for row in people if read_boolean(row.get("blocked"))[0]]:
        yield Loss(Group.PROTECTION, f"the blocks of {_count(blocked, 'end user')}", "block them in the program")
    if regional := [row for row in people if has_value(row.get("allowed_model_region"))]:
        why = "set `models` for the program's key"
        yield Loss(Group.RESIDENCY, f"the regions of {_count(regional, 'end user')}", why)
    if stored := [read_text(row.get("model_name")) for row in tables.get(MODELS, ())]:
        names = ", ".join(dict.fromkeys(stored[:5])) + (", …" if len(stored) > 5 else "")
        why = "their credentials are encrypted: write them into the file"
        yield Loss(Group.NAMES, f"models that are only in the database: {names}", why)
    if rotated := tables.get(ROTATED, ()):
        why = "they end soon: let clients use the new keys before the move"
        yield Loss(Group.NAMES, f"{_count(rotated, 'rotated key')} that LiteLLM still accepts", why)


def _count(rows: Sequence[Row], noun: str) -> str:
    return f"{len(rows)} {noun}{'s' * (len(rows) != 1)}"
