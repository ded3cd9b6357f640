"""Viewers of the live view who are signed in at an issuer, and the sign-in of those who are not."""

from typing import Final

from gateway.endpoints.oauth.signed_in import SignedInCallers
from gateway.endpoints.ui.visitors import Visitor, visitor_of
from gateway.http.response import Response
from gateway.serving.fast_route import IncomingRequest
from gateway.stores.store import Unavailable
from streams.errors import GatewayError

_SIGN_IN_PAGE: Final = "/ui"
_WITH_KEY: Final = "sign_in=key"
"""The query with which the page requests a key instead of a sign-in, for an operator whose issuer is unavailable."""

_ENDED: Final = "your session has ended: open /ui to sign in again"
_STORE_DOWN: Final = "the gateway cannot read its sessions at the moment: try again in a few seconds"


class SignedInVisitors(SignedInCallers):
    """The viewers who sign in at an issuer, for one configuration."""

    async def visitor(self, incoming: IncomingRequest) -> Visitor | Response | None:
        """Return the viewer of a request, or the response that sends its browser to an issuer.

        Return ``None`` for requests with a key. Raises ``GatewayError``."""
        if self.sends_key(incoming.headers):
            return None
        try:
            caller = await self.caller(incoming)
        except Unavailable:
            raise GatewayError("overloaded", _STORE_DOWN, headers=(("retry-after", "1"),)) from None
        if caller is not None:
            return visitor_of(caller.name, caller.role, caller.credential, self.config.sessions.token)
        if incoming.asgi["path"].rstrip("/") != _SIGN_IN_PAGE:
            raise GatewayError("authentication", _ENDED)
        if incoming.query == _WITH_KEY:
            return None
        return await self.send_to_sign_in(incoming.headers, _SIGN_IN_PAGE)
