"""No input delays the streams of others (CWE-400): hostile requests and answers on every route.

The tests are generated from the tables of routes. A route without a row here fails. Each step of the gateway's loop is
measured in CPU time; ``tests/attacks.py`` measures the delay of another client's stream.
"""

import http.client
import threading
from collections.abc import Container, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import attrs
import pytest

from gateway.config.loading import from_mapping
from gateway.open_service import open_service
from gateway.quart_app import quart_app
from gateway.relay.routes import ROUTES
from gateway.serving.lifecycle import Lifecycle
from providers.apis import CODECS
from tests.support.cases import case
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import PATIENCE, config
from tests.support.hostile_bodies import HostileAnswer, HostileBody, answers, bodies, forms, json_body
from tests.support.loop_steps import LONGEST, gateway_steps

KEY: Final = "key-of-the-attacker-123456"
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
            yield from forms(self.model)
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
    "plain_json.read_plain_json": INPUT,
    "realtime.read_action": Row({"target_uri": "x"}, "target_uri"),
    "realtime.read_call": Row({"sdp": "x"}, "sdp", takes_forms=True),
    "realtime.read_client_secret": Row({"session": {"type": "realtime", "model": "on-openai"}}, "session"),
    "rerank.read_rerank": Row({"query": "x", "documents": ["a"]}, "documents", "on-cohere"),
    "videos.read_new_video": Row({"prompt": "x"}, "prompt", takes_forms=True),
    "videos.read_video": PROMPT,
    "pass_through.read_passed": PROMPT,
}
"""The rows of relayed routes, by the function that reads their requests."""

OTHERS: Final[Mapping[str, Row]] = {
    "conversations": Row({"items": [{"role": "user", "content": "x"}]}, "items"),
    "responses": NO_BODY,
    **dict.fromkeys(("alive", "ready", "root", "metrics", "models", "model", "gemini_models", "gemini_model",
                     "voices", "speech_models", "ui"), NO_BODY),
}  # fmt: skip
"""The rows of Quart's routes, by the part of the view's name before a period."""

WEBSOCKETS: Final = frozenset(("websocket", "realtime", "passed"))
"""The views of websockets. All share two modules whose tests send floods of frames: ``serving/websocket_stream.py`` and
``upstream/websocket.py``."""


@attrs.frozen
class AttackedRoute:
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
        for name in ("{id}", "{id2}", "<id>", "<item_id>"):
            path = path.replace(name, "file-1")
        return path


def settings(url: str, port: int = 0) -> dict[str, Any]:
    named = {"openai": "on-openai", "anthropic": "on-anthropic", "gemini": "on-gemini", "cohere": "on-cohere",
             "mistral": "on-mistral"}  # fmt: skip
    entries = [
        {"model": f"{provider}/{model}", "access_key": "sk-up", "base_url": f"{url}/v1"}
        for provider, model in named.items()
    ]
    entries[0] |= {"name": "passed", "passthrough": True}
    return config(entries, port, client_keys=[{"name": "attacker", "key": KEY, "foreign_ids": True}])


def attacked_routes() -> list[AttackedRoute]:
    """Return all routes of the gateway, from the tables that serve them."""
    found = [
        AttackedRoute("POST", route.path, CONVERSATIONS, codec.api)
        for codec in CODECS.values()
        for route in codec.wire.routes()
    ]
    served = {route.path for route in found}
    found += [AttackedRoute(route.method, route.path, RELAYED, route.read) for route in ROUTES]
    found.append(AttackedRoute("POST", "/passed/{rest}", RELAYED, "pass_through.read_passed"))
    return [*found, *(route for route in _quart_routes() if route.path not in served)]


def _quart_rules() -> list[Any]:
    checked = from_mapping(settings("http://127.0.0.1:9", 9))
    return list(quart_app(checked, open_service(checked, Lifecycle(), None, False)).url_map.iter_rules())


def _quart_routes() -> Iterator[AttackedRoute]:
    for rule in _quart_rules():
        if not rule.websocket and not rule.endpoint.startswith("/"):
            (method,) = rule.methods - {"HEAD", "OPTIONS"}
            yield AttackedRoute(method, rule.rule, OTHERS, rule.endpoint.partition(".")[0])


ROUTES_WITH_BODIES: Final = {
    f"{one.method} {one.path}": one
    for one in attacked_routes()
    if one.method != "GET" and one.row_key in one.table and one.row is not NO_BODY
}
ONE_OF_EACH: Final = {one.row_key: one for one in reversed(attacked_routes()) if one.row_key in one.table}
OFTEN_ANSWERED: Final = (*CONVERSATIONS, "batches.read_content", "batches.read_message_batch", "embeddings.read_openai",
                         "images.read_generation", "plain_json.read_plain_json")  # fmt: skip
"""The rows whose answers each run attacks; the nightly run attacks those of all rows."""


def with_nightly(values: Iterable[Any], often: Container[Any]) -> list[Any]:
    """Return ``values`` as parameters: those that are not in ``often`` run only at night."""
    return [pytest.param(one, marks=() if one in often else pytest.mark.soak) for one in values]


def test_every_route_has_a_row():
    """A new route needs a row in one of the tables above, so that the tests below attack it."""
    missing = [(one.method, one.path, one.row_key) for one in attacked_routes() if one.row_key not in one.table]
    assert missing == []


def test_every_websocket_is_known():
    """A new websocket must use the server's stream and the client of ``upstream``, whose frames are bounded."""
    found = {rule.endpoint.split()[0].split("./")[0] for rule in _quart_rules() if rule.websocket}
    assert {name.partition(" ")[0] for name in found} <= WEBSOCKETS, found


# The provider


class Hostile(BaseHTTPRequestHandler):
    """A provider whose answer to everything is ``answer``."""

    protocol_version = "HTTP/1.1"
    answer = HostileAnswer(b"{}")

    def _answer_request(self) -> None:
        self._read_body()
        answer = type(self).answer
        self.send_response(200)
        self.send_header("content-type", answer.content_type)
        if answer.coding:
            self.send_header("content-encoding", answer.coding)
        self.send_header("content-length", str(len(answer.data)))
        self.end_headers()
        try:
            self.wfile.write(answer.data)
        except OSError:  # the gateway has seen enough
            self.close_connection = True

    def _read_body(self) -> None:
        if self.headers.get("transfer-encoding", "") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("content-length", "0")))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer_request

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def gateway():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with gateway_thread(settings(f"http://127.0.0.1:{server.server_address[1]}")) as served:
                yield served
        finally:
            server.shutdown()


def ask(port: int, route: AttackedRoute, body: HostileBody) -> int:
    """Return the status of a request, or 0 if the gateway closed the connection early."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(route.method, route.url, body.data, {**body.headers, "authorization": f"Bearer {KEY}"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return 0
    else:
        return response.status
    finally:
        connection.close()


# The tests


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", with_nightly(ROUTES_WITH_BODIES, {f"{one.method} {one.path}" for one in ONE_OF_EACH.values()})
)
def test_no_request_of_a_client_takes_the_loop(gateway, name):
    Hostile.answer, route = HostileAnswer(b"{}"), ROUTES_WITH_BODIES[name]
    for kind, body in route.row.requests():
        with case(kind), gateway_steps(gateway) as steps:
            assert ask(gateway.port, route, body) != 500
            assert steps.longest < LONGEST, steps.task


ANSWERS: Final = answers()


@pytest.mark.slow
@pytest.mark.parametrize("row_key", with_nightly(ONE_OF_EACH, OFTEN_ANSWERED))
def test_no_answer_of_a_provider_takes_the_loop(gateway, row_key):
    route = ONE_OF_EACH[row_key]
    for kind, Hostile.answer in ANSWERS.items():
        with case(kind), gateway_steps(gateway) as steps:
            assert ask(gateway.port, route, ordinary_request(route)) != 500
            assert steps.longest < LONGEST, steps.task


def ordinary_request(route: AttackedRoute) -> HostileBody:
    """Return the ordinary request of a route, streamed if it can be."""
    if route.method == "GET" or not route.row.main:
        return HostileBody(b"", {})
    return json_body({"model": route.row.model, "stream": True, **route.row.body})
