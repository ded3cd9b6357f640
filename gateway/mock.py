"""A stand-in provider that speaks all three APIs: text at a settable pace, a tool call when tools are offered, thinking
when it is asked for, and a model for each fault of ``gateway/faults.py``. For the demo, for trying clients and gateways
without a key, and as an upstream of tests."""

import contextlib
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial

import msgspec
import trio
from quart import Response, request
from quart_trio import QuartTrio

from gateway.app import ROUTES
from gateway.exchange import JSON_HEADERS, STREAM_HEADERS
from gateway.faults import Answer, Fault, Piece, fault_of, listed
from gateway.serving.connections import Traffic
from gateway.serving.scope import ChannelBody, configure, current_scope, read_body, respond
from providers.apis import CODECS
from providers.call import Call, ResultPart, TextPart, Tool
from providers.codec import Codec, Reply, new_id
from providers.fields import expect
from providers.seal import Issuer
from streams.errors import GatewayError
from streams.events import (
    Api,
    Begin,
    BlockEnd,
    End,
    Event,
    Failed,
    Reason,
    Sealed,
    Text,
    Thought,
    ToolBegin,
    ToolInput,
    Usage,
)
from streams.fold import fold

MODELS = ("mock-small", "mock-large")
ISSUER = Issuer("mock", "")
NO_FAULT = ("", Fault("a good answer"), 0)

_THINKING = "The person wants a short answer. I have no knowledge of my own, so I will say what I am and what I got."
_ANSWER = (
    "This is the stand-in model of trigate. It understood your request and answers it word by word, as a real model "
    "would, so that you can see a stream arrive. You said: “{said}”. Point a provider of your configuration at a real "
    "address and this very client will talk to it."
)


def create_mock(pace: float = 0.03, traffic: Traffic | None = None) -> QuartTrio:
    """The ASGI app. ``pace`` is the pause between two words of a stream, in seconds. ``traffic`` is that of the server,
    which alone can reset a connection: without it ``fault/reset-after-3`` closes like ``fault/cut-after-3``."""
    app = QuartTrio("trigate-mock", static_folder=None)
    configure(app)
    refused: set[tuple[Api, str]] = set()  # faults whose next request is answered well
    reset = partial(_reset, traffic or Traffic())

    async def models() -> Response:
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "trigate-mock"} for name in (*MODELS, *listed())
        ]
        return respond(msgspec.json.encode({"object": "list", "data": data}), 200, JSON_HEADERS)

    def view(codec: Codec) -> Callable[[], Awaitable[Response]]:
        async def answer() -> Response:
            try:
                body = await read_body()
                call = codec.read_request(expect(_decode(body), dict, "the request body"))
                name, fault, number = fault_of(call.model) or NO_FAULT
                _refuse(fault, (codec.api, name), refused)
            except GatewayError as error:
                return _error(codec, error.failed)
            reply = Reply(call, ISSUER, int(time.time()), max(1, len(body) // 4))
            events = fault.events(script(call, codec.api), number)
            return await _send(fault.answer(_answer(codec, reply, events), number), pace, reset)

        return answer

    app.add_url_rule("/v1/models", "models", models, methods=["GET"])
    for path, api in ROUTES.items():
        app.add_url_rule(path, api, view(CODECS[api]), methods=["POST"])
    return app


def _decode(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _error(codec: Codec, failed: Failed) -> Response:
    body = codec.write_error(failed, current_scope().id)
    return respond(body, failed.status, (*failed.headers, *JSON_HEADERS))


def _refuse(fault: Fault, key: tuple[Api, str], refused: set[tuple[Api, str]]) -> None:
    """Raises ``GatewayError`` if it is the fault to refuse this request."""
    failed = fault.refusals.get(key[0])
    if failed is None:
        return
    if key in refused:
        refused.discard(key)
        return
    if fault.once:
        refused.add(key)
    raise GatewayError.of(failed)


def _answer(codec: Codec, reply: Reply, events: Iterable[Event]) -> Answer:
    """The answer as it goes out if nothing is done to it."""
    if reply.call.stream:
        writer = codec.writer(reply)
        pieces = tuple(Piece(writer.send(event), isinstance(event, Text | Thought | ToolInput)) for event in events)
        return Answer(True, pieces, STREAM_HEADERS)
    try:
        body = codec.write_answer(fold(events), reply)
    except GatewayError as error:
        body = codec.write_error(error.failed, current_scope().id)
    return Answer(False, (Piece(body),), JSON_HEADERS)


async def _send(answer: Answer, pace: float, reset: Callable[[], None]) -> Response:
    await trio.sleep(answer.wait)
    if answer.end == "well" and not answer.stream:
        return respond(b"".join(piece.data for piece in answer.pieces), 200, answer.headers)
    send, receive = trio.open_memory_channel[bytes](0)
    body = ChannelBody(receive)
    current_scope().nursery.start_soon(_play, answer, pace, send, body, reset)
    return respond(body, 200, answer.headers)


async def _play(
    answer: Answer, pace: float, send: trio.MemorySendChannel[bytes], body: ChannelBody, reset: Callable[[], None]
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
                for _ in range(
                    2
                ):  # the first may be taken together with the last word, the second when that is written
                    await send.send(b"")
                body.cut()
                reset()
            case "cut":
                body.cut()


def _reset(traffic: Traffic) -> None:
    """Close the connection of the request that is being handled with an RST."""
    for connection in traffic.connections:
        sock: socket.socket = connection.stream.socket
        with contextlib.suppress(OSError):  # one that is closed already
            if sock.getpeername()[:2] == request.scope["client"]:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.cut()
                return


def script(call: Call, api: Api) -> list[Event]:
    """The answer to ``call``, as events: thinking if it is asked for, a call of the first tool if one is offered and
    nothing has come back yet, else text."""
    return list(_events(call, api))


def _events(call: Call, api: Api) -> Iterator[Event]:
    yield Begin(new_id("mock-"), call.model)
    block = 0
    if call.reasoning is not None and call.reasoning.mode != "disabled" and call.reasoning.effort != "none":
        yield from (Thought(block, word) for word in _words(_THINKING))
        yield Sealed(block, api, _native_thinking(api))
        yield BlockEnd(block)
        block += 1
    tool = next((tool for tool in call.tools if isinstance(tool, Tool)), None)
    reason: Reason
    if tool is not None and not _has_result(call):
        yield from _call_events(block, tool)
        reason, said = "tool_calls", 12
    else:
        words = _words(_ANSWER.format(said=_said(call)))
        yield from (Text(block, word) for word in words)
        yield BlockEnd(block)
        reason, said = "stop", len(words)
    yield Usage(input=max(1, sum(len(str(turn.parts)) for turn in call.turns) // 4), output=said)
    yield End(reason)


def _call_events(block: int, tool: Tool) -> Iterator[Event]:
    yield ToolBegin(block, new_id("call_"), tool.name, tool.kind)
    text = "mock input" if tool.kind == "custom" else msgspec.json.encode(_arguments(tool)).decode()
    half = len(text) // 2
    yield from (ToolInput(block, piece) for piece in (text[:half], text[half:]) if piece)
    yield BlockEnd(block)


def _arguments(tool: Tool) -> dict[str, object]:
    """A value for each required member of the tool's schema."""
    schema = tool.schema if isinstance(tool.schema, dict) else {}
    members = schema.get("properties")
    samples: dict[str, object] = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
    required = schema.get("required") or ()
    if not isinstance(members, dict):
        return {}
    return {
        name: samples.get(str(members.get(name, {}).get("type")), "mock")
        for name in required
        if isinstance(members.get(name), dict)
    }


def _has_result(call: Call) -> bool:
    """Whether a result has come back at any time: a coding agent's own words may stand behind it, and it would be asked
    for the same call for ever."""
    return any(isinstance(part, ResultPart) for turn in call.turns for part in turn.parts)


def _said(call: Call) -> str:
    for turn in reversed(call.turns):
        texts = [part.text for part in turn.parts if isinstance(part, TextPart) and part.text]
        if turn.role == "user" and texts:  # else these are tool results alone
            text = texts[-1]  # coding agents put what the person should not see before it
            return text if len(text) <= 80 else text[:79] + "…"
    return ""


def _native_thinking(api: Api) -> object:
    """What the provider that is played would want back on the next turn."""
    match api:
        case "messages":
            return {"type": "thinking", "thinking": _THINKING, "signature": "bW9jay1zaWduYXR1cmU="}
        case "responses":
            summary = [{"type": "summary_text", "text": _THINKING}]
            return {"type": "reasoning", "id": new_id("rs_"), "summary": summary, "encrypted_content": "bW9jaw=="}
        case _:
            return {"field": "reasoning_content"}


def _words(text: str) -> list[str]:
    """The words with the space before each, as models' tokens have it."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]
