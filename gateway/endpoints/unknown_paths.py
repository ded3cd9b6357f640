"""Errors for a path or method that is not served."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.endpoints.inference import ROUTES
from gateway.http.external_url import url_of_request
from gateway.http.headers import Headers
from gateway.http.paths import advice, base_urls, shorten_path
from streams.events import ErrorInfo

_SERVED = tuple(reversed({ROUTES[path]: path for path in reversed(tuple(ROUTES))}.values()))
"""The first path of each API."""


_ABOUT_CLIENTS: Final = re.compile(r"/ui/(?:me|usage|keys|groups|people|audit)(?:/|$)")
"""Pages that exist if clients have keys."""


def method_not_allowed_error(
    method: str, path: str, headers: Headers, asgi: Mapping[str, Any], allowed: Sequence[str]
) -> ErrorInfo:
    """Return the error for a path with a wrong method; ``allowed`` are the right ones."""
    help = advice(path, headers, url_of_request(asgi, headers))
    listed = ", ".join(allowed)
    message = f"{method} is not allowed on {shorten_path(path)}; {help or f'use {listed}'}"
    return ErrorInfo("invalid_request", message, status=405, headers=(("allow", listed),))


def unknown_path_error(
    method: str, path: str, headers: Headers, asgi: Mapping[str, Any], endpoints: Sequence[str]
) -> ErrorInfo:
    """Return the error for an unknown path, with the path that was probably meant, else with the conversations' paths.

    A list of all paths would bury the advice. ``asgi`` is the request's scope."""
    origin = url_of_request(asgi, headers)
    help = advice(path, headers, origin)
    if help is None and _ABOUT_CLIENTS.match(path):
        help = "it is a page for clients with keys: set client_keys, stored_keys or issuers, and not `ui: false`"
    if help is None:
        near = difflib.get_close_matches(path[:_MAX_COMPARED], (*_SERVED, *endpoints), n=1, cutoff=_MIN_SIMILARITY)
        known = base_urls(path, origin)
        if near:
            help = f"did you mean {near[0]}?" + (f" {known[0].upper()}{known[1:]}" if known else "")
        else:
            help = f"conversations are at {', '.join(_SERVED)}" + (f"; {known}" if known else "")
    return ErrorInfo("not_found", f"there is no {method} {shorten_path(path)}; {help}", status=404, code="unknown_path")


_MAX_COMPARED, _MIN_SIMILARITY = 100, 0.8
"""Characters of a path that are compared with known paths, and the required similarity."""
