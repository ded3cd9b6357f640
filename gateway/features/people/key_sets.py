"""The current keys of each issuer, fetched in the background: no request waits for them, except for an unknown key.

While an issuer is unavailable, its last keys stay valid for a day, because its outage must not stop work."""

import logging
import math
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs
import trio

from gateway.features.people.issuer_http import IssuerClient, IssuerUnavailable
from gateway.features.people.settings import TrustedIssuer
from gateway.features.people.signing_keys import KeySet
from gateway.features.people.tokens import CannotJudge, UnknownKey

log = logging.getLogger("trigate.people")

USUAL_AGE: Final = 600.0
"""Seconds after which a key set is fetched again, unless its ``max-age`` states another time."""
SHORTEST_AGE: Final = 300.0
LONGEST_AGE: Final = 86400.0

FIRST_RETRY: Final = 2.0
LONGEST_RETRY: Final = 300.0
"""Seconds between two attempts, doubled with each failure."""

STALE_SECONDS: Final = 86400.0
"""Seconds for which the last keys of an unavailable issuer stay valid."""

UNKNOWN_PAUSE: Final = 30.0
"""Seconds between two fetches for unknown keys of one issuer. A rotated key is found immediately, or under a flood of
invented ones after this time."""
UNKNOWN_WAIT: Final = 2.0
"""Seconds that a request waits for such a fetch."""


@attrs.define(eq=False)
class _IssuerKeys:
    """The keys of one issuer and the schedule of their fetches, in seconds of the clock."""

    client: IssuerClient
    since: float | None
    """The time since when the issuer has been unavailable, ``None`` while it is available."""
    due: float
    keys: KeySet | None = None
    failures: int = 0
    last_unknown_fetch: float = float("-inf")
    """The time of the last fetch for an unknown key."""
    error: str = ""
    running: trio.Event | None = None


class FollowedKeySets:
    """The keys of all issuers of a process, across configurations. ``clock`` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._followed: dict[str, _IssuerKeys] = {}
        self._removed: frozenset[str] = frozenset()
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._running = trio.Event()

    def follow(self, clients: Iterable[IssuerClient]) -> None:
        """Follow the issuers of ``clients`` from now on. Those whose settings for keys are unchanged keep theirs."""
        before, now = self._followed, self._clock()
        self._followed, self._removed = {}, self._removed | before.keys()
        for client in clients:
            name = client.issuer.name
            known = before.get(name)
            if known is not None and _source_of(known.client.issuer) == _source_of(client.issuer):
                known.client = client
                self._followed[name] = known
            else:
                self._followed[name] = _IssuerKeys(client, now, now)
        self._wake()

    def current(self, name: str) -> KeySet | None:
        """Return the valid keys of the issuer ``name``, ``None`` if there were none for a day."""
        found = self._followed.get(name)
        if found is None or (found.since is not None and self._clock() - found.since > STALE_SECONDS):
            return None
        return found.keys

    async def find_key(self, missing: UnknownKey | CannotJudge) -> None:
        """Fetch the keys of an issuer for a token whose key is missing, and wait for the result.

        Concurrent callers share the fetch. Waits two seconds at most, and not at all within 30 seconds after the last
        such fetch. Never raises."""
        with trio.move_on_after(UNKNOWN_WAIT):
            await self._running.wait()
            while (found := self._followed.get(missing.issuer)) is not None and not self._has_key(found, missing):
                done = found.running  # it may have begun before the key was published, so this is a loop
                if done is None:
                    if self._clock() < found.last_unknown_fetch + UNKNOWN_PAUSE:
                        return
                    found.last_unknown_fetch = self._clock()
                    done = self._start(found)
                await done.wait()

    def _has_key(self, issuer: _IssuerKeys, missing: UnknownKey | CannotJudge) -> bool:
        return issuer.keys is not None and (missing.key_id is None or issuer.keys.has(missing.key_id))

    @property
    def next_fetch(self) -> float:
        """The time of the next fetch on the clock, infinity without issuers."""
        return min((one.due for one in self._followed.values() if one.running is None), default=math.inf)

    def stale_seconds(self) -> dict[str, float]:
        """Return for each issuer the seconds since it became unavailable, 0 while it is available.

        Removed issuers are included, so that their last value does not remain in the metrics."""
        now = self._clock()
        found = {name: 0.0 if one.since is None else now - one.since for name, one in self._followed.items()}
        return dict.fromkeys(self._removed, 0.0) | found

    def state(self) -> list[dict[str, Any]]:
        """Return the state of each issuer's keys for a readiness probe, without secrets."""
        stale = self.stale_seconds()
        return [
            {
                "issuer": name,
                "keys": 0 if (keys := self.current(name)) is None else len(keys.keys),
                "stale_seconds": round(stale[name], 1),
                **({"error": one.error} if one.error else {}),
            }
            for name, one in self._followed.items()
        ]

    async def run(self) -> None:
        """Fetch each key set when it is due, until cancelled. Raises nothing else."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._running.set()
            try:
                while True:
                    self._changed, now = trio.Event(), self._clock()
                    for one in self._followed.values():
                        if one.running is None and one.due <= now:
                            self._start(one)
                    with trio.move_on_after(max(0.0, self.next_fetch - now)):
                        await self._changed.wait()
            finally:
                self._nursery = None

    def _wake(self) -> None:
        self._changed.set()

    def _start(self, issuer: _IssuerKeys) -> trio.Event:
        """Start a fetch, and return the event of its end."""
        done = trio.Event()
        if self._nursery is None:
            done.set()
        else:
            issuer.running = done
            self._nursery.start_soon(self._fetch, issuer, done)
        return done

    async def _fetch(self, issuer: _IssuerKeys, done: trio.Event) -> None:
        try:
            fetched = await issuer.client.fetch_keys()
        except IssuerUnavailable as error:
            self._note_failure(issuer, str(error))
        except Exception as error:  # the boundary: an error here would end the process
            log.exception("%s: unexpected error", issuer.client.issuer.name)
            self._note_failure(issuer, f"unexpected error: {type(error).__name__}")
        else:
            self._note_success(issuer, fetched.keys)
            age = USUAL_AGE if fetched.max_age is None else min(max(fetched.max_age, SHORTEST_AGE), LONGEST_AGE)
            issuer.due = self._clock() + age * random.uniform(0.9, 1.0)  # so that processes take turns
        finally:
            issuer.running = None
            done.set()
            self._wake()

    def _note_failure(self, issuer: _IssuerKeys, error: str) -> None:
        now = self._clock()
        if not issuer.error:
            effect = "its last keys stay valid for a day" if issuer.keys else "requests with its tokens get 503"
            log.warning("%s: cannot fetch the issuer's keys, %s: %s", issuer.client.issuer.name, effect, error)
        issuer.error = error
        issuer.since = now if issuer.since is None else issuer.since
        issuer.due = now + min(FIRST_RETRY * 2**issuer.failures, LONGEST_RETRY)
        issuer.failures = min(issuer.failures + 1, 16)

    def _note_success(self, issuer: _IssuerKeys, keys: KeySet) -> None:
        if issuer.error:
            log.info("%s: the issuer's keys can be fetched again", issuer.client.issuer.name)
        if keys.skipped and (issuer.keys is None or issuer.keys.version != keys.version):
            number, shown = len(keys.skipped), "; ".join(keys.skipped[:3])
            log.warning("%s: %d of the issuer's keys are not usable: %s", issuer.client.issuer.name, number, shown)
        issuer.keys, issuer.error, issuer.since, issuer.failures = keys, "", None, 0


def _source_of(issuer: TrustedIssuer) -> tuple[Any, ...]:
    """Return the settings that decide which keys an issuer has."""
    return issuer.issuer, issuer.jwks, issuer.fetch
