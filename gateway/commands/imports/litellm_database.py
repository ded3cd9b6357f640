"""Reads LiteLLM's database, which is a PostgreSQL server.

The connection is read-only. Messages contain no content of rows and no part of the connection string."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from configfile.document import ConfigError, Mistake
from gateway.commands.imports.litellm_columns import LOST_TABLES, PREFIX, is_record
from gateway.commands.imports.litellm_rows import KEYS, SETTINGS, TABLES, UNREADABLE

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = Mapping[str, Sequence[Row]]

_WHOLE: Final = frozenset((*TABLES, SETTINGS, *(f"{PREFIX}{name}" for name in LOST_TABLES)))
"""The tables whose rows are read; of others, only the existence of rows matters."""

_PRISMA: Final = frozenset(
    ["connection_limit", "pool_timeout", "pgbouncer", "schema", "socket_timeout", "sslaccept", "statement_cache_size"]
)
"""Parameters of a connection string that only LiteLLM's client, Prisma, knows."""

_CONNECT_SECONDS: Final = 10
_CONNECT: Final = "connect to the database: give its connection string, or the name of a variable with it"


def read_database(source: str, environ: Mapping[str, str]) -> Tables:
    """Return the tables in ``source``: a connection string, or the name of a variable with one.

    Raises ``ConfigError``."""
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
    return tables


def _mistake(place: str, found: str, expected: str) -> ConfigError:
    return ConfigError((Mistake(place, "", found, expected),))


# A live server

_LISTED: Final = """SELECT relname, has_table_privilege(oid, 'SELECT') FROM pg_class
    WHERE relkind IN ('r', 'p', 'f') AND relname LIKE 'LiteLLM\\_%' AND pg_table_is_visible(oid) ORDER BY relname"""


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
