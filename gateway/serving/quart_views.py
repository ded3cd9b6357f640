"""Conversion between this project's requests and responses and Quart's."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NoReturn, TypeAlias

import quart
import trio
from quart import Quart
from quart import Response as QuartResponse
from quart.routing import QuartRule
from quart.typing import ResponseTypes
from quart.wrappers.response import DataBody
from quart.wrappers.response import ResponseBody as QuartBody
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge

from gateway.http.pieces import add_piece, join_pieces
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response, ResponseBody
from gateway.serving.asgi_extensions import SCOPE
from gateway.serving.incoming_request import CountArrived, ignore_arrived, too_large, too_slow


def current_scope() -> RequestScope:
    return quart.request.scope[SCOPE]  # type: ignore[typeddict-item, no-any-return]


def websocket_scope() -> RequestScope:
    return quart.websocket.scope[SCOPE]  # type: ignore[typeddict-item, no-any-return]


View: TypeAlias = Callable[..., Awaitable[Response]]
"""Called with the variables of its route by name."""


class MatchedRule(QuartRule):
    """A route's rule that only matches requests and builds no URLs. Werkzeug would compile two functions for each rule:
    three quarters of the time to make an app."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., NoReturn]:
        return _no_url


def _no_url(rule: MatchedRule, **_: object) -> NoReturn:
    raise NotImplementedError(f"no URL is made of {rule.rule}")


def add_view(app: Quart, paths: str | Sequence[str], name: str, view: View, methods: Sequence[str]) -> None:
    """Handle ``paths`` with ``view``. Quart handles the request: its hooks run, and ``request`` and ``g`` exist."""

    async def answered(**variables: str) -> QuartResponse:
        return through_quart(await view(**variables))

    for path in (paths,) if isinstance(paths, str) else paths:
        app.add_url_rule(path, name, answered, methods=list(methods))


def through_quart(response: Response) -> QuartResponse:
    """Return ``response`` as a Quart response, for a view or a hook."""
    body = response.body if isinstance(response.body, bytes) else _WrappedBody(response.body)
    return QuartResponse(body, response.status, Headers(response.headers))


def out_of_quart(response: ResponseTypes) -> Response | None:
    """Return the response of this project inside a Quart response, or ``None`` if Quart made its body."""
    body = response.response
    if isinstance(body, DataBody):
        return Response(response.status_code, tuple(response.headers.items()), body.data[body.begin : body.end])
    return (
        Response(response.status_code, tuple(response.headers.items()), body.body)
        if isinstance(body, _WrappedBody)
        else None
    )


class _WrappedBody(QuartBody):
    """A response body of this project, wrapped for a Quart response. Only ``out_of_quart`` reads it."""

    def __init__(self, body: ResponseBody) -> None:
        self.body = body

    async def __aenter__(self) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def __aexit__(self, *_: object) -> None:
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise NotImplementedError


async def read_body(count_arrived: CountArrived = ignore_arrived) -> bytes:
    """Return the whole body of Quart's current request. Raises as ``IncomingRequest.read`` does."""
    request, parts, size = quart.request, list[bytes | bytearray](), 0
    try:
        with trio.fail_after(request.body_timeout or float("inf")):
            async for part in request.body:
                size += len(part)
                if size > (request.max_content_length or size):
                    raise RequestEntityTooLarge
                count_arrived(size)
                add_piece(parts, part)
        return await join_pieces(parts, size)
    except RequestEntityTooLarge:
        raise too_large(request.max_content_length) from None
    except trio.TooSlowError:
        raise too_slow() from None
