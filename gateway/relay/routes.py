"""The paths of relayed endpoints, outside Quart: bodies of any size pass, and are read as they arrive."""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import attrs

from gateway.endpoints.border import Admit, admit_by_key, serve
from gateway.endpoints.unknown_paths import method_not_allowed_error, unknown_path_error
from gateway.exchange.exchange import Exchange
from gateway.exchange.responding import error_response, open_record
from gateway.exchange.service import Service
from gateway.http.late_imports import import_all
from gateway.http.paths import api_of
from gateway.http.response import Response
from gateway.request.parse import NO_PARAMETERS, PathParameters
from gateway.request.routing_options import refuse_requested_steps
from gateway.serving.fast_route import add_fast_route, add_named_route
from gateway.serving.http_app import App
from gateway.serving.incoming_request import PiecesRequest
from providers.endpoints.endpoint import ENDPOINTS, EndpointName


@attrs.frozen(eq=False, repr=False)
class RelayRoute:
    """A route of an endpoint.

    In ``path``, ``{id}`` matches one step, ``{model}`` one or more; repeated variables are numbered: ``id``, ``id2``.
    ``read`` and ``admit`` are names of functions in this package, such as ``audio.read_speech``. They are imported with
    the first request, because few gateways serve all endpoints."""

    endpoint: EndpointName
    method: str
    path: str
    read: str
    admit: str | None = None
    passing: tuple[Any, ...] = ()
    """The first arguments of ``read``: for pass-through an entry and its name, for ``/mcp`` the MCP servers."""


PLAIN_JSON_ENDPOINTS: Final[tuple[EndpointName, ...]] = (
    "moderations", "chat_moderations", "score", "pooling", "classify", "predict", "similarity", "classifications",
    "chat_classifications", "decisions", "ocr",
)  # fmt: skip
"""Endpoints with plain JSON. To add one, add a line here, one in ``ENDPOINTS`` and one in the provider's row."""

_KEPT_OBJECTS: Final[tuple[tuple[EndpointName, str, str, tuple[str, ...]], ...]] = (
    ("files", "/v1/files", "kept.read_files", ("GET", "GET /{id}", "DELETE /{id}", "GET /{id}/url")),
    ("uploads", "/v1/uploads", "kept.read_uploads", (
        "POST", "GET /{id}", "POST /{id}/parts", "POST /{id}/complete", "POST /{id}/cancel",
    )),
    ("vector_stores", "/v1/vector_stores", "kept.read_vector_stores", (
        "POST", "GET", "GET /{id}", "POST /{id}", "DELETE /{id}", "POST /{id}/search", "POST /{id}/files",
        "GET /{id}/files", "GET /{id}/files/{id2}", "POST /{id}/files/{id2}", "DELETE /{id}/files/{id2}",
        "GET /{id}/files/{id2}/content", "POST /{id}/file_batches", "GET /{id}/file_batches/{id2}",
        "POST /{id}/file_batches/{id2}/cancel", "GET /{id}/file_batches/{id2}/files",
    )),
    ("containers", "/v1/containers", "kept.read_containers", (
        "POST", "GET", "GET /{id}", "DELETE /{id}", "POST /{id}/files", "GET /{id}/files", "GET /{id}/files/{id2}",
        "DELETE /{id}/files/{id2}", "GET /{id}/files/{id2}/content",
    )),
    ("files", "/v1beta/files", "kept.read_files", ("GET", "GET /{id}", "DELETE /{id}")),
    ("videos", "/v1/videos", "videos.read_video", (
        "GET", "GET /{id}", "DELETE /{id}", "GET /{id}/content", "POST /{id}/remix",
    )),
    ("batches", "/v1/batches", "batches.read_batch", ("POST", "GET", "GET /{id}", "POST /{id}/cancel")),
    ("message_batches", "/v1/messages/batches", "batches.read_message_batch", (
        "POST", "GET", "GET /{id}", "DELETE /{id}", "POST /{id}/cancel", "GET /{id}/results",
    )),
)  # fmt: skip
"""For each kind of object that providers keep: its path, its reader, and the methods with the paths below it."""

ROUTES: Final[tuple[RelayRoute, ...]] = (
    RelayRoute("completions", "POST", "/v1/completions", "completions.read_completion"),
    RelayRoute("fim", "POST", "/v1/fim/completions", "completions.read_fim"),
    RelayRoute("embeddings", "POST", "/v1/embeddings", "embeddings.read_openai"),
    RelayRoute("embeddings", "POST", "/v1/embed", "embeddings.read_cohere_v1"),
    RelayRoute("embeddings", "POST", "/v2/embed", "embeddings.read_cohere_v2"),
    *(
        RelayRoute("embeddings", "POST", f"{root}/models/{{model}}{method}", f"embeddings.{read}")
        for root in ("/v1beta", "/v1")
        for method, read in ((":embedContent", "read_gemini_one"), (":batchEmbedContents", "read_gemini_batch"))
    ),
    *(RelayRoute("rerank", "POST", path, "rerank.read_rerank") for path in ENDPOINTS["rerank"].paths),
    *(
        RelayRoute(name, "POST", path, "plain_json.read_plain_json")
        for name in PLAIN_JSON_ENDPOINTS
        for path in ENDPOINTS[name].paths
    ),
    RelayRoute("speech", "POST", "/v1/audio/speech", "audio.read_speech"),
    RelayRoute("transcriptions", "POST", "/v1/audio/transcriptions", "audio.read_transcript"),
    RelayRoute("transcriptions", "POST", "/v2/audio/transcriptions", "audio.read_transcript"),
    RelayRoute("translations", "POST", "/v1/audio/translations", "audio.read_transcript"),
    RelayRoute("image_generations", "POST", "/v1/images/generations", "images.read_generation"),
    RelayRoute("image_edits", "POST", "/v1/images/edits", "images.read_edit"),
    RelayRoute("image_variations", "POST", "/v1/images/variations", "images.read_edit"),
    RelayRoute("search", "POST", "/v1/alpha/search", "openai_own.read_search"),
    RelayRoute("content_provenance_checks", "POST", "/v1/content_provenance_checks", "openai_own.read_check"),
    RelayRoute("realtime", "POST", "/v1/realtime/client_secrets", "realtime.read_client_secret"),
    RelayRoute(
        "realtime_translations", "POST", "/v1/realtime/translations/client_secrets", "realtime.read_client_secret"
    ),
    RelayRoute("realtime", "POST", "/v1/realtime/calls", "realtime.read_call"),
    *(
        RelayRoute("realtime", "POST", f"/v1/realtime/calls/{{id}}/{action}", "realtime.read_action")
        for action in ("accept", "reject", "refer", "hangup")
    ),
    *(
        RelayRoute(endpoint, method, root + path, read)
        for endpoint, root, read, operations in _KEPT_OBJECTS
        for method, _, path in (operation.partition(" ") for operation in operations)
    ),
    RelayRoute("videos", "POST", "/v1/videos", "videos.read_new_video"),
    RelayRoute("files", "POST", "/v1/files", "batches.read_new_file"),
    RelayRoute("files", "GET", "/v1/files/{id}/content", "batches.read_content"),
    *(
        RelayRoute("files", "POST", path, "kept_uploads.read_step", "kept_uploads.admit_step")
        for path in ("/upload/v1beta/files", "/upload/v1/files")
    ),
)  # fmt: skip
"""The routes of all relayed endpoints."""

PATHS: Final = tuple(dict.fromkeys(route.path for route in ROUTES if "{" not in route.path))
"""The paths that the error for an unknown path may suggest."""

_VARIABLE: Final = re.compile(r"\{(\w+)\}")
_VARIABLE_PATTERNS: Final[Mapping[str, str]] = {"model": ".+", "rest": ".+", "deployment": ".+"}

DEPLOYMENT: Final = "deployment"
"""The variable of a path with the name of a model, which replaces that of the body."""

_DEPLOYED: Final[frozenset[EndpointName]] = frozenset(
    ("completions", "embeddings", "speech", "transcriptions", "translations", "image_generations", "image_edits")
)


@lru_cache(maxsize=1024)
def pattern_of(path: str) -> re.Pattern[str]:
    """Return the pattern of a route's ``path``, with its variables as groups."""
    parts = _VARIABLE.split(path)  # odd positions are variables
    return re.compile(
        "".join(
            f"(?P<{part}>{_VARIABLE_PATTERNS.get(part, '[^/]+')})" if at % 2 else re.escape(part)
            for at, part in enumerate(parts)
        ),
        re.DOTALL,  # a pass-through path may have an escaped line break, which its module refuses with the reason
    )


class RelayedPaths:
    """The paths that one configuration relays.

    They are not Quart routes: adding a hundred to Quart takes longer than the rest of an app's start."""

    def __init__(self, service: Service, deployments: Sequence[str] = ()) -> None:
        """Select the routes. ``deployments`` are the starts of paths with a deployment, if clients may use them."""
        own = (*_pass_through_routes(service), *_mcp_routes(service))
        self.routes = (*ROUTES, *_deployment_routes(deployments), *own)

    def methods(self, path: str) -> tuple[str, ...]:
        found = (route.method for route in self.routes if pattern_of(route.path).fullmatch(path) is not None)
        return tuple(sorted(set(found)))


def _deployment_routes(roots: Sequence[str]) -> tuple[RelayRoute, ...]:
    """Return the routes of the endpoints that Azure has below a deployment."""
    return tuple(
        attrs.evolve(route, path=f"{root}{{{DEPLOYMENT}}}{route.path.removeprefix('/v1')}")
        for root in roots
        for route in ROUTES
        if route.endpoint in _DEPLOYED and route.path.startswith("/v1/") and "{" not in route.path
    )


def _pass_through_routes(service: Service) -> tuple[RelayRoute, ...]:
    """Return the routes of entries with pass-through, the longest prefix first."""
    return tuple(
        RelayRoute("passthrough", method, f"/{name}/{{rest}}", "pass_through.read_passed", passing=(entry, name))
        for name, entry in service.router.passthrough_entries().items()
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    )


def _mcp_routes(service: Service) -> tuple[RelayRoute, ...]:
    """Return the routes of MCP servers. Without servers their response is an error that clients of MCP understand."""
    servers = service.router.mcp_servers
    return tuple(
        RelayRoute("mcp", method, "/mcp/{name}", "mcp.read_message", "mcp.admit", passing=(servers,))
        for method in ("POST", "GET", "DELETE")
    )


def _imported_function(name: str) -> Any:
    """Return a function in this package by name, such as ``audio.read_speech``; its module must be imported."""
    module, _, function = name.partition(".")
    return getattr(sys.modules[f"gateway.relay.{module}"], function)


_RELAY: Final = "gateway.relay.relay"
_RELAYING: Final = "gateway.relay.relaying"
_GATE: Final = "gateway.exchange.checking"
_STEP_MODULES: Final = (
    _GATE,
    "gateway.relay.checks",
    "gateway.relay.checked_relay",
    "gateway.features.files.line_checks",
)
"""The modules to import with the first request if steps are configured."""


def _modules_for(route: RelayRoute) -> tuple[str, ...]:
    named = (name.partition(".")[0] for name in (route.read, route.admit) if name is not None)
    return (_RELAY, _RELAYING, *(f"gateway.relay.{name}" for name in named))


def add_relays(app: App, service: Service, paths: RelayedPaths) -> None:
    """Add the fast routes of ``paths``."""
    by_prefix: defaultdict[tuple[str, str, str], list[_ServedRoute]] = defaultdict(list)
    for route in paths.routes:
        serving = _ServedRoute(route, service, _modules_for(route))
        start, named, _ = route.path.partition("{")
        if named:
            method = route.path.rpartition(":")[2] if ":" in route.path else ""
            by_prefix[route.method, start, f":{method}" if method else ""].append(serving)
        else:
            add_fast_route(app, route.path, serving.answer, route.method)
    for (method, start, end), routes in by_prefix.items():
        add_named_route(app, start, end, _PrefixRoutes(routes, paths).answer, method)


@attrs.frozen(eq=False, repr=False)
class _ServedRoute:
    route: RelayRoute
    service: Service
    modules: tuple[str, ...]

    async def answer(self, incoming: PiecesRequest) -> Response:
        return await self.answer_path(incoming, {})

    async def answer_path(self, incoming: PiecesRequest, names: Mapping[str, str]) -> Response:
        """Answer a request; ``names`` are the variables of its path."""
        service, route, endpoint = self.service, self.route, ENDPOINTS[self.route.endpoint]
        await import_all(self.modules if service.steps is None else (*self.modules, *_STEP_MODULES))

        async def read_and_answer(exchange: Exchange) -> Response:
            if service.steps is not None:
                sys.modules[_GATE].check_endpoint(exchange.context, endpoint.name, (route.method, route.path))
            else:
                refuse_requested_steps(exchange.context.client_request)
            relaying, relay = sys.modules[_RELAYING], sys.modules[_RELAY]
            read = _imported_function(route.read)
            relayed = await read(*route.passing, relaying.InboundRequest(endpoint.name, incoming, exchange), names)
            if isinstance(relayed, Response):
                return relayed
            response: Response = await relay.relay(exchange, incoming.scope, relayed)
            return response

        api = endpoint.shape if endpoint.shape != "chat" else api_of(incoming.asgi["path"], incoming.headers)
        admit: Admit = admit_by_key if route.admit is None else _imported_function(route.admit)
        path = PathParameters(names[DEPLOYMENT], replaces_model=True) if DEPLOYMENT in names else NO_PARAMETERS
        return await serve(
            service, api, incoming, route.path, read_and_answer, path=path, endpoint=endpoint.name, admit=admit
        )


class _PrefixRoutes:
    """Routes with the same prefix, method and suffix; the first whose pattern matches answers a request."""

    def __init__(self, routes: Iterable[_ServedRoute], paths: RelayedPaths) -> None:
        self._routes = tuple(routes)
        self._paths = paths

    async def answer(self, incoming: PiecesRequest, name: str) -> Response:
        path = incoming.asgi["path"]
        for route in self._routes:
            if (found := pattern_of(route.route.path).fullmatch(path)) is not None:
                return await route.answer_path(incoming, found.groupdict())
        return self._unknown_path_response(incoming, path)

    def _unknown_path_response(self, incoming: PiecesRequest, path: str) -> Response:
        """Return a 404, or a 405 if the path exists for other methods."""
        service, api = self._routes[0].service, api_of(path, incoming.headers)
        record = open_record(api, service.ledger, incoming.scope, served=False)
        method, headers = incoming.asgi["method"], incoming.headers
        if allowed := self._paths.methods(path):
            error = method_not_allowed_error(method, path, headers, incoming.asgi, allowed)
        else:
            error = unknown_path_error(method, path, headers, incoming.asgi, PATHS)
        return error_response(record, error)
