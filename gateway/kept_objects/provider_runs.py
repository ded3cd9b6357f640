"""Answers that a provider continues in the background, stored until they are billed.

Every process may bill a run: the one whose client fetches its end, or any that queries the provider. The claim of the
inventory decides which one does."""

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from gateway.kept_objects.inventory import PROVIDER_RUNS, Inventory, KeptObject
from providers.endpoints.endpoint import EndpointName
from streams.events import Api
from streams.surrogates import decode_or

log = logging.getLogger("trigate.state")

MAX_AGE_SECONDS: Final = 86_400.0
"""Seconds until a run is billed by its estimate: Google stores interactions of free accounts for one day."""

FIRST_QUERY_SECONDS: Final = 60.0
"""Seconds until the gateway queries a run whose client has not fetched its end."""

UNREAD_SECONDS: Final = 2 * 86_400.0
"""Seconds until the gateway queries a batch that no request has billed: providers give up after one day."""

LONGEST_PAUSE: Final = 600.0
"""The longest pause in seconds between two queries; each lasts a tenth of the run's age."""

_OWNER: Final = "provider runs"  # the common owner: lists of clients never show these


class ProviderRun(msgspec.Struct, frozen=True):
    """A run of the provider with the ``id``, which ``client`` started with the request ``request_id``.

    ``owner`` is the name under which the client's objects are stored, ``run`` the client's name for the work that pays,
    ``project`` its name for the project.
    ``model`` is the provider's model or agent, ``requested_model`` the client's name for it. ``input`` and ``output``
    are its estimated tokens. ``began`` and ``due``, the next query, are Unix seconds. ``endpoint`` is that of a batch,
    whose ``began`` is the time of its first query."""

    id: str
    owner: str
    entry: str
    api: Api
    model: str
    request_id: str
    began: float
    due: float
    requested_model: str | None = None
    client: str | None = None
    run: str | None = None
    input: int = 0
    output: int = 0
    project: str | None = None
    endpoint: EndpointName | None = None

    @property
    def is_too_old(self) -> bool:
        """Whether its next query would come too late."""
        return self.due - self.began > MAX_AGE_SECONDS

    @property
    def key(self) -> str:
        return _key_of(self.owner, self.id)


class ProviderRuns:
    """The runs in ``inventory`` that are not billed yet. Every method may raise ``Unavailable``."""

    def __init__(self, inventory: Inventory, clock: Callable[[], float] = time.time) -> None:
        self._inventory = inventory
        self._clock = clock

    async def add(self, run: ProviderRun) -> None:
        """Store ``run``, or replace it."""
        await self._inventory.put(KeptObject(_OWNER, PROVIDER_RUNS, run.key, msgspec.json.encode(run)))

    async def find(self, owner: str, id: str) -> ProviderRun | None:
        """Return the run ``id`` of ``owner``, ``None`` if it is unknown or billed."""
        found = await self._inventory.get(_OWNER, PROVIDER_RUNS, _key_of(owner, id))
        return None if found is None else _read(found.kept.body)

    async def claim(self, run: ProviderRun) -> bool:
        """Claim the right to bill ``run``; return whether this is the first claim. Then ``remove`` it."""
        return await self._inventory.claim(run.owner, f"run {run.id}")

    async def remove(self, run: ProviderRun) -> None:
        """Remove a claimed run. Otherwise it is queried again, and its next claim fails."""
        await self.forget(run.owner, run.id)

    async def forget(self, owner: str, id: str) -> None:
        """Remove the run or batch ``id`` of ``owner``, which is billed."""
        await self._inventory.remove(_OWNER, PROVIDER_RUNS, _key_of(owner, id))

    async def take_due(self) -> list[ProviderRun]:
        """Return the runs to query now, and postpone their next queries, so that other processes skip them."""
        due: list[ProviderRun] = []
        now, after_number = self._clock(), None
        while True:
            rows = await self._inventory.read_some(_OWNER, PROVIDER_RUNS, after_number, "asc")
            for one in rows:
                after_number = one.number
                run = _read(one.kept.body)
                if run is not None and now - run.began > 2 * MAX_AGE_SECONDS:  # its entry is gone, or unusable
                    log.warning(
                        "the background work %s of %s is not billed: it could not be queried", run.id, run.model
                    )
                    await self._inventory.remove(_OWNER, PROVIDER_RUNS, run.key)
                elif run is not None and run.due <= now:
                    pause = min(max(FIRST_QUERY_SECONDS, (now - run.began) / 10), LONGEST_PAUSE)
                    due.append(msgspec.structs.replace(run, due=now + pause))
            if len(rows) < self._inventory.page_size:
                break
        for run in due:
            await self.add(run)
        return due


_RUN: Final = msgspec.json.Decoder(ProviderRun)


def _read(body: bytes) -> ProviderRun | None:
    return decode_or(_RUN.decode, body, None)  # from another version, which handles it


def _key_of(owner: str, id: str) -> str:
    """Return the key of a run in the inventory, of fixed length and alphabet."""
    whole = f"{len(owner)}:{owner}{id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=16).hexdigest()
