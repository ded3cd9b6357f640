"""The check of changes that a cookie or a remembered password authorizes: they must come from the gateway's own pages,
not from another site's (CSRF).

Browsers set ``Origin`` and ``Sec-Fetch-Site``, and no page can change them (https://www.w3.org/TR/fetch-metadata/). A
form on a page with ``Referrer-Policy: no-referrer``, such as the gateway's, sends ``Origin: null``; then only
``Sec-Fetch-Site`` identifies the page."""

from typing import Final

from gateway.http.headers import Headers
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


def is_same_origin(headers: Headers, own_origin: str) -> bool:
    """Return whether a page of ``own_origin`` made the browser send the request with ``headers``."""
    origins = [value for name, value in headers if name == "origin"]
    sites = [value for name, value in headers if name == "sec-fetch-site"]
    if any(site != "same-origin" for site in sites) or len(origins) > 1:
        return False
    if origins and origins[0] != "null":
        return origins[0] == own_origin
    return bool(sites)


def is_from_other_site(headers: Headers) -> bool:
    """Return whether a page of another origin made the browser send the request with ``headers``.

    Programs and old browsers do not send ``Sec-Fetch-Site``; ``none`` is an address that a person typed."""
    return any(name == "sec-fetch-site" and value not in ("same-origin", "none") for name, value in headers)
