"""Tables of records that people change, with the log of changes that every process follows, and the audit."""

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cached_property, wraps
from typing import (
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    LiteralString,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
)

import attrs

from gateway.stores.database import Database, Session
from gateway.stores.errors import StoreFull

P = ParamSpec("P")
T = TypeVar("T")

CLOCK_SKEW: Final = 60.0
"""Seconds by which the clocks of gateways may differ. A later time is that of a wrong clock."""

ChangeKind: TypeAlias = Literal["block", "session", "raise", "own_key", "confirmed"]
"""The kind of a change that every process follows. The change's name is the person or the holder.

``confirmed``: an issuer confirmed the same claims of a person with own keys again."""

_KEPT_CHANGES: Final = 10_000
_LAST: Final = "SELECT number, mark FROM {people_changes} ORDER BY number DESC LIMIT 1"
_NOTE: Final = """
    INSERT INTO {people_changes} VALUES (
        (SELECT coalesce(max(number), 0) + 1 FROM {people_changes}), :mark, :kind, :name
    )
"""
_TRIM: Final = "DELETE FROM {people_changes} WHERE number <= (SELECT max(number) FROM {people_changes}) - :kept"


def contains(*columns: str) -> str:
    """Return the condition that one of ``columns`` contains the text of ``like_pattern``, the value ``search``."""
    return "(" + " OR ".join(f"lower({column}) LIKE :search ESCAPE '!'" for column in columns) + ")"


def like_pattern(text: str) -> str:
    """Return the pattern of texts that contain ``text`` in any case."""
    return "%" + re.sub(r"([!%_])", r"!\1", text.lower()) + "%"


@attrs.frozen(repr=False)
class AuditEntry:
    """A row of the audit: a call, its caller (``who``) and its effect. It has no secret.

    ``credential`` is the kind and id of the caller's credential. The store sets ``before`` and ``after`` of a change:
    the changed records as JSON, without digests."""

    at: float
    who: str
    credential: str
    address: str
    request_id: str
    method: str
    path: str
    status: int
    before: str | None = None
    after: str | None = None
    number: int = 0

    @classmethod
    def of_command(cls, command: str, at: float, author: str) -> "AuditEntry":
        """Return the row for ``trigate COMMAND``, which ``author`` called at a Unix time."""
        return cls(at, author, "command", "", "", "", f"trigate {command}", 200)


@attrs.frozen(eq=False, slots=False)
class RecordTable(Generic[T]):
    """A table whose rows are records of ``cls``: a column for each attribute, in the order of the class.

    ``key`` are the columns of its primary key. A column has its attribute's name, unless ``renamed`` has another one.
    ``json``: attributes that are stored as JSON."""

    name: str
    cls: type[T]
    key: tuple[str, ...]
    renamed: Mapping[str, str] = attrs.field(factory=dict)
    json: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> Mapping[str, str]:
        """The columns by attribute."""
        attributes = attrs.fields(cast("type[attrs.AttrsInstance]", self.cls))
        return {one.name: self.renamed.get(one.name, one.name) for one in attributes}

    def selection(self, alias: str = "") -> str:
        """Return the list of all columns of the table with this alias."""
        return ", ".join(f"{alias}{'.' if alias else ''}{column}" for column in self.columns.values())

    def read(self, row: Sequence[Any]) -> T:
        """Return the record in a row with all columns."""
        pairs = zip(self.columns, row, strict=True)
        return self.cls(**{name: _from_json(value) if name in self.json else value for name, value in pairs})

    def values(self, record: T) -> dict[str, Any]:
        """Return the columns of a record with their values."""
        found = ((name, column, getattr(record, name)) for name, column in self.columns.items())
        return {column: json_text(value) if name in self.json else value for name, column, value in found}


AUDIT: Final = RecordTable("audit", AuditEntry, ("number",))


@attrs.frozen(repr=False)
class AuditDigest:
    """The digest of the row ``number`` of the audit."""

    number: int
    digest: str


AUDIT_DIGESTS: Final = RecordTable("audit_digests", AuditDigest, ("number",))


def chain_digest(before: str, entry: AuditEntry) -> str:
    """Return the digest of ``entry``, whose preceding row has the digest ``before``, empty without one.

    It is the SHA-256 of a JSON array of ``before`` and all values of the row."""
    return hashlib.sha256(json_text([before, *attrs.astuple(entry)]).encode()).hexdigest()


@attrs.frozen
class Position:
    """The last change that a process knows: its ``number`` and its random ``mark``, (0, "") before the first."""

    number: int = 0
    mark: str = ""


class RightsTables:
    """The tables of people, raises and the audit in the transaction of ``session``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def select(self, statement: LiteralString, **values: Any) -> list[tuple[Any, ...]]:
        """Run the statement, and return its rows."""
        return self._session.rows(statement, **values)

    def first(self, statement: LiteralString, **values: Any) -> tuple[Any, ...] | None:
        """Run the statement, and return its first row."""
        rows = self.select(statement, **values)
        return rows[0] if rows else None

    def count(self, statement: LiteralString, **values: Any) -> int:
        """Return the number that the statement selects."""
        return cast("int", self.select(statement, **values)[0][0])

    # Records

    def list(self, table: RecordTable[T], rest: LiteralString = "", **values: Any) -> tuple[T, ...]:
        """Return the records that ``rest`` selects: the conditions and the order of the statement."""
        rows = self.select(f"SELECT {table.selection()} FROM {{{table.name}}} {rest}", **values)
        return tuple(map(table.read, rows))

    def find(self, table: RecordTable[T], **where: Any) -> T | None:
        """Return the record whose columns have the values ``where``, ``None`` without one."""
        return next(iter(self.list(table, _condition(where), **where)), None)

    def remove(self, table: RecordTable[Any], **where: Any) -> None:
        """Remove the records whose columns have the values ``where``."""
        self.select(f"DELETE FROM {{{table.name}}} {_condition(where)}", **where)

    def add(self, table: RecordTable[T], record: T) -> None:
        """Store a new record."""
        self._session.insert(table.name, table.values(record))

    def put(self, table: RecordTable[T], record: T, kept: Sequence[str] = (), **others: Any) -> None:
        """Store a record in place of the one with its key, but keep that one's columns ``kept``.

        ``others`` are columns without an attribute."""
        self._session.put(table.name, table.key, {**table.values(record), **others}, kept)

    def update(self, table: RecordTable[Any], where: Mapping[str, Any], **values: Any) -> None:
        """Set columns of the records whose columns have the values ``where``."""
        changed = ", ".join(f"{one} = :{one}" for one in values)
        self.select(f"UPDATE {{{table.name}}} SET {changed} {_condition(where)}", **values, **where)

    # Everything

    def check_room(self, table: LiteralString, most: int, rows: str) -> None:
        """Raise ``StoreFull`` if ``table`` has ``most`` rows; ``rows`` is the word for them."""
        if self.count(f"SELECT count(*) FROM {{{table}}}") >= most:
            raise StoreFull(f"there are {most} {rows}, the maximum: remove some")

    def lock(self) -> None:
        """Block other writers of the people tables until the transaction ends."""
        self._session.lock("people_changes")

    def position(self) -> Position:
        """Return the position of the last change."""
        found = self.first(_LAST)
        return Position() if found is None else Position(*found)

    def note_change(self, kind: ChangeKind, name: str) -> None:
        """Add a change to the list that other processes read."""
        self.select(_NOTE, mark=secrets.token_hex(16), kind=kind, name=name)
        self.select(_TRIM, kept=_KEPT_CHANGES)

    def add_audit(self, entry: AuditEntry | None, before: Any = None, after: Any = None) -> None:
        """Add a row to the audit. ``before`` and ``after`` are records without secrets, or values for JSON."""
        if entry is not None:
            texts = [None if value is None else json_text(value) for value in (before, after)]
            number = self.count("SELECT coalesce(max(number), 0) + 1 FROM {audit}")
            row = attrs.evolve(entry, number=number, before=texts[0], after=texts[1])
            self.add(AUDIT, row)
            before_it = self.find(AUDIT_DIGESTS, number=number - 1)
            self.add(AUDIT_DIGESTS, AuditDigest(number, chain_digest(before_it.digest if before_it else "", row)))


def _condition(where: Mapping[str, Any]) -> str:
    return f"WHERE {' AND '.join(f'{name} = :{name}' for name in where)}"


def _from_json(text: str) -> Any:
    value = json.loads(text)
    return tuple(value) if isinstance(value, list) else value


def json_text(value: Any) -> str:
    """Return ``value`` as JSON in ASCII, which every database stores unchanged."""
    return json.dumps(value, separators=(",", ":"), default=dict if isinstance(value, Mapping) else str)


# Methods of stores

Work: TypeAlias = Callable[Concatenate[RightsTables, P], T]
Method: TypeAlias = Callable[Concatenate["HasDatabase", P], Coroutine[Any, Any, T]]


class HasDatabase(Protocol):
    """A store in a database."""

    @property
    def database(self) -> Database: ...


def reading(work: Work[P, T]) -> Method[P, T]:
    """Return a method of the store that runs ``work`` in a transaction."""

    @wraps(work)
    async def read(self: HasDatabase, /, *args: P.args, **named: P.kwargs) -> T:
        return await self.database.read(lambda session: work(RightsTables(session), *args, **named))

    return read


def changing(work: Work[P, T]) -> Method[P, T]:
    """Return a method of the store that runs ``work`` in a transaction while no other process changes the tables."""

    @wraps(work)
    async def change(self: HasDatabase, /, *args: P.args, **named: P.kwargs) -> T:
        def run_locked(session: Session) -> T:
            tables = RightsTables(session)
            tables.lock()
            return work(tables, *args, **named)

        return await self.database.write(run_locked)

    return change


def accept_any(present: object) -> None:
    """Permit a change of any record: the default for checks."""


def replace_row(table: dict[str, T], name: str, rows: Mapping[str, T]) -> None:
    """Replace the row of ``name`` in ``table``, or remove it if it is not in ``rows``."""
    table.pop(name, None)
    if name in rows:
        table[name] = rows[name]
