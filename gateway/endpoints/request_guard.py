"""The checks before routing: protection against web pages, and the tokens of unlisted clients."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gateway.access.authentication import Authenticator
from gateway.access.page_guard import GuardedPaths, PageGuard
from gateway.access.peers import Peers
from gateway.config.settings import Config
from gateway.endpoints.health import ALIVE, READY
from gateway.exchange import responding
from gateway.http.certificates import certificate_names
from gateway.http.headers import as_text
from gateway.http.listener_rules import LISTENER, ListenerRules
from gateway.http.pages import TEXT
from gateway.http.paths import api_of
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response
from gateway.ledger.ledger import Ledger
from gateway.serving.route_table import RouteTable
from streams.errors import GatewayError
from streams.events import ErrorInfo


class ConfiguredGuard:
    """The checks of one configuration."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        routes: RouteTable,
        authenticator: Authenticator,
        guarded: Sequence[GuardedPaths],
    ) -> None:
        """Protect the paths of ``routes`` from pages: others get a 404 with advice.

        Prepare the tokens of unlisted clients for ``authenticator``, if it has some."""
        self._routes = routes
        self.prepare = None if authenticator.unlisted is None else partial(_prepare, authenticator)
        self._pages = PageGuard(config, (*ALIVE, *READY), guarded)
        self._check = self._pages.check
        self._ledger = ledger
        self.address_of = Peers(config.trusted_proxies).address_of

    def refuse(
        self, asgi: Mapping[str, Any], headers_by_name: Mapping[bytes, bytes], scope: RequestScope
    ) -> Response | None:
        rules: ListenerRules | None = asgi["extensions"].get(LISTENER)
        if (
            rules is not None
            and (error := rules.find_error(self._routes.uses(asgi["path"]), scope.address)) is not None
        ):
            if error.kind == "permission":
                audit = self._ledger.audit
                audit.log_limited("address_refused", scope.address, path=asgi["path"], listener=rules.name)
            return self._refusal(asgi, scope, error)
        try:
            self._check(asgi, headers_by_name)
        except GatewayError as error:
            if not self._routes.serves(asgi["path"]):
                return None
            host, origin = (headers_by_name.get(name, b"").decode("latin-1") or None for name in (b"host", b"origin"))
            audit = self._ledger.audit
            audit.log_limited("page_refused", scope.address, path=asgi["path"], host=host, origin=origin)
            return self._refusal(asgi, scope, error.info)
        return None

    def _refusal(self, asgi: Mapping[str, Any], scope: RequestScope, error: ErrorInfo) -> Response:
        """Record ``error``, and return its response in the format of the path's API.

        A view, which is for people, gets plain text. A rejected handshake ends its connection."""
        if self._pages.is_view(asgi["path"]):
            return Response(error.status, TEXT, f"{error.message}\n".encode())
        error = self._pages.with_form(asgi["path"], error)
        record = responding.open_record(api_of(asgi["path"], as_text(asgi["headers"])), self._ledger, scope)
        closing = (("connection", "close"),) if asgi["type"] == "websocket" else ()
        return responding.error_response(record, error, headers=closing)


async def _prepare(authenticator: Authenticator, asgi: Mapping[str, Any]) -> None:
    await authenticator.prepare(as_text(asgi["headers"]), certificate_names(asgi))
