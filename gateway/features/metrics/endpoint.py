"""``GET /metrics``, and the figures collected for it periodically."""

import contextlib
from collections import Counter
from functools import partial
from typing import Final

import trio

from configfile.keys import part_of
from gateway.allowances.allowances import Allowances
from gateway.allowances.levels import PER_TURN, read_levels
from gateway.config.settings import Config
from gateway.endpoints.plain_answers import NOSNIFF
from gateway.exchange.responding import error_response, open_record
from gateway.exchange.service import Service
from gateway.features.metrics.lag import watch_lag
from gateway.features.metrics.metrics import CONTENT_TYPE, Metrics
from gateway.features.metrics.rows import (
    BUDGET_HELD,
    BUDGET_USED,
    BY_NAME,
    COUNTED_ALONE,
    COUNTERS_AWAY,
    ISSUER_STALE,
    LAG,
    LEDGER_FOLDED,
    LEDGER_LOST,
    LIMIT_USED,
    SHARE_REFUSALS,
    STORE_BYTES,
    STORE_ENTRIES,
    STORE_LIMIT,
    MetricRow,
)
from gateway.features.metrics.settings import MetricsKeys
from gateway.http.late_imports import import_all
from gateway.http.response import Response
from gateway.serving.fast_route import OpenRoute
from gateway.serving.incoming_request import IncomingRequest
from gateway.stores.store import Store, Unavailable
from streams.errors import GatewayError

STORE_EVERY: Final = 10.0
"""Seconds between queries of the store, which may be remote."""


def metrics_routes(service: Service, config: Config) -> tuple[OpenRoute, ...]:
    """Return the route of ``/metrics``, none if metrics are off."""
    metrics = service.metrics
    if not isinstance(metrics, Metrics):
        return ()

    async def page(incoming: IncomingRequest) -> Response:
        try:
            if part_of(config, MetricsKeys).metrics != "open":
                service.admission.authenticate_operator(incoming)
        except GatewayError as error:
            return error_response(open_record("chat", service.ledger, incoming.scope), error.info)
        await import_all(("prometheus_client",))
        metrics.open_registry()
        _collect_figures(service, metrics)
        await _collect_limits(service.allowances, metrics)
        body = await trio.to_thread.run_sync(metrics.page)  # slow with many models
        return Response(200, (("content-type", CONTENT_TYPE), NOSNIFF, ("x-request-id", incoming.scope.id)), body)

    return (OpenRoute("metrics", ("/metrics",), page),)


async def watch(service: Service) -> None:
    """Measure the event loop's lag, and collect figures for ``/metrics``, until cancelled."""
    metrics = service.metrics
    if not isinstance(metrics, Metrics):
        return
    async with trio.open_nursery() as nursery:
        if service.store is not None:
            nursery.start_soon(watch_store, service.store, metrics)
        await watch_lag(partial(_collect, service, metrics))


async def watch_store(store: Store, metrics: Metrics, every: float = STORE_EVERY) -> None:
    """Record the store's size until cancelled; while it is unavailable, the last size remains."""
    while True:
        with contextlib.suppress(Unavailable):  # requests that need the store report it
            size = await store.size()
            metrics.set(STORE_ENTRIES, size.nodes)
            metrics.set(STORE_BYTES, size.bytes)
            metrics.set(STORE_LIMIT, size.limit or 0)
        await trio.sleep(every)


def _collect(service: Service, metrics: Metrics, seconds: float) -> None:
    metrics.observe(LAG, seconds)
    _collect_figures(service, metrics)


def _collect_figures(service: Service, metrics: Metrics) -> None:
    refused = service.admission.shares.refused
    while refused:
        share, number = refused.popitem()
        metrics.add(SHARE_REFUSALS, share, by=number)
    metrics.count_landings(service.balancer.landings)
    metrics.count_refusals(service.allowances.refusals)
    metrics.report_queues(service.allowances.queues.lengths)
    if lost := service.kept_ledger.take_lost():
        metrics.add(LEDGER_LOST, by=lost)
    if folded := service.kept_ledger.take_folded():
        metrics.add(LEDGER_FOLDED, by=folded)
    counters = service.allowances.counters.remote
    if counters is not None:
        metrics.set(COUNTERS_AWAY, int(counters.is_away))
        metrics.add(COUNTED_ALONE, by=counters.take_outage_reservations())
    if "people" in service.features:
        from gateway.features.people.interface import people_of  # imported only where it is needed

        people = people_of(service.features)
        assert people is not None
        for name, seconds in people.issuers.stale_seconds().items():
            metrics.set(ISSUER_STALE, seconds, name)
    counts = service.ledger.counts
    while counts:
        name, number = counts.popitem()
        metrics.add(BY_NAME[name], by=number)
    health = service.health
    out = Counter(state.entry for state in health.target_states() if state.state != "in")
    metrics.report_targets(out, health.transitions.take_outages())
    lifecycle, running = service.lifecycle, service.background.running
    metrics.measure(service.upstream.stats(), len(lifecycle.connections), running, lifecycle.draining)


async def _collect_limits(allowances: Allowances, metrics: Metrics) -> None:
    """Write the usage of all limits to ``metrics``, once for each page: there may be thousands of limits."""
    shares: dict[tuple[MetricRow, str, str, str], float] = {}
    for number, one in enumerate(await read_levels(allowances.list_all(), allowances.counters, allowances.now())):
        kind, name = one.holder.kind, one.holder.name
        if one.limit == "budgets":
            shares[BUDGET_USED, kind, name, one.text] = one.share
            shares[BUDGET_HELD, kind, name, one.text] = one.share_held
        else:
            shares[LIMIT_USED, kind, name, one.limit] = one.share + one.share_held
        if number % PER_TURN == 0:
            await trio.lowlevel.checkpoint()
    await metrics.report_limits(shares)
