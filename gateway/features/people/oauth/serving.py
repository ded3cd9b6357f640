"""A request of sign-in, from its path to its response. Failures are JSON for programs and pages for people."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.people.html import PageServer, html_page, style_response
from gateway.features.people.oauth.browser import BrowserSignIn
from gateway.features.people.oauth.context import SignInContext
from gateway.features.people.oauth.devices import DeviceSignIn
from gateway.features.people.oauth.errors import (
    OAuthError,
    PageError,
    json_response,
    oauth_error_of,
    oauth_error_response,
)
from gateway.features.people.oauth.pages import PAGES
from gateway.features.people.oauth.paths import (
    CALLBACK,
    DEVICE,
    DEVICE_AUTHORIZATION,
    LOGIN,
    LOGOUT,
    METADATA,
    NO_LOGIN,
    STYLE,
    TOKEN,
)
from gateway.features.people.oauth.token_grants import GRANT_TYPES, answer_grant
from gateway.features.people.own_pages import check_own_page
from gateway.http.headers import bearer_token
from gateway.http.response import Response
from gateway.serving.incoming_request import PiecesRequest
from streams.events import ErrorInfo

Handler: TypeAlias = Callable[[PiecesRequest], Awaitable[Response]]

_FOR_PROGRAMS: Final = frozenset((METADATA, DEVICE_AUTHORIZATION, TOKEN))
"""Paths whose errors are JSON."""


class SignInServer(PageServer):
    """The handlers of all paths of sign-in for one configuration."""

    def __init__(self, config: Config, service: Service) -> None:
        self._context = context = SignInContext(config, service)
        browser = BrowserSignIn(context)
        devices = DeviceSignIn(context, browser)
        with_login: dict[tuple[str, str], Handler] = {
            ("GET", METADATA): self._metadata,
            ("POST", DEVICE_AUTHORIZATION): devices.authorize,
            ("POST", TOKEN): partial(answer_grant, context),
            ("GET", LOGIN): browser.start,
            ("GET", CALLBACK): browser.finish,
            ("GET", LOGOUT): browser.ask_sign_out,
            ("POST", LOGOUT): browser.sign_out,
            ("GET", DEVICE): devices.show,
            ("POST", DEVICE): devices.decide,
            ("GET", STYLE): self._style,
        }
        self._handlers: Mapping[tuple[str, str], Handler] = with_login if context.login_issuers else {}

    async def respond(self, incoming: PiecesRequest) -> Response:
        method, path = incoming.asgi["method"], incoming.asgi["path"]
        handler = self._handlers.get(("GET" if method == "HEAD" else method, path))
        try:
            if handler is None:
                raise self._no_handler_error(path)
            self._check_form(incoming, method, path)
            with self._context.limits.running.hold(incoming.scope.address):
                return await handler(incoming)
        except PageError as error:
            return self._context.error_page(error)
        except OAuthError as error:
            return oauth_error_response(error)

    def _check_form(self, incoming: PiecesRequest, method: str, path: str) -> None:
        """Raise ``GatewayError`` (403) for a form that another page than the gateway's own sent.

        A program may sign itself out with its token."""
        is_of_program = path in _FOR_PROGRAMS or (path == LOGOUT and bool(bearer_token(incoming.headers)))
        if method == "POST" and not is_of_program:
            check_own_page(incoming, self._context.external.origin, self._context.audit)

    def _no_handler_error(self, path: str) -> OAuthError:
        allowed = sorted(method for method, known in self._handlers if known == path)
        if not allowed:
            return OAuthError("not_found", NO_LOGIN, 404)
        listed = ", ".join((*allowed, "HEAD") if "GET" in allowed else allowed)
        return OAuthError("invalid_request", f"use {listed}", 405, (("allow", listed),))

    def refuse(self, incoming: PiecesRequest, error: ErrorInfo) -> Response:
        """Return ``error`` in the form of the request's path."""
        if incoming.asgi["path"] in _FOR_PROGRAMS:
            return oauth_error_response(oauth_error_of(error))
        content = PAGES.failure(error.message, None)
        return html_page("That did not work", content, self._context.external, error.status, error.headers)

    async def _metadata(self, incoming: PiecesRequest) -> Response:
        """Return the metadata of RFC 8414. Claude Code requires all addresses to have one origin."""
        base = self._context.external.url
        metadata = {
            "issuer": base,
            "device_authorization_endpoint": base + DEVICE_AUTHORIZATION,
            "token_endpoint": base + TOKEN,
            "grant_types_supported": list(GRANT_TYPES),
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["none"],
            "gateway_protocol_version": 1,
        }
        return json_response(metadata)

    async def _style(self, incoming: PiecesRequest) -> Response:
        return style_response("gateway.features.people.oauth")
