"""``GET /metrics``, and what has to be looked at for it now and then."""

from functools import partial

import trio
from quart import Response, g
from quart_trio import QuartTrio

from gateway.ledger import Ledger
from gateway.observing.lag import watch_lag
from gateway.observing.metrics import CONTENT_TYPE, LAG, Metrics
from gateway.service import Service
from gateway.serving.scope import current_scope, respond
from gateway.stored.answers import refused
from streams.errors import GatewayError


def add_metrics(app: QuartTrio, service: Service, ledger: Ledger) -> None:
    """The route, where metrics are not switched off."""
    metrics = service.metrics
    if metrics is None:
        return

    async def page() -> Response:
        try:
            if service.door is not None:
                service.door.check_all(g.get("client"))
        except GatewayError as error:
            return refused(error.failed, "chat", ledger)
        _look(service, metrics)
        body = await trio.to_thread.run_sync(metrics.page)  # with many models it takes a while
        return respond(body, 200, (("content-type", CONTENT_TYPE), ("x-request-id", current_scope().id)))

    app.add_url_rule("/metrics", "metrics", page, methods=["GET"])


async def watch(service: Service) -> None:
    """Measure the event loop and take stock, until cancelled."""
    if service.metrics is not None:
        await watch_lag(partial(_late, service, service.metrics))


def _late(service: Service, metrics: Metrics, seconds: float) -> None:
    metrics.see(LAG, seconds)
    _look(service, metrics)


def _look(service: Service, metrics: Metrics) -> None:
    lifecycle, background = service.lifecycle, service.background
    running = 0 if background is None else background.running
    metrics.look(service.upstream.stats(), len(lifecycle.connections), running, lifecycle.draining)
