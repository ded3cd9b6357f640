"""Blocks, ended sessions and own keys in the memory of a process, followed in the store with the raises."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from configfile.wording import time_text
from gateway.features.admin.interface import FollowedRights, RightsNews
from gateway.features.people.records import BLOCKS, Block
from gateway.stores.record_tables import CLOCK_SKEW, RightsTables, replace_row


@attrs.frozen(repr=False)
class PersonKey:
    """An own key with its person's issuer, label and claims at the last sign-in or token, which was ``confirmed`` at
    this Unix time. ``made`` is the text of when it was made."""

    digest: bytes
    person: str
    name: str
    until: float
    issuer: str
    label: str
    claims: Mapping[str, Any]
    confirmed: float
    made: str


@attrs.frozen(repr=False)
class PeopleNews:
    """Rows about people that have changed, or all."""

    blocks: Mapping[str, Block]
    ended: Mapping[str, float]
    own_keys: Mapping[str, tuple[PersonKey, ...]]


class FollowedPeople(FollowedRights):
    """The blocks, ended sessions, own keys and raises in a database, as last read."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self._blocks: dict[str, Block] = {}
        self._ended: dict[str, float] = {}
        self._own_keys: dict[str, tuple[PersonKey, ...]] = {}
        self._by_digest: dict[bytes, PersonKey] = {}

    def is_blocked(self, name: str) -> bool:
        """Return whether all credentials of the person ``name`` are rejected."""
        return name in self._blocks

    def block_of(self, name: str) -> Block | None:
        """Return the block of the person ``name``."""
        return self._blocks.get(name)

    def is_ended(self, session: str) -> bool:
        """Return whether the session with this id has ended while its tokens are still valid."""
        return session in self._ended

    def own_key(self, digest: bytes) -> PersonKey | None:
        """Return the own key with this SHA-256, which may have expired."""
        return self._by_digest.get(digest)

    @property
    def own_keys(self) -> Iterable[PersonKey]:
        """The own keys of all people; some may have expired."""
        return self._by_digest.values()

    # Following

    def apply_others(self, news: RightsNews) -> frozenset[str]:
        rows: PeopleNews = news.others
        names, now = news.names, self.clock()
        if news.is_complete:
            names |= {*self._blocks, *self._own_keys}  # rows that were removed
            self._ended = {}
        for name in names:
            replace_row(self._blocks, name, rows.blocks)
            for key in self._own_keys.pop(name, ()):
                self._by_digest.pop(key.digest, None)
            if keys := rows.own_keys.get(name):
                self._own_keys[name] = keys
                self._by_digest.update((key.digest, key) for key in keys)
        if any(until <= now - CLOCK_SKEW for until in self._ended.values()):
            self._ended = {id: until for id, until in self._ended.items() if until > now - CLOCK_SKEW}
        self._ended.update(rows.ended)
        return names

    def read_others(self, tables: RightsTables, names: frozenset[str] | None, now: float) -> tuple[Any, frozenset[str]]:
        blocks: dict[str, Block] = {}
        own_keys: dict[str, tuple[PersonKey, ...]] = {}
        ended: list[tuple[Any, ...]] = []
        chosen: Iterable[dict[str, str]] = ({},) if names is None else ({"name": name} for name in names)
        for one in chosen:
            of_name, of_person, of_owner = _OF_ONE if one else _OF_ALL
            blocks |= {block.name: block for block in tables.list(BLOCKS, of_name, **one)}
            ended += tables.select(f"{_ENDED} {of_person}", now=now - CLOCK_SKEW, **one)
            own_keys |= _own_keys_by_person(tables.select(f"{_OWN_KEYS} {of_owner} ORDER BY k.person", now=now, **one))
        rows = PeopleNews(blocks, {id: until for id, until, _ in ended}, own_keys)
        return rows, frozenset((*blocks, *own_keys, *(person for _, _, person in ended)))


_ENDED: Final = "SELECT id, tokens_until, person FROM {person_sessions} WHERE ended IS NOT NULL AND tokens_until > :now"
_OWN_KEYS: Final = """
    SELECT k.digest, k.person, k.name, k.until, p.issuer, p.label, p.claims_at, p.claims, k.made
    FROM {own_keys} k JOIN {people} p ON p.name = k.person WHERE k.until > :now
"""
_OF_ONE: Final = "WHERE name = :name", "AND person = :name", "AND k.person = :name"
_OF_ALL: Final = "", "", ""


def _own_keys_by_person(own_key_rows: list[tuple[Any, ...]]) -> dict[str, tuple[PersonKey, ...]]:
    own_keys: dict[str, tuple[PersonKey, ...]] = {}
    claims: dict[str, Any] = {}  # the keys of a person share them
    for digest, person, name, until, issuer, label, confirmed, text, made in own_key_rows:
        if person not in own_keys:
            claims = json.loads(text)
        key = PersonKey(bytes.fromhex(digest), person, name, until, issuer, label, claims, confirmed, time_text(made))
        own_keys[person] = (*own_keys.get(person, ()), key)
    return own_keys
