"""The paths of realtime sessions; their handlers are imported with the first session."""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial
from types import ModuleType
from typing import Final, TypeAlias

from quart import Response as QuartResponse
from quart_trio import QuartTrio

from gateway.exchange.service import Service
from gateway.http.imports import imported
from streams.events import Api

OPENAI_PATHS: Final = ("/v1/realtime", "/openai/realtime")
GEMINI_PATHS: Final = tuple(
    f"/ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent"
    for version in ("v1beta", "v1alpha")
)

_PATHS: Final[Mapping[Api, tuple[str, ...]]] = {"chat": OPENAI_PATHS, "gemini": GEMINI_PATHS}

View: TypeAlias = Callable[[], Awaitable[QuartResponse | None]]


def add_realtime(app: QuartTrio, service: Service) -> None:
    """Add the websocket routes for realtime clients of OpenAI, Azure and Gemini to ``app``."""

    @cache
    def views(serving: ModuleType) -> Mapping[Api, View]:
        made: Mapping[Api, View] = serving.realtime_views(service)
        return made

    async def view(api: Api) -> QuartResponse | None:
        return await views(await imported("gateway.realtime.serving"))[api]()

    for api, paths in _PATHS.items():
        for path in paths:
            app.add_websocket(path, f"realtime {path}", partial(view, api))
