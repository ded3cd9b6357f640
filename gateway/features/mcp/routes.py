"""The path of MCP servers, which exists without servers, too: then the error is one that clients of MCP understand."""

from functools import partial
from typing import Final

import attrs

from gateway.access.page_guard import GuardedPaths
from gateway.config.settings import Config
from gateway.features.mcp.feature import servers_of
from gateway.named_imports import import_named
from gateway.relay.routes import RelayRoute, relayed_routes
from gateway.seams.hooks import Hooks
from gateway.seams.running import Addition, Ports, Running
from streams.events import ErrorInfo

ROUTES: Final = tuple(
    RelayRoute("mcp", method, "/mcp/{name}", "messages.read_message", "messages.admit", header_start="mcp-")
    for method in ("POST", "GET", "DELETE")
)


def open_mcp(config: Config, ports: Ports, before: Running | None) -> Running:
    servers = {server.name: server for server in servers_of(config)}
    rows = tuple(attrs.evolve(row, passing=(servers,)) for row in ROUTES)
    routes = partial(relayed_routes, "gateway.features.mcp", rows)
    return Addition(Hooks(routes=(routes,), guarded=(GuardedPaths("/mcp", with_form=_with_body),)))


def _with_body(error: ErrorInfo) -> ErrorInfo:
    changed: ErrorInfo = import_named("gateway.features.mcp.json_rpc:with_body")(error)  # rarely needed
    return changed
