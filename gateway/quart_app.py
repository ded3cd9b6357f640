"""The Quart app: all routes that are not fast routes, websockets, and the errors for unknown paths."""

import math
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from quart_trio import QuartTrio

from gateway.config.loading import Config
from gateway.conversations.resolved import StateScope
from gateway.conversations.stored_responses import STORED_RESPONSES
from gateway.endpoints.conversations import add_conversations
from gateway.endpoints.health import health_routes
from gateway.endpoints.hooks import add_authentication
from gateway.endpoints.http_errors import add_errors
from gateway.endpoints.inference import MODEL, ModelRoute, exchange_routes
from gateway.endpoints.interactions import add_interactions
from gateway.endpoints.models import add_model_info, add_models
from gateway.endpoints.provider_kept import ProviderLookup
from gateway.endpoints.request_guard import ConfiguredGuard
from gateway.endpoints.responses import add_stored
from gateway.endpoints.websocket.route import add_websocket
from gateway.exchange.service import Service
from gateway.features.live_view.pages.routes import add_ui
from gateway.features.metrics.endpoint import metrics_routes
from gateway.features.realtime.routes import add_realtime
from gateway.http.response import Response
from gateway.serving.fast_route import OpenRoute
from gateway.serving.quart_connections import HostlessQuart, configure
from gateway.serving.quart_views import MatchedRule, QuartRequest, add_view, has_route
from gateway.serving.route_table import RouteTable
from providers.interactions import INTERACTIONS


def quart_app(config: Config, service: Service, routes: RouteTable) -> QuartTrio:
    """Return the Quart app of ``config``; ``routes`` are those outside Quart."""
    app = HostlessQuart("trigate", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_rule_class = MatchedRule
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False

    def is_served(path: str) -> bool:
        return has_route(app, path) or bool(routes.methods(path))

    guard = ConfiguredGuard(config, service.ledger, is_served, service.authenticator)
    configure(app, config.limits.request_body, guard)
    exchanges = tuple(_add_exchange(app, path, answer) for path, answer in exchange_routes(service))
    open_routes = (*health_routes(service, config), *metrics_routes(service, config))
    add_authentication(app, service, (*_add_open_views(app, open_routes), *exchanges))
    query_providers = ProviderLookup(service, STORED_RESPONSES.api)
    add_stored(app, service, query_providers)
    add_conversations(app, service, query_providers)
    add_interactions(app, service, ProviderLookup(service, INTERACTIONS.api))
    if config.websocket:
        add_websocket(app, service, partial(_connection_state, service))
        add_realtime(app, service)
        if service.router.passthrough_entries():
            from gateway.features.realtime.passed_websockets import add_passed_websockets

            add_passed_websockets(app, service)
    add_models(app, service)
    if "litellm" in config.compatibility:
        add_model_info(app, service)
    add_ui(app, service, config)

    def methods(path: str) -> tuple[str, ...]:
        return () if path == "/v1/responses" else routes.methods(path)  # the error names its upgrade

    add_errors(app, service, websocket=config.websocket, endpoints=routes.listed, methods=methods)
    return app


def release_service(app: QuartTrio) -> None:
    """Drop the references of a replaced ``app`` to its service.

    Quart's apps contain reference cycles, which are freed much later. A service may have thousands of clients, and is
    replaced with each change of their keys."""
    for functions in (
        app.view_functions, app.before_request_funcs, app.after_request_funcs, app.error_handler_spec,
        app.before_websocket_funcs, app.after_websocket_funcs, app.extensions,
    ):  # fmt: skip
        functions.clear()


def _add_exchange(app: QuartTrio, path: str, answer: ModelRoute) -> str:
    """Handle ``path`` with ``answer``, and return the name of its view."""

    async def view(model: str | None = None) -> Response:
        return await answer(QuartRequest(), model)

    add_view(app, path.replace(MODEL, "<path:model>"), path, view, ["POST"])
    return path


def _add_open_views(app: QuartTrio, routes: Iterable[OpenRoute]) -> tuple[str, ...]:
    """Handle ``routes``, and return the names of their views."""
    for route in routes:
        add_view(app, route.paths, route.name, partial(_open_view, route.answer), ["GET"])
    return tuple(route.name for route in routes)


async def _open_view(answer: Callable[[QuartRequest], Awaitable[Response]]) -> Response:
    return await answer(QuartRequest())


def _connection_state(service: Service, owner: str, is_named_client: bool) -> StateScope:
    """Return the stored turns that one websocket connection can refer to, including those sent with ``store: false``:
    Codex continues only from these."""
    from gateway.stores.memory import MemoryStore
    from gateway.stores.overlay import OverlayStore

    local = MemoryStore(math.inf, service.limits.request_body)
    return StateScope(owner, service.store, OverlayStore(local, service.store), is_named_client)
