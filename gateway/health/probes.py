"""Probes: servers of one's own that say for nothing, at a path of theirs, whether they are well.

Nothing else is ever sent that no client has asked for: a health page that asks models costs tokens
(BerriAI/litellm#7000, #9584). Only entries with ``probe`` are asked.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import attrs
import trio

from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.health.circuit import Circuit, after_probe, claimed
from gateway.health.states import States
from gateway.health.transitions import TransitionLog
from gateway.routing.identity import Identity, digest
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import UpstreamRequest
from providers.auth.signer import UnsignedRequest
from streams.events import UNAVAILABLE, FailureReason

log = logging.getLogger("trigate.health")

EVERY: Final = 5.0
"""Seconds from one probe of a server to the next, and for its answer."""
TICK: Final = 2.5
"""Seconds after which it is looked whether one is due: workers take turns, and one that dies is missed by none."""


@attrs.frozen
class ServerProbe:
    """A server that is asked at ``url``, as requests to ``entry`` are; ``names`` are the entries that it answers for,
    and ``key`` is that of its circuit."""

    entry: ModelEntry
    url: str
    names: tuple[str, ...]
    key: bytes

    def request(self) -> UpstreamRequest:
        """With the headers and the key that the entry has for it."""
        entry = self.entry
        headers = [*entry.headers, *(() if entry.http_host is None else (("host", entry.http_host),))]
        if entry.key and entry.provider.auth:
            signer = next(iter(entry.provider.auth.values()))
            headers.extend(signer.sign(UnsignedRequest("GET", self.url, tuple(headers), b""), entry.key, 0))
        return UpstreamRequest("GET", self.url, tuple(headers))


def probes_of(config: Config) -> dict[str, ServerProbe]:
    """The probes of a configuration, by endpoints."""
    names: dict[str, list[str]] = {}
    for entry in config.entries:
        names.setdefault(Identity.of(entry, entry.model).endpoint, []).append(entry.name)
    found: dict[str, ServerProbe] = {}
    for entry in config.entries:
        base = entry.base_url or entry.provider.base_url
        if entry.probe is not None and base is not None:
            endpoint = Identity.of(entry, entry.model).endpoint
            parts = urlsplit(base)
            url = f"{parts.scheme}://{parts.netloc}{entry.probe}"
            found.setdefault(
                endpoint, ServerProbe(entry, url, tuple(names[endpoint]), digest(b"probe", endpoint.encode()))
            )
    return found


class Prober:
    """Asks the servers of ``probes``, which are those of the configuration that holds, and tells their circuits."""

    def __init__(self, states: States, clock: Callable[[], float], transitions: TransitionLog) -> None:
        self.probes: Mapping[str, ServerProbe] = {}
        self._states = states
        self._clock = clock
        self._transitions = transitions
        self._strange: set[str] = set()

    async def run(self, upstream: Upstream) -> None:
        """Until cancelled. Raises nothing else: its nursery is the process's."""
        async with trio.open_nursery() as nursery:
            while True:
                for probe in self.probes.values():
                    if self._take_turn(probe):
                        nursery.start_soon(self._ask, probe, upstream)
                await trio.sleep(TICK)

    def _take_turn(self, probe: ServerProbe) -> bool:
        """True for one of the workers, each time when a probe is due."""
        before, after = self._states.update(probe.key, partial(claimed, now=self._clock(), every=EVERY))
        return before is not after

    async def _ask(self, probe: ServerProbe, upstream: Upstream) -> None:
        reason: FailureReason | None = "timeout"
        with trio.move_on_after(EVERY):
            try:
                async with await upstream.send(probe.request()) as response:
                    reason = self._judge(probe, response.status)
            except UpstreamError as error:
                reason = error.failed.reason
                if reason not in UNAVAILABLE:  # our own limits and mistakes
                    return
        now = self._clock()

        def change(circuit: Circuit) -> Circuit:
            return after_probe(circuit, reason, now, EVERY)

        before, after = self._states.update(probe.key, change)
        self._transitions.tell(probe.key, probe.entry.name, probe.names, before, after, now)

    def _judge(self, probe: ServerProbe, status: int) -> FailureReason | None:
        if status == 503:
            return "overloaded"
        if status >= 500:
            return "server_error"
        if not 200 <= status < 300 and probe.url not in self._strange:
            self._strange.add(probe.url)
            log.warning("%s: the probe is answered with %d, which says nothing: correct it", probe.names[0], status)
        return None
