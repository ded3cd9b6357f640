"""The HTTP surface: routes, and what is answered outside an exchange. Every error is in the shape of the API whose path
was called."""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import msgspec
import trio
from quart import Response, g, has_request_context, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from gateway.access.authentication import Authenticator
from gateway.access.cors import Cors
from gateway.config.loading import Config
from gateway.config.redaction import secrets_in
from gateway.conversations.background import Background
from gateway.conversations.recorder import StateScope
from gateway.endpoints.answers import (
    client_headers,
    decompressed,
    open_record,
    refused,
)
from gateway.endpoints.compact import compact
from gateway.endpoints.conversations import add_conversations
from gateway.endpoints.count_tokens import count
from gateway.endpoints.metrics import add_metrics, watch
from gateway.endpoints.provider_kept import Elsewhere
from gateway.endpoints.responses import add_stored
from gateway.endpoints.ui.pages import PREFIX, add_ui
from gateway.endpoints.websocket.connection import add_websocket
from gateway.exchange.exchange import JSON_HEADERS, Exchange
from gateway.exchange.service import Service
from gateway.http.headers import Headers
from gateway.http.paths import advice, api_of, base_urls, origin_of, shown
from gateway.ledger.ledger import Ledger
from gateway.request.prepare import ClientRequest
from gateway.request.public_errors import FULL, MISTAKE
from gateway.routing.router import Model, Router
from gateway.serving.bodies import respond
from gateway.serving.fast_route import FastRoute, IncomingRequest, QuartRequest, add_fast_route
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.quart_connections import configure
from gateway.serving.request_scope import current_scope
from gateway.stores.memory import MemoryStore
from gateway.stores.overlay import OverlayStore
from gateway.stores.store import Store, Unavailable
from gateway.telemetry.live import open_live_view
from gateway.telemetry.metrics import open_metrics
from gateway.telemetry.tracing import open_tracing
from gateway.upstream.client import Upstream
from providers.apis import CODECS
from providers.neutral.fields import too_deep
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo

log = logging.getLogger("trigate")

ROUTES: dict[str, Api] = {
    "/v1/chat/completions": "chat",
    "/v1/messages": "messages",
    "/v1/responses": "responses",
}

EXCHANGES: Mapping[str, tuple[Api, Callable[[Exchange, bytes], Awaitable[Response]]]] = {
    **{path: (api, Exchange.answer) for path, api in ROUTES.items()},
    "/v1/messages/count_tokens": ("messages", count),
    "/v1/responses/input_tokens": ("responses", count),
    "/v1/responses/compact": ("responses", compact),
}
"""Paths of requests with a body that has to do with a provider: the client's API, and what answers."""

ALIVE = ("/healthz", "/health", "/health/liveliness", "/health/liveness")
READY = ("/readyz", "/health/readiness")
"""Whether the process runs, and whether it takes requests; the longer ones are what probes of LiteLLM ask for. None of
them asks a provider."""
ROOT = ("/", "/api/hello")
"""What Claude Code asks for (HEAD) before anything else: 2.1.197 the shorter one, 2.1.329 the longer."""

SWEEP = 60.0
"""Seconds between two looks for what is past its time."""

OPEN = ("alive", "ready", "root")
"""Endpoints that nobody needs a key for. Those of exchanges ask for it themselves."""


def create_app(
    config: Config,
    lifecycle: Lifecycle | None = None,
    store: Store | None = None,
    *,
    check_streams: bool = False,
    record: Path | None = None,
    readable: bool | None = None,
) -> QuartTrio:
    """The ASGI app of one worker. Serve it with ``gateway.serving.worker.serve``, or any trio ASGI server. It closes
    ``store`` at its end; without one nothing is kept from one request to the next.

    ``check_streams`` warns in the log of every stream that breaks its API's grammar: for debugging, it costs CPU.
    ``record`` is a folder that exchanges are written to. ``readable``: the ledger's lines are for people; by default
    where standard error is a terminal. Raises ``OSError`` for a folder that cannot be used."""
    return whole_app(config, open_service(config, lifecycle or Lifecycle(), store, check_streams, record, readable))


def open_service(
    config: Config,
    lifecycle: Lifecycle,
    store: Store | None,
    check_streams: bool,
    record: Path | None = None,
    readable: bool | None = None,
) -> Service:
    """What the exchanges of a process share. What of it outlives ``config`` is made here, and nowhere else. Raises as
    ``create_app`` does."""
    ledger = Ledger(readable)
    ledger.mask.follow(config)
    recorder = None
    if record is not None:
        from gateway.telemetry.recording import Recorder  # who does not ask for it does not pay for it

        recorder = Recorder(record, secrets_in(config))
        ledger.observers.append(recorder)
    lifecycle.on_flush(ledger.flush)
    metrics = open_metrics(config, ledger.mask)
    tracing = open_tracing(config, metrics, ledger.mask)
    ledger.observers += [observer for observer in (metrics, tracing) if observer is not None]
    return Service(
        Router(config),
        Upstream(
            max_connections=config.limits.upstream_connections,
            max_chunk=config.limits.answer,
            ca_path=str(config.ca_path) if config.ca_path else None,
        ),
        lifecycle,
        config.limits,
        config.keep_alive,
        config.strict,
        check_streams=check_streams,
        door=Authenticator(config),
        store=store,
        background=None if store is None else Background(store, ledger),
        ledger=ledger,
        board=open_live_view(ledger, config.ui, keep=config.ui_keep),
        recorder=recorder,
        metrics=metrics,
        tracing=tracing,
    )


def next_service(config: Config, service: Service) -> Service:
    """The service for another configuration of the same process."""
    router, door = Router(config), Authenticator(config)  # first what may fail: then all stays as it was
    service.upstream.set_limits(config.limits.upstream_connections, config.limits.answer)
    service.ledger.mask.follow(config)
    if service.metrics is not None:
        service.metrics.know(config)
    if service.recorder is not None:
        service.recorder.secrets = tuple(dict.fromkeys((*service.recorder.secrets, *secrets_in(config))))
    return attrs.evolve(
        service, router=router, door=door, limits=config.limits, keep_alive=config.keep_alive,
        strict=config.strict, replaced=trio.Event(),
        board=open_live_view(service.ledger, config.ui, service.board, keep=config.ui_keep),
    )  # fmt: skip


def whole_app(config: Config, service: Service) -> QuartTrio:
    """The app of one configuration with the life of the process: its start opens, its end closes what lasts."""
    app = app_of(config, service)
    _add_life(app, service)
    return app


def app_of(config: Config, service: Service) -> QuartTrio:
    """The app of one configuration. Several may answer side by side; ``service`` holds all that they share."""
    app = QuartTrio("trigate", static_folder=None)
    app.url_map.strict_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    configure(app, config.limits.request_body)
    router, door, ledger, lifecycle = (
        service.router,
        service.door or Authenticator(config),
        service.ledger,
        service.lifecycle,
    )
    cors = Cors(config.cors)
    _add_cors(app, cors)
    exchanges = {
        path: _exchange(service, ledger, door, cors, api, path, answer) for path, (api, answer) in EXCHANGES.items()
    }
    _add_door(app, door, ledger, (*OPEN, *exchanges, *(("metrics",) if config.metrics == "open" else ())))
    for path, answer in exchanges.items():
        app.add_url_rule(path, path, _routed(answer), methods=["POST"])
        if not cors:  # its hooks are Quart's
            add_fast_route(app, path, answer)
    elsewhere = Elsewhere(service, ledger)
    add_stored(app, service, ledger, elsewhere)
    add_conversations(app, service, ledger, elsewhere)
    if config.websocket:
        add_websocket(app, service, ledger, cors, partial(_memory, service))
    _add_models(app, router, door)
    add_ui(app, service, config, door)
    _add_health(app, lifecycle, page="/ui" if service.board is not None else None)
    add_metrics(app, service, ledger)
    _add_errors(app, ledger, websocket=config.websocket)
    lifecycle.most_connections = config.limits.connections
    lifecycle.largest_message = config.limits.request_body
    return app


def _memory(service: Service, owner: str) -> StateScope:
    """What one websocket connection remembers of its turns: also those that are not to be stored. Codex goes on from
    nothing else."""
    local = MemoryStore(math.inf, service.limits.request_body)
    return StateScope(owner, service.store, OverlayStore(local, service.store))


def _add_life(app: QuartTrio, service: Service) -> None:
    """What lives as long as the app: turns in the background, the sweeping of the store, the watch for the metrics."""
    app.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = math.inf  # turns end with their pumps, at the end of the drain
    store, background, recorder = service.store, service.background, service.recorder
    watching = trio.CancelScope()

    async def observe() -> None:
        with watching:
            await watch(service)

    async def begin() -> None:
        app.nursery.start_soon(observe)
        if recorder is not None:
            app.nursery.start_soon(recorder.run)
        if store is None or background is None:
            return
        background.nursery = app.nursery
        app.nursery.start_soon(_sweep, store)

    async def end() -> None:
        watching.cancel()
        if store is not None and background is not None:
            await background.finish()
        if recorder is not None:
            await recorder.finish()
        if service.tracing is not None:
            await service.tracing.aclose()
        if store is not None and background is not None:
            app.nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await store.aclose()

    app.before_serving(begin)
    app.after_serving(end)
    app.after_serving(service.upstream.aclose)


async def _sweep(store: Store) -> None:
    """Remove what is past its time, now and then. Never raises: its nursery is the app's."""
    while True:
        await trio.sleep(SWEEP)
        try:
            await store.sweep()
        except Unavailable as error:
            log.warning("the store could not be swept: %s", error)


def _exchange(
    service: Service,
    ledger: Ledger,
    door: Authenticator,
    cors: Cors,
    api: Api,
    path: str,
    answer: Callable[[Exchange, bytes], Awaitable[Response]],
) -> FastRoute:
    """What answers a request on ``path``, the door included. It raises nothing."""

    async def serve(arrival: IncomingRequest) -> Response:
        record = open_record(api, ledger, arrival.scope)
        asked = ClientRequest(arrival.headers, arrival.query)
        if service.tracing is not None:
            service.tracing.begin(record, asked.headers, path)
        exchange = Exchange(service, api, asked, arrival.scope, record)
        try:
            record.client = door.admit(asked.headers)
            if record.client is None:
                cors.admit_unasked(asked.headers)
            else:
                exchange = Exchange(service, api, attrs.evolve(asked, client=record.client), arrival.scope, record)
            if service.full:
                return exchange.refuse(FULL)
            codings = (value for name, value in asked.headers if name == "content-encoding")
            body = await decompressed(codings, arrival.read, service.limits.request_body)
            return await answer(exchange, body)
        except GatewayError as error:
            return exchange.refuse(error.failed)
        except RecursionError:
            return exchange.refuse(too_deep().failed)
        except Exception:  # the border where our own mistake becomes the client's error
            log.exception("request %s: unexpected error", arrival.scope.id)
            return exchange.refuse(MISTAKE)

    return serve


def _routed(answer: FastRoute) -> Callable[[], Awaitable[Response]]:
    """``answer`` as a view of Quart's."""

    async def view() -> Response:
        return await answer(QuartRequest())

    return view


def _json(value: Any, status: int = 200) -> Response:
    return respond(msgspec.json.encode(value), status, (*JSON_HEADERS, *_ids()))


def _is_anthropic() -> bool:
    return "anthropic-version" in request.headers


def _ids() -> Headers:
    """The request's id, for an Anthropic client also under the name that its SDK reads."""
    own = current_scope().id
    return (("x-request-id", own), ("request-id", own)) if _is_anthropic() else (("x-request-id", own),)


# Who may come in


def _add_cors(app: QuartTrio, cors: Cors) -> None:
    if not cors:
        return

    async def preflight() -> Response | None:
        if request.method != "OPTIONS" or not request.path.startswith("/v1/"):
            return None
        wished = request.headers.get("access-control-request-headers", "")
        response = respond(b"", 204, (*cors.preflight(request.headers.get("origin"), wished), *_ids()))
        for name in ("content-type", "content-length"):  # RFC 9110, section 8.6: not with a 204
            response.headers.pop(name, None)
        return response

    async def share(response: Response) -> Response:
        if request.method != "OPTIONS" and request.path.startswith("/v1/"):
            for name, value in cors.answered(request.headers.get("origin"), response.headers.keys()):
                response.headers.add(name, value)
        return response

    app.before_request(preflight)
    app.after_request(share)


def _add_door(app: QuartTrio, door: Authenticator, ledger: Ledger, open: Collection[str]) -> None:
    async def knock() -> Response | None:
        if request.endpoint in open or (request.endpoint or "").startswith(PREFIX):
            return None
        try:
            g.client = door.admit(client_headers())
        except GatewayError as error:
            return refused(error.failed, api_of(request.path, client_headers()), ledger)
        return None

    app.before_request(knock)


# Models


def _add_models(app: QuartTrio, router: Router, door: Authenticator) -> None:
    started = int(time.time())
    known = router.models()

    async def listing() -> Response:
        allowed = door.allowed(g.client, (model.id for model in known))
        models = [model for model in known if model.id in allowed]
        if _is_anthropic():
            ids = [model.id for model in models]
            return _json(
                {
                    "data": [_anthropic_model(model, started) for model in models],
                    "has_more": False,
                    "first_id": ids[0] if ids else None,
                    "last_id": ids[-1] if ids else None,
                }
            )
        # Codex wants its own catalogue in `models`: empty is right, an incomplete entry loses all (openai/codex#37122).
        data = [_openai_model(model, started) for model in models]
        return _json({"object": "list", "data": data, "models": []})

    async def single(model_id: str) -> Response:
        anthropic = _is_anthropic()
        try:
            target = router.resolve(model_id, "messages" if anthropic else "chat", partial(door.can_use, g.client))
            door.check(g.client, model_id, target.entry, target.model, None)
        except GatewayError as error:
            codec = CODECS["messages" if anthropic else "chat"]
            body = codec.write_error(error.failed, current_scope().id)
            return respond(body, error.failed.status, (*JSON_HEADERS, *error.failed.headers, *_ids()))
        model = Model(model_id, target.entry.provider.display_name)
        return _json((_anthropic_model if anthropic else _openai_model)(model, started))

    app.add_url_rule("/v1/models", "models", listing, methods=["GET"])
    app.add_url_rule("/v1/models/<path:model_id>", "model", single, methods=["GET"])


def _openai_model(model: Model, created: int) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": created, "owned_by": model.owned_by}


def _anthropic_model(model: Model, created: int) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created))
    return {"type": "model", "id": model.id, "display_name": model.id, "created_at": at, "lifecycle": "active"}


# Health


def _add_health(app: QuartTrio, lifecycle: Lifecycle, page: str | None) -> None:
    """``page`` is where browsers are sent that ask for ``/``; whether they may see it is decided there."""

    async def alive() -> Response:
        return _json({"status": "ok"})

    async def ready() -> Response:
        return _json({"status": "draining"}, 503) if lifecycle.draining else _json({"status": "ready"})

    async def root() -> Response:
        if page is not None and "text/html" in request.headers.get("accept", ""):
            return respond(b"", 303, (("location", page), ("vary", "accept"), *_ids()))
        return _json({"service": "trigate", "apis": list(ROUTES), "models": "/v1/models"})

    for path in ALIVE:
        app.add_url_rule(path, "alive", alive, methods=["GET"])
    for path in READY:
        app.add_url_rule(path, "ready", ready, methods=["GET"])
    for path in ROOT:
        app.add_url_rule(path, "root", root, methods=["GET"])


# Errors outside an exchange


def _add_errors(app: QuartTrio, ledger: Ledger, *, websocket: bool) -> None:
    async def http_error(error: HTTPException) -> Response:
        if not has_request_context():  # an upgrade on a path that has none
            return await upgrade()
        return refused(_http_failed(error), api_of(request.path, client_headers()), ledger)

    async def upgrade() -> Response:
        # Codex falls back to HTTP on a 426 and on nothing else (openai/codex#43353).
        failed = ErrorInfo("invalid_request", "WebSocket is not served here: use POST /v1/responses", status=426)
        body = CODECS["responses"].write_error(failed, "")
        return respond(body, 426, (*JSON_HEADERS, ("connection", "close")))

    async def our_mistake(error: Exception) -> Response:
        app.logger.exception("unexpected error", exc_info=error)
        return await http_error(HTTPException(MISTAKE.message))

    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, our_mistake)
    if not websocket:
        app.add_websocket("/v1/responses", "upgrade", upgrade)


def _http_failed(error: HTTPException) -> ErrorInfo:
    status = error.code or 500
    if status in (404, 405):
        return _misdirected(status, ", ".join(sorted(getattr(error, "valid_methods", None) or ())))
    message = error.description or "the request could not be handled"
    return ErrorInfo("invalid_request" if status < 500 else "internal", message, status=status)


def _misdirected(status: int, allowed: str) -> ErrorInfo:
    """A path that is not served, or not to this method; ``allowed`` are those that it is served to."""
    path, headers = shown(request.path), client_headers()
    origin = origin_of(request.scope, headers)
    help = advice(request.path, headers, origin)
    if status == 405:
        message = f"{request.method} is not allowed on {path}; {help or f'use {allowed}'}"
        return ErrorInfo("invalid_request", message, status=405, headers=(("allow", allowed),))
    help = help or f"served are {', '.join(ROUTES)} and /v1/models{base_urls(request.path, origin)}"
    return ErrorInfo("not_found", f"there is no {request.method} {path} here; {help}", status=404)
