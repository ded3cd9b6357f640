"""The door of the app: whom the guard against pages of browsers turns away, and in which words."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from quart import Response as QuartResponse
from quart import g, request
from quart_trio import QuartTrio

from gateway.access.page_guard import Cors, PageGuard, is_live_view
from gateway.access.peers import Peers
from gateway.config.settings import Config
from gateway.endpoints.answers import client_headers, ids, refused
from gateway.endpoints.health import ALIVE, READY
from gateway.endpoints.ui.paths import PREFIX, TEXT
from gateway.exchange import responding
from gateway.exchange.service import Service
from gateway.http.headers import as_text
from gateway.http.paths import api_of
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response
from gateway.ledger.ledger import Ledger
from gateway.serving.fast_route import QuartRequest
from gateway.serving.quart_views import through_quart
from streams.errors import GatewayError
from streams.events import ErrorInfo


class GuardedDoor:
    """The ``Door`` by one configuration."""

    def __init__(self, config: Config, ledger: Ledger, has_route: Callable[[str], bool]) -> None:
        """A path without a route is nothing to be guarded, and its 404 says where the right one is."""
        self._has_route = has_route
        self._check = PageGuard(config, (*ALIVE, *READY)).check
        self._ledger = ledger
        self.address_of = Peers(config.trusted_proxies).address_of

    def refuse(self, asgi: Mapping[str, Any], named: Mapping[bytes, bytes], scope: RequestScope) -> Response | None:
        try:
            self._check(asgi, named)
        except GatewayError as error:
            if not self._has_route(asgi["path"]):
                return None
            host, origin = (named.get(name, b"").decode("latin-1") or None for name in (b"host", b"origin"))
            audit = self._ledger.audit
            audit.tell_often("page_refused", scope.address, path=asgi["path"], host=host, origin=origin)
            return self._refusal(asgi, scope, error.failed)
        return None

    def _refusal(self, asgi: Mapping[str, Any], scope: RequestScope, failed: ErrorInfo) -> Response:
        """``failed`` on record, in the shape of the API whose path was called; of the live view, which is for people,
        in words alone. The connection of a handshake ends with it."""
        if is_live_view(asgi["path"]):
            return Response(failed.status, TEXT, f"{failed.message}\n".encode())
        record = responding.open_record(api_of(asgi["path"], as_text(asgi["headers"])), self._ledger, scope)
        closing = (("connection", "close"),) if asgi["type"] == "websocket" else ()
        return responding.refused(record, failed, headers=closing)


AT_ONCE: Final = ("models", "model")
"""Routes whose answer is at hand: they count among no requests in flight."""


def add_cors(app: QuartTrio, cors: Cors) -> None:
    """Let pages of the configured origins read what is answered below ``/v1/``."""
    if not cors:
        return

    async def preflight() -> QuartResponse | None:
        if request.method != "OPTIONS" or not request.path.startswith("/v1/"):
            return None
        wished = request.headers.get("access-control-request-headers", "")
        response = through_quart(Response(204, (*cors.preflight(request.headers.get("origin"), wished), *ids())))
        for name in ("content-type", "content-length"):  # RFC 9110, section 8.6: not with a 204
            response.headers.pop(name, None)
        return response

    async def share(response: QuartResponse) -> QuartResponse:
        if request.method != "OPTIONS" and request.path.startswith("/v1/"):
            for name, value in cors.response_headers(request.headers.get("origin"), response.headers.keys()):
                response.headers.add(name, value)
        return response

    app.before_request(preflight)
    app.after_request(share)


def add_authentication(app: QuartTrio, service: Service, open: Collection[str]) -> None:
    """Ask for a client's key on every route but those with the names ``open`` and those of the live view. Where there
    may be work to do the request takes its place among those in flight."""

    async def authenticate() -> QuartResponse | None:
        if request.endpoint in open or (request.endpoint or "").startswith(PREFIX):
            return None
        at_once = request.endpoint in AT_ONCE or request.routing_exception is not None
        try:
            arrival = QuartRequest()
            g.client = (service.admission.authenticate if at_once else service.admission.admit)(arrival)
            g.owner = service.admission.holder(g.client, arrival.headers)
        except GatewayError as error:
            return through_quart(refused(error.failed, api_of(request.path, client_headers()), service.ledger))
        return None

    app.before_request(authenticate)
