"""The endpoints for stored state on a real socket, with authentication, and the official SDK as their client."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs
import httpx2
import openai
import trio

from gateway.access.admission import Admission
from gateway.access.authentication import Authenticator
from gateway.access.shares import Shares
from gateway.config.limits import Limits
from gateway.config_files.loading import from_mapping
from gateway.conversations.background import Background, BackgroundTurn, NoBackground
from gateway.conversations.bodies import head_body, head_id, turn_body
from gateway.conversations.local_turn import LocalTurn
from gateway.conversations.stored_api import StateOptions
from gateway.endpoints.answers import QueryProviders
from gateway.endpoints.conversations import conversation_views
from gateway.endpoints.own_routes import VIEWS
from gateway.endpoints.responses import response_views
from gateway.exchange.service import Service, ServiceSettings, Turns
from gateway.http.request_scope import RequestScope
from gateway.http.response import ChannelBody, Response
from gateway.ledger.ledger import Ledger
from gateway.processes.binding import bind
from gateway.routing.router import Router
from gateway.serving.http_app import App
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.route_table import RouteTable
from gateway.serving.worker import serve
from gateway.stores.errors import Unavailable
from gateway.stores.store import Node, Store
from gateway.upstream.client import Upstream
from providers.apis import CODECS
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from providers.responses.output import ResponseTemplate
from providers.responses.tools import own_id
from streams import sse
from tests.support.openai_client import openai_client

ALICE, BOB = "sk-gw-alice-0123456789", "sk-gw-bob-0123456789"
CONFIG = from_mapping(
    {
        "version": "v0.3.0",
        "model_providers": [{"model": "groq/*", "access_key": "k"}],
        "client_keys": [{"name": "alice", "key": ALICE}, {"name": "bob", "key": BOB}],
    }
)
PATIENCE = 30.0  # seconds after which a test gives up
MAX_BODY = 100_000


@attrs.frozen
class Served:
    """The endpoints at ``url``. ``ask`` sends requests that the SDK cannot send or hides."""

    url: str

    def client(self, key: str = ALICE) -> contextlib.AbstractAsyncContextManager[openai.AsyncOpenAI]:
        return openai_client(self.url, key)

    async def ask(self, method: str, path: str, body: Any = None, key: str = ALICE, **more: Any) -> httpx2.Response:
        """Send a request. ``body`` is bytes, or a value to encode as JSON."""
        headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
        given = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        async with httpx2.AsyncClient(base_url=self.url, verify=False, trust_env=False) as client:
            return await client.request(method, path, headers=headers, **given, **more)


LEDGER = Ledger()


def make_app(store: Store | None, background: Background | NoBackground, elsewhere: QueryProviders | None) -> App:
    routes = RouteTable()
    app = App(MAX_BODY, routes=routes)
    authenticator, upstream = Authenticator(CONFIG), Upstream()
    limits = Limits(request_body=MAX_BODY)
    service = Service(
        Router(CONFIG),
        upstream,
        Lifecycle(),
        ServiceSettings(limits, 15.0),
        authenticator=authenticator,
        admission=Admission(CONFIG, authenticator, Shares()),
        turns=Turns(store, background),
        ledger=LEDGER,
    )

    app.after_serving.append(upstream.aclose)
    made = {
        "response_views": response_views(service, elsewhere),
        "conversation_views": conversation_views(service, elsewhere),
    }
    for _, maker, root, rows in VIEWS:
        for path, methods, name in rows if maker in made else ():
            routes.add(root + path, made[maker][name], methods)
    return app


@contextlib.asynccontextmanager
async def serving(
    store: Store | None, background: Background | None = None, elsewhere: QueryProviders | None = None
) -> AsyncIterator[Served]:
    sock = bind("127.0.0.1", 0)
    ready = trio.Event()
    app = make_app(store, background or NoBackground(), elsewhere)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(app, [sock], state=Lifecycle(), ready=ready.set, signals=False))
            await ready.wait()
            yield Served(f"http://127.0.0.1:{sock.getsockname()[1]}")
            nursery.cancel_scope.cancel()


class Down:
    """An unavailable store."""

    async def _fail(self, *_: Any) -> Any:
        raise Unavailable("the store cannot be reached")

    put = get = chain = find = delete = sweep = _fail

    async def aclose(self) -> None:
        pass


class Turn:
    """A turn that runs until it is cancelled, and sends the given numbers."""

    def __init__(self, store: Store) -> None:
        self.kept = LocalTurn(store, "alice", StateOptions(background=True), None, b'"Hi"')
        self.id = self.kept.id
        self._feed, self._body = trio.open_memory_channel[bytes](100)

    def say(self, *numbers: int) -> None:
        for number in numbers:
            event = {"type": "response.output_text.delta", "sequence_number": number, "delta": "x"}
            self._feed.send_nowait(sse.event(event["type"], event))

    async def answer(self, scope: RequestScope) -> Response:
        return Response(200, (), ChannelBody(self._body))

    def close(self) -> None:
        self._feed.close()


@contextlib.asynccontextmanager
async def running(store: Store) -> AsyncIterator[tuple[Background, Turn]]:
    """Run a background turn in this process."""
    turns, turn = Background(store, LEDGER), Turn(store)
    call = CODECS["responses"].read_request({"model": "m", "input": "Hi"})
    record = LEDGER.open("background", "responses")
    with trio.fail_after(PATIENCE), contextlib.closing(turn):
        async with trio.open_nursery() as turns.nursery:
            reply = Reply(call, Issuer("provider", ""), 1_700_000_000)
            head = ResponseTemplate.of(turn.kept.reply(reply)).response
            scope = RequestScope(turns.nursery, "asked")
            await turns.start(BackgroundTurn("alice", scope, turn.kept, head, record, turn.answer))
            yield turns, turn
            turns.nursery.cancel_scope.cancel()


# Stored turns


def message(text: str, role: str = "user", id: str | None = None) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    part: dict[str, Any] = {"type": kind, "text": text}
    if role == "assistant":
        part |= {"annotations": [], "logprobs": []}
    id = id or own_id("msg_")
    return {"id": id, "type": "message", "role": role, "status": "completed", "content": [part]}


def response_object(
    id: str, output: Sequence[dict[str, Any]], status: str = "completed", **more: Any
) -> dict[str, Any]:
    return {
        "id": id,
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "error": {"code": "server_error", "message": "it broke"} if status == "failed" else None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": "Be brief. 🙂",
        "metadata": {"a": "b"},
        "model": "m",
        "output": list(output),
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        **more,
    }


async def store_turn(
    store: Store,
    input: Sequence[dict[str, Any]] = (),
    output: Sequence[dict[str, Any]] = (),
    *,
    owner: str = "alice",
    status: str = "completed",
    parent: str | None = None,
    log: bytes = b"",
    id: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Store a turn as the gateway does, and return the response object of its client."""
    id = id or own_id("resp_")
    response = response_object(id, output, status, **more)
    items = tuple(item["id"] for item in (*input, *output))
    await store.put(
        [
            Node(id, owner, "response", turn_body(status, input, output), parent, items),
            Node(head_id(id), owner, "head", head_body(response, log), id),
        ]
    )
    return response
