"""The stand-in provider as an ASGI app: all APIs, answers at a settable pace, and a model for each fault."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

import attrs
import msgspec
import trio
from quart import request
from quart_trio import QuartTrio

from gateway.http.response import JSON_HEADERS, ChannelBody, Response, stream_headers
from gateway.mock.called import EndpointCall
from gateway.mock.endpoint_answers import ANSWERS, Answering
from gateway.mock.endpoints import add_endpoints
from gateway.mock.failures import fault_of, listed
from gateway.mock.faults import LONGEST, Fault, Piece, ScriptedAnswer
from gateway.mock.script import script
from gateway.serving.quart_connections import configure
from gateway.serving.quart_requests import read_body
from gateway.serving.quart_views import add_view, current_scope
from gateway.serving.registry import ConnectionRegistry
from providers.apis import CODECS
from providers.neutral.codec import Codec, Reply
from providers.neutral.fields import expect
from providers.neutral.seal import Issuer
from providers.neutral.wire_api import RequestPath
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Event, ReasoningDelta, TextDelta, ToolCallDelta
from streams.fold import fold
from streams.framing import Framing
from streams.surrogates import NOT_JSON

MODELS = ("mock-small", "mock-large")
ISSUER = Issuer("mock", "")
NO_FAULT = Fault("a good answer")


def create_mock(pace: float = 0.03, registry: ConnectionRegistry | None = None) -> QuartTrio:
    """The ASGI app. ``pace`` is the pause between two words of a stream, in seconds. ``registry`` has the server's
    connections: without it ``fault/reset-after-3``, which resets one, closes like ``fault/cut-after-3``."""
    app = QuartTrio("trigate-mock", static_folder=None)
    configure(app)
    failures = Counter[tuple[Api, str, int]]()  # of faults that fail some times, since one was answered well
    reset = partial(_reset, registry or ConnectionRegistry())

    async def models() -> Response:
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "trigate-mock"} for name in (*MODELS, *listed())
        ]
        return Response(200, JSON_HEADERS, msgspec.json.encode({"object": "list", "data": data}))

    def view(codec: Codec, route: RequestPath) -> Callable[..., Awaitable[Response]]:
        async def answer(_base: str = "", model: str | None = None) -> Response:
            try:
                body = await read_body()
                call = codec.read_request(expect(_decode(body), dict, "the request body"))
                if model is not None:
                    call = attrs.evolve(call, model=model, stream=bool(route.streamed))
                fault, number = _fault(call.model, codec.api, failures)
                if (refusal := fault.refusals.get(codec.api)) is not None:
                    return _error(codec, refusal, fault.body)
                told = fault.told.get(codec.api)
                events = fault.events(script(call, codec.api), number) if told is None else [told]
            except GatewayError as error:
                return _error(codec, error.failed)
            reply = Reply(call, ISSUER, int(time.time()), max(1, len(body) // 4))
            return await _send(fault.answer(_answer(codec, reply, events), number), pace, reset)

        return answer

    add_endpoints(app, partial(_call_endpoint, failures, pace, reset), _answered_line)
    add_view(app, "/v1/models", "models", models, ["GET"])
    for codec in CODECS.values():
        for route in codec.wire.routes():
            if route.operation != "answer":
                continue
            answer, path = view(codec, route), route.path.replace("{model}", "<path:model>")
            add_view(app, path, route.path, answer, ["POST"])
            if route.path.startswith(codec.wire.root):  # /v1beta/openai/chat/completions, as Google has it
                elsewhere = "/<path:_base>" + path.removeprefix(codec.wire.root)
                add_view(app, elsewhere, f"{route.path} elsewhere", answer, ["POST"])
    return app


async def _call_endpoint(
    failures: Counter[tuple[Api, str, int]],
    pace: float,
    reset: Callable[[], None],
    answering: Answering,
    read: Callable[[], EndpointCall],
) -> Response:
    """The answer to a call of what is no conversation; its errors and faults are those of Chat."""
    codec = CODECS["chat"]
    try:
        call = read()
        fault, number = _fault(call.model, codec.api, failures)
        if (refusal := fault.refusals.get(codec.api)) is not None:
            return _error(codec, refusal, fault.body)
        answer = fault.answer(answering(call), number)
    except GatewayError as error:
        return _error(codec, error.failed)
    return await _send(answer, pace, reset)


def _decode(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except NOT_JSON:
        return None


def _error(codec: Codec, failed: ErrorInfo, change: Callable[[bytes], bytes] = bytes) -> Response:
    failed = codec.phrase_error(failed)
    body = change(codec.write_error(failed, current_scope().id))
    return Response(failed.status, (*failed.headers, *codec.wire.error_headers(failed), *JSON_HEADERS), body)


def _fault(model: str, api: Api, failures: Counter[tuple[Api, str, int]]) -> tuple[Fault, int]:
    """What is wrong with the answer to this request for ``model``, and the number in its name. Raises ``GatewayError``
    for a fault that there is not."""
    name, fault, number = fault_of(model) or ("", NO_FAULT, 0)
    times = 1 if fault.once else number if fault.counted else 0
    key = (api, name, number)
    if times and failures[key] >= times:
        del failures[key]
        return NO_FAULT, 0
    failures[key] += 1 if times else 0
    return fault, number


def _answer(codec: Codec, reply: Reply, events: Iterable[Event]) -> ScriptedAnswer:
    """The answer as it goes out if nothing is done to it."""
    if reply.request.stream:
        writer = codec.writer(reply)
        pieces = tuple(
            Piece(writer.send(event), isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta)) for event in events
        )
        framing = codec.wire.framing_for(request.query_string.decode("latin-1"))
        answer = ScriptedAnswer(codec.wire.framing, pieces, stream_headers(framing))
        return answer if framing is codec.wire.framing else _reframed(answer, codec.wire.framing, framing)
    try:
        body = codec.write_answer(fold(events), reply)
    except GatewayError as error:
        body = codec.write_error(error.failed, current_scope().id)
    return ScriptedAnswer(None, (Piece(body),), JSON_HEADERS)


def _answered_line(path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    """The answer to a line of a batch: one of a conversation, or embeddings."""
    if path in ANSWERS:
        answer = ANSWERS[path](EndpointCall(body, path=path))
        return 200, msgspec.json.decode(answer.pieces[0].data)
    codec = next((one for one in CODECS.values() if one.wire.root + one.wire.path == path), CODECS["chat"])
    try:
        call = codec.read_request(expect(dict(body), dict, "the line"))
        answer = _answer(codec, Reply(call, ISSUER, int(time.time()), 1), script(call, codec.api))
    except GatewayError as error:
        return error.failed.status, msgspec.json.decode(codec.write_error(error.failed, ""))
    return 200, msgspec.json.decode(answer.pieces[0].data)


def _reframed(answer: ScriptedAnswer, own: Framing, framing: Framing) -> ScriptedAnswer:
    """The same events in another framing."""
    assert framing.writer is not None
    splitter, writer = own.splitter(LONGEST), framing.writer()
    pieces = [
        attrs.evolve(piece, data=b"".join(writer.event(*event) for event in map(own.parse, raws) if event is not None))
        for piece, raws in ((piece, splitter.feed(piece.data)) for piece in answer.pieces)
    ]
    return attrs.evolve(answer, framing=framing, pieces=(*pieces, Piece(writer.close())))


async def _send(answer: ScriptedAnswer, pace: float, reset: Callable[[], None]) -> Response:
    await trio.sleep(answer.wait)
    if answer.end == "well" and not answer.stream:
        return Response(200, answer.headers, b"".join(piece.data for piece in answer.pieces))
    send, receive = trio.open_memory_channel[bytes](0)
    body = ChannelBody(receive)
    current_scope().nursery.start_soon(_play, answer, pace, send, body, reset)
    return Response(200, answer.headers, body)


async def _play(
    answer: ScriptedAnswer,
    pace: float,
    send: trio.MemorySendChannel[bytes],
    body: ChannelBody,
    reset: Callable[[], None],
) -> None:
    with send:
        for piece in answer.pieces:
            if piece.content:
                await trio.sleep(pace)
            if piece.data:
                await send.send(piece.data)
        match answer.end:
            case "silence":
                await trio.sleep_forever()
            case "reset":
                for _ in range(2):  # the first may be taken with the last word, the second when that is written
                    await send.send(b"")
                body.cut()
                reset()
            case "cut":
                body.cut()


def _reset(registry: ConnectionRegistry) -> None:
    """Close the connection of the request that is being handled with an RST."""
    for connection in tuple(registry.connections):
        if connection.client == request.scope["client"]:
            connection.reset()
