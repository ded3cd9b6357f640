"""Probes of self-hosted servers that report their health at a path free of charge.

The gateway sends no other requests of its own: health checks that query models cost tokens (BerriAI/litellm#7000,
#9584). Only entries with ``probe`` are probed."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import attrs
import trio

from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.health.circuit import Circuit, after_probe, claim_probe
from gateway.health.states import States
from gateway.health.transitions import TransitionLog
from gateway.routing.target import Identity, digest
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import UpstreamRequest
from providers.auth.signer import UnsignedRequest
from streams.events import UNAVAILABLE, FailureReason

log = logging.getLogger("trigate.health")

EVERY: Final = 5.0
"""Seconds between probes of a server, and for its response."""
TICK: Final = 2.5
"""Seconds between checks for due probes: workers take turns, so that a dead one is not missed."""


@attrs.frozen(repr=False)
class ServerProbe:
    """A server to probe at ``url`` with the settings of ``entry``.

    ``names`` are the entries that it serves, ``key`` is that of its circuit."""

    entry: ModelEntry
    url: str
    names: tuple[str, ...]
    key: bytes

    def request(self) -> UpstreamRequest:
        """Return the request with the entry's headers and key."""
        entry = self.entry
        headers = [*entry.headers, *(() if entry.http_host is None else (("host", entry.http_host),))]
        if entry.key and entry.provider.auth:
            signer = next(iter(entry.provider.auth.values()))
            headers.extend(signer.sign(UnsignedRequest("GET", self.url, tuple(headers), b""), entry.key, 0))
        return UpstreamRequest("GET", self.url, tuple(headers))


def probes_of(config: Config) -> dict[str, ServerProbe]:
    """Return the probes of a configuration by endpoint."""
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
    """Probes the servers of the current configuration, and updates their circuits."""

    def __init__(self, states: States, clock: Callable[[], float], transitions: TransitionLog) -> None:
        self.probes: Mapping[str, ServerProbe] = {}
        self._states = states
        self._clock = clock
        self._transitions = transitions
        self._warned_urls: set[str] = set()

    async def run(self, upstream: Upstream) -> None:
        """Probe until cancelled. Raises nothing else, because the process shares its nursery."""
        async with trio.open_nursery() as nursery:
            while True:
                for probe in self.probes.values():
                    if self._claim_turn(probe):
                        nursery.start_soon(self._send_probe, probe, upstream)
                await trio.sleep(TICK)

    def _claim_turn(self, probe: ServerProbe) -> bool:
        """Return whether this worker sends the probe now due."""
        before, after = self._states.update(probe.key, partial(claim_probe, now=self._clock(), every=EVERY))
        return before is not after

    async def _send_probe(self, probe: ServerProbe, upstream: Upstream) -> None:
        reason: FailureReason | None = "timeout"
        with trio.move_on_after(EVERY):
            try:
                async with await upstream.send(probe.request()) as response:
                    reason = self._reason_of_status(probe, response.status)
            except UpstreamError as error:
                reason = error.info.reason
                if reason not in UNAVAILABLE:  # local limits and errors do not count
                    return
        now = self._clock()

        def change(circuit: Circuit) -> Circuit:
            return after_probe(circuit, reason, now, EVERY)

        before, after = self._states.update(probe.key, change)
        self._transitions.log_change(probe.key, probe.entry.name, probe.names, before, after, now)

    def _reason_of_status(self, probe: ServerProbe, status: int) -> FailureReason | None:
        if status == 503:
            return "overloaded"
        if status >= 500:
            return "server_error"
        if not 200 <= status < 300 and probe.url not in self._warned_urls:
            self._warned_urls.add(probe.url)
            log.warning(
                "%s: the probe returns status %d, which does not indicate health: correct `probe`",
                probe.names[0],
                status,
            )
        return None
