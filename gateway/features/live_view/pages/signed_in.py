"""The viewers of the live view who sign in at an issuer."""

from typing import TYPE_CHECKING, Final

import attrs

from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.page_paths import LIVE, WITH_KEY
from gateway.http.response import Response
from gateway.serving.incoming_request import IncomingRequest
from gateway.stores.errors import Unavailable
from gateway.viewing.visitors import Visitor, visitor_of
from streams.errors import GatewayError

if TYPE_CHECKING:
    from gateway.features.people.interface import SignedInCallers

_ENDED: Final = "your session has ended: open /ui to sign in again"
_STORE_DOWN: Final = "the gateway cannot read its sessions at the moment: try again in a few seconds"


@attrs.frozen(eq=False, repr=False)
class SignedInViewers:
    """The viewers among ``callers``, whose rights a page checks again after ``seconds``."""

    callers: "SignedInCallers"
    seconds: float

    async def visitor(self, incoming: IncomingRequest) -> Visitor | Response | None:
        """Return the viewer, or the response that sends its browser to an issuer.

        Return ``None`` for requests with a key. Raises ``GatewayError``."""
        if self.callers.sends_key(incoming.headers):
            return None
        try:
            caller = await self.callers.caller(incoming)
        except Unavailable:
            raise GatewayError("overloaded", _STORE_DOWN, headers=(("retry-after", "1"),)) from None
        if caller is not None:
            return visitor_of(caller, caller.credential, self.seconds)
        if incoming.asgi["path"].rstrip("/") != LIVE:
            raise GatewayError("authentication", _ENDED)
        if incoming.query == WITH_KEY:
            return None
        return await self.callers.send_to_sign_in(incoming.headers, LIVE)


def signed_in_viewers(config: Config, service: Service) -> SignedInViewers | None:
    """Return the viewers who sign in at an issuer, ``None`` if the configuration has no such issuer."""
    if "people" not in service.opened.features:
        return None
    from gateway.features.people.interface import signed_in_callers  # imported only where it is needed

    callers = signed_in_callers(config, service)
    return None if callers is None else SignedInViewers(callers, callers.seconds)
