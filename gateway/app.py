"""The composition: a configuration and what is shared become an app. Every error of it is in the shape of the API whose
path was called."""

import math
from functools import partial
from ipaddress import ip_network
from pathlib import Path

from quart_trio import QuartTrio

from gateway.access.page_guard import Cors
from gateway.config.kinds import UNIX
from gateway.config.loading import Config
from gateway.conversations.resolved import StateScope
from gateway.endpoints.conversations import add_conversations
from gateway.endpoints.door import GuardedDoor, add_authentication, add_cors
from gateway.endpoints.health import ALIVE, OPEN, READY, add_health
from gateway.endpoints.http_errors import add_errors
from gateway.endpoints.inference import add_exchanges
from gateway.endpoints.metrics import add_metrics
from gateway.endpoints.models import add_models
from gateway.endpoints.provider_kept import ProviderKept
from gateway.endpoints.responses import add_stored
from gateway.endpoints.ui.routes import add_ui
from gateway.endpoints.websocket.route import add_websocket
from gateway.exchange.service import Service
from gateway.lifespan import add_life
from gateway.open_service import open_service
from gateway.realtime.routes import add_realtime
from gateway.relay.routes import PATHS, RelayedPaths, add_relays
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.quart_connections import configure
from gateway.serving.quart_views import MatchedRule, has_route
from gateway.serving.registry import default_connections
from gateway.stores.store import Store


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


def whole_app(config: Config, service: Service) -> QuartTrio:
    """The app of one configuration with the life of the process: its start opens, its end closes what lasts."""
    app = app_of(config, service)
    add_life(app, service)
    return app


def app_of(config: Config, service: Service) -> QuartTrio:
    """The app of one configuration. Several may answer side by side; ``service`` holds all that they share."""
    app = QuartTrio("trigate", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_rule_class = MatchedRule
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    relayed = RelayedPaths(service)

    def is_served(path: str) -> bool:
        return has_route(app, path) or bool(relayed.methods(path))

    configure(app, config.limits.request_body, GuardedDoor(config, service.ledger, is_served))
    lifecycle, cors = service.lifecycle, Cors(config.cors)
    add_cors(app, cors)
    exchanges = add_exchanges(app, service, cors)
    add_relays(app, service, cors, relayed)
    add_authentication(app, service, (*OPEN, *exchanges))
    ask_providers = ProviderKept(service)
    add_stored(app, service, ask_providers)
    add_conversations(app, service, ask_providers)
    if config.websocket:
        add_websocket(app, service, partial(_memory, service))
        add_realtime(app, service)
        if service.router.passing():
            from gateway.relay.passed_websockets import add_passed_websockets

            add_passed_websockets(app, service)
    add_models(app, service)
    add_ui(app, service, config)
    add_health(app, service, config)
    add_metrics(app, service, config)
    add_errors(app, service, websocket=config.websocket, endpoints=PATHS, methods=relayed.methods)
    _limit_connections(lifecycle, config)
    lifecycle.largest_message = config.limits.request_body
    return app


def _limit_connections(lifecycle: Lifecycle, config: Config) -> None:
    """Take over the limits on connections. Half of them may come from one address, but never fewer than requests at
    once: a proxy in front has all of them, and one that is known has no limit of its own."""
    limits = config.limits
    most, of_one = limits.connections, limits.connections_per_address
    lifecycle.most_connections = most = default_connections(limits.in_flight) if most is None else most
    lifecycle.most_per_address = (most and max(most // 2, limits.in_flight)) if of_one is None else of_one
    lifecycle.unlimited = tuple(ip_network(word) for word in config.trusted_proxies if word != UNIX)
    lifecycle.health_paths = (*ALIVE, *READY)


def _memory(service: Service, owner: str, named: bool) -> StateScope:
    """The turns that one websocket connection remembers: also those that are not to be stored. Codex goes on from
    nothing else."""
    from gateway.stores.memory import MemoryStore
    from gateway.stores.overlay import OverlayStore

    local = MemoryStore(math.inf, service.limits.request_body)
    return StateScope(owner, service.store, OverlayStore(local, service.store), named)
