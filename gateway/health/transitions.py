"""Log lines for targets that become unavailable, or available again."""

import logging
import time
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from gateway.health.circuit import Circuit, is_out
from streams.events import FailureReason

log = logging.getLogger("trigate.health")

LOUD: Final[frozenset[FailureReason | None]] = frozenset(("credential", "gone"))
"""Reasons that only people can fix, logged as errors."""
QUIET: Final[frozenset[FailureReason | None]] = frozenset(("rate_limited",))
"""Reasons of normal operation, logged at level info."""
HOUR: Final = 3600.0
_MOST: Final = 1000


class TransitionLog:
    """A writer of log lines for transitions, and a counter of outages by entry and reason.

    A reason in ``LOUD`` is an error once an hour, else a warning."""

    def __init__(self) -> None:
        self.outages: Counter[tuple[str, str]] = Counter()
        self._loud: dict[bytes, float] = {}

    def log_change(
        self, key: bytes, entry: str, names: Collection[str], before: Circuit, after: Circuit, now: float
    ) -> None:
        """Log the change of the circuit of ``key`` for the targets ``names``, caused by an attempt at ``entry``."""
        if is_out(after, now):
            if not is_out(before, now) or before.reason != after.reason:
                self.outages[entry, str(after.reason)] += 1
                log.log(self._level(key, after, now), "%s", _describe_outage(names, after, now))
        elif before.reason is not None and after.reason is None:
            log.info("%s: available again", ", ".join(names))

    def log_client_change(self, target_name: str, client: str, before: Circuit, after: Circuit, now: float) -> None:
        """Log the change of a circuit that only applies to requests of ``client``."""
        if is_out(after, now):
            if not is_out(before, now) or before.reason != after.reason:
                level = logging.INFO if after.reason in QUIET else logging.WARNING
                log.log(level, "%s; only for the client %s, whose requests may be the cause",
                        _describe_outage((target_name,), after, now), client)  # fmt: skip
        elif before.reason is not None and after.reason is None:
            log.info("%s: available again for the client %s", target_name, client)

    def log_noted_outage(
        self, names: Collection[str], client: str | None, before: Circuit, after: Circuit, now: float
    ) -> None:
        """Log an outage of the targets ``names`` that another gateway has seen, for ``client`` or for all."""
        if not is_out(before, now) or before.reason != after.reason:
            whose = "" if client is None else f" for the client {client}"
            log.info("%s; seen by another gateway%s", _describe_outage(names, after, now), whose)

    def take_outages(self) -> Counter[tuple[str, str]]:
        """Return the number of outages by entry and reason since the last call."""
        outages, self.outages = self.outages, Counter()
        return outages

    def _level(self, key: bytes, circuit: Circuit, now: float) -> int:
        if circuit.reason in QUIET:
            return logging.INFO
        if circuit.reason not in LOUD or now < self._loud.get(key, -HOUR) + HOUR:
            return logging.WARNING
        self._loud.pop(key, None)
        self._loud[key] = now
        if len(self._loud) > _MOST:
            del self._loud[next(iter(self._loud))]
        return logging.ERROR


def _describe_outage(names: Collection[str], circuit: Circuit, now: float) -> str:
    seconds = circuit.until - now
    until = utc(time.time() + seconds)
    end = "then it gets requests again" if circuit.ends_by_itself else "then one request tries it"
    return f"{', '.join(names)}: in cooldown for {seconds:.1f} s, until {until}: {circuit.reason}; {end}"


def utc(at: float) -> str:
    """Format a time in Unix seconds as RFC 3339."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
