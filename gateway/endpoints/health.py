"""Probes: the process runs, it takes requests, and what it is."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import trio
from quart import request
from quart_trio import QuartTrio

from gateway.allowances.allowance import Allowance
from gateway.allowances.allowances import Allowances
from gateway.allowances.levels import AllowanceLevel, allowance_levels, refresh_levels
from gateway.config.loading import Config
from gateway.counters.remote import RemoteCounters
from gateway.endpoints.answers import ids, json_answer, refused
from gateway.endpoints.inference import ROUTES
from gateway.exchange.service import Service
from gateway.http.response import Response
from gateway.serving.fast_route import QuartRequest
from gateway.serving.quart_views import add_view
from streams.errors import GatewayError

ALIVE: Final = ("/healthz", "/health", "/health/liveliness", "/health/liveness")
READY: Final = ("/readyz", "/health/readiness")
"""Whether the process runs, and whether it takes requests; the longer ones are what probes of LiteLLM ask for. None of
them asks a provider."""
ROOT: Final = ("/", "/api/hello")
"""What Claude Code asks for (HEAD) before anything else: 2.1.197 the shorter one, 2.1.329 the longer."""

OPEN: Final = ("alive", "ready", "root", "metrics")
"""Routes that need no client key. ``metrics``, and ``ready`` where it is verbose, ask for an operator's themselves."""


VERBOSE: Final = "verbose"
"""The member of the query that asks where each target stands, as Kubernetes' own servers have it."""


def add_health(app: QuartTrio, service: Service, config: Config) -> None:
    """Serve the probes and ``/``, which sends browsers to the live view. The states of targets concern all clients, and
    are for those who may see that.

    A process is not ready before it has read the stored keys once: it would refuse each of them."""
    page = "/ui" if config.ui else None
    unread = config.stored_keys == "unread"

    async def alive() -> Response:
        return json_answer({"status": "ok"})

    async def ready() -> Response:
        targets: dict[str, Any] = {}
        if VERBOSE in request.args:
            try:
                service.admission.authenticate_operator(QuartRequest())
            except GatewayError as error:
                return refused(error.failed, "chat", service.ledger)
            states = service.health.target_states()
            targets = {"targets": [{**one.fields(time.time()), **scores(one.key)} for one in states], **counting()}
            if service.allowances.has_limits:
                limits = await limits_seen(service.allowances, None, MOST_TOLD)
                targets["limits"] = [limit_fields(one) for one in limits]
        if service.lifecycle.draining:
            return json_answer({"status": "draining", **targets}, 503)
        if unread:
            return json_answer({"status": "starting", "missing": "stored_keys", **targets}, 503)
        return json_answer({"status": "ready", **targets})

    def counting() -> dict[str, Any]:
        """Whether the store is there in which several gateways count, where there is one."""
        counters = service.allowances.counters
        return {"counters": counters.state()} if isinstance(counters, RemoteCounters) else {}

    def scores(key: bytes) -> dict[str, Any]:
        """What choices among targets look at, of the one with this ``key``."""
        loads = service.balancer.loads
        (first,) = loads.first_contents([key], service.health.clock())
        measured = {"first_content_ms": round(first * 1000)} if first else {}  # else there were no streams
        return {"open": loads.counts.count(key), **measured}

    async def root() -> Response:
        if page is not None and "text/html" in request.headers.get("accept", ""):
            return Response(303, (("location", page), ("vary", "accept"), *ids()), b"")
        return json_answer({"service": "trigate", "apis": list(ROUTES), "models": "/v1/models"})

    add_view(app, ALIVE, "alive", alive, ["GET"])
    add_view(app, READY, "ready", ready, ["GET"])
    add_view(app, ROOT, "root", root, ["GET"])


LOOKED_AT: Final = 200
"""Limits that are looked at without a pause: there may be thousands."""

MOST_LIMITS: Final = 100
"""Limits that a viewer is shown, those of which most is used."""

MOST_TOLD: Final = 10_000
"""Limits that a probe is told."""


async def limits_seen(allowances: Allowances, client: str | None, most: int = MOST_LIMITS) -> list[AllowanceLevel]:
    """Return the limits with the highest use first. A ``client`` sees its own and its group's."""
    now = allowances.now()
    found: list[AllowanceLevel] = []
    shown = allowances.all() if client is None else allowances.visible_to(client)
    await refresh_levels(shown, allowances.counters, now)
    for several in _batches(shown):
        found += allowance_levels(several, allowances.counters, now)
        await trio.lowlevel.checkpoint()
    found.sort(key=lambda one: one.share + one.share_held, reverse=True)
    return found[:most]


def _batches(allowances: Sequence[Allowance]) -> Iterator[Sequence[Allowance]]:
    return (allowances[at : at + LOOKED_AT] for at in range(0, len(allowances), LOOKED_AT))


def limit_fields(one: AllowanceLevel) -> dict[str, Any]:
    """One of them in JSON. Dollars are in nano-dollars."""
    return {
        "holder": str(one.holder), "limit": one.limit, "text": one.text, "measure": one.measure, "used": one.used,
        "held": one.held, "most": one.most,
    }  # fmt: skip
