"""The viewers of the live view who sign in at an issuer."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

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

FindVisitor: TypeAlias = Callable[[IncomingRequest], Awaitable[Visitor | Response | None]]
"""Returns the viewer, or the response that sends its browser to an issuer.

Returns ``None`` for requests with a key. Raises ``GatewayError``."""


def signed_in_viewers(config: Config, service: Service) -> FindVisitor | None:
    """Return the function for viewers who sign in at an issuer, ``None`` if the configuration has no such issuer."""
    if "people" not in service.opened.features:
        return None
    from gateway.features.people.interface import signed_in_callers  # imported only where it is needed

    callers = signed_in_callers(config, service)
    return None if callers is None else partial(_find_visitor, callers)


async def _find_visitor(callers: "SignedInCallers", incoming: IncomingRequest) -> Visitor | Response | None:
    if callers.sends_key(incoming.headers):
        return None
    try:
        caller = await callers.caller(incoming)
    except Unavailable:
        raise GatewayError("overloaded", _STORE_DOWN, headers=(("retry-after", "1"),)) from None
    if caller is not None:
        return visitor_of(caller, caller.credential, callers.seconds)
    if incoming.asgi["path"].rstrip("/") != LIVE:
        raise GatewayError("authentication", _ENDED)
    if incoming.query == WITH_KEY:
        return None
    return await callers.send_to_sign_in(incoming.headers, LIVE)
