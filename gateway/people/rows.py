"""The people tables within one transaction: statements in the notation of the database, and the log of changes."""

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, LiteralString, TypeAlias, TypeVar, cast

import attrs

from gateway.people.records import AuditEntry
from gateway.stores.sql import Session, SqlNotation
from gateway.stores.store import StoreFull

T = TypeVar("T")

ChangeKind: TypeAlias = Literal["block", "session", "raise", "own_key"]
"""The kind of a change that every process follows. The change's name is the person or the holder."""

_KEPT_CHANGES: Final = 10_000
_LAST: Final = "SELECT number, mark FROM {people_changes} ORDER BY number DESC LIMIT 1"
_NOTE: Final = """
    INSERT INTO {people_changes} VALUES (
        (SELECT coalesce(max(number), 0) + 1 FROM {people_changes}), :mark, :kind, :name
    )
"""
_TRIM: Final = "DELETE FROM {people_changes} WHERE number <= (SELECT max(number) FROM {people_changes}) - :kept"
_AUDIT: Final = """
    INSERT INTO {audit} VALUES (
        (SELECT coalesce(max(number), 0) + 1 FROM {audit}), :at, :who, :credential, :address, :request_id, :method,
        :path, :status, :before, :after
    )
"""


@attrs.frozen
class Position:
    """The last change that a process knows: its ``number`` and its random ``mark``, (0, "") before the first."""

    number: int = 0
    mark: str = ""


class PeopleTables:
    """The people tables in the transaction of ``session``."""

    def __init__(self, session: Session, notation: SqlNotation) -> None:
        self._session = session
        self._notation = notation

    def select(self, statement: LiteralString, **values: Any) -> list[tuple[Any, ...]]:
        """Run the statement, and return its rows."""
        return self._session.rows(self._notation.render(statement), **values)

    def first(self, statement: LiteralString, **values: Any) -> tuple[Any, ...] | None:
        """Run the statement, and return its first row."""
        rows = self.select(statement, **values)
        return rows[0] if rows else None

    def count(self, statement: LiteralString, **values: Any) -> int:
        """Return the number that the statement selects."""
        return cast("int", self.select(statement, **values)[0][0])

    def one_of(self, cls: Callable[..., T], statement: LiteralString, **values: Any) -> T | None:
        """Run the statement, and return its first row as a ``cls``, ``None`` without one."""
        found = self.first(statement, **values)
        return None if found is None else cls(*found)

    def all_of(self, cls: Callable[..., T], statement: LiteralString, **values: Any) -> tuple[T, ...]:
        """Run the statement, and return its rows, each as a ``cls``."""
        return tuple(cls(*row) for row in self.select(statement, **values))

    def check_room(self, table: LiteralString, most: int, rows: str) -> None:
        """Raise ``StoreFull`` if ``table`` has ``most`` rows; ``rows`` is the word for them."""
        if self.count(f"SELECT count(*) FROM {{{table}}}") >= most:
            raise StoreFull(f"there are {most} {rows}, the maximum: remove some")

    def lock(self) -> None:
        """Block other writers of the people tables until the transaction ends."""
        self.select(self._notation.lock_statement("people_changes"))

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
            values = {**attrs.asdict(entry), "before": _json_or_none(before), "after": _json_or_none(after)}
            del values["number"]
            self.select(_AUDIT, **values)


def audit_writer(
    notation: SqlNotation, entry: AuditEntry, before: Any = None, after: Any = None
) -> Callable[[Session], None]:
    """Return a function that adds ``entry`` in the transaction of another store, ``KeyStore.change(also=)``.

    ``before`` and ``after`` are the changed record without secrets, ``None`` if there is none."""

    def write(session: Session) -> None:
        tables = PeopleTables(session, notation)
        tables.lock()
        tables.add_audit(entry, before, after)

    return write


def _json_or_none(value: Any) -> str | None:
    return None if value is None else json_text(value)


def json_text(value: Any) -> str:
    """Return ``value`` as JSON in ASCII, which every database stores unchanged."""
    return json.dumps(value, separators=(",", ":"), default=dict if isinstance(value, Mapping) else str)
