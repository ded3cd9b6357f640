"""The check that a request with a cookie comes from the gateway's own page, not from another site's (CSRF).

Browsers set ``Origin`` and ``Sec-Fetch-Site``, and no page can change them (https://www.w3.org/TR/fetch-metadata/). A
form on a page with ``Referrer-Policy: no-referrer``, such as the gateway's, sends ``Origin: null``; then only
``Sec-Fetch-Site`` identifies the page."""

from gateway.http.headers import Headers


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
