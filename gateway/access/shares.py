"""Shares: the requests and connections of each client in this process, and their limits."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal, TypeAlias, get_args

import attrs

from gateway.access.held_bytes import HeldBytes
from gateway.config.limits import ClientLimits
from gateway.config.settings import Config
from streams.errors import GatewayError

Share: TypeAlias = Literal["in_flight", "connections", "websockets", "viewers", "upstream_connections"]
"""A kind of thing with shares: requests in progress, client connections, websockets, viewers of the live view, and
connections to providers."""

NOBODY: Final = ""
"""The holder for clients without a name when no key is required; for the live view, its operator."""

MOST_VIEWERS: Final = 16
"""Viewers of the live view in a process; a page counts once, and once more for its stream."""

KEPT_FOR_OPERATOR: Final = 2
"""Viewers reserved for the operator."""

_UNITS: Final[Mapping[Share, str]] = {
    "in_flight": "running requests",
    "connections": "open connections",
    "websockets": "open WebSockets",
    "viewers": "viewers of the live view",
    "upstream_connections": "connections to providers",
}
_WAIT: Final = (("retry-after", "1"),)


class Shares:
    """The requests and connections of a process, across configurations."""

    def __init__(self) -> None:
        self.bodies = HeldBytes()
        """Memory of request bodies, and of large responses that are read completely."""
        self.spooled = HeldBytes()
        """Disk space of uploads in temporary files."""
        self.used: defaultdict[Share, int] = defaultdict(int)
        self.held: defaultdict[tuple[Share, str], int] = defaultdict(int)
        # Start every kind at 0: Prometheus does not see a counter rise that appears with 1.
        self.refused: defaultdict[Share, int] = defaultdict(int, dict.fromkeys(get_args(Share), 0))
        """Requests refused because a client exceeded its own share, since the last read."""

    def take(self, share: Share, holder: str) -> Callable[[], object]:
        """Count one ``share`` for ``holder``, and return the function that releases it, to be called once."""
        self.used[share] += 1
        self.held[share, holder] += 1
        return partial(self._release, share, holder)

    def _release(self, share: Share, holder: str) -> None:
        self.used[share] -= 1
        left = self.held[share, holder] - 1
        if left:
            self.held[share, holder] = left
        else:
            del self.held[share, holder]  # without keys the number of holders is unbounded


class ShareLimits:
    """The limits of one configuration for each client and for all clients together."""

    def __init__(self, config: Config, shares: Shares) -> None:
        self._shares = shares
        every = _override(_default_shares(config), config.limits.per_client)
        self._own = config.by_client(lambda key: _override(every, key.limits))
        self._others = every
        # Limits on all client connections belong to the servers, limits on provider connections to the HTTP client.
        self._whole: Mapping[Share, int] = {"in_flight": config.limits.in_flight, "viewers": MOST_VIEWERS}
        kept = 0 if config.ui_key is None else KEPT_FOR_OPERATOR
        self._for_clients: Mapping[Share, int] = {**self._whole, "viewers": MOST_VIEWERS - kept}

    def check(self, share: Share, holder: str) -> None:
        """Check that ``holder`` may have one more ``share``.

        Raises ``GatewayError``: 429 if the holder has reached its share (``NOBODY`` has none), 503 if none is free.
        Only the operator can use those reserved for it."""
        if holder != NOBODY and self.most(share, holder) <= self._shares.held.get((share, holder), 0):
            raise self.refusal(share, holder)
        most = (self._for_clients if holder else self._whole).get(share, math.inf)
        if self._shares.used[share] >= most:
            raise GatewayError("overloaded", _FULL[share], headers=_WAIT)

    def most(self, share: Share, holder: str) -> float:
        """Return the share of ``holder``, infinity without a limit."""
        return self._own.get(holder, self._others)[share] or math.inf

    def refusal(self, share: Share, holder: str) -> GatewayError:
        """Count and return the error (429) for ``holder``, which has reached its share."""
        self._shares.refused[share] += 1
        own = self._own.get(holder)
        who = "the client" if own is None else f"the key {holder!r}"
        most = (own or self._others)[share]
        limit = f"limits.per_client.{share}"
        message = f"{who} has reached its limit of {most} {_UNITS[share]} ({limit}): wait until one ends"
        return GatewayError("rate_limited", message, headers=_WAIT)


class UpstreamShare:
    """The share of each client in ``limits.upstream_connections``, for the HTTP client."""

    def __init__(self, config: Config, shares: Shares) -> None:
        self._limits = ShareLimits(config, shares)

    def most(self, holder: str) -> float:
        """Return how many connections ``holder`` may use, infinity without a limit."""
        return self._limits.most("upstream_connections", holder)

    def refusal(self, holder: str) -> GatewayError:
        """Return the error for ``holder``; it does not count as the provider's failure."""
        error = self._limits.refusal("upstream_connections", holder).info
        return GatewayError.of(attrs.evolve(error, reason=None))


_FULL: Final[Mapping[Share, str]] = {
    "in_flight": "the gateway has reached its limit of concurrent requests (limits.in_flight): try again later",
    "viewers": f"the live view has {MOST_VIEWERS} viewers, the maximum: close another page",
}


def storage_limits(config: Config) -> Callable[[str], float]:
    """Return a function that returns how many bytes of state an owner may store; ``math.inf`` is no limit."""
    every = config.limits.per_client.stored
    limits = config.by_client(lambda key: key.limits.stored)

    def most(owner: str) -> float:
        return (limits.get(owner, every) if owner != NOBODY else None) or math.inf

    return most


def _default_shares(config: Config) -> Mapping[Share, int]:
    """Return the default share of a client: half of the limit, rounded up, if there are several clients; 0 means
    all."""
    if not config.has_several_clients:
        return dict.fromkeys(get_args(Share), 0)
    half = -(-config.limits.in_flight // 2)
    connections = -(-(config.limits.connections or 0) // 2)
    upstream = -(-config.limits.upstream_connections // 2)
    return {"in_flight": half, "connections": connections, "websockets": half, "viewers": MOST_VIEWERS // 2,
            "upstream_connections": upstream}  # fmt: skip


def _override(most: Mapping[Share, int], limits: ClientLimits) -> Mapping[Share, int]:
    """Return ``most`` with the numbers that ``limits`` sets."""
    own = {share: number for share in most if (number := getattr(limits, share)) is not None}
    return {**most, **own} if own else most
