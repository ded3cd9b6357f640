"""The lists of models that providers have given, kept for entries that stand for all models of a provider.

A provider is asked when the first client wants a list of models, and again an hour later at the earliest: whoever asks
for a model never waits for it. The first client's list waits a moment for it; what is not there by then, or cannot be
had, is what the catalogue knows. Nothing is asked that no client has a use for (BerriAI/litellm#7000).
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import trio

from gateway.config.settings import Config, ModelEntry
from gateway.model_lists.asking import ListedPlace, NoList, names_of
from gateway.routing.identity import Identity
from gateway.upstream.client import Upstream
from gateway.upstream.credentials import CredentialSource
from providers.catalog.model_lists import list_url
from streams.errors import GatewayError

log = logging.getLogger("trigate.models")

FRESH: Final = 3600.0
"""Seconds for which a list is taken to be true."""
AGAIN: Final = 300.0
"""Seconds until a provider is asked again that has not answered with a list."""
PATIENCE: Final = 1.0
"""Seconds for which the first client's list waits for those of providers."""
LONGEST: Final = 20.0
"""Seconds for the whole list of a provider."""
AT_ONCE: Final = 4
"""Providers that are asked side by side."""


@attrs.frozen
class Kept:
    """The names of a list, as they were last heard, until they are ``due``; never before the first time."""

    names: tuple[str, ...] = ()
    due: float = -math.inf


class ProviderLists:
    """The lists of the configuration that holds. Those of a place that stays are kept over a reload."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: Mapping[str, ListedPlace] = {}
        self._credentials: Mapping[str, CredentialSource] = {}
        self._kept: dict[str, Kept] = {}
        self._wanted, self._done = trio.Event(), trio.Event()

    def follow(self, config: Config, credentials: Mapping[str, CredentialSource]) -> None:
        """Keep the lists of ``config`` from now on; ``credentials`` are those that no configuration holds, by entry."""
        self._places = {_key(entry): place for entry in config.entries if (place := _place(entry, credentials))}
        self._credentials = credentials
        self._kept = {key: self._kept.get(key, Kept()) for key in self._places}

    async def names(self) -> Mapping[str, tuple[str, ...]]:
        """The names that providers have listed, by entry. Raises nothing."""
        if due := self._due():
            self._wanted.set()
            if any(self._kept[key].due == -math.inf for key in due):
                with trio.move_on_after(PATIENCE):
                    await self._done.wait()
        return {place.entry.name: self._kept[key].names for key, place in self._places.items()}

    async def run(self, upstream: Upstream) -> None:
        """Ask those that are due whenever a list is wanted, until cancelled. Raises nothing else."""
        while True:
            await self._wanted.wait()
            limit = trio.CapacityLimiter(AT_ONCE)
            async with trio.open_nursery() as nursery:
                for key in self._due():
                    nursery.start_soon(self._ask, key, self._places[key], upstream, limit)
            self._wanted, done, self._done = trio.Event(), self._done, trio.Event()
            done.set()

    def _due(self) -> list[str]:
        now = self._clock()
        return [key for key in self._places if self._kept[key].due <= now]

    async def _ask(self, key: str, place: ListedPlace, upstream: Upstream, limit: trio.CapacityLimiter) -> None:
        async with limit:
            names, seconds = self._kept[key].names, AGAIN
            try:
                with trio.fail_after(LONGEST):
                    source = self._credentials.get(place.entry.name)
                    credential = place.entry.key if source is None else await source.credential()
                    names, seconds = await names_of(place, upstream, credential), FRESH
            except (NoList, GatewayError, trio.TooSlowError) as error:
                why = error.failed.loggable_message if isinstance(error, GatewayError) else str(error)
                log.info("%s: its models are not listed: %s", place.entry.name, why or "it takes too long")
        if key in self._kept:  # no reload has taken it away meanwhile
            self._kept[key] = Kept(names, self._clock() + seconds)


def _key(entry: ModelEntry) -> str:
    return f"{entry.name} {Identity.of(entry, entry.model).place.hex()}"


def _place(entry: ModelEntry, credentials: Mapping[str, CredentialSource]) -> ListedPlace | None:
    """Where ``entry`` finds its list. There is none for one whose clients bring the key, or that has none at all."""
    keyed = entry.key or entry.name in credentials or not entry.provider.key_required
    if not (entry.wildcard and entry.lists_all and keyed) or entry.passthrough_auth:
        return None
    found = list_url(entry.base_url, entry.provider)
    return None if found is None else ListedPlace(entry, *found)
