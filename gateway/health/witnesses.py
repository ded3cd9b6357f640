"""Failures that the request itself may have caused.

A client decides what it sends, so such a failure only counts for its own requests, and briefly. It counts for all
clients after another client met it with another request, and no request succeeded in between."""

from collections.abc import Callable, Iterable
from typing import Final

import attrs

from gateway.health.circuit import CLOSED, CREDENTIAL_PAUSE, LASTING_COOLDOWN, Circuit, Failure
from streams.events import FailureReason

MOST_CLIENTS: Final = 1000
"""Clients whose circuits are stored, those that failed most recently."""
MOST_OF_CLIENT: Final = 256
"""Circuits of one client. Models of wildcard entries make their number unbounded."""
MOST_SIGHTINGS: Final = 10_000

_LASTING: Final[frozenset[FailureReason]] = frozenset(("rate_limited", "quota", "credential", "gone"))
"""Reasons that are only confirmed by the same reason. Any two of the others confirm each other."""
_COMPARED: Final = 65_536  # bytes at each end of a body


def fingerprint(body: bytes) -> int | None:
    """Return a number that equal bodies share, ``None`` if the body is unknown."""
    return hash((len(body), body[:_COMPARED], body[-_COMPARED:])) if body else None


def shorten_wait(failure: Failure) -> Failure:
    """Return ``failure`` with a short wait instead of a long one that the provider did not state."""
    return attrs.evolve(failure, wait=CREDENTIAL_PAUSE) if failure.wait is None and _is_lasting(failure) else failure


def _is_lasting(failure: Failure) -> bool:
    return failure.reason in _LASTING and failure.reason != "rate_limited"


class ClientCircuits:
    """The circuits that apply to the requests of one client only, by the key of their target."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Circuit] = {}
        self.get = self.rows.get

    def update(self, key: bytes, change: Callable[[Circuit], Circuit]) -> tuple[Circuit, Circuit]:
        """Replace the circuit of ``key`` by the result of ``change``, and return the old and the new one.

        Only one with a recent failure is kept."""
        before = self.rows.pop(key, CLOSED)
        after = change(before)
        if after.reason is not None or after.failures or any(after.bad):
            self.rows[key] = after
            if len(self.rows) > MOST_OF_CLIENT:
                del self.rows[next(iter(self.rows))]
        return before, after


class CircuitsByClient(dict[str | None, ClientCircuits]):
    """The circuits of each client whose failures no other client has confirmed. Usually empty."""

    def add(self, client: str | None) -> ClientCircuits:
        """Return the circuits of ``client``, created if it has none."""
        found = self[client] = self.pop(client) if client in self else ClientCircuits()
        if len(self) > MOST_CLIENTS:
            del self[next(iter(self))]
        return found

    def drop_empty(self, client: str | None) -> None:
        """Remove the circuits of ``client`` if it has none."""
        if client in self and not self[client].rows:
            del self[client]


@attrs.frozen(eq=False, repr=False)
class Sighting:
    """A failure that ``client`` met ``at`` a time, with a request of this ``fingerprint``, at ``place``."""

    client: str | None
    fingerprint: int | None
    place: bytes
    reason: FailureReason
    at: float

    def is_confirmed_by(self, later: "Sighting") -> bool:
        """Return whether ``later`` shows that the failure does not depend on the client and its request.

        ``client`` is None if the gateway cannot tell clients apart."""
        if (self.client is not None and self.client == later.client) or later.at > self.at + LASTING_COOLDOWN:
            return False
        if self.fingerprint is not None and self.fingerprint == later.fingerprint:
            return False
        return self.reason == later.reason or not _LASTING & {self.reason, later.reason}


class Witnesses:
    """The last failure at each key that no other client has confirmed yet."""

    def __init__(self) -> None:
        self.last: dict[bytes, Sighting] = {}

    def find_confirmed(self, key: bytes, sighting: Sighting) -> Sighting | None:
        """Record ``sighting`` at ``key``, and return the earlier one that it confirms, if any."""
        earlier = self.last.pop(key, None)
        self.last[key] = sighting
        if len(self.last) > MOST_SIGHTINGS:
            del self.last[next(iter(self.last))]
        return earlier if earlier is not None and earlier.is_confirmed_by(sighting) else None

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forget the failures at ``keys``, where a request has succeeded since."""
        for key in keys:
            self.last.pop(key, None)
