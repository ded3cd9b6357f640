"""The Quart hook before each view: the client's key."""

from collections.abc import Collection
from typing import Final

from quart import Response as QuartResponse
from quart import g, request
from quart_trio import QuartTrio

from gateway.endpoints.answers import client_headers, error_response
from gateway.exchange.service import Service
from gateway.features.live_view.pages.paths import PREFIX
from gateway.http.paths import api_of
from gateway.serving.quart_views import QuartRequest, through_quart
from streams.errors import GatewayError

IMMEDIATE_ROUTES: Final = ("models", "model")
"""Routes that respond immediately and do not count as requests in flight."""


def add_authentication(app: QuartTrio, service: Service, open_routes: Collection[str]) -> None:
    """Require a client key on all routes except those named ``open_routes`` and the live view's.

    Unknown paths need a key too, except well-known ones: clients look there without a key for what a server offers.
    Requests that may cause work count as requests in flight."""

    async def authenticate() -> QuartResponse | None:
        if request.endpoint in open_routes or (request.endpoint or "").startswith(PREFIX):
            return None
        if request.routing_exception is not None and request.path.startswith("/.well-known/"):
            return None
        is_immediate = request.endpoint in IMMEDIATE_ROUTES or request.routing_exception is not None
        try:
            arrival = QuartRequest()
            g.client = (service.admission.authenticate if is_immediate else service.admission.admit)(arrival)
            g.owner = service.admission.holder(g.client, arrival.headers)
        except GatewayError as error:
            return through_quart(error_response(error.info, api_of(request.path, client_headers()), service.ledger))
        return None

    app.before_request(authenticate)
