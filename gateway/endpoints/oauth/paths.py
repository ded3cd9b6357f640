"""The paths of sign-in. Everything else of it is imported with its first request."""

import sys
from typing import Final

from gateway.config.settings import Config
from gateway.endpoints.plain_answers import json_response
from gateway.exchange.service import Service
from gateway.http.response import Response
from gateway.serving.fast_route import FastRoute, HasExtensions, LateRoute, add_all_methods
from gateway.serving.incoming_request import PiecesRequest

METADATA: Final = "/.well-known/oauth-authorization-server"
DEVICE_AUTHORIZATION: Final = "/oauth/device_authorization"
TOKEN: Final = "/oauth/token"
LOGIN: Final = "/oauth/login"
CALLBACK: Final = "/oauth/callback"
LOGOUT: Final = "/oauth/logout"
DEVICE: Final = "/device"
STYLE: Final = "/oauth/style.css"

OAUTH_PATHS: Final = (METADATA, DEVICE_AUTHORIZATION, TOKEN, LOGIN, CALLBACK, LOGOUT, DEVICE, STYLE)

NO_LOGIN: Final = "sign-in is not configured at this gateway: use a key, or a token of its issuers"

_SERVING: Final = "gateway.endpoints.oauth.serving"


def add_oauth(app: HasExtensions, config: Config, service: Service) -> None:
    """Handle the paths of sign-in for ``config``, which has issuers.

    Without ``public_url`` there is no sign-in. Then programs get 404, as Claude Code expects, instead of 401."""

    def make() -> FastRoute:
        answer: FastRoute = sys.modules[_SERVING].SignInServer(config, service).answer
        return answer

    add_all_methods(app, OAUTH_PATHS, _answer_not_found if config.public_url is None else LateRoute((_SERVING,), make))


async def _answer_not_found(incoming: PiecesRequest) -> Response:
    value = {"error": "not_found", "error_description": NO_LOGIN}
    return json_response(value, incoming.scope.id, incoming.headers, 404)
