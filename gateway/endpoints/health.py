"""Probes: the process runs, it takes requests, and what it is."""

from typing import Final

from quart import request
from quart_trio import QuartTrio

from gateway.endpoints.answers import ids, json_answer
from gateway.endpoints.inference import ROUTES
from gateway.http.response import Response
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.quart_views import add_view

ALIVE: Final = ("/healthz", "/health", "/health/liveliness", "/health/liveness")
READY: Final = ("/readyz", "/health/readiness")
"""Whether the process runs, and whether it takes requests; the longer ones are what probes of LiteLLM ask for. None of
them asks a provider."""
ROOT: Final = ("/", "/api/hello")
"""What Claude Code asks for (HEAD) before anything else: 2.1.197 the shorter one, 2.1.329 the longer."""

OPEN: Final = ("alive", "ready", "root")
"""Routes that nobody needs a key for."""


def add_health(app: QuartTrio, lifecycle: Lifecycle, page: str | None) -> None:
    """Serve the probes and ``/``. ``page`` is where browsers are sent that ask for ``/``; it decides who may see it."""

    async def alive() -> Response:
        return json_answer({"status": "ok"})

    async def ready() -> Response:
        return json_answer({"status": "draining"}, 503) if lifecycle.draining else json_answer({"status": "ready"})

    async def root() -> Response:
        if page is not None and "text/html" in request.headers.get("accept", ""):
            return Response(303, (("location", page), ("vary", "accept"), *ids()), b"")
        return json_answer({"service": "trigate", "apis": list(ROUTES), "models": "/v1/models"})

    add_view(app, ALIVE, "alive", alive, ["GET"])
    add_view(app, READY, "ready", ready, ["GET"])
    add_view(app, ROOT, "root", root, ["GET"])
