"""The path of Responses over a WebSocket. Its handler is imported with the first connection."""

from collections.abc import Awaitable, Callable
from functools import cache
from types import ModuleType

from quart import Response as QuartResponse
from quart_trio import QuartTrio

from gateway.conversations.resolved import StateScope
from gateway.exchange.service import Service
from gateway.http.late_imports import load_module


def add_websocket(app: QuartTrio, service: Service, make_state_scope: Callable[[str, bool], StateScope]) -> None:
    """Add ``GET /v1/responses`` with an upgrade.

    ``make_state_scope`` returns the state of a connection, for its owner's name and whether that is a named client."""

    @cache
    def responses_view(connection: ModuleType) -> Callable[[], Awaitable[QuartResponse | None]]:
        made: Callable[[], Awaitable[QuartResponse | None]] = connection.responses_view(service, make_state_scope)
        return made

    async def view() -> QuartResponse | None:
        return await responses_view(await load_module("gateway.endpoints.websocket.connection"))()

    app.add_websocket("/v1/responses", "websocket", view)
