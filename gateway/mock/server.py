"""The stand-in provider as an ASGI app: all APIs, responses at a settable pace, and a model for each fault."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import attrs
import msgspec
import trio

from gateway.http.paths import canonical
from gateway.http.response import JSON_HEADERS, ChannelBody, Response, stream_headers
from gateway.mock.called import EndpointCall, read_incoming
from gateway.mock.endpoint_answers import GET_ANSWERS, POST_ANSWERS, AnswerCall
from gateway.mock.failures import ONLY_FAULTS, fault_descriptions, fault_of
from gateway.mock.failures import PREFIX as FAULT_PREFIX
from gateway.mock.faults import MAX_EVENT, Fault, Piece, ScriptedAnswer
from gateway.mock.issuer import POST, StandInIssuer, add_issuer
from gateway.mock.kept import MockObjects
from gateway.mock.mcp_server import add_mcp_server
from gateway.mock.realtime import session_app
from gateway.mock.script import script
from gateway.serving.http_app import App
from gateway.serving.incoming_request import IncomingRequest, ignore_arrived
from gateway.serving.registry import ConnectionRegistry
from gateway.serving.route_table import READING, RouteTable
from providers.apis import CODECS
from providers.neutral.choices import MEMBERS, MOST_SPLIT, join_choices
from providers.neutral.codec import Codec, Reply
from providers.neutral.fields import expect
from providers.neutral.seal import PREFIX, Issuer
from providers.neutral.wire_api import RequestPath
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Event, ReasoningDelta, TextDelta, ToolCallDelta
from streams.fold import fold
from streams.framing import Framing
from streams.sse import SSE
from streams.surrogates import decode_or

MODELS = ("mock-small", "mock-large")
MARK: Final = "up1."
"""The stand-in's mark in reasoning and ids. It differs from a gateway's mark, which another gateway would remove."""
ISSUER: Final = Issuer("mock", mark=MARK)
_GATEWAY_IDS: Final = f"_{PREFIX}".encode()
_OWN_IDS: Final = f"_{MARK}".encode()
_WORDS: Final = (TextDelta, ReasoningDelta, ToolCallDelta)
_IGNORED: Final = ("compaction",)
"""Members of requests that no other API has, so that a translation refuses them. Their providers accept them."""
NO_FAULT = Fault("a normal answer")


class ModelCaches:
    """The prompt caches of models: none here. Tests replace it by an imitation of providers' caches."""

    def count(self, model: str, api: Api, body: Mapping[str, Any], headers: Mapping[str, str], endpoint: str) -> Fault:
        """Return the change that adds a provider's counts for a request to its answer. Raises ``GatewayError``."""
        return NO_FAULT


def create_mock(
    pace: float = 0.03, registry: ConnectionRegistry | None = None, caches: ModelCaches | None = None
) -> App:
    """Return the ASGI app.

    ``pace`` is the pause between words of a stream in seconds. ``registry`` has the server's connections; without it,
    ``fault/reset-after-3`` closes like ``fault/cut-after-3``."""
    provider = _StandIn(pace, registry or ConnectionRegistry(), caches or ModelCaches())
    issuer, routes = StandInIssuer(), RouteTable()
    add_issuer(routes, issuer)
    add_mcp_server(routes, issuer)
    simple = [(POST, *row) for row in POST_ANSWERS.items()] + [(READING, *row) for row in GET_ANSWERS.items()]
    for methods, path, answering in (*simple, *MockObjects(_answer_line).routes()):
        routes.add(path, partial(provider.answer_endpoint, answering), methods)
    routes.add("/v1/models", _list_models, READING)
    calls = [(codec, route) for codec in CODECS.values() for route in codec.wire.routes()]
    calls = [(codec, route) for codec, route in calls if route.operation == "answer"]
    for codec, route in calls:
        routes.add(route.path, partial(provider.answer_conversation, codec, route), POST)
    for codec, route in calls:
        if route.path.startswith(codec.wire.root):  # Google's /v1beta/openai/chat/completions
            path = "/{rest}" + route.path.removeprefix(codec.wire.root)
            routes.add(path, partial(provider.answer_conversation, codec, route), POST)
    return App(routes=routes, unknown=partial(_find_no_path, routes), websocket_app=session_app)


class _StandIn:
    """The answers of the stand-in, and the consecutive failures of its counted faults."""

    def __init__(self, pace: float, registry: ConnectionRegistry, caches: ModelCaches) -> None:
        self._pace = pace
        self._registry = registry
        self._caches = caches
        self._failures: Counter[tuple[Api, str, int]] = Counter()

    async def answer_conversation(
        self, codec: Codec, route: RequestPath, incoming: IncomingRequest, rest: str = "", model: str | None = None
    ) -> Response:
        try:
            body = await incoming.read(ignore_arrived)
            decoded = expect(decode_or(msgspec.json.decode, body, None), dict, "the request body")
            call = codec.read_request({key: value for key, value in decoded.items() if key not in _IGNORED})
            if model is not None:
                call = attrs.evolve(call, model=model, stream=bool(route.streamed))
            fault, number = self._select_fault(incoming, call.model, codec.api)
            if (refusal := fault.refusals.get(codec.api)) is not None:
                return _error(incoming, codec, refusal, fault.body)
            counted = self._caches.count(call.model, codec.api, decoded, dict(incoming.headers), rest)
            error_event = fault.error_events.get(codec.api)
            scripted = counted.events([*script(call, codec.api)], 0)
            events = fault.events(scripted, number) if error_event is None else [error_event]
        except GatewayError as error:
            return _error(incoming, codec, error.info)
        reply = Reply(call, ISSUER, int(time.time()), max(1, len(body) // 4))
        return await self._send(incoming, fault.answer(_answer(codec, reply, events, incoming.query), number))

    async def answer_endpoint(self, answering: AnswerCall, incoming: IncomingRequest, **named: str) -> Response:
        """Return the response to a request other than a conversation. Faults and errors are those of Chat."""
        codec = CODECS["chat"]
        try:
            call = await read_incoming(incoming, named)
            fault, number = self._select_fault(incoming, call.model, "chat")
            if (refusal := fault.refusals.get("chat")) is not None:
                return _error(incoming, codec, refusal, fault.body)
            answer = fault.answer(answering(call), number)
        except GatewayError as error:
            return _error(incoming, codec, error.info)
        return await self._send(incoming, answer)

    def _select_fault(self, incoming: IncomingRequest, model: str, api: Api) -> tuple[Fault, int]:
        """Return the fault that ``model`` selects for this request, and the number in the model's name.

        Raises ``GatewayError`` for an unknown fault."""
        if ONLY_FAULTS in dict(incoming.headers):
            model = FAULT_PREFIX + model.removeprefix(FAULT_PREFIX)
        name, fault, number = fault_of(model) or ("", NO_FAULT, 0)
        times = 1 if fault.fails_once else number if fault.number == 0 else 0
        key = (api, name, number)
        if times and self._failures[key] >= times:
            del self._failures[key]
            return NO_FAULT, 0
        self._failures[key] += 1 if times else 0
        return fault, number

    async def _send(self, incoming: IncomingRequest, answer: ScriptedAnswer) -> Response:
        await trio.sleep(answer.wait)
        if answer.end == "well" and not answer.stream:
            return Response(200, answer.headers, b"".join(piece.data for piece in answer.pieces))
        send, receive = trio.open_memory_channel[bytes](0)
        body = ChannelBody(receive)
        incoming.scope.nursery.start_soon(self._send_pieces, answer, send, body, incoming.asgi["client"])
        return Response(200, answer.headers, body)

    async def _send_pieces(
        self, answer: ScriptedAnswer, send: trio.MemorySendChannel[bytes], body: ChannelBody, client: object
    ) -> None:
        with send:
            for piece in answer.pieces:
                if piece.content:
                    await trio.sleep(self._pace)
                if piece.data:
                    await send.send(piece.data)
            match answer.end:
                case "silence":
                    await trio.sleep_forever()
                case "reset":
                    for _ in range(2):  # the second starts after the last word was written
                        await send.send(b"")
                    body.cut()
                    for connection in tuple(self._registry.connections):
                        if connection.client == client:
                            connection.reset()
                case "cut":
                    body.cut()


async def _list_models(incoming: IncomingRequest) -> Response:
    data = [
        {"id": name, "object": "model", "created": 0, "owned_by": "trigate-mock"}
        for name in (*MODELS, *fault_descriptions())
    ]
    return Response(200, JSON_HEADERS, msgspec.json.encode({"object": "list", "data": data}))


async def _find_no_path(routes: RouteTable, incoming: IncomingRequest) -> Response:
    method, path = incoming.asgi["method"], incoming.asgi["path"]
    if allowed := ", ".join(routes.methods(path)):
        text = f"{method[:100]} is not allowed on {path[:100]}; use {allowed}"
        error = ErrorInfo("invalid_request", text, status=405, headers=(("allow", allowed),))
    else:
        error = ErrorInfo("not_found", f"the stand-in has no path {path[:100]}: test it with the provider")
    return _error(incoming, CODECS["chat"], error)


def _error(
    incoming: IncomingRequest, codec: Codec, error: ErrorInfo, change: Callable[[bytes], bytes] = bytes
) -> Response:
    error = codec.phrase_error(error)
    body = change(codec.write_error(error, incoming.scope.id))
    return Response(error.status, (*error.headers, *codec.wire.error_headers(error), *JSON_HEADERS), body)


def _answer(codec: Codec, reply: Reply, events: Iterable[Event], query: str = "") -> ScriptedAnswer:
    """Return the response to a conversation with ``query``, before a fault changes it."""
    if reply.request.stream:
        writer = codec.writer(reply)
        pieces = tuple(Piece(_with_own_ids(codec, writer.send(event)), isinstance(event, _WORDS)) for event in events)
        framing = codec.wire.framing_for(query)
        answer = ScriptedAnswer(codec.wire.framing, pieces, stream_headers(framing))
        return answer if framing is codec.wire.framing else _reframe(answer, codec.wire.framing, framing)
    try:
        body = _repeat_choice(codec.write_answer(fold(events), reply), reply)
    except GatewayError as error:
        body = codec.write_error(error.info, "")
    return ScriptedAnswer(None, (Piece(_with_own_ids(codec, body)),), JSON_HEADERS)


def _repeat_choice(body: bytes, reply: Reply) -> bytes:
    """Return a whole answer with as many equal choices as its request wants, if its API has choices."""
    wanted = reply.request.parameters.get("n") if reply.request.api in MEMBERS else None
    number = wanted.value if wanted is not None and type(wanted.value) is int else 1
    return join_choices([body] * min(number, MOST_SPLIT), reply.request.api) if number > 1 else body


def _with_own_ids(codec: Codec, data: bytes) -> bytes:
    """Return ``data`` with the stand-in's mark in ids."""
    return data.replace(_GATEWAY_IDS, _OWN_IDS) if codec.wire.framing is SSE else data  # others have checksums


def _answer_line(path: str, body: Any) -> tuple[int, Any]:
    """Return the response to a line of a batch: a conversation or embeddings."""
    path = canonical(path)  # Azure's clients leave out /v1
    codec = next((one for one in CODECS.values() if one.wire.root + one.wire.path == path), CODECS["chat"])
    try:
        body = expect(body, dict, "the line")
        if path in POST_ANSWERS:
            answer = POST_ANSWERS[path](EndpointCall(body, path=path))
        else:
            call = codec.read_request(body)
            answer = _answer(codec, Reply(call, ISSUER, int(time.time()), 1), script(call, codec.api))
    except GatewayError as error:
        return error.info.status, msgspec.json.decode(codec.write_error(error.info, ""))
    return 200, msgspec.json.decode(answer.pieces[0].data)


def _reframe(answer: ScriptedAnswer, own: Framing, framing: Framing) -> ScriptedAnswer:
    """Return ``answer`` with its events in another framing."""
    assert framing.writer is not None
    splitter, writer = own.splitter(MAX_EVENT), framing.writer()
    pieces = [
        attrs.evolve(piece, data=b"".join(writer.event(*event) for event in map(own.parse, raws) if event is not None))
        for piece, raws in ((piece, splitter.feed(piece.data)) for piece in answer.pieces)
    ]
    return attrs.evolve(answer, framing=framing, pieces=(*pieces, Piece(writer.close())))
