"""Recorded provider traffic, and its content, parsed by hand.

A few recordings were written for these tests (``tests/recordings``). The others are public test data of other projects
next to this repository (in ``../shared/corpus``, if present); each names its source and licence. This module does not
use the gateway's readers, so that their mistakes do not hide here.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from streams.events import Api
from tests.support.repository import ROOT, SHARED

CORPUS = SHARED / "corpus"
OWN = ROOT / "tests" / "recordings"
ABSENT = "the recorded provider traffic (../shared/corpus) is not beside this checkout"
THREE: Mapping[str, Api] = {
    "openai_chat": "chat", "anthropic_messages": "messages", "openai_responses": "responses",
}  # fmt: skip

Kind: TypeAlias = Literal["text", "refusal", "thinking", "call", "seal"]


@attrs.frozen
class Recording:
    """One exchange with a provider. ``key`` is unique and a valid model id."""

    name: str
    key: str
    api: Api
    provider: str
    streamed: bool
    status: int
    features: frozenset[str]
    content_type: str
    folder: Path = CORPUS

    @property
    def own(self) -> bool:
        """True if the recording is in this repository, written for these tests, and not in the corpus."""
        return self.folder == OWN

    @property
    def file(self) -> Path:
        return self.folder / self.name

    @property
    def body(self) -> bytes:
        return _bytes(str(self.file), ".response.sse" if self.streamed else ".response.json")

    @property
    def request(self) -> bytes | None:
        """The recorded request, or ``None`` if the source only has the answer."""
        path = Path(f"{self.file}.request.json")
        return path.read_bytes() if path.exists() else None


@cache
def _bytes(file: str, suffix: str) -> bytes:
    return Path(file + suffix).read_bytes()


@cache
def recordings() -> tuple[Recording, ...]:
    """Return all recordings of the three APIs, in the order of their indexes, without the corpus if it is absent."""
    return (*_read_index(OWN), *_read_index(CORPUS))


def _read_index(folder: Path) -> tuple[Recording, ...]:
    index = folder / "INDEX.tsv"
    if not index.exists():
        return ()
    lines = index.read_text(encoding="utf-8").splitlines()
    names = lines[0].split("\t")
    rows = (dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:])
    return tuple(_recording(row, folder) for row in rows if row["api"] in THREE)


def _recording(row: Mapping[str, str], folder: Path) -> Recording:
    streamed = (folder / f"{row['name']}.response.sse").exists()
    plain = "text/event-stream" if streamed else "application/json"
    return Recording(
        name=row["name"],
        key=row["name"].rpartition(".")[2],
        api=THREE[row["api"]],
        provider=row["provider"],
        streamed=streamed,
        status=int(row["status"] or 200),
        features=frozenset(row["features"].split()),
        content_type=plain,
        folder=folder,
    )


def files(folder: str, pattern: str) -> list[Path]:
    """Return the recordings in the folders named ``folder``, ours and those of the corpus."""
    return [path for root in (OWN, CORPUS) for path in sorted((root / folder).glob(pattern))]


def answers() -> tuple[Recording, ...]:
    return tuple(one for one in recordings() if one.status < 300)


def errors() -> tuple[Recording, ...]:
    return tuple(one for one in recordings() if one.status >= 300)


# Content


@attrs.frozen
class Call:
    """A tool call. ``arguments`` is the JSON value, or the text where it is no JSON (an answer cut at its limit)."""

    id: str
    name: str
    arguments: Any


@attrs.frozen
class Tokens:
    """Token counts. ``prompt`` includes all input, ``output`` includes ``reasoning``."""

    prompt: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int


@attrs.frozen
class RecordedContent:
    """The content of one answer.

    ``parts`` are texts, refusals, reasoning, calls and seals (opaque items to return to the provider) in order, with
    neighbouring texts joined. ``stop`` is the API's own value, or ``None``.
    """

    parts: tuple[tuple[Kind, Any], ...]
    stop: str | None
    stop_sequence: str | None
    tokens: Tokens | None
    failed: bool = False
    hosted: frozenset[str] = frozenset()

    def values_of(self, kind: Kind) -> list[Any]:
        return [value for one, value in self.parts if one == kind]

    @property
    def text(self) -> str:
        return "".join(self.values_of("text"))

    @property
    def refusal(self) -> str:
        return "".join(self.values_of("refusal"))

    @property
    def thinking(self) -> str:
        return "".join(self.values_of("thinking"))

    @property
    def calls(self) -> list[Call]:
        return self.values_of("call")

    @property
    def seals(self) -> list[Any]:
        return self.values_of("seal")


def content_of(recording: Recording) -> RecordedContent:
    """Return the content of the answer in ``recording``."""
    if recording.streamed:
        return parse_content(recording.api, ASSEMBLE[recording.api](events(recording.body)))
    return parse_content(recording.api, json.loads(recording.body))


def parse_content(api: str, answer: Mapping[str, Any], hosted: frozenset[str] = frozenset()) -> RecordedContent:
    """Return the content of a whole answer of ``api``. ``hosted`` are the names of the provider's own tools."""
    if answer.get("error") or answer.get("type") == "error":
        return RecordedContent((), None, None, None, failed=True)
    match api:
        case "chat":
            return _chat_content(answer)
        case "messages":
            return _messages_content(answer)
        case _:
            return _responses_content(answer, hosted)


def events(body: bytes) -> list[tuple[str, Any]]:
    """Return the events of a recorded stream: name and JSON. Lines end with LF or CRLF, and data has one line."""
    found = []
    for raw in body.decode().replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(":", 1) for line in raw.split("\n") if ":" in line[1:])
        data = fields.get("data", "").removeprefix(" ")
        if data and data != "[DONE]":
            found.append((fields.get("event", "").strip(), json.loads(data)))
    return found


def join_parts(parts: Iterator[tuple[Kind, Any]]) -> tuple[tuple[Kind, Any], ...]:
    """Return ``parts`` without empty ones, with neighbouring texts (and refusals) joined."""
    out: list[tuple[Kind, Any]] = []
    for kind, value in parts:
        if value in ("", None):
            continue
        if kind in ("text", "refusal") and out and out[-1][0] == kind:
            out[-1] = (kind, out[-1][1] + value)
        else:
            out.append((kind, value))
    return tuple(out)


def arguments(text: Any) -> Any:
    """Return the arguments of a call: ``{}`` for none, the text itself if it is not JSON."""
    if not isinstance(text, str):
        return text or {}
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return text


# Chat


def _chat_content(answer: Mapping[str, Any]) -> RecordedContent:
    choices = answer["choices"]  # all are parts of the answer to a request for one
    usage = answer.get("usage")
    return RecordedContent(
        join_parts(part for choice in choices for part in _chat_parts(choice["message"])),
        choices[-1].get("finish_reason"),
        None,
        _chat_tokens(usage) if usage else None,
    )


def _chat_parts(message: Mapping[str, Any]) -> Iterator[tuple[Kind, Any]]:
    details = message.get("reasoning_details") or []
    readable = "".join(str(item.get("text") or item.get("summary") or "") for item in details)
    yield "thinking", message.get("reasoning_content") or message.get("reasoning") or readable
    for detail in details:
        yield "seal", detail
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    thinking = (one["text"] for part in parts if part["type"] == "thinking" for one in part["thinking"])
    yield "thinking", "".join(thinking)
    yield "text", "".join(part["text"] for part in parts if part["type"] == "text")
    yield "text", (message.get("audio") or {}).get("transcript")
    yield "refusal", message.get("refusal")
    for call in message.get("tool_calls") or ():
        if call.get("type") == "custom":
            yield "call", Call(call["id"], call["custom"]["name"], {"input": call["custom"]["input"]})
        else:
            yield "call", Call(call["id"], call["function"]["name"], arguments(call["function"]["arguments"]))
    if (old := message.get("function_call")) and old["name"]:  # Snowflake sends one without a name
        yield "call", Call("", old["name"], arguments(old["arguments"]))


def _chat_tokens(usage: Mapping[str, Any]) -> Tokens:
    """Return the token counts.

    ``prompt_tokens`` includes cached tokens. Some servers omit reasoning from ``completion_tokens`` but not from the
    total, and some report cached tokens at the top level.
    """
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or usage.get("prompt_cache_hit_tokens")
    written = (usage.get("prompt_tokens_details") or {}).get("cache_write_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    prompt = usage["prompt_tokens"]
    output = max(usage.get("completion_tokens") or 0, (usage.get("total_tokens") or 0) - prompt)
    read = min(cached or 0, prompt)
    return Tokens(prompt, read, min(written, prompt - read), output, min(reasoning or 0, output))


def assembled_chat(stream: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the whole answer of a recorded Chat stream (its first choice)."""
    message: dict[str, Any] = {"content": [], "tool_calls": [], "reasoning_details": []}
    whole: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": None}], "usage": None}
    for name, chunk in stream:
        if chunk.get("error") or name == "error":
            return {"error": chunk}
        whole["usage"] = chunk.get("usage") or whole["usage"]
        for choice in chunk.get("choices") or ():
            if choice["index"] == 0:
                whole["choices"][0]["finish_reason"] = (
                    choice.get("finish_reason") or whole["choices"][0]["finish_reason"]
                )
                _add_delta(message, choice.get("delta") or {})
    return whole


def _add_delta(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name in ("reasoning_content", "reasoning", "refusal"):
        if delta.get(name):
            message[name] = message.get(name, "") + delta[name]
    content = delta.get("content")
    message["content"] += [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
    for detail in delta.get("reasoning_details") or ():
        _add_detail(message["reasoning_details"], detail)
    for fragment in delta.get("tool_calls") or ():
        _add_fragment(message["tool_calls"], fragment)


def _add_detail(details: list[dict[str, Any]], detail: Mapping[str, Any]) -> None:
    """Add a detail, which OpenRouter streams in pieces of one type and index."""
    last = details[-1] if details else {}
    if detail["type"] == "reasoning.encrypted" or (last.get("type"), last.get("index")) != (
        detail["type"], detail.get("index"),
    ):  # fmt: skip
        details.append(dict(detail))
        return
    for name, value in detail.items():
        if name in ("text", "summary"):
            last[name] = (last.get(name) or "") + (value or "")
        elif value is not None:
            last[name] = value


def _add_fragment(calls: list[dict[str, Any]], fragment: Mapping[str, Any]) -> None:
    """Add a fragment to the call with its index. Without an index, or with another id, it begins a new call."""
    index, function = fragment.get("index"), fragment["function"]
    found = next((call for call in reversed(calls) if index is not None and call["index"] == index), None)
    if found is None or (fragment.get("id") and fragment["id"] != found["id"]):
        found = {
            "index": index,
            "id": fragment.get("id") or "",
            "function": {"name": function["name"], "arguments": ""},
        }
        calls.append(found)
    found["function"]["arguments"] += function.get("arguments") or ""


# Messages


def _messages_content(answer: Mapping[str, Any]) -> RecordedContent:
    usage = answer["usage"]
    return RecordedContent(
        join_parts(_messages_parts(answer["content"])), answer.get("stop_reason"), answer.get("stop_sequence"),
        Tokens(
            usage["input_tokens"] + _count(usage, "cache_read_input_tokens")
            + _count(usage, "cache_creation_input_tokens"),
            _count(usage, "cache_read_input_tokens"),
            _count(usage, "cache_creation_input_tokens"),
            usage["output_tokens"],
            _count(usage.get("output_tokens_details") or {}, "thinking_tokens"),
        ),
    )  # fmt: skip


def _count(usage: Mapping[str, Any], name: str) -> int:
    return usage.get(name) or 0


INPUT_SIDE = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def _later_usage(before: Mapping[str, Any], last: Mapping[str, Any]) -> dict[str, Any]:
    """Merge usages: the last input counts with a value replace all earlier ones (with compaction, the last step's), and
    the last output count does so without one."""
    replaced = dict.fromkeys(INPUT_SIDE, 0) if any(map(last.get, INPUT_SIDE)) else {}
    return {**before, **replaced, **{name: n for name, n in last.items() if n or name == "output_tokens"}}


def _messages_parts(content: list[Mapping[str, Any]]) -> Iterator[tuple[Kind, Any]]:
    for block in content:
        match block["type"]:
            case "text":
                yield "text", block["text"]
            case "thinking":
                yield "thinking", block["thinking"]
                yield "seal", block["signature"]
            case "redacted_thinking":
                yield "seal", block["data"]
            case "tool_use":
                yield "call", Call(block["id"], block["name"], arguments(block["input"]))


def assembled_messages(stream: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the message of a recorded Messages stream."""
    message: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    for _, event in stream:
        match event["type"]:
            case "message_start":
                message = {**event["message"], "content": list(event["message"]["content"])}
            case "content_block_start":
                message["content"].append(dict(event["content_block"]))
            case "content_block_delta":
                _add_block_delta(message["content"][event["index"]], event["delta"], inputs, event["index"])
            case "message_delta":
                message |= {**event["delta"], "usage": _later_usage(message["usage"], event["usage"])}
            case "error":
                return dict(event)
    for index, text in inputs.items():
        message["content"][index]["input"] = arguments(text)
    return message


def _add_block_delta(block: dict[str, Any], delta: Mapping[str, Any], inputs: dict[int, str], index: int) -> None:
    for name in ("text", "thinking", "signature"):
        if delta["type"] == f"{name}_delta":
            block[name] = block.get(name, "") + delta[name]
    if delta["type"] == "input_json_delta" and delta["partial_json"]:
        inputs[index] = inputs.get(index, "") + delta["partial_json"]


# Responses


def _responses_content(answer: Mapping[str, Any], hosted: frozenset[str]) -> RecordedContent:
    status = answer.get("status")
    if status in ("failed", "cancelled", "queued", "in_progress"):
        return RecordedContent((), status, None, None, failed=True)
    usage = answer.get("usage")
    stop = answer["incomplete_details"]["reason"] if status == "incomplete" else "completed"
    tokens = None
    if usage:
        given = usage.get("input_tokens_details") or {}
        made = usage.get("output_tokens_details") or {}
        tokens = Tokens(
            usage["input_tokens"], _count(given, "cached_tokens"), _count(given, "cache_write_tokens"),
            usage["output_tokens"], _count(made, "reasoning_tokens"),
        )  # fmt: skip
    hosted |= _hosted_names(answer)
    return RecordedContent(join_parts(_responses_parts(answer, hosted)), stop, None, tokens, hosted=hosted)


def _hosted_names(answer: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of xAI's own search tools, which look like undeclared custom tools."""
    declared = {tool.get("name") for tool in answer.get("tools") or () if tool["type"] == "custom"}
    called = {item["name"] for item in answer["output"] if item["type"] == "custom_tool_call"}
    return frozenset(called - declared) if answer.get("tools") else frozenset()


def _responses_parts(answer: Mapping[str, Any], hosted: frozenset[str]) -> Iterator[tuple[Kind, Any]]:
    for item in answer["output"]:
        match item["type"]:
            case "message":
                for part in item["content"]:
                    yield ("refusal", part["refusal"]) if part["type"] == "refusal" else ("text", part["text"])
            case "reasoning":
                words = item.get("summary") or item.get("content") or ()
                yield "thinking", "\n\n".join(part["text"] for part in words)
                yield "seal", item.get("encrypted_content")
            case "function_call":
                yield "call", Call(item["call_id"], _flat_tool_name(item), arguments(item["arguments"]))
            case "custom_tool_call" if item["name"] not in hosted:
                yield "call", Call(item["call_id"], item["name"], {"input": item["input"]})


def _flat_tool_name(item: Mapping[str, Any]) -> str:
    """Return a tool's name, prefixed with its namespace unless that is the name itself."""
    namespace = item.get("namespace")
    return item["name"] if namespace in (None, "", item["name"]) else f"{namespace}__{item['name']}"


def assembled_responses(stream: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the response of the last event, with the items of their own events.

    The last event sometimes has none, and OpenAI seals reasoning anew there.
    """
    done = [event for _, event in stream if event.get("type") == "response.output_item.done"]
    items = [event["item"] for event in sorted(done, key=lambda event: event["output_index"])]
    for _, event in reversed(stream):
        if event["type"] in ("response.completed", "response.incomplete", "response.failed"):
            response = dict(event["response"])
            return {**response, "output": items or response.get("output")}
    return {"error": "the stream has no end"}


ASSEMBLE: Mapping[str, Any] = {
    "chat": assembled_chat, "messages": assembled_messages, "responses": assembled_responses,
}  # fmt: skip
