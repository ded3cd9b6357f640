"""Health checks alone, for listeners and connections that are there for nothing else."""

from collections.abc import Callable, Collection
from typing import Any

from hypercorn.typing import AppWrapper, ASGIReceiveCallable, ASGISendCallable, Scope

from gateway.serving.asgi_extensions import AT_ONCE
from gateway.serving.refusals import error_answer


class HealthChecks:
    """Lets an app answer health checks, and refuses everything else."""

    def __init__(self, app: AppWrapper, paths: Collection[str], status: int) -> None:
        """``paths`` are those of health checks; ``status`` is that of a refusal."""
        self._app = app
        self._paths = paths
        self._status = status

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., Any],
        call_soon: Callable[..., Any],
    ) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": None})
        elif scope["type"] == "http" and scope["path"].rstrip("/") not in self._paths:
            scope[AT_ONCE] = True  # type: ignore[typeddict-unknown-key]
            headers, body = error_answer(self._status)
            await send({"type": "http.response.start", "status": self._status, "headers": headers, "trailers": False})
            await send({"type": "http.response.body", "body": body, "more_body": False})
        else:
            await self._app(scope, receive, send, sync_spawn, call_soon)
