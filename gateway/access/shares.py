"""Shares: the requests and connections of each client in this process, and their limits."""

import math
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs

from gateway.access.held_bytes import HeldBytes
from gateway.config.limits import ClientLimits
from gateway.config.settings import Config
from streams.errors import GatewayError

NOBODY: Final = ""
"""The holder for clients without a name when no key is required."""

_WAIT: Final = (("retry-after", "1"),)


@attrs.frozen(eq=False, repr=False)
class SharedThing:
    """A kind of thing that clients share. A feature declares the kinds that only it has.

    ``name`` is the key in ``limits.per_client``, and ``own`` returns its value. ``things`` is the name in errors,
    ``full`` the error if none is free."""

    name: str
    things: str
    own: Callable[[ClientLimits], int | None]
    full: str = ""


IN_FLIGHT: Final = SharedThing(
    "in_flight",
    "running requests",
    lambda limits: limits.in_flight,
    "the gateway has reached its limit of concurrent requests (limits.in_flight): try again later",
)
CONNECTIONS: Final = SharedThing("connections", "open connections", lambda limits: limits.connections)
WEBSOCKETS: Final = SharedThing("websockets", "open WebSockets", lambda limits: limits.websockets)
UPSTREAM_CONNECTIONS: Final = SharedThing(
    "upstream_connections", "connections to providers", lambda limits: limits.upstream_connections
)


class Shares:
    """The requests and connections of a process, across configurations."""

    def __init__(self) -> None:
        self.bodies = HeldBytes()
        """Memory of request bodies, and of large responses that are read completely."""
        self.spooled = HeldBytes()
        """Disk space of uploads in temporary files."""
        self.used: defaultdict[str, int] = defaultdict(int)
        self.held: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.refused: defaultdict[str, int] = defaultdict(int)
        """Requests refused because a client exceeded its own share, since the last read."""

    def take(self, share: str, holder: str) -> Callable[[], object]:
        """Count one of the ``share`` with this name for ``holder``.

        Return the function that releases it, to be called once."""
        self.used[share] += 1
        self.held[share, holder] += 1
        return partial(self._release, share, holder)

    def _release(self, share: str, holder: str) -> None:
        self.used[share] -= 1
        left = self.held[share, holder] - 1
        if left:
            self.held[share, holder] = left
        else:
            del self.held[share, holder]  # without keys the number of holders is unbounded


class ShareLimit:
    """The limit of one configuration on a ``share``.

    ``default`` is the share of a client, 0 for no limit. ``total`` is the limit for all together, and includes
    the ``reserved`` ones for ``NOBODY``."""

    def __init__(
        self,
        share: SharedThing,
        config: Config,
        shares: Shares,
        default: int,
        total: float = math.inf,
        reserved: int = 0,
    ) -> None:
        self.share = share
        self._shares = shares
        self._name = share.name
        every = share.own(config.limits.per_client)
        self._others = others = default if every is None else every
        self._own = config.by_client(lambda key: others if (own := share.own(key.limits)) is None else own)
        self._total = total
        self._for_clients = total - reserved
        shares.refused[share.name] += 0  # Prometheus does not see a counter rise that appears with 1

    def take(self, holder: str) -> Callable[[], object]:
        """Count one for ``holder``, and return the function that releases it, to be called once.

        Raises ``GatewayError``: 429 if the holder has reached its share (``NOBODY`` has none), 503 if none is free."""
        self.check(holder)
        return self._shares.take(self._name, holder)

    def check(self, holder: str) -> None:
        """Raise ``GatewayError`` as ``take`` does, without counting."""
        if holder != NOBODY and self.most(holder) <= self._shares.held.get((self._name, holder), 0):
            raise self.refusal(holder)
        if self._shares.used[self._name] >= (self._for_clients if holder else self._total):
            raise GatewayError("overloaded", self.share.full, headers=_WAIT)

    def most(self, holder: str) -> float:
        """Return the share of ``holder``, infinity without a limit."""
        return self._own.get(holder, self._others) or math.inf

    def refusal(self, holder: str) -> GatewayError:
        """Count and return the error (429) for ``holder``, which has reached its share."""
        self._shares.refused[self._name] += 1
        own = self._own.get(holder)
        who, most = ("the client", self._others) if own is None else (f"the key {holder!r}", own)
        key = f"limits.per_client.{self._name}"
        message = f"{who} has reached its limit of {most} {self.share.things} ({key}): wait until one ends"
        return GatewayError("rate_limited", message, headers=_WAIT)


class UpstreamShare(ShareLimit):
    """The share of each client in ``limits.upstream_connections``, for the HTTP client, which has the total limit."""

    def __init__(self, config: Config, shares: Shares) -> None:
        half = half_for_each(config, config.limits.upstream_connections)
        super().__init__(UPSTREAM_CONNECTIONS, config, shares, half)

    def refusal(self, holder: str) -> GatewayError:
        """Count and return the error for ``holder``; it does not count as the provider's failure."""
        return GatewayError.of(attrs.evolve(super().refusal(holder).info, reason=None))


def storage_limits(config: Config) -> Callable[[str], float]:
    """Return a function that returns how many bytes of state an owner may store; ``math.inf`` is no limit."""
    every = config.limits.per_client.stored
    limits = config.by_client(lambda key: key.limits.stored)

    def most(owner: str) -> float:
        return (limits.get(owner, every) if owner != NOBODY else None) or math.inf

    return most


def half_for_each(config: Config, total: int) -> int:
    """Return the default share of a client in ``total``: half, rounded up, if there are several clients; 0 means
    all."""
    return -(-total // 2) if config.has_several_clients else 0
