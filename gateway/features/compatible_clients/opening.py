"""The paths of clients of other servers."""

from collections.abc import Iterator
from functools import partial

from gateway.config.settings import Config
from gateway.endpoints.inference import exchange_route
from gateway.exchange.service import Service
from gateway.features.compatible_clients.adapter import adapter_for
from gateway.features.compatible_clients.feature import compatibility_of
from gateway.features.compatible_clients.hosted_claude import hosted_claude_routes
from gateway.relay.compatible import deployment_roots
from gateway.seams.hooks import Hooks
from gateway.seams.route import HttpRoute
from gateway.seams.running import Addition, Ports, Running
from providers.apis import CODECS
from providers.neutral.wire_api import RequestPath


def open_compatible_clients(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the paths of conversations, and the adapter of all requests."""
    return Addition(Hooks(routes=(partial(_routes_of, config),), adapters=(partial(adapter_for, config),)))


def _routes_of(config: Config, service: Service) -> Iterator[HttpRoute]:
    """Yield the routes of Chat on Azure's paths, which start with a root and the model, and those of Claude."""
    wire = CODECS["chat"].wire
    for root in deployment_roots(compatibility_of(config)):
        path = f"{root}{{model}}{wire.path}"
        answer = exchange_route(service, "chat", RequestPath(path, "answer"))
        yield HttpRoute(path, answer, ("POST",), for_programs=True)
    if "litellm" in compatibility_of(config):
        yield from hosted_claude_routes(service)
