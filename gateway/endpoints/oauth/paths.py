"""The paths of sign-in. Everything else of it is imported with its first request."""

from typing import Final

import attrs

from gateway.config.settings import Config
from gateway.endpoints.plain_answers import json_response
from gateway.exchange.service import Service
from gateway.http.imports import imported
from gateway.http.response import Response
from gateway.serving.fast_route import FastRoute, HasExtensions, PiecesRequest, add_fast_route

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

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SERVING: Final = "gateway.endpoints.oauth.serving"


def add_oauth(app: HasExtensions, config: Config, service: Service) -> None:
    """Handle the paths of sign-in for ``config``, which has issuers.

    Without ``public_url`` there is no sign-in. Then programs get 404, as Claude Code expects, instead of 401."""
    answer = _answer_not_found if config.public_url is None else _OAuthPaths(config, service).answer
    for path in OAUTH_PATHS:
        for method in _METHODS:
            add_fast_route(app, path, answer, method)


async def _answer_not_found(incoming: PiecesRequest) -> Response:
    value = {"error": "not_found", "error_description": NO_LOGIN}
    return json_response(value, incoming.scope.id, incoming.headers, 404)


@attrs.define(eq=False, repr=False)
class _OAuthPaths:
    config: Config
    service: Service
    _answer: FastRoute | None = None

    async def answer(self, incoming: PiecesRequest) -> Response:
        if self._answer is None:
            module = await imported(_SERVING)
            self._answer = module.SignInServer(self.config, self.service).answer
        return await self._answer(incoming)
