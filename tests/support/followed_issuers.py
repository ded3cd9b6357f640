"""Issuers whose keys a test's own process follows, as a gateway does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import trio.testing

from gateway.features.people.issuer_http import IssuerClient, IssuerConnections
from gateway.features.people.key_sets import FollowedKeySets
from gateway.features.people.settings import AdmitRule, TrustedIssuer
from gateway.features.people.tokens import TokenChecker, VerdictCache
from tests.support.oidc import AUDIENCE, OidcProvider
from tests.support.set_clock import SetClock


def issuer_settings(provider: OidcProvider, name: str = "okta", **settings: Any) -> TrustedIssuer:
    """Return the settings of an issuer that admits everyone."""
    return TrustedIssuer(name, provider.issuer, (AUDIENCE,), (AdmitRule({}),), **settings)


@attrs.define(eq=False)
class FollowedIssuers:
    """Issuers, their keys and the clock by which these are fetched."""

    clients: list[IssuerClient]
    keys: FollowedKeySets
    verdicts: VerdictCache
    clock: SetClock

    async def advance(self, seconds: float) -> None:
        """Move the clock, and wait until fetches that are due then have ended."""
        self.clock.now += seconds
        self.keys.follow(self.clients)
        await self.settle()

    async def settle(self) -> None:
        """Wait until no fetch is running."""
        await trio.testing.wait_all_tasks_blocked(0.02)
        while running := [one.running for one in self.keys._followed.values() if one.running is not None]:
            await running[0].wait()


@asynccontextmanager
async def follow_issuers(*issuers: TrustedIssuer) -> AsyncIterator[FollowedIssuers]:
    """Follow the keys of ``issuers`` until the end of the block, from a first fetch on that has ended."""
    clock = SetClock()
    async with IssuerConnections(None) as connections, trio.open_nursery() as nursery:
        clients = [IssuerClient(one, connections, clock) for one in issuers]
        keys = FollowedKeySets(clock)
        keys.follow(clients)
        nursery.start_soon(keys.run)
        verdicts = VerdictCache(TokenChecker(issuers, keys.current), clock)
        found = FollowedIssuers(clients, keys, verdicts, clock)
        await found.settle()
        yield found
        nursery.cancel_scope.cancel()
