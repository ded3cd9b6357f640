"""The paths of sign-in. Everything else of it is imported with its first request."""

from collections.abc import Iterator
from functools import partial
from typing import Final
from urllib.parse import quote

from gateway.access.page_guard import GuardedPaths
from gateway.config.settings import Config
from gateway.endpoints.plain_answers import json_response
from gateway.exchange.service import Service
from gateway.features.page_paths import RESOURCE
from gateway.features.people.settings import issuers_of
from gateway.http.external_url import url_of_request
from gateway.http.response import Response
from gateway.seams.route import HttpRoute
from gateway.serving.incoming_request import PiecesRequest
from gateway.serving.late_views import LateViews
from gateway.serving.route_table import METHODS

METADATA: Final = "/.well-known/oauth-authorization-server"
DEVICE_AUTHORIZATION: Final = "/oauth/device_authorization"
TOKEN: Final = "/oauth/token"
LOGIN: Final = "/oauth/login"
CALLBACK: Final = "/oauth/callback"
LOGOUT: Final = "/oauth/logout"
DEVICE: Final = "/device"
STYLE: Final = "/oauth/style.css"

OAUTH_PATHS: Final = (METADATA, DEVICE_AUTHORIZATION, TOKEN, LOGIN, CALLBACK, LOGOUT, DEVICE, STYLE)

GUARDED: Final = (GuardedPaths("/oauth", (LOGIN, CALLBACK, LOGOUT)), GuardedPaths(DEVICE, (DEVICE,)))
"""Sign-in needs no key and counts failures by address: a page could exhaust the limits of its visitor's address. Its
pages are opened by links, and from the issuer's page."""

NO_LOGIN: Final = "sign-in is not configured at this gateway: use a key, or a token of its issuers"

_NO_RESOURCE: Final = "no such resource: MCP servers are at /mcp/NAME"

_SERVING: Final = "gateway.features.people.oauth.serving"


def sign_in_routes(config: Config, service: Service) -> Iterator[HttpRoute]:
    """Yield the paths of sign-in for ``config``, which has issuers, and the metadata of MCP servers.

    Without ``public_url`` there is no sign-in. Then programs get 404, as Claude Code expects, instead of 401."""

    sign_in = LateViews((_SERVING,), "SignInServer", (config, service)).view("answer")
    for path in OAUTH_PATHS:
        yield HttpRoute(
            path,
            _answer_not_found if config.public_url is None else sign_in,
            METHODS,
            uses=("models", "admin", "pages"),
        )
    yield HttpRoute(f"{RESOURCE}/mcp/{{rest}}", partial(_describe_mcp_server, config))


async def _describe_mcp_server(config: Config, incoming: PiecesRequest, rest: str) -> Response:
    """Return the metadata of the MCP server ``rest`` (RFC 9728), whether or not it exists: names are not public."""
    if "/" in rest:
        return await _answer_not_found(incoming, _NO_RESOURCE)
    value = {
        "resource": f"{url_of_request(dict(incoming.asgi), incoming.headers)}/mcp/{quote(rest)}",
        "authorization_servers": [issuer.issuer for issuer in issuers_of(config)],
        "bearer_methods_supported": ["header"],
    }
    return json_response(value, incoming.scope.id, incoming.headers)


async def _answer_not_found(incoming: PiecesRequest, reason: str = NO_LOGIN) -> Response:
    value = {"error": "not_found", "error_description": reason}
    return json_response(value, incoming.scope.id, incoming.headers, 404)
