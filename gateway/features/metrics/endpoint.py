"""``GET /metrics``."""

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.endpoints.plain_answers import NOSNIFF
from gateway.exchange.responding import error_response, open_record
from gateway.exchange.service import Service
from gateway.features.metrics.metrics import CONTENT_TYPE
from gateway.features.metrics.opening import RunningMetrics
from gateway.features.metrics.settings import MetricsKeys
from gateway.http.late_imports import import_all
from gateway.http.response import Response
from gateway.seams.route import HttpRoute
from gateway.serving.incoming_request import IncomingRequest
from streams.errors import GatewayError


def metrics_routes(service: Service, config: Config) -> tuple[HttpRoute, ...]:
    """Return the route of ``/metrics``, none if metrics are off."""
    running = service.features.get("metrics")
    if not isinstance(running, RunningMetrics):
        return ()

    async def page(incoming: IncomingRequest) -> Response:
        try:
            if part_of(config, MetricsKeys).metrics != "open":
                service.admission.authenticate_operator(incoming)
        except GatewayError as error:
            return error_response(open_record("chat", service.ledger, incoming.scope), error.info)
        await import_all(("prometheus_client",))
        body = await running.page()
        return Response(200, (("content-type", CONTENT_TYPE), NOSNIFF, ("x-request-id", incoming.scope.id)), body)

    return (HttpRoute("/metrics", page),)
