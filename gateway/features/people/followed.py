"""Blocks, ended sessions, raises and own keys in the memory of a process, followed in the store.

``admin/followed_keys.py`` reads them together with the stored keys several times a second. A change by this process
applies immediately (``FollowedKeys.apply_changes``). While the store is unavailable, the last known ones stay in
effect."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

import attrs

from gateway.features.people.records import CLOCK_SKEW, Block, Raise
from gateway.features.people.rows import BLOCKS, RAISES, PeopleTables, Position
from gateway.stores.sql import Session, SqlNotation

T = TypeVar("T")

_MOST_CHANGES: Final = 1000
"""The number of changes from which on everything is read again."""


@attrs.frozen(repr=False)
class PersonKey:
    """An own key with its person's issuer, label and claims at the last sign-in or token."""

    digest: bytes
    person: str
    name: str
    until: float
    issuer: str
    label: str
    claims: Mapping[str, Any]


@attrs.frozen(repr=False)
class PeopleNews:
    """The rows that have changed since a position; if ``is_complete``, all rows.

    ``names`` are the people and holders whose blocks, sessions, raises or keys have changed, or may have."""

    position: Position
    is_complete: bool
    names: frozenset[str]
    blocks: Mapping[str, Block]
    raises: Mapping[str, Raise]
    ended: Mapping[str, float]
    own_keys: Mapping[str, tuple[PersonKey, ...]]


class FollowedPeople:
    """The blocks, ended sessions, raises and own keys in a database with this ``notation``, as last read.

    ``clock`` returns Unix time. Only the trio thread uses it, except for ``read``."""

    def __init__(self, notation: SqlNotation, clock: Callable[[], float] = time.time) -> None:
        self._notation = notation
        self._clock = clock
        self._position: Position | None = None
        self._applied_at = 0.0
        self._blocks: dict[str, Block] = {}
        self._raises: dict[str, Raise] = {}
        self._ended: dict[str, float] = {}
        self._own_keys: dict[str, tuple[PersonKey, ...]] = {}
        self._by_digest: dict[bytes, PersonKey] = {}
        self._listeners: list[Callable[[frozenset[str]], object]] = []

    @property
    def is_read(self) -> bool:
        """Whether the rows were read once. Before, a person's credential cannot be judged (503)."""
        return self._position is not None

    def is_blocked(self, name: str) -> bool:
        """Return whether all credentials of the person ``name`` are rejected."""
        return name in self._blocks

    def block_of(self, name: str) -> Block | None:
        """Return the block of the person ``name``."""
        return self._blocks.get(name)

    def is_ended(self, session: str) -> bool:
        """Return whether the session with this id has ended while its tokens are still valid."""
        return session in self._ended

    def raise_of(self, holder: str) -> Raise | None:
        """Return the raise of a client, or of ``group:NAME``, if it has not ended."""
        found = self._raises.get(holder)
        return None if found is None or found.until <= self._clock() else found

    @property
    def raises(self) -> Mapping[str, Raise]:
        """All raises by holder; some may have ended."""
        return MappingProxyType(self._raises)

    def own_key(self, digest: bytes) -> PersonKey | None:
        """Return the own key with this SHA-256, which may have expired."""
        return self._by_digest.get(digest)

    @property
    def own_keys(self) -> Iterable[PersonKey]:
        """The own keys of all people; some may have expired."""
        return self._by_digest.values()

    def on_change(self, listener: Callable[[frozenset[str]], object]) -> None:
        """Call ``listener(names)`` after each change with the people and holders that it concerns."""
        self._listeners.append(listener)

    # Following

    def read(self, session: Session) -> PeopleNews | None:
        """Return the rows that have changed since the last ``apply``, ``None`` without any. Runs in a thread."""
        now = self._clock()
        was_set_back = now < self._applied_at - CLOCK_SKEW  # rows that had expired by the clock are needed again
        return read_news(PeopleTables(session, self._notation), None if was_set_back else self._position, now)

    def apply(self, news: PeopleNews | None) -> None:
        """Use the rows that ``read`` returned."""
        if news is None or (not news.is_complete and news.position == self._position):
            return
        self._applied_at = now = self._clock()
        names = news.names
        if news.is_complete:
            names |= {*self._blocks, *self._raises, *self._own_keys}  # rows that were removed
            self._ended = {}
        for name in names:
            _replace(self._blocks, name, news.blocks)
            _replace(self._raises, name, news.raises)
            for key in self._own_keys.pop(name, ()):
                self._by_digest.pop(key.digest, None)
            if keys := news.own_keys.get(name):
                self._own_keys[name] = keys
                self._by_digest.update((key.digest, key) for key in keys)
        if any(until <= now - CLOCK_SKEW for until in self._ended.values()):
            self._ended = {id: until for id, until in self._ended.items() if until > now - CLOCK_SKEW}
        self._ended.update(news.ended)
        self._position = news.position
        for listener in self._listeners:
            listener(names)


def _replace(table: dict[str, T], name: str, rows: Mapping[str, T]) -> None:
    """Replace the row of ``name``, or remove it if it is not in ``rows``."""
    table.pop(name, None)
    if name in rows:
        table[name] = rows[name]


# Reading

_SINCE: Final = """
    SELECT number, mark, name FROM {people_changes} WHERE number >= :number ORDER BY number LIMIT :most
"""
_ENDED: Final = "SELECT id, tokens_until, person FROM {person_sessions} WHERE ended IS NOT NULL AND tokens_until > :now"
_OWN_KEYS: Final = """
    SELECT k.digest, k.person, k.name, k.until, p.issuer, p.label, p.claims
    FROM {own_keys} k JOIN {people} p ON p.name = k.person WHERE k.until > :now
"""


def read_news(tables: PeopleTables, known: Position | None, now: float) -> PeopleNews | None:
    """Return the rows that have changed since the position ``known``, ``None`` without any.

    Everything is read if ``known`` is not in the table: the database was replaced by a backup, or by a new one."""
    position = tables.position()  # read first: later changes appear with the next position
    if position == known:
        return None
    if known is not None and known.number:
        found = tables.select(_SINCE, number=known.number, most=_MOST_CHANGES)
        if found and found[0][:2] == (known.number, known.mark) and len(found) < _MOST_CHANGES:
            return _read_rows(tables, position, frozenset(name for _, _, name in found[1:]), now)
    return _read_rows(tables, position, None, now)


def _read_rows(tables: PeopleTables, position: Position, names: frozenset[str] | None, now: float) -> PeopleNews:
    """Return all rows of the people and holders ``names``, because any of them may have changed; ``None`` for all."""
    blocks: dict[str, Block] = {}
    raises: dict[str, Raise] = {}
    own_keys: dict[str, tuple[PersonKey, ...]] = {}
    ended: list[tuple[Any, ...]] = []
    chosen: Iterable[dict[str, str]] = ({},) if names is None else ({"name": name} for name in names)
    for one in chosen:
        of_name, of_holder, of_person, of_owner = _OF_ONE if one else _OF_ALL
        blocks |= {block.name: block for block in tables.list(BLOCKS, of_name, **one)}
        raises |= {found.holder: found for found in tables.list(RAISES, of_holder, **one)}
        ended += tables.select(f"{_ENDED} {of_person}", now=now - CLOCK_SKEW, **one)
        own_keys |= _own_keys_by_person(tables.select(f"{_OWN_KEYS} {of_owner} ORDER BY k.person", now=now, **one))
    is_complete = names is None
    found = names or frozenset((*blocks, *raises, *own_keys, *(person for _, _, person in ended)))
    return PeopleNews(
        position, is_complete, found, blocks, raises, {id: until for id, until, _ in ended}, own_keys
    )  # fmt: skip


_OF_ONE: Final = "WHERE name = :name", "WHERE holder = :name", "AND person = :name", "AND k.person = :name"
_OF_ALL: Final = "", "", "", ""


def _own_keys_by_person(own_key_rows: list[tuple[Any, ...]]) -> dict[str, tuple[PersonKey, ...]]:
    own_keys: dict[str, tuple[PersonKey, ...]] = {}
    claims: dict[str, Any] = {}  # the keys of a person share them
    for digest, person, name, until, issuer, label, text in own_key_rows:
        if person not in own_keys:
            claims = json.loads(text)
        key = PersonKey(bytes.fromhex(digest), person, name, until, issuer, label, claims)
        own_keys[person] = (*own_keys.get(person, ()), key)
    return own_keys
