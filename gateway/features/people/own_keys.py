"""Keys that people make for themselves: more keys of the same client, with its limits and never more rights."""

import re
import time
from collections.abc import Callable
from typing import Final

import attrs

from configfile.kinds import spell_duration
from configfile.wording import time_text
from gateway.features.admin.interface import new_key
from gateway.features.people.records import OwnKey, digest_of
from gateway.features.people.rules import NotAdmitted, RuleBook
from gateway.features.people.seen import SeenPeople
from gateway.features.people.settings import OwnKeyLimits
from gateway.features.people.store import PeopleStore
from gateway.stores.errors import Changed
from gateway.stores.record_tables import AuditEntry

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_TOLERANCE: Final = 60.0
"""Seconds by which a requested end may be too late: the client's clock differs, and the request takes time."""


class OwnKeyRefused(Exception):
    """The refusal of an own key, with the ``param`` that is wrong, ``None`` if the person may not have the key."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@attrs.frozen(repr=False)
class PutKey:
    """An own key after a change. ``secret`` is the key itself if it is new; it is never shown again."""

    key: OwnKey
    secret: str | None


class OwnKeys:
    """The own keys of people under ``rules``. Every coroutine may raise ``Unavailable``. ``now`` returns Unix time."""

    def __init__(
        self, store: PeopleStore, rules: RuleBook, seen: SeenPeople, now: Callable[[], float] = time.time
    ) -> None:
        self.store = store
        self._rules = rules
        self.seen = seen
        self._now = now

    async def put(
        self,
        person: str,
        name: str,
        until: float | None = None,
        audit: AuditEntry | None = None,
        check: Callable[[OwnKey | None], None] = lambda _: None,
    ) -> PutKey:
        """Make the key ``name`` of a person, valid until a Unix time, by default as long as its rule permits.

        An existing key gets the new end, and keeps its secret. ``check`` and ``audit`` are those of ``PeopleStore``.
        Raises ``OwnKeyRefused``, and ``Changed`` if another process changed the key at the same time."""
        await self.seen.flush()  # a person without a session may not be stored yet
        seen, now = await self.store.person(person), self._now()
        if seen is None:
            raise OwnKeyRefused("the gateway does not know this person: sign in again")
        try:
            _, rule = self._rules.admit(seen.issuer, seen.claims)
        except NotAdmitted as error:
            raise OwnKeyRefused(error.info.message) from None
        if rule.own_keys is None:
            raise OwnKeyRefused("your rule permits no keys of your own: its `own_keys` is not set")
        there = next((one for one in await self.store.own_keys(person) if one.name == name), None)
        if there is not None and there.until <= now:
            there = None
        secret = new_key() if there is None else None
        made, digest = (now, digest_of(secret or "")) if there is None else (there.made, there.digest)
        key = OwnKey(person, name, digest, _checked_end(name, until, rule.own_keys, made, now, there), made)
        key = key if there is None else attrs.evolve(key, used=there.used)

        def check_present(present: OwnKey | None) -> None:
            if (None if present is None else present.digest) != (None if there is None else there.digest):
                raise Changed
            check(present)

        if not await self.store.put_own_key(seen, key, rule.own_keys.most, now, audit, check_present):
            raise OwnKeyRefused(f"you have {rule.own_keys.most} keys, the maximum: delete one first")
        return PutKey(key, secret)


def _checked_end(
    name: str, until: float | None, limits: OwnKeyLimits, made: float, now: float, present: OwnKey | None
) -> float:
    """Return the end of a key made at ``made``. Raises ``OwnKeyRefused``."""
    if not re.fullmatch(_NAME, name):
        raise OwnKeyRefused("the name is not valid: use up to 64 letters, digits, `.`, `_` and `-`", "name")
    latest = made + limits.longest
    if until is None:
        return latest if present is None else present.until
    if until <= now:
        raise OwnKeyRefused("the key would end in the past: set a later time", "until")
    if until > latest + _TOLERANCE:
        raise OwnKeyRefused(
            f"a key of your own may last {spell_duration(limits.longest)}: set a time until {time_text(latest)}"
        )
    return min(until, latest)
