"""People that a process has seen, stored in batches, so that lists and reports have those who use issuers' tokens."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from gateway.features.people.records import Person, SeenPerson
from gateway.features.people.store import PeopleStore
from gateway.stores.errors import Unavailable

log = logging.getLogger("trigate.people")

FLUSH_SECONDS: Final = 15.0
PAUSE_SECONDS: Final = 0.25
"""Seconds after a new person, so that several are stored together."""
AGAIN_SECONDS: Final = 6 * 3600.0
"""Seconds after which an unchanged person is stored again."""
KEY_SECONDS: Final = 60.0
"""Seconds after which the time of the last request with an own key is stored again."""
_MOST_PENDING: Final = 10_000
_AT_ONCE: Final = 200
_MOST_KNOWN: Final = 50_000


class SeenPeople:
    """The people that this process has seen since they were stored last. ``now`` returns Unix time."""

    def __init__(self, store: PeopleStore, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._pending: dict[str, SeenPerson] = {}
        self._stored: dict[str, tuple[float, bytes, float]] = {}  # with a digest of the claims, which may be long
        self._news = trio.Event()
        self._key_uses: dict[str, float] = {}  # by the digest of the key; there are at most ``MOST_OWN_KEYS``
        self._stored_uses: dict[str, float] = {}

    def note(
        self, person: Person, claims: Mapping[str, Any], issued: float, confirm_again: float = AGAIN_SECONDS
    ) -> None:
        """Note that a credential of ``person`` was used, whose ``claims`` the issuer confirmed at ``issued``.

        Unchanged claims that it confirms ``confirm_again`` seconds after the stored time are news, too, because own
        keys may wait for them. Stores nothing yet, and never waits."""
        now = self._now()
        at, known, known_issued = self._stored.get(person.name, (0.0, b"", 0.0))
        confirms = issued >= known_issued + min(confirm_again, AGAIN_SECONDS)
        is_news = not known or confirms or (issued > known_issued and _digest_of(claims) != known)
        if (not is_news and now - at < AGAIN_SECONDS) or len(self._pending) >= _MOST_PENDING:
            return
        pending = self._pending.get(person.name)
        if pending is not None and pending.claims_at > issued:
            return
        self._pending[person.name] = seen_person(person, claims, now, min(issued, now))
        if is_news:
            self._news.set()

    async def wait_for_news(self) -> None:
        """Wait until a person is noted that this process has not stored, or whose claims have changed."""
        await self._news.wait()

    def note_key_use(self, digest: bytes) -> None:
        """Note that an own key was used. Stores nothing yet, and never waits."""
        self._key_uses[digest.hex()] = self._now()

    async def flush(self) -> None:
        """Store the people and the uses of own keys that were noted. Raises ``Unavailable``, and keeps them for the
        next time."""
        self._news = trio.Event()
        while self._pending:
            batch = dict(list(self._pending.items())[:_AT_ONCE])
            await self._store.note_people(tuple(batch.values()))
            for name, seen in batch.items():
                if self._pending.get(name) is seen:
                    del self._pending[name]
                self._stored.pop(name, None)
                self._stored[name] = seen.seen, _digest_of(seen.claims), seen.claims_at
            while len(self._stored) > _MOST_KNOWN:
                del self._stored[next(iter(self._stored))]
        await self._flush_key_uses()

    async def _flush_key_uses(self) -> None:
        uses, stored = self._key_uses, self._stored_uses
        due = sorted(key for key, at in uses.items() if at >= stored.get(key, 0.0) + KEY_SECONDS)
        for start in range(0, len(due), _AT_ONCE):  # in one order in all processes: they lock the rows
            batch = {key: uses[key] for key in due[start : start + _AT_ONCE]}
            await self._store.note_key_uses(batch)
            stored.update(batch)
        recent = self._now() - KEY_SECONDS
        self._key_uses = {key: at for key, at in uses.items() if at > max(stored.get(key, 0.0), recent)}
        while len(stored) > _MOST_KNOWN:
            del stored[next(iter(stored))]


def seen_person(person: Person, claims: Mapping[str, Any], now: float, claims_at: float) -> SeenPerson:
    """Return ``person`` as seen now. The issuer confirmed its ``claims`` at a time."""
    label = person.label or ""
    return SeenPerson(person.name, person.issuer, label, claims, person.group, person.role, now, now, claims_at)


def _digest_of(claims: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(claims).encode()).digest()


async def keep_people(seen: SeenPeople) -> None:
    """Store new people soon and others every few seconds, until cancelled. Never raises."""
    while True:
        with trio.move_on_after(FLUSH_SECONDS):
            await seen.wait_for_news()
        await trio.sleep(PAUSE_SECONDS)
        try:
            await seen.flush()
        except Unavailable as error:
            log.warning("the people seen last could not be stored: %s", error)
            await trio.sleep(FLUSH_SECONDS)


async def finish_people(seen: SeenPeople) -> None:
    """Store the people seen before the process ends, if the store is available."""
    try:
        await seen.flush()
    except Unavailable as error:
        log.warning("the people seen last could not be stored: %s", error)
