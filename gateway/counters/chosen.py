"""The counters of values that clients choose, such as runs: how many each client may have."""

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from gateway.counters.counter import NO_ROW_WAIT, Claim, Counter, RateCounter, Shortage, SumCounter

MOST_CHOSEN: Final = 131_072
"""Limit on counters of values that clients choose, half of it for one client. Configured counters do not count."""

_OLDEST: Final = 8
"""The client's own least recently used counters that are checked for each new one."""

_SEARCH: Final = 10.0
"""Seconds between searches for expired counters of all clients while the limit is reached."""


class ChosenKeys:
    """The keys of at most ``most`` counters, by the client that chose each.

    A client may have half of them, so that the others always find a place. Counters in use are never dropped for new
    ones, because their usage would be lost. ``is_over`` returns whether a counter equals a new one; then ``drop`` drops
    it."""

    def __init__(
        self, most: int, clock: Callable[[], float], is_over: Callable[[bytes], bool], drop: Callable[[bytes], object]
    ) -> None:
        self._most = most
        self._clock = clock
        self._is_over = is_over
        self._drop = drop
        self._by_client: dict[str, OrderedDict[bytes, None]] = {}  # the last used key is last
        self._count = 0
        self._next_search = float("-inf")

    def has_room(self, client: str) -> bool:
        """Return whether ``client`` may choose one more; expired counters make room."""
        if self._may_add(client):
            return True
        for key in tuple(itertools.islice(self._by_client.get(client, ()), _OLDEST)):
            self._drop_if_over(key, client)
        if not self._may_add(client) and self._clock() >= self._next_search:
            self._next_search = self._clock() + _SEARCH
            self.drop_expired()
        return self._may_add(client)

    def add(self, key: bytes, client: str) -> None:
        """Add a new key, even beyond the limit."""
        self._by_client.setdefault(client, OrderedDict())[key] = None
        self._count += 1

    def mark_used(self, key: bytes, client: str) -> None:
        self._by_client[client].move_to_end(key)

    def drop_expired(self) -> None:
        for client, keys in tuple(self._by_client.items()):
            for key in tuple(keys):
                self._drop_if_over(key, client)

    def _may_add(self, client: str) -> bool:
        return self._count < self._most and len(self._by_client.get(client, ())) < self._most // 2

    def _drop_if_over(self, key: bytes, client: str) -> None:
        if not self._is_over(key):
            return
        self._drop(key)
        self._count -= 1
        del self._by_client[client][key]
        if not self._by_client[client]:
            del self._by_client[client]


class ChosenInStore:
    """The counters that this process's clients chose in a shared store, so that none of them can fill it.

    ``now`` returns Unix time, by which sums expire."""

    def __init__(self, most: int = MOST_CHOSEN, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._until: dict[bytes, tuple[float, str]] = {}  # its expiry, and the first client that chose it
        self._keys = ChosenKeys(most, now, self._is_over, self._until.pop)

    def shortages_of(self, claims: Sequence[Claim]) -> list[Shortage]:
        """Return the debits of new counters that their clients may not choose, and record the use of the others."""
        debits = (one for claim in claims for one in claim.debits if one.counter.chosen_by is not None)
        return [Shortage(one, NO_ROW_WAIT, 0, 0, "no_row") for one in debits if not self._use(one.counter)]

    def _use(self, counter: Counter) -> bool:
        client = counter.chosen_by
        assert client is not None
        if (known := self._until.get(counter.key)) is not None:
            client = known[1]
            self._keys.mark_used(counter.key, client)
        elif self._keys.has_room(client):
            self._keys.add(counter.key, client)
        else:
            return False
        self._until[counter.key] = self._end_of(counter), client
        return True

    def _end_of(self, counter: Counter) -> float:
        if isinstance(counter, SumCounter):
            return counter.until
        refill = counter.burst * counter.seconds / counter.amount if isinstance(counter, RateCounter) else 0.0
        return self._now() + refill

    def _is_over(self, key: bytes) -> bool:
        return self._until[key][0] < self._now()
