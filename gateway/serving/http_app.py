"""An app of routes, and its HTTP requests, each with a ``RequestScope``. Quart handles websockets. It imports 180
modules, so an ``App`` imports it for the first websocket."""

import contextlib
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias, cast
from urllib.parse import urlsplit

import trio

from configfile.document import ConfigError
from gateway.http.headers import Adapter, EditHeaders, may_hold_key, with_key_in_header
from gateway.http.paths import canonical
from gateway.http.request_scope import RequestScope
from gateway.http.response import MAX_HEADER, MAX_WRITE, Response, Truncated, WriteNow
from gateway.serving.asgi_extensions import (
    CLIENT_LEFT,
    IMMEDIATE,
    NURSERY,
    WRITE_NOW,
    AsgiApp,
    AsgiReceive,
    AsgiScope,
    AsgiSend,
)
from gateway.serving.incoming_request import AsgiRequest
from gateway.serving.route_table import Handler, RouteTable

log = logging.getLogger("trigate.scope")

MAX_BODY: Final = 64 * 2**20
BODY_SECONDS: Final = 60


class RequestGuard(Protocol):
    """The check of every request and websocket before any route.

    Its methods must be fast and must not raise. ``prepare`` is awaited with the ASGI scope after the check; it may wait
    for two seconds, and is ``None`` if no request needs it."""

    @property
    def prepare(self) -> Callable[[Mapping[str, Any]], Awaitable[None]] | None: ...

    def address_of(self, asgi: Mapping[str, Any]) -> str | None:
        """Return the address of the client of an ASGI scope."""

    def refuse(
        self, asgi: Mapping[str, Any], headers_by_name: Mapping[bytes, bytes], scope: RequestScope
    ) -> Response | None:
        """Return the complete response to a request that is rejected, otherwise ``None``."""


class NoGuard:
    """A ``RequestGuard`` that rejects nothing."""

    prepare = None

    def address_of(self, asgi: Mapping[str, Any]) -> None:
        return

    def refuse(self, asgi: Mapping[str, Any], headers_by_name: Mapping[bytes, bytes], scope: RequestScope) -> None:
        return


NO_GUARD: Final = NoGuard()

WebsocketApp: TypeAlias = Callable[[], Awaitable[AsgiApp]]
"""Returns the app for websockets."""


async def no_websockets() -> AsgiApp:
    """Raise ``LookupError``: the default of an app that has no websockets."""
    raise LookupError("this app has no websockets")


async def no_route(incoming: AsgiRequest) -> Response:
    """Return a plain 404: the default for paths without a route."""
    return Response(404, ())


class App:
    """An ASGI app of ``routes``. ``unknown`` handles every other path, ``websocket_app`` returns the app for
    websockets."""

    def __init__(
        self,
        max_body: int = MAX_BODY,
        guard: RequestGuard = NO_GUARD,
        routes: RouteTable | None = None,
        unknown: Handler = no_route,
        websocket_app: WebsocketApp = no_websockets,
    ) -> None:
        self.max_body = max_body
        self.guard = guard
        self.routes = RouteTable() if routes is None else routes
        self.unknown = unknown
        self.websocket_app = websocket_app
        self.adapters: list[Adapter] = []
        """Change requests in the forms of proxies and other servers, in this order, before anything else reads them."""
        self.before_serving: list[Callable[[], Awaitable[None]]] = []
        """Called in this order before the server accepts connections. A failure ends the start."""
        self.after_serving: list[Callable[[], Awaitable[None]]] = []
        """Called in this order when no request is left."""
        self.nursery: trio.Nursery
        """The nursery of tasks that run as long as the app. The end waits for them after ``after_serving``."""
        self._tasks: list[Callable[[], Awaitable[None]]] | None = []

    def __call__(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> Awaitable[None]:
        edits: list[EditHeaders] = []
        if self.adapters and scope["type"] != "lifespan":
            found = (adapt(scope) for adapt in self.adapters)
            edits = [edit for edit in found if edit is not None]
        if scope["type"] == "http":
            return AppRequest(self, scope, edits)(receive, send)
        if scope["type"] == "lifespan":
            return self._run_lifespan(receive, send)
        return self._run_websocket(scope, receive, send)

    async def _run_websocket(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        await (await self.websocket_app())(scope, receive, send)

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        """Start ``task`` in the ``nursery``, as soon as the app serves."""
        if self._tasks is None:
            self.nursery.start_soon(task)
        else:
            self._tasks.append(task)

    async def _run_lifespan(self, receive: AsgiReceive, send: AsgiSend) -> None:
        async with trio.open_nursery() as self.nursery:
            await receive()
            if (failed := await _call_all(self.before_serving)) is None:
                await send({"type": "lifespan.startup.complete"})
                tasks, self._tasks = self._tasks or [], None
                for task in tasks:
                    self.nursery.start_soon(task)
                await receive()
                failed = await _call_all(self.after_serving)
                if failed is None:
                    await send({"type": "lifespan.shutdown.complete"})
                else:
                    await send({"type": "lifespan.shutdown.failed", "message": failed})
            else:
                await send({"type": "lifespan.startup.failed", "message": failed})


async def _call_all(hooks: Iterable[Callable[[], Awaitable[None]]]) -> str | None:
    """Call ``hooks`` and return the message of the first failure, which is also logged."""
    try:
        for hook in hooks:
            await hook()
    except ConfigError as error:
        return str(error)
    except (Exception, BaseExceptionGroup) as error:
        log.exception("unexpected error")
        return str(error)
    return None


class AppRequest:
    """One request, handled by a route."""

    def __init__(self, app: App, scope: AsgiScope, edits: Sequence[EditHeaders]) -> None:
        """Prepare the request. ``edits`` change the response's headers."""
        self.app = app
        self.scope = scope
        self._edits = edits

    async def __call__(self, receive: AsgiReceive, send: AsgiSend) -> None:
        path = self.scope["path"]
        routes, method = self.app.routes, self.scope["method"]
        if (answer := routes.exact(method, path)) is None:
            self.scope["path"] = path = canonical(origin_path(path))
            answer = routes.find(method, path)
            if answer is None and (answer := routes.find_shortened(method, path)) is not None:
                self.scope["path"] = path = path[:-1]
            answer = answer or self.app.unknown
        if (query := self.scope["query_string"]) and may_hold_key(path, query):
            self.scope["query_string"], self.scope["headers"] = with_key_in_header(query, self.scope["headers"])
        headers_by_name, guard = dict(self.scope["headers"]), self.app.guard
        request_scope: RequestScope | None = None
        try:
            async with self.scope["extensions"].get(NURSERY) or trio.open_nursery() as nursery:
                request_scope = RequestScope(nursery, request_id(headers_by_name), guard.address_of(self.scope))
                refusal = guard.refuse(self.scope, headers_by_name, request_scope)
                if refusal is None and guard.prepare is not None:
                    await guard.prepare(self.scope)
                if refusal is None:
                    request = AsgiRequest(request_scope, self.scope, receive, self.app.max_body, BODY_SECONDS)
                    response = await answer(request)
                    request.listen()
                else:
                    response = refusal
                await self._respond(request_scope, send, response)
        finally:
            # The only place that always runs after every task of the request. The response body's `__aexit__` and
            # generators' `finally` do not when the client disconnects early.
            if request_scope is not None:
                request_scope.close()

    # The response

    async def _respond(self, request_scope: RequestScope, send: AsgiSend, response: Response) -> None:
        """Send ``response``, and end the request."""
        self.scope[IMMEDIATE] = not request_scope.admitted
        try:
            await self._send_parts(request_scope, send, response)
        except Truncated:
            # Returning without the last message is ASGI's way to cut: the server closes without the final chunk.
            log.warning(
                "request %s: the response is incomplete, so the connection closes without its end", request_scope.id
            )
        if request_scope.nursery.child_tasks:  # an empty cancellation would cost one percent of a small request
            request_scope.nursery.cancel_scope.cancel()

    async def _send_parts(self, request_scope: RequestScope, send: AsgiSend, response: Response) -> None:
        """Send a complete body in one message with the end."""
        headers, body = encode_headers(response.headers), response.body
        last = b""
        if isinstance(body, bytes):
            last = body
            if response.status not in (204, 304) and b"content-length" not in dict(headers):
                headers.append((b"content-length", b"%d" % len(body)))
        for edit in self._edits:
            headers = edit(headers)
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if not isinstance(body, bytes):
            self.scope[IMMEDIATE] = False
            if (write_now := self.scope["extensions"].get(WRITE_NOW)) is not None:
                body.set_writer(cast("WriteNow", write_now))
            async with body as pieces:
                async for data in pieces:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        # A task that crashes closes its channels, which looks like the end of the body. The nursery is cancelled by
        # then, which a send without a checkpoint would not notice.
        await trio.lowlevel.checkpoint_if_cancelled()
        request_scope.ending = True
        if len(last) <= MAX_WRITE:  # a larger one may take a while
            request_scope.send_last_bytes()
        await send({"type": "http.response.body", "body": last, "more_body": False})
        request_scope.left = request_scope.left or bool(self.scope.get(CLIENT_LEFT, False))
        request_scope.complete = not request_scope.left


def encode_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return ``headers`` as bytes, each with at most ``MAX_HEADER`` of its value.

    Each byte of a provider's header is one character, which becomes that byte again."""
    return [(_encode_name(name), value[:MAX_HEADER].encode("latin-1", "replace")) for name, value in headers]


@lru_cache(64)
def _encode_name(name: str) -> bytes:
    return name.lower().encode()


_OWN_ID = re.compile(rb"[!-~]{1,128}")


def request_id(headers_by_name: Mapping[bytes, bytes]) -> str:
    """Return the client's own id for its request if it is valid, otherwise a new id."""
    if b"x-request-id" in headers_by_name and _OWN_ID.fullmatch(given := headers_by_name[b"x-request-id"]):
        return given.decode("ascii")
    return f"req_{os.urandom(16).hex()}"


def origin_path(path: str) -> str:
    """Return ``path`` with a leading slash. Quart fails with a 500 for an empty path and an invalid absolute one."""
    if path.startswith("/"):
        return path
    with contextlib.suppress(ValueError):  # "http://[": no route has such a path, so this is a 404
        path = urlsplit(path).path
    return path if path.startswith("/") else "/" + path
