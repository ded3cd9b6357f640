"""Provider streams that grow in one way each, by API, as hostile providers might send them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from streams import event_stream
from streams.sse import SseEvents

StreamEvent: TypeAlias = tuple[str, dict[str, Any]]
"""The name that the framing gives an event, and its JSON."""

MakeStream: TypeAlias = Callable[[int], list[StreamEvent]]

LINE: Final = "abcdefghij" * 10
CITED: Final = {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 1}
TOKEN: Final = {"token": "ab", "logprob": -0.5, "bytes": [97, 98], "top_logprobs": []}


# Chat


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> StreamEvent:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    return "", {"id": "c1", "created": 5, "model": "m", "choices": [choice]}


def _chat(*deltas: dict[str, Any]) -> list[StreamEvent]:
    return [*map(chunk, deltas), chunk({}, "stop")]


def _call(index: int | None, id: str | None, name: str | None, arguments: str, **more: Any) -> dict[str, Any]:
    fragment = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}, **more}
    return {"tool_calls": [{key: value for key, value in fragment.items() if value is not None}]}


def _detail(index: int, kind: str = "text") -> dict[str, Any]:
    return {"reasoning_details": [{"type": f"reasoning.{kind}", "index": index, kind: LINE}]}


CHAT: Final[Mapping[str, MakeStream]] = {
    "text": lambda n: _chat(*[{"content": LINE}] * n),
    "text of a few characters": lambda n: _chat(*[{"content": "a"}] * n),
    "reasoning": lambda n: _chat(*[{"reasoning_content": LINE}] * n),
    "reasoning and text by turns": lambda n: _chat(*[{"reasoning": "a"}, {"content": "b"}] * n),
    "refusals": lambda n: _chat(*[{"refusal": LINE}] * n),
    "details of one index": lambda n: _chat(*[_detail(0)] * n),
    "details of many indexes": lambda n: _chat(*map(_detail, range(n))),
    "details without text": lambda n: _chat(*[_detail(i, "encrypted") for i in range(n)]),
    "details by turns with text": lambda n: _chat(*[d for i in range(n) for d in (_detail(i), {"content": "a"})]),
    "details in one event": lambda n: _chat(
        {"reasoning_details": [{"type": "reasoning.text", "index": i, "text": "a"} for i in range(n)]}
    ),
    "arguments of one call": lambda n: _chat(_call(0, "c", "f", '{"a":"'), *[_call(0, None, None, LINE)] * n),
    "arguments of many calls": lambda n: _chat(
        *[_call(i, f"c{i}", "f", "{") for i in range(n)], *[_call(i, None, None, '"a"') for i in range(n)]
    ),
    "calls without index": lambda n: _chat(*[_call(None, f"c{i}", "f", "{}") for i in range(n)]),
    "calls of one index": lambda n: _chat(*[_call(0, f"c{i}", "f", "{}") for i in range(n)]),
    "calls of one id": lambda n: _chat(*[_call(i, "c", "f", "{}") for i in range(n)]),
    "calls without names": lambda n: _chat(*[_call(0, "c", None, LINE)] * n, _call(0, None, "f", "")),
    "calls in one event": lambda n: _chat(
        {"tool_calls": [{"index": i, "id": f"c{i}", "function": {"name": "f", "arguments": "{"}} for i in range(n)]}
    ),
    "calls of functions from before tools": lambda n: _chat(
        {"function_call": {"name": "f", "arguments": ""}}, *[{"function_call": {"arguments": LINE}}] * n
    ),
    "parts of typed content": lambda n: _chat({"content": [{"type": "text", "text": "a"}] * n}),
    "parts of thinking and text": lambda n: _chat(
        {"content": [{"type": "thinking", "thinking": [{"text": "a"}]}, {"type": "text", "text": "a"}] * n}
    ),
    "citations of a text": lambda n: _chat({"content": "a"}, *[{"annotations": [CITED]}] * n),
    "citations before a text": lambda n: _chat(*[{"annotations": [CITED]}] * n, {"content": "a"}),
    "citations in one event": lambda n: _chat({"content": "a", "annotations": [CITED] * n}),
    "log probabilities": lambda n: [*[chunk({"content": "a"}, logprobs={"content": [TOKEN]})] * n, chunk({}, "stop")],
    "log probabilities without text": lambda n: [
        *[chunk({"content": ""}, logprobs={"content": [TOKEN]})] * n, chunk({"content": "a"}, "stop")
    ],
    "choices in one event": lambda n: [
        ("", {"id": "c", "choices": [{"index": i % 2, "delta": {"content": "a"}} for i in range(n)]}),
        ("", {"id": "c", "choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}), chunk({}, "stop"),
    ],
    "usage in each event": lambda n: [
        *[("", {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})] * n, *_chat({"content": "a"})
    ],
    "unknown members": lambda n: _chat({"content": "a", **{f"m{i}": [] for i in range(n)}}),
}  # fmt: skip


# Messages


def _message(*events: dict[str, Any]) -> list[StreamEvent]:
    start = {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 1}}}
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}
    return [(event["type"], event) for event in (start, *events, stop, {"type": "message_stop"})]


def _start(index: int, type: str = "text", **members: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": type, **members}}


def _delta(index: int, type: str, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": type, **members}}


def _stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def _block(start: dict[str, Any], *deltas: dict[str, Any]) -> list[StreamEvent]:
    return _message(start, *deltas, _stop(start["index"]))


def _tool(i: int, kind: str = "tool_use") -> dict[str, Any]:
    return _start(i, kind, id=f"t{i}", name="f", input={})


_JSON = {"type": "input_json_delta", "partial_json": LINE}
_CITATION = {"type": "citations_delta", "citation": {"type": "char_location", "cited_text": "a"}}

MESSAGES: Final[Mapping[str, MakeStream]] = {
    "text": lambda n: _block(_start(0), *[_delta(0, "text_delta", text=LINE)] * n),
    "text of a few characters": lambda n: _block(_start(0), *[_delta(0, "text_delta", text="a")] * n),
    "text without a start": lambda n: _message(*[_delta(i, "text_delta", text="a") for i in range(n)]),
    "thinking": lambda n: _block(_start(0, "thinking"), *[_delta(0, "thinking_delta", thinking=LINE)] * n),
    "a signature in pieces": lambda n: _block(
        _start(0, "thinking", thinking="a"), *[_delta(0, "signature_delta", signature=LINE)] * n
    ),
    "arguments of one call": lambda n: _block(_tool(0), *[_delta(0, **_JSON)] * n),
    "arguments of many calls": lambda n: _message(
        *map(_tool, range(n)), *[_delta(i, **_JSON) for i in range(n)], *map(_stop, range(n))
    ),
    "arguments of a provider's own tool": lambda n: _block(_tool(0, "server_tool_use"), *[_delta(0, **_JSON)] * n),
    "blocks": lambda n: _message(
        *[e for i in range(n) for e in (_start(i), _delta(i, "text_delta", text="a"), _stop(i))]
    ),
    "calls without stops": lambda n: _message(*map(_tool, range(n))),
    "texts without stops": lambda n: _message(*[_start(i, text="a") for i in range(n)]),
    "texts between calls without stops": lambda n: _message(
        *[e for i in range(n) for e in (_tool(2 * i), _start(2 * i + 1, text="a"))]
    ),
    "calls of one index": lambda n: _message(*[_tool(0)] * n),
    "blocks of a provider's own": lambda n: _message(
        *[e for i in range(n) for e in (_start(i, "web_search_tool_result", content=[]), _stop(i))]
    ),
    "blocks in the start of the message": lambda n: [
        ("message_start", {"type": "message_start", "message": {"content": [{"type": "text", "text": "a"}] * n}}),
        *_message()[1:],
    ],
    "citations of a text": lambda n: _block(_start(0, text="a"), *[_delta(0, **_CITATION)] * n),
    "citations before a text": lambda n: _block(
        _start(0), *[_delta(0, **_CITATION)] * n, _delta(0, "text_delta", text="a")
    ),
    "citations in the start": lambda n: _block(_start(0, text="a", citations=[_CITATION["citation"]] * n)),
    "members of a compaction": lambda n: _block(
        _start(0, "compaction"), *[_delta(0, "compaction_delta", **{f"m{i}": "a"}) for i in range(n)]
    ),
    "usage over and over": lambda n: _message(
        *[{"type": "message_delta", "delta": {}, "usage": {"output_tokens": i}} for i in range(n)]
    ),
    "events of an unknown type": lambda n: _message(*[{"type": "news", "more": [LINE]}] * n),
}  # fmt: skip


# Responses


def _response(*events: dict[str, Any], output: object = ()) -> list[StreamEvent]:
    begin = {"type": "response.created", "response": {"id": "resp_1", "model": "m", "created_at": 5, "store": True}}
    done = {"id": "resp_1", "status": "completed", "output": output, "usage": {"input_tokens": 1, "output_tokens": 1}}
    return [(e["type"], e) for e in (begin, *events, {"type": "response.completed", "response": done})]


def _item(type: str, i: int, index: int | None, item: str, **members: Any) -> dict[str, Any]:
    at = {} if index is None else {"output_index": index}
    return {"type": f"response.output_item.{type}", **at, "item": {"type": item, "id": f"i{i}", **members}}


def _item_event(type: str, item: int = 0, **members: Any) -> dict[str, Any]:
    return {"type": f"response.{type}", "output_index": item, "item_id": f"i{item}", **members}


def _text(part: int = 0, item: int = 0, text: str = LINE, **more: Any) -> dict[str, Any]:
    return _item_event("output_text.delta", item, content_index=part, delta=text, **more)


def _function(type: str, i: int, index: int | None = None, **members: Any) -> dict[str, Any]:
    return _item(type, i, i if index is None else index, "function_call", call_id=f"c{i}", name="f", **members)


_PART = {"type": "output_text", "text": "a", "annotations": []}
_MESSAGE = {"type": "message", "content": [_PART]}

RESPONSES: Final[Mapping[str, MakeStream]] = {
    "text": lambda n: _response(_item("added", 0, 0, "message"), *[_text()] * n),
    "text of a few characters": lambda n: _response(_item("added", 0, 0, "message"), *[_text(text="a")] * n),
    "text without its item": lambda n: _response(*[_text(item=i, text="a") for i in range(n)]),
    "texts of two items by turns": lambda n: _response(*[e for _ in range(n) for e in (_text(item=0), _text(item=1))]),
    "parts of a message": lambda n: _response(*[_text(i, text="a") for i in range(n)]),
    "whole parts of a message": lambda n: _response(
        *[_item_event("content_part.done", content_index=i, part=_PART) for i in range(n)]
    ),
    "a whole text over and over": lambda n: _response(
        _text(text="a"), *[_item_event("output_text.done", content_index=0, text=LINE + "a")] * n
    ),
    "refusals": lambda n: _response(*[_item_event("refusal.delta", content_index=0, delta=LINE)] * n),
    "summaries": lambda n: _response(
        *[_item_event("reasoning_summary_text.delta", summary_index=i, delta="a") for i in range(n)]
    ),
    "reasoning": lambda n: _response(*[_item_event("reasoning_text.delta", content_index=0, delta=LINE)] * n),
    "arguments of one call": lambda n: _response(
        _function("added", 0), *[_item_event("function_call_arguments.delta", delta=LINE)] * n
    ),
    "arguments of many calls": lambda n: _response(
        *[_function("added", i) for i in range(n)],
        *[_item_event("function_call_arguments.delta", i, delta="a") for i in range(n)],
    ),
    "calls that end before the first": lambda n: _response(
        *[_function("added", i) for i in range(n)], *[_function("done", i, arguments="{}") for i in range(n)][::-1]
    ),
    "calls": lambda n: _response(*[_function("done", i, arguments="{}") for i in range(n)]),
    "calls of one index": lambda n: _response(*[_function("added", i, 0) for i in range(n)]),
    "calls of one id": lambda n: _response(*[_item("done", 0, i, "function_call", name="f") for i in range(n)]),
    "messages": lambda n: _response(*[_item("done", i, i, "message", content=[_PART]) for i in range(n)]),
    "messages announced": lambda n: _response(*[_item("added", i, i, "message") for i in range(n)]),
    "messages without index": lambda n: _response(
        *[_item("done", i, None, "message", content=[_PART]) for i in range(n)]
    ),
    "reasoning items": lambda n: _response(
        *[_item("done", i, i, "reasoning", encrypted_content="e", summary=[{"text": "a"}]) for i in range(n)]
    ),
    "items of hosted tools": lambda n: _response(*[_item("done", i, i, "web_search_call") for i in range(n)]),
    "parts of a whole message": lambda n: _response(_item("done", 0, 0, "message", content=[_PART] * n)),
    "items at the end": lambda n: _response(output=[{**_MESSAGE, "id": f"i{i}"} for i in range(n)]),
    "items without id at the end": lambda n: _response(output=[_MESSAGE] * n),
    "items said and at the end": lambda n: _response(
        *[_item("done", i, i, "message", content=[_PART]) for i in range(n)],
        output=[{**_MESSAGE, "id": f"i{i}"} for i in range(n)],
    ),
    "tools that the response repeats": lambda n: [
        ("response.created", {"type": "response.created", "response": {
            "tools": [{"type": "custom", "name": f"f{i}"} for i in range(n)]}}),
        *_response(*[_item("done", i, i, "custom_tool_call", name=f"f{i}", input="a") for i in range(n)])[1:],
    ],
    "citations of a text": lambda n: _response(
        _text(), *[_item_event("output_text.annotation.added", content_index=0, annotation=CITED)] * n
    ),
    "citations of a part": lambda n: _response(
        _text(text="a"), _item_event("content_part.done", content_index=0, part={**_PART, "annotations": [CITED] * n})
    ),
    "log probabilities": lambda n: _response(*[_text(text="a", logprobs=[TOKEN])] * n),
    "events of an unknown type": lambda n: _response(*[{"type": "response.new", "more": [LINE]}] * n),
}  # fmt: skip

# Gemini


def _gemini(*parts: Any, **members: Any) -> list[StreamEvent]:
    chunks = [{"candidates": [{"content": {"role": "model", "parts": said}, **members}]} for said in parts]
    end = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 2}}
    return [("", chunk) for chunk in (*chunks, end)]


def _gemini_call(i: int) -> dict[str, Any]:
    return {"functionCall": {"id": f"c{i}", "name": "f", "args": {"a": LINE}}}


def _web(i: int) -> dict[str, Any]:
    return {"web": {"uri": f"https://e.org/{i}", "title": "a"}}


GEMINI: Final[Mapping[str, MakeStream]] = {
    "text": lambda n: _gemini(*[[{"text": LINE}]] * n),
    "text of a few characters": lambda n: _gemini(*[[{"text": "a"}]] * n),
    "parts in one event": lambda n: _gemini([{"text": "a"}] * n),
    "thoughts": lambda n: _gemini(*[[{"text": LINE, "thought": True}]] * n),
    "thoughts and text by turns": lambda n: _gemini(*[[{"text": "a", "thought": True}, {"text": "b"}]] * n),
    "signed thoughts": lambda n: _gemini(*[[{"text": "a", "thought": True, "thoughtSignature": "c2ln"}]] * n),
    "signed texts": lambda n: _gemini(*[[{"text": "a", "thoughtSignature": "c2ln"}]] * n),
    "signatures alone": lambda n: _gemini(*[[{"text": "", "thoughtSignature": "c2ln"}]] * n),
    "calls": lambda n: _gemini(*[[_gemini_call(i)] for i in range(n)]),
    "calls in one event": lambda n: _gemini([_gemini_call(i) for i in range(n)]),
    "calls of one id": lambda n: _gemini(*[[_gemini_call(0)]] * n),
    "calls without ids": lambda n: _gemini(*[[{"functionCall": {"name": "f"}}]] * n),
    "parts of the provider's own tools": lambda n: _gemini(*[[{"executableCode": {"code": LINE}}]] * n),
    "parts of an unknown kind": lambda n: _gemini(*[[{"new": {"a": LINE}}]] * n),
    "citations in one event": lambda n: _gemini(
        [{"text": "a"}], groundingMetadata={"groundingChunks": [_web(i) for i in range(n)]}
    ),
    "usage in each event": lambda n: [("", {"usageMetadata": {"promptTokenCount": 1}})] * n + _gemini([{"text": "a"}]),
}

# Converse


def _converse(*events: StreamEvent) -> list[StreamEvent]:
    usage = {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1}}
    start, stop = ("messageStart", {"role": "assistant"}), ("messageStop", {"stopReason": "end_turn"})
    return [start, *events, stop, ("metadata", usage)]


def _piece(index: int, **delta: Any) -> StreamEvent:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": delta}


def _converse_call(i: int, **more: Any) -> StreamEvent:
    use = {"toolUseId": f"c{i}", "name": "f", **more}
    return "contentBlockStart", {"contentBlockIndex": i, "start": {"toolUse": use}}


def _over(index: int) -> StreamEvent:
    return "contentBlockStop", {"contentBlockIndex": index}


_INPUT = {"toolUse": {"input": LINE}}
_CITED = {"citation": {"title": "a", "location": {"documentChar": {"documentIndex": 0}}}}

CONVERSE: Final[Mapping[str, MakeStream]] = {
    "text": lambda n: _converse(*[_piece(0, text=LINE)] * n, _over(0)),
    "text of a few characters": lambda n: _converse(*[_piece(0, text="a")] * n, _over(0)),
    "blocks": lambda n: _converse(*[one for i in range(n) for one in (_piece(i, text="a"), _over(i))]),
    "blocks that never end": lambda n: _converse(*[_piece(i, text="a") for i in range(n)]),
    "reasoning": lambda n: _converse(*[_piece(0, reasoningContent={"text": LINE})] * n, _over(0)),
    "reasoning and text by turns": lambda n: _converse(
        *[one for i in range(n) for one in (_piece(2 * i, reasoningContent={"text": "a"}), _over(2 * i),
                                            _piece(2 * i + 1, text="b"), _over(2 * i + 1))]
    ),
    "a signature in pieces": lambda n: _converse(*[_piece(0, reasoningContent={"signature": LINE})] * n, _over(0)),
    "redacted content in pieces": lambda n: _converse(
        *[_piece(0, reasoningContent={"redactedContent": "AAAA"})] * n, _over(0)
    ),
    "arguments of one call": lambda n: _converse(_converse_call(0), *[_piece(0, **_INPUT)] * n, _over(0)),
    "arguments of many calls": lambda n: _converse(
        *map(_converse_call, range(n)), *[_piece(i, **_INPUT) for i in range(n)], *map(_over, range(n))
    ),
    "arguments of a provider's own tool": lambda n: _converse(
        _converse_call(0, type="server_tool_use"), *[_piece(0, **_INPUT)] * n, _over(0)
    ),
    "citations of a text": lambda n: _converse(_piece(0, text="a"), *[_piece(0, **_CITED)] * n, _over(0)),
    "citations before a text": lambda n: _converse(*[_piece(0, **_CITED)] * n, _piece(0, text="a"), _over(0)),
    "usage in each event": lambda n: [*_converse(_piece(0, text="a"), _over(0))[:-1], *_converse()[-1:] * n],
    "events of an unknown type": lambda n: _converse(*[("new", {"a": LINE})] * n),
}  # fmt: skip

# Interactions


def _interactions(*events: StreamEvent) -> list[StreamEvent]:
    interaction = {"id": "v1_a", "model": "m"}
    return [
        _event("interaction.created", interaction={**interaction, "status": "in_progress"}), *events,
        _event("interaction.completed", interaction={**interaction, "status": "completed", "usage": {}}),
    ]  # fmt: skip


def _event(kind: str, **members: Any) -> StreamEvent:
    return kind, {"event_type": kind, **members}


def _begin(index: int, kind: str = "model_output", **members: Any) -> StreamEvent:
    return _event("step.start", index=index, step={"type": kind, **members})


def _more(index: int, **delta: Any) -> StreamEvent:
    return _event("step.delta", index=index, delta=delta)


def _shut(index: int) -> StreamEvent:
    return _event("step.stop", index=index)


def _start_call(index: int) -> StreamEvent:
    return _begin(index, "function_call", id=f"c{index}", name="f", arguments={})


_NOTES = {"annotations": [CITED]}

INTERACTIONS: Final[Mapping[str, MakeStream]] = {
    "text": lambda n: _interactions(_begin(0), *[_more(0, text=LINE)] * n, _shut(0)),
    "text of a few characters": lambda n: _interactions(_begin(0), *[_more(0, text="a")] * n, _shut(0)),
    "steps": lambda n: _interactions(*[e for i in range(n) for e in (_begin(i), _more(i, text="a"), _shut(i))]),
    "steps that never stop": lambda n: _interactions(*[e for i in range(n) for e in (_begin(i), _more(i, text="a"))]),
    "steps by turns": lambda n: _interactions(_begin(0), _begin(1), *[_more(0, text="a"), _more(1, text="b")] * n),
    "contents of one step": lambda n: _interactions(_begin(0, content=[{"type": "text", "text": "a"}] * n), _shut(0)),
    "images of one step": lambda n: _interactions(_begin(0), *[_more(0, type="image", data="AAAA")] * n, _shut(0)),
    "summaries": lambda n: _interactions(_begin(0, "thought"), *[_more(0, content={"text": LINE})] * n, _shut(0)),
    "signatures": lambda n: _interactions(_begin(0, "thought"), *[_more(0, signature=LINE)] * n, _shut(0)),
    "arguments of one call": lambda n: _interactions(
        _start_call(0), _more(0, arguments='{"a":"'), *[_more(0, arguments=LINE)] * n, _more(0, arguments='"}'),
        _shut(0),
    ),
    "calls": lambda n: _interactions(*map(_start_call, range(n)), *map(_shut, range(n))),
    "citations of a text": lambda n: _interactions(_begin(0), _more(0, text="a"), *[_more(0, **_NOTES)] * n, _shut(0)),
    "citations before a text": lambda n: _interactions(_begin(0), *[_more(0, **_NOTES)] * n, _more(0, text="a")),
    "results of a tool": lambda n: _interactions(
        _begin(0, "google_search_result", result=[]), *[_more(0, result=[{"a": LINE}])] * n, _shut(0)
    ),
    "usage in each event": lambda n: _interactions(
        *[_event("interaction.status_update", status="in_progress", usage={"total_tokens": 1})] * n
    ),
    "events of an unknown type": lambda n: _interactions(*[_event("new", a=LINE)] * n),
}  # fmt: skip

STREAMS: Final[Mapping[str, Mapping[str, MakeStream]]] = {
    "chat": CHAT, "messages": MESSAGES, "responses": RESPONSES, "gemini": GEMINI,
    "converse": CONVERSE, "interactions": INTERACTIONS,
}  # fmt: skip
"""The streams by API and by the part that grows."""


def wire(api: str, events: Iterable[StreamEvent]) -> bytes:
    """Return the bytes of ``events`` in the framing of ``api``."""
    write = event_stream.event_frame if api == "converse" else SseEvents().event
    return b"".join(write(name, msgspec.json.encode(value)) for name, value in events)
