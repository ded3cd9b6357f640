"""Quart hooks before and after each view: CORS, and the client's key."""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from quart import Response as QuartResponse
from quart import g, request
from quart_trio import QuartTrio

from gateway.access.page_guard import Cors
from gateway.endpoints.answers import client_headers, error_response, id_headers
from gateway.endpoints.ui.paths import PREFIX
from gateway.exchange.service import Service
from gateway.http.paths import api_of
from gateway.http.response import Response
from gateway.serving.quart_views import QuartRequest, through_quart
from streams.errors import GatewayError

IMMEDIATE_ROUTES: Final = ("models", "model")
"""Routes that respond immediately and do not count as requests in flight."""

_PROGRAM_PATHS: Final = ("/v1/", "/v1beta/", "/mcp/", "/model/")


def add_cors(app: QuartTrio, cors: Cors, deployments: Sequence[str], is_relayed: Callable[[str], object]) -> None:
    """Let pages of the configured origins read the responses to programs.

    These are the paths below ``_PROGRAM_PATHS`` and ``deployments``, and those that ``is_relayed``, such as the paths
    of entries with pass-through."""
    if not cors:
        return
    starts = (*_PROGRAM_PATHS, *deployments)

    def is_shared(path: str) -> bool:
        return path.startswith(starts) or bool(is_relayed(path))

    async def preflight() -> QuartResponse | None:
        if request.method != "OPTIONS" or not is_shared(request.path):
            return None
        requested_headers = request.headers.get("access-control-request-headers", "")
        response = through_quart(
            Response(204, (*cors.preflight(request.headers.get("origin"), requested_headers), *id_headers()))
        )
        for name in ("content-type", "content-length"):  # RFC 9110, section 8.6: not with a 204
            response.headers.pop(name, None)
        return response

    async def add_cors_headers(response: QuartResponse) -> QuartResponse:
        if request.method != "OPTIONS" and is_shared(request.path):
            for name, value in cors.response_headers(request.headers.get("origin"), response.headers.keys()):
                response.headers.add(name, value)
        return response

    app.before_request(preflight)
    app.after_request(add_cors_headers)


def add_authentication(app: QuartTrio, service: Service, open_routes: Collection[str]) -> None:
    """Require a client key on all routes except those named ``open_routes`` and the live view's.

    Requests that may cause work count as requests in flight."""

    async def authenticate() -> QuartResponse | None:
        if request.endpoint in open_routes or (request.endpoint or "").startswith(PREFIX):
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
