"""The door of the app: whom the guard against pages of browsers turns away, and in which words."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.access.page_guard import PageGuard, is_live_view
from gateway.access.peers import Peers
from gateway.config.settings import Config
from gateway.endpoints.answers import open_record
from gateway.endpoints.health import ALIVE, READY
from gateway.endpoints.ui.pages import TEXT
from gateway.exchange.exchange import JSON_HEADERS, own_headers
from gateway.http.headers import as_text
from gateway.http.paths import api_of
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response
from gateway.ledger.ledger import Ledger
from providers.apis import CODECS
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
        record = open_record(api_of(asgi["path"], as_text(asgi["headers"])), self._ledger, scope)
        record.failed = failed
        record.answered(failed.status)
        closing = (("connection", "close"),) if asgi["type"] == "websocket" else ()
        headers = (*JSON_HEADERS, *failed.headers, *own_headers(record), *closing)
        return Response(failed.status, headers, CODECS[record.api].write_error(failed, record.id))
