"""All routes of the gateway, from the tables that serve them, each with its ordinary request.

A route without a row here fails ``tests/gateway/test_every_route_yields.py``.
"""

import contextlib
import http.client
from collections.abc import Iterator, Mapping, Set
from typing import Any, Final

import attrs

from gateway.config_files.loading import from_mapping
from gateway.endpoints.own_routes import own_routes
from gateway.open_service import open_service
from gateway.seams.route import ALL_BELOW, HttpRoute
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.route_table import METHODS, WEBSOCKET
from providers.apis import CODECS
from tests.support.features import members_of, rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import PATIENCE, Gateway, config
from tests.support.hostile_bodies import HostileBody, bodies, forms, json_body
from tests.support.relay_rows import ROUTES
from tests.support.set_answer import set_answer_provider

ROUTES_KEY: Final = "key-of-ann-0123456789"
TURN: Final = [{"role": "user", "content": "x"}]
PARTS: Final = [{"role": "user", "parts": [{"text": "x"}]}]
BLOCKS: Final = [{"role": "user", "content": [{"text": "x"}]}]


@attrs.frozen
class Row:
    """The ordinary request of a route.

    ``model`` is the one in a path or body, ``main`` the largest member of ``body``. Without ``main``, the route takes
    forms (``takes_forms``) or no body.
    """

    body: Mapping[str, Any] = {}
    main: str = ""
    model: str = "on-openai"
    takes_forms: bool = False

    def requests(self) -> Iterator[tuple[str, HostileBody]]:
        if self.takes_forms:
            yield from forms(self.model).items()
        if self.main:
            yield from bodies({"model": self.model, **self.body}, self.main)


NO_BODY: Final = Row()
FORMS: Final = Row(takes_forms=True)
PROMPT: Final = Row({"prompt": "x"}, "prompt")
INPUT: Final = Row({"input": "x"}, "input")
BATCH: Final = {
    "requests": [{"custom_id": "a", "params": {"model": "on-anthropic", "max_tokens": 9, "messages": TURN}}]
}

CONVERSATIONS: Final[Mapping[str, Row]] = {
    "chat": Row({"messages": TURN}, "messages"),
    "messages": Row({"messages": TURN, "max_tokens": 9}, "messages", "on-anthropic"),
    "responses": INPUT,
    "gemini": Row({"contents": PARTS}, "contents", "on-gemini"),
    "converse": Row({"messages": BLOCKS}, "messages"),
    "interactions": Row({"input": "x"}, "input"),
}
"""The rows of conversations, by API: their answers, token counts and compactions."""

RELAYED: Final[Mapping[str, Row]] = {
    "audio.read_speech": Row({"input": "x", "voice": "y"}, "input"),
    "audio.read_transcript": FORMS,
    "batches.read_batch": Row({"input_file_id": "x", "endpoint": "/v1/chat/completions"}, "metadata"),
    "batches.read_content": NO_BODY,
    "batches.read_message_batch": Row(BATCH, "requests", "on-anthropic"),
    "batches.read_new_file": FORMS,
    "completions.read_completion": PROMPT,
    "completions.read_fim": Row({"prompt": "x", "suffix": "y"}, "prompt", "on-mistral"),
    "embeddings.read_cohere_v1": Row({"texts": ["x"]}, "texts", "on-cohere"),
    "embeddings.read_cohere_v2": Row({"texts": ["x"], "input_type": "search_query"}, "texts", "on-cohere"),
    "embeddings.read_gemini_batch": Row({"requests": [{"content": {"parts": []}}]}, "requests", "on-gemini"),
    "embeddings.read_gemini_one": Row({"content": {"parts": [{"text": "x"}]}}, "content", "on-gemini"),
    "embeddings.read_openai": INPUT,
    "images.read_edit": FORMS,
    "images.read_generation": PROMPT,
    "kept.read_containers": Row({"name": "x"}, "file_ids"),
    "kept.read_files": NO_BODY,
    "kept.read_uploads": Row({"purpose": "x", "filename": "x", "bytes": 1, "mime_type": "x"}, "part_ids"),
    "kept.read_vector_stores": Row({"name": "x"}, "file_ids"),
    "kept_uploads.read_step": Row({"file": {"display_name": "x"}}, "file", "on-gemini"),
    "openai_own.read_check": FORMS,
    "openai_own.read_search": Row({"id": "x"}, "input"),
    "plain_json.read_plain_json": INPUT,
    "relayed.read_action": Row({"target_uri": "x"}, "target_uri"),
    "relayed.read_call": Row({"sdp": "x"}, "sdp", takes_forms=True),
    "relayed.read_client_secret": Row({"session": {"type": "realtime", "model": "on-openai"}}, "session"),
    "rerank.read_rerank": Row({"query": "x", "documents": ["a"]}, "documents", "on-cohere"),
    "videos.read_new_video": Row({"prompt": "x"}, "prompt", takes_forms=True),
    "videos.read_video": PROMPT,
    "requests.read_passed": PROMPT,
    "messages.read_message": Row({"method": "tools/call", "params": {"name": "x"}}, "params"),
}
"""The rows of relayed routes, by the function that reads their requests."""

OTHERS: Final[Mapping[str, Row]] = {
    "conversations": Row({"items": [{"role": "user", "content": "x"}]}, "items"),
    "without a body": NO_BODY,
}
"""The rows of the other routes."""


@attrs.frozen
class ServedRoute:
    """A route with its row; ``row_key`` is the key that it needs in the table ``table``."""

    method: str
    path: str
    table: Mapping[str, Row]
    row_key: str

    @property
    def row(self) -> Row:
        return self.table[self.row_key]

    @property
    def url(self) -> str:
        """The path with the model and ids."""
        path = self.path.replace("{model}", self.row.model).replace("{rest}", "v1/files")
        for name in ("{id}", "{id2}", "{item_id}"):
            path = path.replace(name, "file-1")
        return path


def settings(url: str, port: int = 0, **more: Any) -> dict[str, Any]:
    named = {"openai": "on-openai", "anthropic": "on-anthropic", "gemini": "on-gemini", "cohere": "on-cohere",
             "mistral": "on-mistral"}  # fmt: skip
    entries = [
        {"model": f"{provider}/{model}", "access_key": "sk-up", "base_url": f"{url}/v1"}
        for provider, model in named.items()
    ]
    entries[0] |= {"name": "passed", **members_of("pass_through", passthrough=True)}
    rights = {**members_of("files", foreign_ids=True), **members_of("mcp", mcp=["tools"])}
    ann = {"name": "ann", "key": ROUTES_KEY, **rights}
    servers = members_of("mcp", mcp_servers=[{"name": "tools", "base_url": f"{url}/v1/mcp"}])
    return config(entries, port, client_keys=[ann], **servers, **more)


def served_routes() -> list[ServedRoute]:
    """Return all routes of the gateway, from the tables that serve them."""
    found = [
        ServedRoute("POST", route.path, CONVERSATIONS, codec.api)
        for codec in CODECS.values()
        for route in codec.wire.routes()
    ]
    found += [ServedRoute(route.method, route.path, RELAYED, route.read) for route in ROUTES]
    found += rows_of("pass_through", ServedRoute("POST", "/passed/{rest}", RELAYED, "requests.read_passed"))
    found += rows_of("mcp", ServedRoute("POST", "/mcp/tools", RELAYED, "messages.read_message"))
    served = {f"{route.method} {route.path}" for route in found} | {f"{one} /mcp/{{name}}" for one in METHODS}
    return [*found, *_other_routes(served)]


def all_routes() -> list[HttpRoute]:
    """Return the routes of the kernel and of the features."""
    checked = from_mapping(settings("http://127.0.0.1:9", 9))
    service = open_service(checked, Lifecycle(), None, False)
    features = (route for routes_of in service.hooks.routes for route in routes_of(service))
    return [*own_routes(checked, service), *features]


def _other_routes(served: Set[str]) -> Iterator[ServedRoute]:
    for route in all_routes():
        method = route.methods[0]
        is_listed = f"{method} {route.path}" in served or route.path.endswith(ALL_BELOW) or route.path[:3] == "/ui"
        if method != WEBSOCKET and not is_listed:
            key = route.path
            if route.path.startswith("/v1/conversations"):
                key = "conversations"
            elif method != "POST" or route.path.endswith("/cancel"):
                key = "without a body"
            yield ServedRoute(method, route.path, OTHERS, key)


ONE_OF_EACH: Final = {one.row_key: one for one in reversed(served_routes()) if one.row_key in one.table}
"""One route of each row."""


def ordinary_request(route: ServedRoute) -> HostileBody:
    """Return the ordinary request of a route, streamed if it can be."""
    if route.method == "GET" or not route.row.main:
        return HostileBody(b"", {})
    return json_body({"model": route.row.model, "stream": True, **route.row.body})


@contextlib.contextmanager
def before_set_answer(**more: Any) -> Iterator[Gateway]:
    """Serve all routes before a provider with ``SetAnswer.answer``. ``more`` are keys of the configuration."""
    with set_answer_provider() as url, gateway_thread(settings(url, **more)) as served:
        yield served


def send_to_route(port: int, route: ServedRoute, body: HostileBody, key: str = ROUTES_KEY) -> int:
    """Return the status of a request, or 0 if the gateway closed the connection early."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(route.method, route.url, body.data, {**body.headers, "authorization": f"Bearer {key}"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return 0
    else:
        return response.status
    finally:
        connection.close()
