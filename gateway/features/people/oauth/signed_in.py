"""Callers of pages who are signed in at an issuer, and the sign-in of those who are not."""

from typing import Final

from gateway.config.people import Caller
from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.live_view.pages.paths import LIVE, WITH_KEY
from gateway.features.live_view.pages.visitors import Visitor, visitor_of
from gateway.features.people.oauth.browser import BrowserSignIn
from gateway.features.people.oauth.browser_sessions import cookie_caller, has_key
from gateway.features.people.oauth.context import SignInContext
from gateway.http.headers import Headers
from gateway.http.response import Response
from gateway.serving.incoming_request import IncomingRequest
from gateway.stores.store import Unavailable
from streams.errors import GatewayError

_ENDED: Final = "your session has ended: open /ui to sign in again"
_STORE_DOWN: Final = "the gateway cannot read its sessions at the moment: try again in a few seconds"


class SignedInCallers:
    """The callers who sign in at an issuer, for one configuration."""

    def __init__(self, config: Config, service: Service) -> None:
        self._config = config
        self._service = service
        self._browser = BrowserSignIn(SignInContext(config, service))

    def sends_key(self, headers: Headers) -> bool:
        """Return whether a request has a key or a token, which counts instead of the cookie."""
        return has_key(self._config, headers)

    async def caller(self, incoming: IncomingRequest) -> Caller | None:
        """Return the person of the cookie, ``None`` without a valid one.

        Raises ``GatewayError`` and ``Unavailable``."""
        return await cookie_caller(self._config, self._service, incoming)

    async def visitor(self, incoming: IncomingRequest) -> Visitor | Response | None:
        """Return the viewer of the live view, or the response that sends its browser to an issuer.

        Return ``None`` for requests with a key. Raises ``GatewayError``."""
        if self.sends_key(incoming.headers):
            return None
        try:
            caller = await self.caller(incoming)
        except Unavailable:
            raise GatewayError("overloaded", _STORE_DOWN, headers=(("retry-after", "1"),)) from None
        if caller is not None:
            return visitor_of(caller, caller.credential, self._config.sessions.token)
        if incoming.asgi["path"].rstrip("/") != LIVE:
            raise GatewayError("authentication", _ENDED)
        if incoming.query == WITH_KEY:
            return None
        return await self.send_to_sign_in(incoming.headers, LIVE)

    async def send_to_sign_in(self, headers: Headers, path: str) -> Response:
        """Return the redirect to an issuer, which returns to the page at ``path``. Never raises."""
        return await self._browser.send_to_sign_in(headers, path)
