"""Opens metrics and ``GET /metrics``, and collects the figures that exchanges do not report."""

import contextlib
from collections import Counter
from collections.abc import Callable
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
from gateway.features.metrics.feature import MetricsKeys
from gateway.features.metrics.metrics import CONTENT_TYPE, Metrics, open_metrics
from gateway.features.metrics.rows import (
    BUDGET_HELD,
    BUDGET_USED,
    COUNTED_ALONE,
    COUNTERS_AWAY,
    LAG,
    LIMIT_USED,
    SHARE_REFUSALS,
    STORE_BYTES,
    STORE_ENTRIES,
    STORE_LIMIT,
    MetricRow,
)
from gateway.http.late_imports import import_all
from gateway.http.response import Response
from gateway.seams.hooks import Hooks
from gateway.seams.route import HttpRoute
from gateway.seams.running import Ports, Running, running_tasks
from gateway.serving.incoming_request import IncomingRequest
from gateway.stores.errors import Unavailable
from gateway.stores.store import Store
from streams.errors import GatewayError

STORE_EVERY: Final = 10.0
"""Seconds between queries of the store, which may be remote."""


class RunningMetrics(Running):
    """The metrics of a process, which collect figures from the ``ports`` of one configuration."""

    has_tasks = True

    def __init__(self, metrics: Metrics, config: Config, ports: Ports) -> None:
        self.metrics = metrics
        self.hooks = Hooks(observe=(metrics.observe_exchange,), routes=(partial(_metrics_routes, config),))
        self._config = config
        self._ports = ports

    def use(self) -> None:
        self.metrics.permit_names(self._config)

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Measure the event loop's lag, and collect figures for ``/metrics``."""
        store = self._ports.store
        watches = () if store is None else (partial(watch_store, store, self.metrics),)
        async with running_tasks(*watches, partial(watch_lag, self._note_lag)):
            task_status.started()
            await ending.wait()

    def _note_lag(self, seconds: float) -> None:
        self.metrics.observe(LAG, seconds)
        _collect(self._ports, self.metrics)

    async def page(self) -> bytes:
        """Return the page for Prometheus, with the present figures."""
        self.metrics.open_registry()
        _collect(self._ports, self.metrics)
        await _collect_limits(self._ports.allowances, self.metrics)
        return await trio.to_thread.run_sync(self.metrics.page)  # slow with many models


def open_running_metrics(config: Config, ports: Ports, before: Running | None) -> RunningMetrics:
    """Return the metrics of the process, which last as long as it."""
    metrics = before.metrics if isinstance(before, RunningMetrics) else open_metrics(config, ports.ledger.mask)
    return RunningMetrics(metrics, config, ports)


async def watch_store(store: Store, metrics: Metrics, every: float = STORE_EVERY) -> None:
    """Record the store's size until cancelled; while it is unavailable, the last size remains."""
    while True:
        with contextlib.suppress(Unavailable):  # requests that need the store report it
            size = await store.size()
            metrics.set(STORE_ENTRIES, size.nodes)
            metrics.set(STORE_BYTES, size.bytes)
            metrics.set(STORE_LIMIT, size.limit or 0)
        await trio.sleep(every)


def _collect(ports: Ports, metrics: Metrics) -> None:
    refused = ports.shares.refused
    while refused:
        share, number = refused.popitem()
        metrics.add(SHARE_REFUSALS, share, by=number)
    metrics.count_landings(ports.balancer.landings)
    metrics.count_refusals(ports.allowances.refusals)
    metrics.report_queues(ports.allowances.queues.lengths)
    counters = ports.allowances.counters.remote
    if counters is not None:
        metrics.set(COUNTERS_AWAY, int(counters.is_away))
        metrics.add(COUNTED_ALONE, by=counters.take_outage_reservations())
    metrics.take(ports.ledger.figures)
    health = ports.health
    out = Counter(state.entry for state in health.target_states() if state.state != "in")
    metrics.report_targets(out, health.transitions.take_outages())
    lifecycle, running = ports.lifecycle, ports.background.running
    metrics.measure(ports.upstream.stats(), len(lifecycle.connections), running, lifecycle.draining)


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


def _metrics_routes(config: Config, service: Service) -> tuple[HttpRoute, ...]:
    """Return the route of ``/metrics``."""
    running = service.opened.features["metrics"]
    assert isinstance(running, RunningMetrics)

    async def page(incoming: IncomingRequest) -> Response:
        try:
            if part_of(config, MetricsKeys).metrics != "open":
                service.admission.authenticate_operator(incoming)
        except GatewayError as error:
            return error_response(open_record("chat", service.ledger, incoming.scope), error.info)
        await import_all(("gateway.features.metrics.registry",))
        body = await running.page()
        return Response(200, (("content-type", CONTENT_TYPE), NOSNIFF, ("x-request-id", incoming.scope.id)), body)

    return (HttpRoute("/metrics", page, uses=("metrics",)),)


EVERY: Final = 0.5
"""Seconds between two measurements. A shorter block is seen in proportion to its duration."""


async def watch_lag(seen: Callable[[float], object]) -> None:
    """Call ``seen(seconds)`` with each delay until cancelled."""
    while True:
        due = trio.current_time() + EVERY
        await trio.sleep_until(due)
        seen(max(0.0, trio.current_time() - due))
