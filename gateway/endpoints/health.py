"""Health probes, and the root path."""

import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

from gateway.allowances.allowances import Allowances
from gateway.allowances.levels import AllowanceLevel, read_levels
from gateway.config.settings import Config
from gateway.endpoints.inference import ROUTES
from gateway.endpoints.plain_answers import json_response, request_ids
from gateway.exchange.responding import error_response, open_record
from gateway.exchange.service import Service
from gateway.http.pages import wants_page
from gateway.http.response import Response
from gateway.seams.route import HttpRoute
from gateway.serving.incoming_request import IncomingRequest
from streams.errors import GatewayError

ALIVE: Final = ("/healthz", "/health", "/health/liveliness", "/health/liveness")
READY: Final = ("/readyz", "/health/readiness")
"""Paths of liveness and readiness; the longer ones are LiteLLM's. No probe contacts a provider."""
ROOT: Final = ("/", "/api/hello")
"""Paths that Claude Code requests with HEAD first: 2.1.197 the shorter one, 2.1.329 the longer."""

VERBOSE: Final = "verbose"
"""The query parameter that adds the state of each target, as in Kubernetes."""


def health_routes(service: Service, config: Config, page: str | None) -> Iterator[HttpRoute]:
    """Yield the routes of the probes and of ``/``, which sends browsers to the first ``page``."""
    routes = _HealthRoutes(service, config, page)
    for paths, answer in ((ALIVE, routes.alive), (READY, routes.ready), (ROOT, routes.root)):
        yield from (HttpRoute(path, answer, uses=()) for path in paths)


class _HealthRoutes:
    """The responses of the probes. The states of targets require an operator's permission."""

    def __init__(self, service: Service, config: Config, page: str | None) -> None:
        self._service = service
        self._page = page

    async def alive(self, incoming: IncomingRequest) -> Response:
        return _json_response(incoming, {"status": "ok"})

    async def ready(self, incoming: IncomingRequest) -> Response:
        """Return whether the process takes requests.

        It is not ready while a feature misses something, such as stored keys, because it would reject these."""
        targets: dict[str, Any] = {}
        if any(name == VERBOSE for name, _ in parse_qsl(incoming.query, keep_blank_values=True)):
            try:
                self._service.admission.authenticate_operator(incoming)
            except GatewayError as error:
                return error_response(open_record("chat", self._service.ledger, incoming.scope), error.info)
            targets = await self._targets()
        if self._service.lifecycle.draining:
            return _json_response(incoming, {"status": "draining", **targets}, 503)
        features = self._service.opened.features.values()
        if (missing := next((one.missing for one in features if one.missing is not None), None)) is not None:
            return _json_response(incoming, {"status": "starting", "missing": missing, **targets}, 503)
        return _json_response(incoming, {"status": "ready", **targets})

    async def _targets(self) -> dict[str, Any]:
        """Return the state of each target, and of limits and counters if there are any."""
        service = self._service
        states, allowances = service.health.target_states(), service.allowances
        counters = allowances.counters.remote
        own = service.health.clients_out()
        found: dict[str, Any] = {
            "targets": [
                {
                    **one.fields(time.time()),
                    **({"clients_out": own[one.key]} if own[one.key] else {}),
                    **self._balancing_figures(one.key),
                }
                for one in states
            ],
        }
        if counters is not None:
            found["counters"] = counters.state()
        for feature in service.opened.features.values():
            found.update(feature.state())
        if allowances.has_limits:
            found["limits"] = [limit_fields(one) for one in await visible_limits(allowances, None, MOST_PROBE_LIMITS)]
        return found

    def _balancing_figures(self, key: bytes) -> dict[str, Any]:
        """Return the open requests and the time to first content of the target ``key``, used by balancing."""
        loads = self._service.balancer.loads
        (first,) = loads.first_contents([key], self._service.health.clock())
        measured = {"first_content_ms": round(first * 1000)} if first else {}  # 0 means that there were no streams
        return {"open": loads.counts.count(key), **measured}

    async def root(self, incoming: IncomingRequest) -> Response:
        if self._page is not None and wants_page(incoming.headers):
            own = request_ids(incoming.scope.id, incoming.headers)
            return Response(303, (("location", self._page), ("vary", "accept"), *own), b"")
        return _json_response(incoming, {"service": "trigate", "apis": list(ROUTES), "models": "/v1/models"})


def _json_response(incoming: IncomingRequest, value: Any, status: int = 200) -> Response:
    return json_response(value, incoming.scope.id, incoming.headers, status)


MOST_LIMITS: Final = 100
"""Limits shown to a viewer, those used most."""

MOST_PROBE_LIMITS: Final = 10_000
"""Limits returned to a probe."""


async def visible_limits(
    allowances: Allowances, client: str | None, max_count: int = MOST_LIMITS
) -> list[AllowanceLevel]:
    """Return the ``max_count`` most used limits in descending order, with a ``client`` only its own and its group's."""
    shown = allowances.list_all() if client is None else allowances.visible_to(client)
    found = await read_levels(shown, allowances.counters, allowances.now())
    found.sort(key=lambda one: one.share + one.share_held, reverse=True)
    return found[:max_count]


def limit_fields(level: AllowanceLevel) -> dict[str, Any]:
    """Return a limit as JSON, dollars in nano-dollars."""
    return {
        "holder": str(level.holder), "limit": level.limit, "text": level.text, "measure": level.measure,
        "used": level.used, "held": level.held, "most": level.most,
    }  # fmt: skip
