"""Builds the app of a configuration. Each of its errors has the shape of the API whose path was requested."""

import weakref
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from gateway.config.kinds import UNIX
from gateway.config.settings import Config
from gateway.endpoints.health import ALIVE, READY
from gateway.endpoints.own_routes import own_routes
from gateway.endpoints.request_guard import ConfiguredGuard
from gateway.endpoints.unknown_paths import answer_unknown
from gateway.exchange.service import Service
from gateway.http.external_url import make_url_adapter
from gateway.http.late_imports import import_all, load_module
from gateway.lifespan import add_process_tasks
from gateway.named_imports import import_named
from gateway.open_features import RunningFeatures
from gateway.open_service import open_service
from gateway.processes.descriptors import default_connections
from gateway.serving.asgi_extensions import AsgiApp
from gateway.serving.http_app import App, RequestGuard
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.route_table import RouteTable
from gateway.stores.store import Store
from providers.apis import CODECS

if TYPE_CHECKING:
    from gateway.endpoints.cors import Cors


def create_app(
    config: Config,
    lifecycle: Lifecycle | None = None,
    store: Store | None = None,
    *,
    check_streams: bool = False,
    record: Path | str | None = None,
    readable: bool | None = None,
) -> App:
    """Return the ASGI app of one worker. Serve it with ``gateway.serving.worker.serve``, or any trio ASGI server.

    The app closes ``store`` when it ends; without a store no state outlives a request. ``check_streams`` logs a warning
    about every stream that breaks its API's grammar; it is for debugging and costs CPU. ``record`` is a folder to which
    exchanges are written. ``readable`` formats the ledger's lines for people, by default if standard error is a
    terminal. Raises ``OSError`` for an unusable folder."""
    options = {} if record is None else {"record": record}
    return whole_app(config, open_service(config, lifecycle or Lifecycle(), store, check_streams, options, readable))


def whole_app(config: Config, service: Service, running: RunningFeatures | None = None) -> App:
    """Return the first app of a process, whose start and end also start and end the process's own tasks.

    ``running`` runs the features, also those of later configurations."""
    app = app_of(config, service)
    add_process_tasks(app, service, running or RunningFeatures())
    app.start_soon(partial(import_all, parts_of(config)))
    return app


def parts_of(config: Config) -> tuple[str, ...]:
    """Return the names of the modules for the APIs of the providers in ``config``, and for rejected requests."""
    spoken = {api for one in config.entries for api in (*one.speaks.values(), *one.provider.speaks.values())}
    return (*(part for api in spoken if api in CODECS for part in CODECS[api].parts), "providers.errors.other_shapes")


def app_of(config: Config, service: Service) -> App:
    """Return the app of one configuration. Several apps may serve requests at the same time; they share ``service``."""
    routes = RouteTable()
    features = tuple(route for routes_of in service.hooks.routes for route in routes_of(service))
    page = min((route.path for route in features if route.is_page), key=len, default=None)
    served = (*own_routes(config, service, page), *features)
    for route in served:
        routes.add(route.path, route.handler, route.methods, is_listed=route.is_listed, uses=route.uses)
    guard = ConfiguredGuard(config, service.ledger, routes, service.authenticator, service.hooks.guarded)
    cors: Cors | None = None
    if config.cors:
        cors = import_named("gateway.endpoints.cors:cors_of")(config.cors, served)
    most = config.limits.request_body
    unknown = partial(answer_unknown, service, routes, cors)
    app = App(most, guard, routes, unknown, QuartPart(routes, guard).app)
    if config.public_url is not None:
        app.adapters.append(make_url_adapter(config.external))
    app.adapters += [make(features) for make in service.hooks.adapters]
    if cors is not None:
        app.adapters.append(cors.adapt)  # the last one, because it lists the headers of all others
    lifecycle = service.lifecycle
    _limit_connections(lifecycle, config)
    lifecycle.largest_message = config.limits.request_body
    return app


class QuartPart:
    """The Quart app of a configuration's websockets. Made for the first one."""

    def __init__(self, routes: RouteTable, guard: RequestGuard) -> None:
        self._parts = (routes, guard)
        self._making = trio.Lock()
        self._app: AsgiApp | None = None

    async def app(self) -> AsgiApp:
        """Return the app. The first callers wait while a thread imports it; other tasks continue."""
        if self._app is not None:  # a lock would let one request continue in each turn of the loop
            return self._app
        async with self._making:
            if self._app is None:
                module = await load_module("gateway.websockets.app")
                self._app = module.websocket_app(*self._parts)
                weakref.finalize(self, module.release_service, self._app).atexit = False
            return self._app


def _limit_connections(lifecycle: Lifecycle, config: Config) -> None:
    """Set the limits on client connections in ``lifecycle``.

    By default half of all connections may come from one address, but always as many as there may be requests: an
    unknown proxy has the connections of all clients. Trusted proxies have no limit."""
    limits = config.limits
    most, of_one = limits.connections, limits.connections_per_address
    lifecycle.max_connections = most = default_connections(limits.in_flight) if most is None else most
    lifecycle.max_per_address = (most and max(most // 2, limits.in_flight)) if of_one is None else of_one
    lifecycle.unlimited = tuple(ip_network(word) for word in config.trusted_proxies if word != UNIX)
    lifecycle.health_paths = (*ALIVE, *READY)
