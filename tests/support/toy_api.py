"""An imaginary wire API that differs from the others wherever possible: the model is in the path, a stream has its own
path and binary frames, requests are signed, and errors have their own format.

A frame consists of its length (4 bytes), the length of its name (1 byte), the name, JSON, and a checksum (4 bytes).
"""

import hashlib
import hmac
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from providers.auth.credential import Credential
from providers.auth.signer import UnsignedRequest
from providers.catalog.providers import Provider
from providers.errors.failures import read_failure
from providers.neutral.bounds import ANSWER
from providers.neutral.codec import Codec, Outgoing, Recipient, Reply, new_id
from providers.neutral.draft import Draft
from providers.neutral.request import Message, Request, TextPart, Tool, ToolCallPart, ToolResultPart
from providers.neutral.seal import Issuer
from providers.neutral.wire_api import Conversation, OperationPath, StreamWords, WireApi
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    ErrorInfo,
    Event,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import Answer, TextBlock, ToolCallBlock
from streams.framing import EventSplitter, EventTooLarge, Framing, FramingError

LEAST: Final = 9
"""The bytes of a frame without name and data."""


# Frames


def frame(name: str, value: Any) -> bytes:
    label, data = name.encode(), json.dumps(value).encode()
    content = (LEAST + len(label) + len(data)).to_bytes(4, "big") + bytes([len(label)]) + label + data
    return content + zlib.crc32(content).to_bytes(4, "big")


def parse(raw: bytes) -> tuple[str, bytes] | None:
    end = 5 + raw[4]
    return raw[5:end].decode(), raw[end:-4]


def change_frame(raw: bytes, change: Any) -> bytes:
    name, data = parse(raw) or ("", b"null")
    return frame(name, json.loads(change(data)))


class FrameSplitter(EventSplitter):
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        self._held += data
        found = []
        while len(self._held) >= 4:
            size = int.from_bytes(self._held[:4], "big")
            if size > self._limit:
                raise EventTooLarge
            if len(self._held) < size:
                break
            raw, self._held = self._held[:size], self._held[size:]
            if zlib.crc32(raw[:-4]).to_bytes(4, "big") != raw[-4:]:
                raise FramingError("the provider sent a frame with a wrong checksum")
            found.append(raw)
        return found

    def close(self) -> bytes:
        rest, self._held = self._held, b""
        return rest


FRAMES = Framing(
    media_type="application/vnd.toy.frames",
    content_type="application/vnd.toy.frames",
    splitter=FrameSplitter,
    parse=parse,
    complete=lambda rest: b"",  # a whole frame is never left over
    change_payload=change_frame,
)

WIRE = WireApi(
    "toy",
    "acme_toy",
    "/toy/models/{model}",
    Conversation("say"),
    root="",
    operations={"answer": OperationPath("/ask", "/ask-in-frames"), "count": OperationPath("/count")},
    model_member=None,
    stream_member=None,
    framing=FRAMES,
    words=StreamWords(ends=frozenset(("done",)), error_names=frozenset(("oops",))),
    ping=frame("beat", {}),
    client_headers=("x-toy-*",),
    query_members=frozenset(("humour",)),
    id_headers=("x-request-id", "x-toy-request"),
)

WHY: Final = {"stop": "done", "stop_sequence": "done", "length": "full", "tool_calls": "calls"}
REASONS: Final = {"done": "stop", "full": "length", "calls": "tool_calls"}


# Requests


def _message(index: int, members: Mapping[str, Any]) -> Message:
    at = f"say[{index}]"
    match members["who"]:
        case "tool":
            return Message("user", (ToolResultPart(members["for"], (TextPart(members["text"], at),), at=at),), at)
        case "model":
            text = (TextPart(members["text"], at),) if members.get("text") else ()
            calls = (ToolCallPart(call["id"], call["name"], call["input"], at=at) for call in members.get("calls", ()))
            return Message("assistant", (*text, *calls), at)
        case who:
            return Message("system" if who == "boss" else "user", (TextPart(members["text"], at),), at)


def _toy_turns(message: Message) -> list[dict[str, Any]]:
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    text = "".join(part.text for part in message.parts if isinstance(part, TextPart))
    who = {"assistant": "model", "user": "user"}.get(message.role, "boss")
    told: list[dict[str, Any]] = [
        {"who": "tool", "for": part.call_id, "text": "".join(getattr(one, "text", "") for one in part.parts)}
        for part in results
    ]
    if calls:
        inputs = [{"id": part.id, "name": part.name, "input": part.input} for part in calls]
        return [*told, {"who": who, "text": text, "calls": inputs}]
    return [*told, {"who": who, "text": text}] if text else told


# Answers


class ToyReader:
    def __init__(self) -> None:
        self._block = -1
        self._over = False
        self._open = False

    def read_event(self, event: str, data: bytes) -> Sequence[Event]:
        value = json.loads(data)
        match event:
            case "begin":
                return [AnswerStart(value["id"], value["model"])]
            case "text":
                shut = self._begin()
                return [*shut, TextDelta(self._block, value["text"])]
            case "call":
                self._open = False
                shut = self._begin()
                return [
                    *shut, ToolCallStart(self._block, value["id"], value["name"]),
                    ToolCallDelta(self._block, value["input"]),
                ]  # fmt: skip
            case "done":
                self._over = True
                shut = [BlockEnd(self._block)] if self._block >= 0 else []
                usage = Usage(input=value["in"], output=value["out"])
                return [*shut, usage, AnswerEnd(REASONS[value["why"]], value["why"])]  # type: ignore[arg-type]
            case "oops":
                self._over = True
                return [_read_failure(value)]
        return []

    def unsent_usage(self) -> Usage | None:
        return None

    def _begin(self) -> list[Event]:
        if self._open:
            return []
        shut: list[Event] = [BlockEnd(self._block)] if self._block >= 0 else []
        self._block, self._open = self._block + 1, True
        return shut

    def close(self) -> Sequence[Event]:
        return [] if self._over else [ErrorInfo("upstream", "the provider ended the stream early")]


class ToyWriter:
    def __init__(self, reply: Reply) -> None:
        self._id = reply.id or new_id("toy_")
        self._model = reply.request.model
        self._begun = False
        self._call: ToolCallStart | None = None
        self._input = ""
        self._usage = Usage()

    def send(self, event: Event) -> bytes:
        begun, out = self._begun, b""
        self._begun = True
        if not begun:
            out = frame("begin", {"id": self._id, "model": self._model})
        return out + self._event(event)

    def _event(self, event: Event) -> bytes:
        match event:
            case TextDelta(text=text):
                return frame("text", {"text": text})
            case ToolCallStart():
                self._call, self._input = event, ""
            case ToolCallDelta(text=text):
                self._input += text
            case BlockEnd() if self._call is not None:
                call, self._call = self._call, None
                return frame("call", {"id": call.id, "name": call.name, "input": self._input})
            case Usage():
                self._usage = event
            case AnswerEnd(reason=reason):
                counted = {"in": self._usage.prompt, "out": self._usage.output}
                return frame("done", {"why": WHY.get(reason, "done"), **counted})
            case ErrorInfo():
                return frame("oops", _error_object(event))
        return b""


def _error_object(error: ErrorInfo) -> dict[str, Any]:
    return {"what": error.kind, "words": error.message}


def _read_failure(value: Mapping[str, Any], status: int | None = None) -> ErrorInfo:
    kinds = {"rate_limited", "overloaded", "invalid_request", "authentication", "permission"}
    kind = value["what"] if value["what"] in kinds else "upstream"
    return ErrorInfo(kind, value["words"], **({} if status is None else {"status": status}))


class Toy(Codec):
    """The codec."""

    wire = WIRE

    def read_request(self, body: Mapping[str, Any]) -> Request:
        tools = tuple(Tool(tool["name"], tool.get("about"), tool.get("schema")) for tool in body.get("tools", ()))
        messages = tuple(_message(index, said) for index, said in enumerate(body["say"]))
        return Request("toy", "", messages, tools=tools, source=body)

    def write_request(self, request: Request, to: Recipient) -> Outgoing:
        body: dict[str, Any] = {"say": [said for message in request.messages for said in _toy_turns(message)]}
        tools = [tool for tool in request.tools if isinstance(tool, Tool)]
        if tools:
            body["tools"] = [{"name": one.name, "about": one.description, "schema": one.schema} for one in tools]
        return Outgoing(json.dumps(body).encode())

    def adapt(self, draft: Draft, to: Recipient) -> None:
        pass

    def restore(self, body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        return {}, ()

    def reader(self, content_limit: int = ANSWER) -> ToyReader:
        return ToyReader()

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
        try:
            answer = json.loads(body)
            frames = [("begin", answer), *((one["is"], one) for one in answer["said"]), ("done", answer)]
        except (ValueError, KeyError, TypeError):
            raise GatewayError("upstream", "the provider's answer is none of a toy") from None
        reader = ToyReader()
        return [event for name, value in frames for event in reader.read_event(name, json.dumps(value).encode())]

    writer = ToyWriter

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        said: list[dict[str, Any]] = []
        for block in answer.blocks:
            match block:
                case TextBlock(text=text):
                    said.append({"is": "text", "text": text})
                case ToolCallBlock():
                    said.append({"is": "call", "id": block.id, "name": block.name, "input": block.input})
        usage = answer.usage or Usage()
        counted = {"in": usage.prompt, "out": usage.output, "why": WHY.get(answer.end.reason, "done")}
        return json.dumps({"id": new_id("toy_"), "model": reply.request.model, "said": said, **counted}).encode()

    def write_error(self, error: ErrorInfo, request_id: str) -> bytes:
        return json.dumps({"oops": _error_object(error)}).encode()

    def read_error(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
        try:
            oops = json.loads(body)["oops"]
        except (ValueError, KeyError, TypeError):
            return read_failure(status, body, headers)
        return _read_failure(oops, status)

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        return self.write_request(request, to)

    def write_count_answer(self, tokens: int) -> bytes:
        return json.dumps({"input_tokens": tokens}).encode()

    def last_event(self, error: ErrorInfo, start: AnswerStart, events: int) -> bytes:
        return frame("oops", _error_object(error))

    def is_own_error(self, body: Mapping[str, Any]) -> bool:
        return isinstance(body.get("oops"), dict)


TOY = Toy()


# Signed requests


def signature(token: str, method: str, path: str, headers: Mapping[str, str], body: bytes, at: str) -> str:
    """Return the signature of a request. ``headers`` are the signed ones."""
    lines = [
        method,
        path,
        at,
        *(f"{name}:{headers[name]}" for name in sorted(headers)),
        hashlib.sha256(body).hexdigest(),
    ]
    return hmac.new(token.encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()


@attrs.frozen
class ToySigner:
    names = ("x-toy-signed", "x-toy-at", "x-toy-signature")

    def sign(self, request: UnsignedRequest, credential: Credential, at: float) -> tuple[tuple[str, str], ...]:
        url = urlsplit(request.url)
        path = url.path + (f"?{url.query}" if url.query else "")
        headers, now = dict(request.headers), str(int(at))
        assert isinstance(credential, str)
        value = signature(credential, request.method, path, headers, request.body, now)
        return (("x-toy-signed", " ".join(sorted(headers))), ("x-toy-at", now), ("x-toy-signature", value))


ROW = Provider(
    "toy",
    "Toy",
    prefix="",
    paths={"toy": WIRE.path},
    speaks=dict.fromkeys(("chat", "messages", "responses", "toy"), "toy"),
    auth={"toy": ToySigner()},
)
