"""The paths of realtime sessions; their handlers are imported with the first session."""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial
from types import ModuleType
from typing import Final, TypeAlias

from quart import Response as QuartResponse
from quart_trio import QuartTrio

from gateway.exchange.service import Service
from gateway.http.late_imports import load_module
from providers.endpoints.endpoint import LIVE_VERSIONS, EndpointName

OPENAI_PATHS: Final = ("/v1/realtime", "/openai/realtime")
GEMINI_PATHS: Final = tuple(
    f"/ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent" for version in LIVE_VERSIONS
)

TRANSLATIONS: Final[EndpointName] = "realtime_translations"
LIVE: Final[EndpointName] = "live"

PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": OPENAI_PATHS, "gemini": GEMINI_PATHS, TRANSLATIONS: ("/v1/realtime/translations",),
    LIVE: ("/v1/live/sessions", "/v1/live/sessions/<id>/fork", "/v1/live/sessions/<id>/attach"),
}  # fmt: skip
"""The paths of each view: a client API's, or those of another endpoint."""

View: TypeAlias = Callable[[], Awaitable[QuartResponse | None]]


def add_realtime(app: QuartTrio, service: Service) -> None:
    """Add the websocket routes for realtime clients of OpenAI, Azure and Gemini to ``app``."""

    @cache
    def views(serving: ModuleType) -> Mapping[str, View]:
        made: Mapping[str, View] = serving.realtime_views(service)
        return made

    async def view(name: str, **_: str) -> QuartResponse | None:
        return await views(await load_module("gateway.features.realtime.serving"))[name]()

    for name, paths in PATHS.items():
        for path in paths:
            app.add_websocket(path, f"realtime {path}", partial(view, name))
