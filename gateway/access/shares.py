"""Shares: the places that each client takes in this process, and how many it may take."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal, TypeAlias, get_args

import attrs

from gateway.access.body_memory import BodyMemory
from gateway.config.limits import ClientLimits
from gateway.config.settings import Config
from streams.errors import GatewayError

Share: TypeAlias = Literal["in_flight", "connections", "websockets", "viewers", "upstream_connections"]
"""The kinds of places: requests, connections of clients, open websockets, viewers of the live view, and connections to
providers."""

NOBODY: Final = ""
"""The holder of the places of clients without a name, where no key is needed; of the live view, its operator."""

MOST_VIEWERS: Final = 16
"""Viewers of the live view in a process: a page takes one place, and one more for a stream that it opens."""

KEPT_FOR_OPERATOR: Final = 2
"""Places among these that clients cannot take."""

_UNITS: Final[Mapping[Share, str]] = {
    "in_flight": "requests under way",
    "connections": "connections open",
    "websockets": "websockets open",
    "viewers": "viewers of the live view",
    "upstream_connections": "connections to providers in use",
}
_WAIT: Final = (("retry-after", "1"),)


class Shares:
    """The places that are taken in a process, whichever configurations its requests began in."""

    def __init__(self) -> None:
        self.bodies = BodyMemory()
        self.spooled = 0
        """Bytes of uploads in temporary files."""
        self.taken: defaultdict[Share, int] = defaultdict(int)
        self.held: defaultdict[tuple[Share, str], int] = defaultdict(int)
        # All of them from the first reading on: Prometheus sees no rise from nothing to one.
        self.refused: defaultdict[Share, int] = defaultdict(int, dict.fromkeys(get_args(Share), 0))
        """How often a client has been refused for its own share since this was last read."""

    def take(self, share: Share, holder: str) -> Callable[[], object]:
        """Take a place for ``holder``, and return the function that returns it, to be called once."""
        self.taken[share] += 1
        self.held[share, holder] += 1
        return partial(self._give_back, share, holder)

    def _give_back(self, share: Share, holder: str) -> None:
        self.taken[share] -= 1
        left = self.held[share, holder] - 1
        if left:
            self.held[share, holder] = left
        else:
            del self.held[share, holder]  # there may be any number of holders, where none needs a key


class ShareLimits:
    """The limits of one configuration on the places in ``shares``: what each client may take of them, and what all
    together may."""

    def __init__(self, config: Config, shares: Shares) -> None:
        self._shares = shares
        every = _over(_fair(config), config.limits.per_client)
        self._own = {key.name: _over(every, key.limits) for key in config.client_keys}
        self._others = every
        # Servers have limits of their own on connections of clients, and the client towards providers on those to them.
        self._whole: Mapping[Share, int] = {"in_flight": config.limits.in_flight, "viewers": MOST_VIEWERS}
        kept = 0 if config.ui_key is None else KEPT_FOR_OPERATOR
        self._for_clients: Mapping[Share, int] = {**self._whole, "viewers": MOST_VIEWERS - kept}

    def check(self, share: Share, holder: str) -> None:
        """Raise ``GatewayError`` where ``holder`` has its share already (429; ``NOBODY`` has none), or where no place
        is free (503), but for those that are kept for the operator."""
        if holder != NOBODY and self.most(share, holder) <= self._shares.held.get((share, holder), 0):
            raise self.refusal(share, holder)
        most = (self._for_clients if holder else self._whole).get(share, math.inf)
        if self._shares.taken[share] >= most:
            raise GatewayError("overloaded", _FULL[share], headers=_WAIT)

    def most(self, share: Share, holder: str) -> float:
        """Return how many places ``holder`` may have, infinite without a limit."""
        return self._own.get(holder, self._others)[share] or math.inf

    def refusal(self, share: Share, holder: str) -> GatewayError:
        """Return the error (429) for ``holder``, which has its share, and count it."""
        self._shares.refused[share] += 1
        who = f"the key {holder!r}" if holder in self._own else "the client"
        most = self._own.get(holder, self._others)[share]
        limit = f"limits.per_client.{share}"
        message = f"{who} has {most} {_UNITS[share]}, which is its share ({limit}): end one of them first"
        return GatewayError("rate_limited", message, headers=_WAIT)


class UpstreamShare:
    """The share of each client in ``limits.upstream_connections``, for the client towards providers."""

    def __init__(self, config: Config, shares: Shares) -> None:
        self._limits = ShareLimits(config, shares)

    def most(self, holder: str) -> float:
        """Return how many connections ``holder`` may use, infinite without a limit."""
        return self._limits.most("upstream_connections", holder)

    def refusal(self, holder: str) -> GatewayError:
        """Return the error for ``holder``, which says nothing about the provider."""
        failed = self._limits.refusal("upstream_connections", holder).failed
        return GatewayError.of(attrs.evolve(failed, reason=None))


_FULL: Final[Mapping[Share, str]] = {
    "in_flight": "the gateway serves as many requests as its limits.in_flight allows",
    "viewers": f"{MOST_VIEWERS} viewers look already: close one of their pages",
}


def stored_by(config: Config) -> Callable[[str], float]:
    """Return the function that gives the bytes that an owner of state may keep; ``math.inf`` is no limit."""
    every = config.limits.per_client.stored
    given = {key.name: every if key.limits.stored is None else key.limits.stored for key in config.client_keys}

    def most(owner: str) -> float:
        return (given.get(owner, every) if owner != NOBODY else None) or math.inf

    return most


def _fair(config: Config) -> Mapping[Share, int]:
    """Return the default share of a client: half of the places, rounded up, if there are several clients; 0 is all."""
    if len(config.client_keys) < 2:
        return dict.fromkeys(get_args(Share), 0)
    half = -(-config.limits.in_flight // 2)
    connections = -(-(config.limits.connections or 0) // 2)
    upstream = -(-config.limits.upstream_connections // 2)
    return {"in_flight": half, "connections": connections, "websockets": half, "viewers": MOST_VIEWERS // 2,
            "upstream_connections": upstream}  # fmt: skip


def _over(most: Mapping[Share, int], given: ClientLimits) -> Mapping[Share, int]:
    """Return ``most`` with the numbers that ``given`` has in place of its own."""
    return {share: number if (own := getattr(given, share)) is None else own for share, number in most.items()}
