"""Simulated providers: scripted answers, rendered by hand in each API.

They follow the published references of the APIs and recorded traffic, and use no code of the gateway on purpose.
"""

import contextlib
import http.server
import json
import queue
import re
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar

import attrs

from tests.support.certificates import Pair
from tests.support.interactions_wire import interactions_answer, interactions_stream
from tests.support.scripts import Script, Stop, Tokens, data, event, pieces
from tests.support.scripts import ToolCall as ToolCall

JSON = (("content-type", "application/json"),)
STREAM = (("content-type", "text/event-stream"),)
PATHS = {
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "interactions": "/v1beta/interactions",
}

STOP_WORDS: Mapping[str, Mapping[Stop, str]] = {
    "chat": {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"},
    "messages": {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"},
    "converse": {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "content_filtered",
    },
    "gemini": {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"},
    "responses": {
        "stop": "completed",
        "length": "max_output_tokens",
        "tool_calls": "completed",
        "content_filter": "content_filter",
    },
    "interactions": {
        "stop": "completed",
        "length": "incomplete",
        "tool_calls": "requires_action",
        "content_filter": "incomplete",
    },
}


@attrs.frozen
class Raw:
    """An answer byte by byte. ``end``: ``length`` (content-length), ``chunked``, ``cut`` (chunked, then closed without
    the last chunk), ``close`` (no length, a clean close), ``reset`` (chunked, then RST), ``hang`` (silent until the
    other side closes). ``interval`` is the time in seconds between its pieces."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[bytes, ...] = ()
    end: Literal["length", "chunked", "cut", "close", "reset", "hang"] = "length"
    interval: float = 0


@attrs.frozen
class Seen:
    """A received request. Header names are in lower case."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


# Chat Completions


def chat_usage(tokens: Tokens) -> Any:
    return tokens.edit({
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.prompt + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    })  # fmt: skip


def chat_answer(script: Script, model: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": script.text or None, "refusal": None}
    if script.thinking:
        message["reasoning_content"] = script.thinking
    if script.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in script.calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": STOP_WORDS["chat"][script.stop]}
    return {
        "id": "chatcmpl-up1", "object": "chat.completion", "created": 1700000000, "model": model, "choices": [choice],
        "usage": chat_usage(script.tokens),
    }  # fmt: skip


def chat_stream(script: Script, request: Mapping[str, Any]) -> Iterator[bytes]:
    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return data({**head, "choices": [choice]})

    head = {
        "id": "chatcmpl-up1", "object": "chat.completion.chunk", "created": 1700000000, "model": request["model"],
    }  # fmt: skip
    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(script.thinking):
        yield chunk({"reasoning_content": piece})
    for piece in pieces(script.text):
        yield chunk({"content": piece})
    for i, call in enumerate(script.calls):
        function = {"name": call.name, "arguments": ""}
        yield chunk({"tool_calls": [{"index": i, "id": call.id, "type": "function", "function": function}]})
        for piece in pieces(call.arguments):
            yield chunk({"tool_calls": [{"index": i, "function": {"arguments": piece}}]})
    yield chunk({}, STOP_WORDS["chat"][script.stop])
    if (request.get("stream_options") or {}).get("include_usage"):
        yield data({**head, "choices": [], "usage": chat_usage(script.tokens)})
    yield b"data: [DONE]\n\n"


# Messages


def messages_usage(tokens: Tokens) -> Any:
    return tokens.edit({
        "input_tokens": tokens.prompt - tokens.cache_read - tokens.cache_write,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation_input_tokens": tokens.cache_write,
        "output_tokens": tokens.output,
        "output_tokens_details": {"thinking_tokens": tokens.reasoning},
    })  # fmt: skip


def messages_blocks(script: Script) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if script.thinking or script.seal:
        blocks.append({"type": "thinking", "thinking": script.thinking, "signature": script.seal})
    if script.text:
        blocks.append({"type": "text", "text": script.text})
    return blocks + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments or "{}")}
        for call in script.calls
    ]


def messages_answer(script: Script, model: str) -> dict[str, Any]:
    return {
        "id": "msg_up1", "type": "message", "role": "assistant", "model": model, "content": messages_blocks(script),
        "stop_reason": STOP_WORDS["messages"][script.stop], "stop_sequence": None,
        "usage": messages_usage(script.tokens), **script.more,
    }  # fmt: skip


def messages_stream(script: Script, request: Mapping[str, Any]) -> Iterator[bytes]:
    def delta(i: int, value: Mapping[str, Any]) -> bytes:
        return event("content_block_delta", {"type": "content_block_delta", "index": i, "delta": value})

    started = {**messages_answer(script, request["model"]), "content": [], "stop_reason": None}
    started["usage"] = messages_usage(attrs.evolve(script.tokens, output=1, reasoning=0))
    yield event("message_start", {"type": "message_start", "message": started})
    yield event("ping", {"type": "ping"})
    arguments = {call.id: call.arguments for call in script.calls}
    for i, block in enumerate(messages_blocks(script)):
        empty = {"thinking": "", "signature": ""} if block["type"] == "thinking" else {"text": ""}
        opened = {**block, **(empty if block["type"] != "tool_use" else {"input": {}})}
        yield event("content_block_start", {"type": "content_block_start", "index": i, "content_block": opened})
        if block["type"] == "thinking":
            for piece in pieces(block["thinking"]):
                yield delta(i, {"type": "thinking_delta", "thinking": piece})
            yield delta(i, {"type": "signature_delta", "signature": block["signature"]})
        elif block["type"] == "text":
            for piece in pieces(block["text"]):
                yield delta(i, {"type": "text_delta", "text": piece})
        else:
            for piece in ["", *pieces(arguments[block["id"]])]:
                yield delta(i, {"type": "input_json_delta", "partial_json": piece})
        yield event("content_block_stop", {"type": "content_block_stop", "index": i})
    ended = {"stop_reason": STOP_WORDS["messages"][script.stop], "stop_sequence": None}
    yield event("message_delta", {"type": "message_delta", "delta": ended, "usage": messages_usage(script.tokens)})
    yield event("message_stop", {"type": "message_stop"})


# Responses


def responses_items(script: Script) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if script.thinking or script.seal:
        summary = [{"type": "summary_text", "text": script.thinking}] if script.thinking else []
        items.append({"id": "rs_up1", "type": "reasoning", "summary": summary, "encrypted_content": script.seal})
    if script.text:
        part = {"type": "output_text", "text": script.text, "annotations": [], "logprobs": []}
        items.append(
            {"id": "msg_up1", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
        )
    for i, call in enumerate(script.calls):
        items.append(
            {"id": f"fc_up{i}", "type": "function_call", "status": "completed", "call_id": call.id, "name": call.name,
             "arguments": call.arguments}
        )  # fmt: skip
    return items


def responses_answer(script: Script, model: str) -> dict[str, Any]:
    word = STOP_WORDS["responses"][script.stop]
    whole = word == "completed"
    tokens = script.tokens
    return {
        "id": "resp_up1", "object": "response", "created_at": 1700000000, "model": model,
        "status": "completed" if whole else "incomplete", "error": None,
        "incomplete_details": None if whole else {"reason": word}, "instructions": None, "metadata": {},
        "output": responses_items(script), "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto",
        "tools": [], "top_p": 1.0, "text": {"format": {"type": "text"}}, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "top_logprobs": 0, "truncation": "disabled", "reasoning": {"effort": None,
        "summary": None}, "max_output_tokens": None, "max_tool_calls": None, "store": True, "background": False,
        "service_tier": "default", "previous_response_id": None, "safety_identifier": None, "prompt_cache_key": None,
        "completed_at": None,
        "usage": tokens.edit({
            "input_tokens": tokens.prompt,
            "input_tokens_details": {
                "cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write,
            },
            "output_tokens": tokens.output,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
            "total_tokens": tokens.prompt + tokens.output,
        }),
        **script.more,
    }  # fmt: skip


def responses_stream(script: Script, request: Mapping[str, Any]) -> Iterator[bytes]:
    number = iter(range(10_000))

    def say(name: str, **members: Any) -> bytes:
        kind = f"response.{name}"
        return event(kind, {"type": kind, "sequence_number": next(number), **members})

    whole = responses_answer(script, request["model"])
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield say("created", response=begun)
    yield say("in_progress", response=begun)
    for i, item in enumerate(whole["output"]):
        at = {"item_id": item["id"], "output_index": i}
        yield say("output_item.added", output_index=i, item={**item, **_announced_item(item)})
        if item["type"] == "reasoning":
            yield from _summary_events(say, at, item["summary"])
        elif item["type"] == "message":
            yield from _content_events(say, at, item["content"][0])
        else:
            for piece in pieces(item["arguments"]):
                yield say("function_call_arguments.delta", **at, delta=piece)
            yield say("function_call_arguments.done", **at, arguments=item["arguments"])
        yield say("output_item.done", output_index=i, item=item)
    yield say(whole["status"], response=whole)


def _announced_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the incomplete members of an item when it is announced."""
    return {
        "reasoning": {"summary": [], "encrypted_content": ""},
        "message": {"content": [], "status": "in_progress"},
        "function_call": {"arguments": "", "status": "in_progress"},
    }[item["type"]]


def _summary_events(say: Any, at: Mapping[str, Any], parts: list[dict[str, Any]]) -> Iterator[bytes]:
    for i, part in enumerate(parts):
        yield say("reasoning_summary_part.added", **at, summary_index=i, part={"type": "summary_text", "text": ""})
        for piece in pieces(part["text"]):
            yield say("reasoning_summary_text.delta", **at, summary_index=i, delta=piece)
        yield say("reasoning_summary_text.done", **at, summary_index=i, text=part["text"])
        yield say("reasoning_summary_part.done", **at, summary_index=i, part=part)


def _content_events(say: Any, at: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[bytes]:
    yield say("content_part.added", **at, content_index=0, part={**part, "text": ""})
    for piece in pieces(part["text"]):
        yield say("output_text.delta", **at, content_index=0, delta=piece, logprobs=[])
    yield say("output_text.done", **at, content_index=0, text=part["text"], logprobs=[])
    yield say("content_part.done", **at, content_index=0, part=part)


# Gemini


def gemini_usage(tokens: Tokens) -> Any:
    counts = {
        "promptTokenCount": tokens.prompt, "candidatesTokenCount": tokens.output - tokens.reasoning,
        "totalTokenCount": tokens.prompt + tokens.output,
    }  # fmt: skip
    more = {"cachedContentTokenCount": tokens.cache_read, "thoughtsTokenCount": tokens.reasoning}
    return tokens.edit(counts | {name: count for name, count in more.items() if count})


def gemini_parts(script: Script) -> Iterator[dict[str, Any]]:
    """Yield the parts of an answer. Its seal is the signature of the first call, or of the text."""
    sealed = {"thoughtSignature": script.seal} if script.seal else {}
    if script.thinking:
        yield {"text": script.thinking, "thought": True}
    if script.text:
        yield {"text": script.text, **({} if script.calls else sealed)}
    for i, call in enumerate(script.calls):
        said = {"id": call.id, "name": call.name, "args": json.loads(call.arguments or "{}")}
        yield {"functionCall": said, **({} if i else sealed)}


def gemini_chunk(parts: list[dict[str, Any]], model: str, **candidate: Any) -> dict[str, Any]:
    content = {"content": {"parts": parts, "role": "model"}, **candidate, "index": 0}
    return {"candidates": [content], "modelVersion": model, "responseId": "up1"}


def gemini_answer(script: Script, model: str) -> dict[str, Any]:
    finish = STOP_WORDS["gemini"][script.stop]
    whole = gemini_chunk(list(gemini_parts(script)), model, finishReason=finish)
    return whole | {"usageMetadata": gemini_usage(script.tokens)}


def gemini_stream(script: Script, request: Mapping[str, Any]) -> Iterator[bytes]:
    model = request.get("model", "up")
    for part in gemini_parts(script):
        texts = pieces(part["text"]) if "text" in part else [None]
        for i, text in enumerate(texts):
            last = i == len(texts) - 1
            said = {**part, "text": text} if text is not None else part
            sent = said if last else {name: said[name] for name in said if name != "thoughtSignature"}
            yield _gemini_event(gemini_chunk([sent], model))
    end = gemini_chunk([{"text": ""}], model, finishReason=STOP_WORDS["gemini"][script.stop])
    yield _gemini_event(end | {"usageMetadata": gemini_usage(script.tokens)})


def _gemini_event(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\r\n\r\n".encode()


# Converse


def converse_usage(tokens: Tokens) -> Any:
    return tokens.edit({
        "inputTokens": tokens.prompt - tokens.cache_read - tokens.cache_write, "outputTokens": tokens.output,
        "totalTokens": tokens.prompt + tokens.output, "cacheReadInputTokens": tokens.cache_read,
        "cacheWriteInputTokens": tokens.cache_write,
    })  # fmt: skip


def converse_blocks(script: Script) -> Iterator[dict[str, Any]]:
    if script.thinking:
        sealed = {"signature": script.seal} if script.seal else {}
        yield {"reasoningContent": {"reasoningText": {"text": script.thinking, **sealed}}}
    if script.text:
        yield {"text": script.text}
    for call in script.calls:
        yield {"toolUse": {"toolUseId": call.id, "name": call.name, "input": json.loads(call.arguments or "{}")}}


def converse_answer(script: Script, model: str) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": list(converse_blocks(script))}},
        "stopReason": STOP_WORDS["converse"][script.stop],
        "usage": converse_usage(script.tokens),
        "metrics": {"latencyMs": 7},
    }


def converse_stream(script: Script, request: Mapping[str, Any]) -> Iterator[bytes]:
    yield converse_frame("messageStart", {"role": "assistant", "p": "abc"})
    for index, block in enumerate(converse_blocks(script)):
        at = {"contentBlockIndex": index}
        ((kind, said),) = block.items()
        if kind == "toolUse":
            start = {kind: {name: said[name] for name in ("toolUseId", "name")}}
            yield converse_frame("contentBlockStart", {**at, "start": start})
            deltas = [{kind: {"input": piece}} for piece in pieces(script.calls[_nth(script, said)].arguments)]
        elif kind == "text":
            deltas = [{kind: piece} for piece in pieces(said)]
        else:
            told = said["reasoningText"]
            parts = [{"text": piece} for piece in pieces(told["text"])]
            parts += [{"signature": told["signature"]}] if "signature" in told else []
            deltas = [{kind: part} for part in parts]
        for delta in deltas:
            yield converse_frame("contentBlockDelta", {**at, "delta": delta})
        yield converse_frame("contentBlockStop", at)
    yield converse_frame("messageStop", {"stopReason": STOP_WORDS["converse"][script.stop]})
    yield converse_frame("metadata", {"usage": converse_usage(script.tokens), "metrics": {"latencyMs": 7}})


def _nth(script: Script, tool_use: Mapping[str, Any]) -> int:
    return next(i for i, call in enumerate(script.calls) if call.id == tool_use["toolUseId"])


def converse_frame(name: str, value: Any, kind: str = "event") -> bytes:
    """Return a frame with both checksums."""
    block = b"".join(
        bytes([len(header)]) + header.encode() + b"\7" + len(text).to_bytes(2, "big") + text.encode()
        for header, text in ((f":{kind}-type", name), (":content-type", "application/json"), (":message-type", kind))
    )
    payload = json.dumps(value).encode()
    lengths = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    content = lengths + struct.pack(">I", zlib.crc32(lengths)) + block + payload
    return content + struct.pack(">I", zlib.crc32(content))


ANSWERS = {"chat": chat_answer, "messages": messages_answer, "responses": responses_answer, "gemini": gemini_answer,
           "converse": converse_answer, "interactions": interactions_answer}  # fmt: skip
STREAMS = {"chat": chat_stream, "messages": messages_stream, "responses": responses_stream, "gemini": gemini_stream,
           "converse": converse_stream, "interactions": interactions_stream}  # fmt: skip
EVENT_STREAM = "application/vnd.amazon.eventstream"


def render(script: Script, api: str, request: Mapping[str, Any]) -> Raw:
    """Return the answer to ``request`` as a provider of ``api`` sends it, streamed if requested."""
    if request.get("stream"):
        stream = tuple(STREAMS[api](script, request))
        kind = EVENT_STREAM if api == "converse" else "text/event-stream; charset=utf-8"
        return Raw(200, (("content-type", kind),), stream, "chunked")
    body = json.dumps(ANSWERS[api](script, request["model"])).encode()
    return Raw(200, (("content-type", "application/json"), ("x-request-id", "req_up1")), (body,))


_CONVERSE = re.compile(r".*/model/(.+)/converse(-stream)?")
_GEMINI = re.compile(r".*/models/(.+):(generateContent|streamGenerateContent)")


class Upstream:
    """A provider of all APIs, by path. Each request gets the next answer of ``script``, or ``default``."""

    default: Script | Raw = Raw(599, (), (b"the test has scripted no answer for this request",))

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.seen: list[Seen] = []
        self._answers: queue.SimpleQueue[Script | Raw] = queue.SimpleQueue()

    def script(self, *answers: Script | Raw) -> None:
        """Script the next answers, and forget earlier requests and answers."""
        self.seen.clear()
        with contextlib.suppress(queue.Empty):
            while True:
                self._answers.get_nowait()
        for answer in answers:
            self._answers.put(answer)

    def take(self, received: Seen) -> Script | Raw:
        """Return the next answer, for the request ``received``."""
        self.seen.append(received)
        try:
            return self._answers.get_nowait()
        except queue.Empty:
            return self.default

    def answer(self, received: Seen) -> Raw:
        answer = self.take(received)
        if isinstance(answer, Raw):
            return answer
        if (found := _GEMINI.fullmatch(received.path)) is not None:
            return render(answer, "gemini", {"model": found[1], "stream": found[2] == "streamGenerateContent"})
        if (found := _CONVERSE.fullmatch(received.path)) is not None:
            return render(answer, "converse", {"model": found[1], "stream": bool(found[2])})
        api = next((api for api, path in PATHS.items() if path == received.path), None)
        return render(answer, api, received.json) if api else Raw(404, (), (f"no such path: {received.path}".encode(),))


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each body waits 40 ms for the acknowledgement of its head
    upstream: Upstream

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path, _, query = self.path.partition("?")
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        self._send(self.upstream.answer(Seen(self.command, path, query, headers, body)))

    do_GET = do_DELETE = do_PUT = do_POST

    def _send(self, raw: Raw) -> None:
        if raw.end == "hang" and not raw.pieces:
            self._hang()
            return
        self.send_response_only(raw.status)
        for name, value in raw.headers:
            self.send_header(name, value)
        chunked = raw.end in ("chunked", "cut", "reset", "hang")
        if raw.end == "length":
            self.send_header("content-length", str(sum(map(len, raw.pieces))))
        elif chunked:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("connection", "close")
        self.end_headers()
        interval = threading.Event()
        for piece in raw.pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            interval.wait(raw.interval)
        if raw.end == "chunked":
            self.wfile.write(b"0\r\n\r\n")
        elif raw.end == "hang":
            self._hang()
        elif raw.end == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = raw.end not in ("chunked", "length")

    def _hang(self) -> None:
        self.connection.settimeout(20)
        with contextlib.suppress(OSError):
            self.connection.recv(1)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: tests read ``Upstream.seen``."""


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: in several tests, the gateway closes connections early."""

    def shutdown_request(self, request: Any) -> None:
        """Plain close: ``shutdown`` before it would turn a reset into a FIN."""
        request.close()


Kind = TypeVar("Kind", bound=Upstream)


@contextlib.contextmanager
def serve_upstream(kind: type[Kind], port: int = 0, tls: Pair | None = None) -> Iterator[Kind]:
    """Run an ``Upstream`` of the given ``kind`` on a port of 127.0.0.1, by default a free one."""
    with _Server(("127.0.0.1", port), _Connection) as server:
        server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        upstream = kind(server.server_address[1])
        server.RequestHandlerClass = type("_Bound", (_Connection,), {"upstream": upstream})
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield upstream
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def fake_upstream(default: Script | Raw = Upstream.default) -> Iterator[Upstream]:
    """Run an ``Upstream`` that a test scripts. ``default`` is its answer to other requests."""
    with serve_upstream(Upstream) as upstream:
        upstream.default = default
        yield upstream
