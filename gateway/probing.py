"""Probes of self-hosted servers that report their health at a path free of charge.

The gateway sends no other requests of its own: health checks that query models cost tokens (BerriAI/litellm#7000,
#9584). Only entries with ``probe`` are probed."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import attrs
import trio

from gateway.config.model_entry import ModelEntry
from gateway.health.circuit import Circuit, after_probe, claim_probe
from gateway.health.health import Health
from gateway.routing.target import Identity
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


def _probes_of(entries: Iterable[ModelEntry], keys: Mapping[str, bytes]) -> tuple[ServerProbe, ...]:
    """Return a probe for each server that has one of ``keys`` by its endpoint."""
    found: dict[str, list[ModelEntry]] = {}
    for entry in entries if keys else ():
        endpoint = Identity.of(entry, entry.model).endpoint
        if endpoint in keys:
            found.setdefault(endpoint, []).append(entry)
    return tuple(_probe_of(same, keys[endpoint]) for endpoint, same in found.items())


def _probe_of(entries: Sequence[ModelEntry], key: bytes) -> ServerProbe:
    """Return the probe of the server of ``entries``, by the first one that has ``probe``."""
    entry = next(one for one in entries if one.probe is not None)
    parts = urlsplit(entry.base_url or entry.provider.base_url or "")
    return ServerProbe(entry, f"{parts.scheme}://{parts.netloc}{entry.probe}", tuple(one.name for one in entries), key)


class Prober:
    """Probes the servers of the current configuration, and updates their circuits in ``health``."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._entries: tuple[ModelEntry, ...] = ()
        self._probes: tuple[ServerProbe, ...] = ()
        self._warned_urls: set[str] = set()

    async def run(self, upstream: Upstream) -> None:
        """Probe until cancelled. Raises nothing else, because the process shares its nursery."""
        async with trio.open_nursery() as nursery:
            while True:
                if self._entries is not self._health.entries:
                    self._entries = self._health.entries
                    self._probes = _probes_of(self._entries, self._health.probed)
                for probe in self._probes:
                    if self._claim_turn(probe):
                        nursery.start_soon(self._send_probe, probe, upstream)
                await trio.sleep(TICK)

    def _claim_turn(self, probe: ServerProbe) -> bool:
        """Return whether this worker sends the probe now due."""
        claim = partial(claim_probe, now=self._health.clock(), every=EVERY)
        before, after = self._health.states.update(probe.key, claim)
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
        now = self._health.clock()

        def change(circuit: Circuit) -> Circuit:
            return after_probe(circuit, reason, now, EVERY)

        before, after = self._health.states.update(probe.key, change)
        self._health.transitions.log_change(probe.key, probe.entry.name, probe.names, before, after, now)

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
