"""Callers of pages who are signed in at an issuer, and the sign-in of those who are not."""

from typing import Final

from gateway.config.settings import Config
from gateway.config.unlisted import Caller
from gateway.exchange.service import Service
from gateway.features.people.oauth.browser import BrowserSignIn
from gateway.features.people.oauth.browser_sessions import cookie_caller, has_key
from gateway.features.people.oauth.context import SignInContext
from gateway.features.people.settings import people_keys
from gateway.http.headers import Headers
from gateway.http.response import Response
from gateway.serving.incoming_request import IncomingRequest


class SignedInCallers:
    """The callers who sign in at an issuer, for one configuration."""

    def __init__(self, config: Config, service: Service) -> None:
        self._config = config
        self._service = service
        self.seconds: Final = people_keys(config).sessions.token
        """The lifetime of a session's token."""
        self._browser = BrowserSignIn(SignInContext(config, service))

    def sends_key(self, headers: Headers) -> bool:
        """Return whether a request has a key or a token, which counts instead of the cookie."""
        return has_key(self._config, headers)

    async def caller(self, incoming: IncomingRequest) -> Caller | None:
        """Return the person of the cookie, ``None`` without a valid one.

        Raises ``GatewayError`` and ``Unavailable``."""
        return await cookie_caller(self._config, self._service, incoming)

    async def send_to_sign_in(self, headers: Headers, path: str) -> Response:
        """Return the redirect to an issuer, which returns to the page at ``path``. Never raises."""
        return await self._browser.send_to_sign_in(headers, path)
