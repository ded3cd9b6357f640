"""Responses and requests that try to bring a refused or masked value past the steps: unusual JSON, splits, ends,
errors, forms and rarely used members.

A response may reach the client without the value, as a refusal or as an error, but never with it."""

import gzip
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.step_gateway import client_keys, own_steps, post_as, step_gateway
from tests.support.step_providers import entries_of
from tests.support.upstreams import JSON, STREAM, Raw, Script
from tests.support.wire_clients import body_of, events_of, path_of

CODE: Final = """
import re
from trigate.steps import Finding

WORD = re.compile(r"falcon-\\d+|41114111\\d+")

async def words(check):
    return [Finding("word", one, *found.span()) for one in check.passages for found in WORD.finditer(one.text)]

async def masking(check):
    return [Finding("word", one, *found.span(), action="mask")
            for one in check.passages for found in WORD.finditer(one.text)]
"""
STEPS: Final[dict[str, dict[str, Any]]] = {
    "refuse": {"action": "refuse"},
    "refuse-window": {"action": "refuse", "hold": 9},
    "mask": {"action": "mask"},
    "mask-window": {"action": "mask", "hold": 12},
    "stop": {"action": "refuse", "refusal": {"as": "stop", "message": "Not here."}},
    "own-action": {"use": "./steps.py:masking"},
}


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    folder, entries = tmp_path_factory.mktemp("steps"), entries_of(upstream.url, ("chat", "messages", "responses"))
    more = {"client_keys": client_keys(STEPS), "circuit": {"failures": 10**6, "error_rate": "100%"}}
    with step_gateway(folder, entries, CODE, steps=own_steps(STEPS), **more) as served:
        yield served


def ask(gateway, client: str, api: str, *, stream: bool):
    model = f"on-{api}"
    return post_as(gateway, client, path_of(api, model, stream=stream), body_of(api, model, "hi", stream=stream))


def event(value: Any, name: str = "") -> bytes:
    data = value if isinstance(value, str) else json.dumps(value)
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


HEAD: Final = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    return event({**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish, **more}]})


DONE: Final = (chunk({}, "stop"), b"data: [DONE]\n\n")


def raw_chunk(delta: str) -> bytes:
    """Return a chunk with a delta whose JSON is ``delta``."""
    return event(f'{{"id":"c","choices":[{{"index":0,"delta":{delta}}}]}}')


def chat(*pieces: bytes, done: bool = True) -> Raw:
    return Raw(200, STREAM, (*pieces, *(DONE if done else ())), "chunked")


def chat_whole(message: Any, **more: Any) -> Raw:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return whole({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more})


def whole(value: Any, headers: tuple[tuple[str, str], ...] = JSON) -> Raw:
    return Raw(200, headers, (value if isinstance(value, bytes) else json.dumps(value).encode(),))


def call(arguments: str, index: int = 0) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": function}]}


def messages(*events: dict[str, Any], end: bool = True) -> Raw:
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    last = [
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
         "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]  # fmt: skip
    listed = [{"type": "message_start", "message": message}, *events, *(last if end else ())]
    return Raw(200, STREAM, tuple(event(one, one["type"]) for one in listed), "chunked")


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text_block(index: int, *texts: str) -> list[dict[str, Any]]:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": text} for text in texts))


def thinking(index: int, text: str) -> list[dict[str, Any]]:
    return block(
        index, {"type": "thinking", "thinking": "", "signature": ""}, {"type": "thinking_delta", "thinking": text},
        {"type": "signature_delta", "signature": "c2ln"},
    )  # fmt: skip


def responses(*events: dict[str, Any], output: list[Any], status: str = "completed", **more: Any) -> Raw:
    response = {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "in_progress", "output": [],
        "error": None, "incomplete_details": None,
    }  # fmt: skip
    last = {**response, "status": status, "output": output, "usage": {"input_tokens": 1, "output_tokens": 1}, **more}
    listed = [
        {"type": "response.created", "response": response}, *events, {"type": f"response.{status}", "response": last}
    ]  # fmt: skip
    pieces = tuple(event({**one, "sequence_number": at}, one["type"]) for at, one in enumerate(listed))
    return Raw(200, STREAM, pieces, "chunked")


def output_message(text: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], **more}]
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}


def output_text(deltas: list[str], done: str, part: str, item: str) -> list[dict[str, Any]]:
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": []}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": {**output_message(""), "content": []}},
        {"type": "response.content_part.added", **at, "part": empty},
        *({"type": "response.output_text.delta", **at, "delta": delta} for delta in deltas),
        {"type": "response.output_text.done", **at, "text": done},
        {"type": "response.content_part.done", **at, "part": {**empty, "text": part}},
        {"type": "response.output_item.done", "output_index": 0, "item": output_message(item)},
    ]


X: Final = "falcon-77"

CHAT_STREAMS: Final[dict[str, Raw]] = {
    "text in two events": chat(chunk({"content": "it is falc"}), chunk({"content": "on-77"})),
    "escapes": chat(raw_chunk('{"content":"f\\u0061lcon-77"}')),
    "escaped keys": chat(raw_chunk('{"c\\u006fntent":"falcon-77"}')),
    "a duplicate key": chat(raw_chunk('{"content":"falcon-77","content":"a"}')),
    "a duplicate key last": chat(raw_chunk('{"content":"a","content":"falcon-77"}')),
    "duplicate choices": chat(
        event('{"id":"c","choices":[{"index":0,"delta":{"content":"falcon-77"}}],"choices":[{"index":0,"delta":{}}]}')
    ),
    "duplicate keys in two events": chat(
        raw_chunk('{"content":"falc","content":"a"}'),
        raw_chunk('{"content":"on-77","content":"a"}'),
    ),
    "text around reasoning": chat(
        chunk({"content": "falc"}), chunk({"reasoning_content": "hm"}), chunk({"content": "on-77"})
    ),
    "text around a call": chat(chunk({"content": "falc"}), chunk(call("{}")), chunk({"content": "on-77"})),
    "text around a refusal": chat(chunk({"content": "falc"}), chunk({"refusal": "no"}), chunk({"content": "on-77"})),
    "a refusal around text": chat(chunk({"refusal": "falc"}), chunk({"content": "a"}), chunk({"refusal": "on-77"})),
    "text around an empty delta": chat(
        chunk({"content": "falc"}), chunk({"content": ""}), chunk({}), chunk({"content": "on-77"})
    ),
    "text around the end": chat(
        chunk({"content": "falc"}), chunk({}, "stop"), chunk({"content": "on-77"}), chunk({}, "stop")
    ),
    "text after the mark of the end": chat(*DONE, chunk({"content": X})),
    "text around the mark of the end": chat(chunk({"content": "falc"}), *DONE, chunk({"content": "on-77"})),
    "arguments": chat(
        chunk(call('{"a": "falc')), chunk({"tool_calls": [{"index": 0, "function": {"arguments": 'on-77"}'}}]})
    ),
    "escaped arguments": chat(chunk(call('{"a": "f\\u0061lcon-77"}'))),
    "a key of arguments": chat(chunk(call('{"falcon-77": 1}'))),
    "arguments after the end of a call": chat(
        chunk(call('{"a": "falc')),
        chunk(call("{}", 1)),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": 'on-77"}'}}]}),
    ),
    "an unknown member": chat(chunk({"content": "a", "thoughts": X})),
    "an unknown member in two events": chat(chunk({"thoughts": "falc"}), chunk({"thoughts": "on-77"})),
    "the name of an unknown member": chat(chunk({"content": "a", X: 1})),
    "the choice's unknown member": chat(chunk({"content": "a"}, note=X)),
    "a second choice": chat(chunk({"content": "a"}), chunk({"content": X}, index=1)),
    "a second choice in two events": chat(
        chunk({"content": "falc"}, index=1), chunk({"content": "a"}), chunk({"content": "on-77"}, index=1)
    ),
    "a choice twice in one event": chat(
        event({**HEAD, "choices": [{"index": 1, "delta": {"content": X}}, {"index": 1, "delta": {"content": "a"}}]})
    ),
    "an error next to text": chat(
        chunk({"content": "a"}),
        event({**HEAD, "choices": [{"index": 0, "delta": {"content": X}}], "error": {"message": "no"}}),
        done=False,
    ),
    "an unknown member of an error": chat(
        chunk({"content": "a"}), event({"error": {"message": "no", "type": "server_error", "prompt": X}}), done=False
    ),
    "the message of an error": chat(
        chunk({"content": "a"}),
        event({"error": {"message": f"cannot continue {X}", "type": "server_error"}}),
        done=False,
    ),
    "a comment": chat(chunk({"content": "a"}), f": {X}\n\n".encode()),
    "a comment in an event": chat(f": {X}\n".encode() + chunk({"content": "a"})),
    "the name of an event": chat(event({**HEAD, "choices": [{"index": 0, "delta": {"content": "a"}}]}, X)),
    "an event's id": chat(f"id: {X}\n".encode() + chunk({"content": "a"})),
    "data that is no JSON": chat(chunk({"content": "a"}), event(X)),
    "data after JSON": chat(event(json.dumps({**HEAD, "choices": []}) + X)),
    "data in two lines": chat(b'data: {"id":"c","choices":[{"index":0,\ndata: "delta":{"content":"falcon-77"}}]}\n\n'),
    "log probabilities one event late": chat(
        chunk({"content": X}),
        chunk({"content": "a"}, logprobs={"content": [{"token": X, "logprob": -1}, {"token": "a", "logprob": -1}]}),
    ),
    "an annotation": chat(
        chunk({"content": "a", "annotations": [{"type": "url_citation", "url_citation": {"url": X, "title": "t"}}]})
    ),
    "the value around a surrogate": chat(raw_chunk('{"content":"\\ud800falcon-77"}')),
    "no end": chat(chunk({"content": X}), done=False),
    "no last line end": chat(chunk({"content": "a"}), chunk({"content": X}).rstrip(), done=False),
    "a complete response": chat_whole({"content": X}),
    "a complete response without a type": whole(
        json.dumps({"id": "c", "choices": [{"index": 0, "message": {"content": X}, "finish_reason": "stop"}]}).encode(),
        (),
    ),
    "a stream as JSON": Raw(200, JSON, (chunk({"content": X}), *DONE), "chunked"),
    "a compressed stream": Raw(
        200, (*STREAM, ("content-encoding", "gzip")), (gzip.compress(chunk({"content": X}) + b"".join(DONE)),)
    ),
}

CHAT_WHOLES: Final[dict[str, Raw]] = {
    "text": chat_whole({"content": X}),
    "escapes": whole(b'{"id":"c","choices":[{"index":0,"message":{"content":"f\\u0061lcon-77"}}]}'),
    "a duplicate key": whole(b'{"id":"c","choices":[{"index":0,"message":{"content":"falcon-77","content":"a"}}]}'),
    "content as parts": chat_whole({"content": [{"type": "text", "text": "falc"}, {"type": "text", "text": "on-77"}]}),
    "arguments": chat_whole({"content": None, **call('{"a": "falcon-77"}')}),
    "escaped arguments": chat_whole({"content": None, **call('{"a": "f\\u0061lcon-77"}')}),
    "a key of arguments": chat_whole({"content": None, **call('{"falcon-77": 1}')}),
    "an unknown member": chat_whole({"content": "a"}, note=X),
    "an unknown member of a message": chat_whole({"content": "a", "thoughts": X}),
    "a second choice": whole({**HEAD, "object": "chat.completion", "choices": [
        {"index": at, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for at, text in enumerate(("a", X))
    ]}),
    "an error next to text": chat_whole({"content": X}, error={"message": "no"}),
    "a stream": Raw(200, STREAM, (chunk({"content": "falc"}), chunk({"content": "on-77"}), *DONE), "chunked"),
    "a compressed response": Raw(
        200,
        (*JSON, ("content-encoding", "gzip")),
        (gzip.compress(json.dumps({"id": "c", "choices": [{"index": 0, "message": {"content": X}}]}).encode()),),
    ),
    "no JSON": whole(X.encode(), (("content-type", "text/plain"),)),
    "a second document": whole(json.dumps({"id": "c", "choices": []}).encode() + json.dumps({"a": X}).encode()),
}  # fmt: skip

MESSAGES_STREAMS: Final[dict[str, Raw]] = {
    "two adjacent blocks": messages(*text_block(0, "falc"), *text_block(1, "on-77")),
    "an empty delta": messages(*text_block(0, "falc", "", "on-77")),
    "text in the start of a block": messages(*block(0, {"type": "text", "text": X})),
    "a signature": messages(*thinking(0, X)),
    "arguments": messages(
        *block(
            0, {"type": "tool_use", "id": "t", "name": "f", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"a": "f\\u0061lc'},
            {"type": "input_json_delta", "partial_json": 'on-77"}'},
        )
    ),
    "a server tool's result": messages(
        *block(0, {"type": "web_search_tool_result", "tool_use_id": "t",
                   "content": [{"type": "web_search_result", "title": X, "url": "u"}]})
    ),
    "a key in a server tool's result": messages(
        *block(0, {"type": "mcp_tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "a", X: 1}]})
    ),
    "an unknown block": messages(*block(0, {"type": "hologram", "light": X})),
    "an unknown delta": messages(*block(0, {"type": "text", "text": ""}, {"type": "hologram_delta", "light": X})),
    "an unknown event": messages({"type": "hologram", "light": X}),
    "a citation": messages(
        *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"},
               {"type": "citations_delta", "citation": {"type": "web_search_result_location", "cited_text": X,
                                                        "url": "u", "title": "t"}})
    ),
    "a stop sequence": messages(
        *text_block(0, "a"),
        {"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": X}, "usage": {}},
        {"type": "message_stop"}, end=False,
    ),
    "details of the end": messages(
        *text_block(0, "a"),
        {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": {"explanation": X}}, "usage": {}},
        {"type": "message_stop"}, end=False,
    ),
    "two ends": messages(
        *text_block(0, "falc"), {"type": "message_stop"}, *text_block(1, "on-77"), {"type": "message_stop"}
    ),
    "an error": messages(
        *text_block(0, "a"), {"type": "error", "error": {"type": "api_error", "message": X}}, end=False
    ),
}  # fmt: skip

RESPONSES_STREAMS: Final[dict[str, Raw]] = {
    "deltas": responses(*output_text(["falc", "on-77"], "a", "a", "a"), output=[output_message("a")]),
    "done": responses(*output_text(["a"], X, "a", "a"), output=[output_message("a")]),
    "the part": responses(*output_text(["a"], "a", X, "a"), output=[output_message("a")]),
    "the item": responses(*output_text(["a"], "a", "a", X), output=[output_message("a")]),
    "the last event": responses(*output_text(["a"], "a", "a", "a"), output=[output_message(X)]),
    "another item of the last event": responses(
        *output_text(["a"], "a", "a", "a"), output=[output_message("a"), output_message(X)]
    ),
    "a failure": responses(
        *output_text(["a"], "a", "a", "a"), output=[output_message(X)], status="failed",
        error={"code": "server_error", "message": "no"},
    ),
    "the message of a failure": responses(
        *output_text(["a"], "a", "a", "a"), output=[output_message("a")], status="failed",
        error={"code": "server_error", "message": X},
    ),
    "an unknown event": responses({"type": "response.hologram", "light": X}, output=[output_message("a")]),
    "an unknown item": responses(
        {"type": "response.output_item.done", "output_index": 0, "item": {"type": "hologram", "light": X}},
        output=[{"type": "hologram", "light": X}],
    ),
    "metadata": responses(*output_text(["a"], "a", "a", "a"), output=[output_message("a")], note=X),
    "queries": responses(
        {"type": "response.output_item.done", "output_index": 0, "item": {
            "type": "file_search_call", "id": "fs_1", "status": "completed", "queries": [X], "results": None}},
        output=[],
    ),
    "an annotation": responses(
        {"type": "response.output_item.added", "output_index": 0, "item": {**output_message(""), "content": []}},
        {"type": "response.output_text.annotation.added", "item_id": "msg_1", "output_index": 0, "content_index": 0,
         "annotation_index": 0, "annotation": {"type": "url_citation", "url": "u", "title": X}},
        output=[output_message("a", annotations=[{"type": "url_citation", "url": "u", "title": X}])],
    ),
}  # fmt: skip

RESPONSES_WHOLES: Final[dict[str, Raw]] = {
    "a failed response with text": whole({
        "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "failed",
        "error": {"code": "server_error", "message": "no"}, "output": [output_message(X)], "usage": None,
    }),
    "a queued response with text": whole({
        "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "queued",
        "error": None, "output": [output_message(X)], "usage": None,
    }),
}  # fmt: skip

ROWS: Final = {
    f"{api}-{'stream' if stream else 'whole'}-{name}": (api, stream, raw)
    for api, stream, table in (
        ("chat", True, CHAT_STREAMS),
        ("chat", False, CHAT_WHOLES),
        ("messages", True, MESSAGES_STREAMS),
        ("responses", True, RESPONSES_STREAMS),
        ("responses", False, RESPONSES_WHOLES),
    )
    for name, raw in table.items()
}


REFUSED: Final = [
    raw
    for table in (CHAT_STREAMS, CHAT_WHOLES)
    for name, raw in table.items()
    if name.startswith("a second choice") or name in ("an unknown member", "an unknown member of a message")
]
"""Responses that the gateway refuses because of their value."""


def strings_in(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each string in ``value``, the names of members included, with its path without indices."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for one in value:
            yield from strings_in(one, path)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield path, name
            index = value.get("index", "")
            yield from strings_in(one, f"{path}{index}.{name}")


def seen_by_client(body: bytes) -> str:
    """Return everything that a client can read in ``body``: its bytes, and the strings of its events by path."""
    by_path: dict[str, list[str]] = defaultdict(list)
    lines = [line.removeprefix(b"data:") for line in body.splitlines()] if b"data:" in body else [body]
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        for path, text in strings_in(value):
            by_path[path.split(".")[-1]].append(text)
    joined = ["".join(texts) for texts in by_path.values()]
    return "\n".join([body.decode("utf-8", "replace"), *joined]).encode("utf-8", "replace").decode()


def unescape(text: str) -> str:
    plain = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    return plain.encode("utf-8", "replace").decode()


OTHERS: Final = itertools.cycle(itertools.product(("refuse-window", "mask-window", "stop"), ("mask", "own-action")))


@pytest.mark.parametrize(("api", "stream", "raw", "others"), [(*row, next(OTHERS)) for row in ROWS.values()], ids=ROWS)
def test_the_value_never_reaches_the_client(gateway, upstream, api, stream, raw, others):
    for client in ("refuse", *others):
        with case(client):
            upstream.script(raw)
            _, _, body = ask(gateway, client, api, stream=stream)
            seen = unescape(seen_by_client(body))
            assert "falcon-77" not in seen, body
            assert "alcon-7" not in seen, body
            if client == "refuse" and any(raw is one for one in REFUSED):
                assert b"content_filter" in body


@pytest.mark.parametrize("stream", [False, True])
def test_masked_arguments_stay_json(gateway, upstream, stream):
    """A masked number becomes a string: https://github.com/BerriAI/litellm/issues/30723"""
    arguments = r'{"code": 4111411177, "city": "f\u0061lcon-77 and \"more\""}'
    upstream.script(chat(chunk(call(arguments))) if stream else chat_whole({"content": None, **call(arguments)}))
    status, _, body = ask(gateway, "mask", "chat", stream=stream)
    assert status == 200, body
    answers = events_of("chat", body) if stream else [json.loads(body)]
    choices = [choice["delta" if stream else "message"] for one in answers for choice in one["choices"]]
    calls = [one for choice in choices for one in choice.get("tool_calls") or ()]
    masked = json.loads("".join(one["function"].get("arguments", "") for one in calls))
    assert re.fullmatch(r"\[WORD_[0-9a-f]{10,}\]", masked["code"])
    assert re.fullmatch(r'\[WORD_[0-9a-f]{10,}\] and "more"', masked["city"])


CLEAN: Final[dict[str, tuple[str, Raw]]] = {
    "empty deltas": ("messages", messages(*text_block(0, ""), *text_block(1, "", "a", ""), *text_block(2))),
    "pings": ("messages", messages({"type": "ping"}, *text_block(0, "a"), {"type": "ping"})),
    "a call without arguments": (
        "messages", messages(*block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}})),
    ),
    "reasoning between texts": ("messages", messages(*text_block(0, "a"), *thinking(1, "hm"), *text_block(2, "b"))),
    "empty content": ("chat", chat(chunk({"role": "assistant", "content": ""}), chunk({"content": ""}))),
    "text around a call": ("chat", chat(chunk({"content": "a"}), chunk(call("{}")), chunk({"content": "b"}))),
    "usage after the finish reason": (
        "chat",
        chat(chunk({"content": "a"}), chunk({}, "stop"),
             event({**HEAD, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}),
             b"data: [DONE]\n\n", done=False),
    ),
}  # fmt: skip


@each_row("client", ["refuse", "refuse-window"])
@each_row(("api", "raw"), CLEAN.values())
def test_a_clean_stream_passes_unchanged(gateway, upstream, client, api, raw):
    upstream.script(raw)
    status, _, body = ask(gateway, client, api, stream=True)
    assert (status, body) == (200, b"".join(raw.pieces))


# Requests


def text_of_request(body: bytes) -> str:
    """Return what a reader of ``body`` can see: its text with all escapes resolved, and without the seams of parts."""
    text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), body.decode())
    return "\n".join([text, "".join(re.findall(r'"text": "([^"]*)"', text))]).encode("utf-8", "replace").decode()


REQUESTS: Final[dict[str, str]] = {
    "text": '{"messages": [{"role": "user", "content": "falcon-77"}]}',
    "escapes": '{"messages": [{"role": "user", "content": "f\\u0061lcon-77"}]}',
    "escaped names": '{"messages": [{"role": "user", "c\\u006fntent": "falcon-77"}]}',
    "a duplicate member": '{"messages": [{"role": "user", "content": "falcon-77", "content": "a"}]}',
    "duplicate messages": '{"messages": [{"role": "user", "content": "falcon-77"}], "messages": []}',
    "adjacent parts": '{"messages": [{"role": "user", "content": '
    '[{"type": "text", "text": "falc"}, {"type": "text", "text": "on-77"}]}]}',
    "a surrogate": '{"messages": [{"role": "user", "content": "\\ud800falcon-77"}]}',
    "another case": '{"messages": [{"role": "user", "Content": "falcon-77", "content": "a"}]}',
    "the name of an unknown member": '{"messages": [{"role": "user", "content": "a"}], "x": {"falcon-77": 1}}',
    "arguments": '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"id": "c", '
    '"type": "function", "function": {"name": "f", "arguments": "{\\"a\\": \\"f\\\\u0061lcon-77\\"}"}}]}, '
    '{"role": "tool", "tool_call_id": "c", "content": "b"}]}',
    "stop sequences": '{"messages": [{"role": "user", "content": "a"}], "stop": ["falcon-77"]}',
    "metadata": '{"messages": [{"role": "user", "content": "a"}], "metadata": {"note": "falcon-77"}}',
    "a user id": '{"messages": [{"role": "user", "content": "a"}], "user": "falcon-77"}',
    "a message's name": '{"messages": [{"role": "user", "content": "a", "name": "falcon-77"}]}',
    "a content that is an object": '{"messages": [{"role": "user", "content": {"text": "falcon-77"}}]}',
    "a schema": '{"messages": [{"role": "user", "content": "a"}], "response_format": {"type": "json_schema", '
    '"json_schema": {"name": "s", "schema": {"description": "falcon-77"}}}}',
}


@pytest.mark.parametrize("client", ["refuse", "mask"])
@pytest.mark.parametrize("name", REQUESTS)
def test_the_value_never_reaches_the_provider(gateway, upstream, client, name):
    upstream.script(*[Script(text="fine")] * 2)
    written = REQUESTS[name].replace("{", '{"model": "on-chat", ', 1)
    for body, headers in ((written.encode(), {}), (gzip.compress(written.encode()), {"content-encoding": "gzip"})):
        status, _, _ = post_as(gateway, client, "/v1/chat/completions", body, headers)
        assert status in ((400,) if client == "refuse" else (200, 400))
        for seen in upstream.seen:
            assert "alcon-7" not in text_of_request(seen.body), seen.body
