"""People that a process has seen, stored in batches, so that lists and reports have those who use issuers' tokens."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.people.records import SeenPerson, readable_text
from gateway.people.store import PeopleStore
from gateway.people.values import Person

AGAIN_SECONDS: Final = 6 * 3600.0
"""Seconds after which an unchanged person is stored again."""
_MOST_PENDING: Final = 10_000
_AT_ONCE: Final = 200
_MOST_KNOWN: Final = 50_000


class SeenPeople:
    """The people that this process has seen since they were stored last. ``now`` returns Unix time."""

    def __init__(self, store: PeopleStore, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._pending: dict[str, SeenPerson] = {}
        self._stored: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def note(self, person: Person, claims: Mapping[str, Any]) -> None:
        """Note that a credential of ``person`` with ``claims`` was used. Stores nothing yet, and never waits."""
        now = self._now()
        at, before = self._stored.get(person.name, (0.0, None))
        if (before == claims and now - at < AGAIN_SECONDS) or len(self._pending) >= _MOST_PENDING:
            return
        self._pending[person.name] = SeenPerson(
            person.name, person.issuer, readable_text(person.label or ""), claims, person.group, person.role, now, now
        )

    async def flush(self) -> None:
        """Store the people that were noted. Raises ``Unavailable``, and keeps them for the next time."""
        while self._pending:
            batch = dict(list(self._pending.items())[:_AT_ONCE])
            await self._store.note_people(tuple(batch.values()))
            for name, seen in batch.items():
                if self._pending.get(name) is seen:
                    del self._pending[name]
                self._stored.pop(name, None)
                self._stored[name] = seen.seen, seen.claims
            while len(self._stored) > _MOST_KNOWN:
                del self._stored[next(iter(self._stored))]
