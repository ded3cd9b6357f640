"""The check of changes that a cookie or a remembered password authorizes: they must come from the gateway's pages."""

from typing import Final

from gateway.features.people.same_origin import is_same_origin
from gateway.logs.audit import Audit
from gateway.serving.incoming_request import IncomingRequest
from streams.errors import GatewayError

_REFUSED: Final = (
    "this change must come from the gateway's own page at {}: open that page and try again; programs send a key or a "
    "token instead of the cookie"
)


def check_own_page(incoming: IncomingRequest, own_origin: str, audit: Audit, message: str = _REFUSED) -> None:
    """Raise ``GatewayError`` (403, ``page_refused``) unless a page of ``own_origin`` sent the request.

    Call it for each change that a cookie authorizes. A request without a cookie needs no such check."""
    if is_same_origin(incoming.headers, own_origin):
        return
    headers, path = dict(incoming.headers), incoming.asgi["path"]
    address, host, origin = incoming.scope.address, headers.get("host"), headers.get("origin")
    audit.log_limited("page_refused", address, path=path, host=host, origin=origin)
    raise GatewayError("permission", message.format(own_origin), code="page_refused")
