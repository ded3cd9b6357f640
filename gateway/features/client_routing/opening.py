"""The members that other routers' clients send, for a configuration with ``client_routing``."""

from collections.abc import Mapping
from typing import Any

from gateway.config.settings import Config
from gateway.features.client_routing.bodies import GUARDRAILS, PROXY_MEMBERS, read_guardrails, read_options
from gateway.features.client_routing.feature import keys_of
from gateway.features.client_routing.labels import read_labels, refuse_blocked
from gateway.http.offload import offload
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.request.routing_options import RoutingOptions, Word, without_members
from gateway.seams.hooks import Hooks
from gateway.seams.request_forms import RequestForms
from gateway.seams.running import Addition, Ports, Running


class RouterForms(RequestForms):
    """The forms of the routers in one configuration."""

    def __init__(self, config: Config) -> None:
        keys = keys_of(config)
        self._routers, self._blocked = keys.client_routing, frozenset(keys.blocked_end_users)
        self._is_litellm = "litellm" in self._routers

    def label(self, client_request: ClientRequest, incoming: Incoming) -> Mapping[str, Any]:
        labels = read_labels(client_request, incoming) if self._is_litellm else {}
        refuse_blocked(labels, self._blocked)
        return labels

    async def read_options(self, client_request: ClientRequest, incoming: Incoming) -> RoutingOptions:
        return await offload(len(incoming.body) // 2, read_options, client_request, incoming, self._routers)

    async def without_own_members(self, incoming: Incoming) -> Incoming:
        return await self._without(incoming, PROXY_MEMBERS)

    async def take_steps(self, incoming: Incoming) -> tuple[Incoming, tuple[Word, ...]]:
        if not self._is_litellm or GUARDRAILS not in incoming.members:
            return incoming, ()
        return await self._without(incoming, frozenset((GUARDRAILS,))), read_guardrails(incoming)

    async def _without(self, incoming: Incoming, names: frozenset[str]) -> Incoming:
        if not self._is_litellm or names.isdisjoint(incoming.members):
            return incoming
        return await offload(incoming.size, without_members, incoming, names)


def open_client_routing(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the forms of the routers in ``config``."""
    return Addition(Hooks(request_forms=(RouterForms(config),)))
