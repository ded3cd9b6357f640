"""The Responses codec on answers: what providers stream, and what Responses clients are told."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._models import construct_type_unchecked
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent

from providers.call import Call, Tool
from providers.codec import Reply
from providers.responses import RESPONSES
from providers.seal import Issuer, unseal
from streams import sse
from streams.errors import GatewayError
from streams.events import (
    Begin,
    BlockEnd,
    Cited,
    End,
    Event,
    Failed,
    Native,
    Reason,
    Refusal,
    Sealed,
    Text,
    Thought,
    ToolBegin,
    ToolInput,
    Usage,
)
from streams.fold import Answer, NativeBlock, RefusalBlock, TextBlock, ThoughtBlock, ToolBlock, fold

CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "openai_responses"
STREAMS = sorted(CORPUS.glob("*.response.sse"))
ANSWERS = sorted(CORPUS.glob("*.response.json"))
needs_corpus = pytest.mark.skipif(not STREAMS, reason="the corpus of recorded traffic is not here")

ISSUER = Issuer("openai", "a1b2")


# Reading


def raw_events(data: bytes, step: int | None = None) -> Iterator[bytes]:
    splitter = sse.Splitter()
    size = step or len(data) or 1
    for i in range(0, len(data), size):
        yield from splitter.feed(data[i : i + size])
    yield splitter.close()


def read(data: bytes, step: int | None = None) -> list[Event]:
    reader = RESPONSES.reader()
    events: list[Event] = []
    if len(data) < 10_000:  # a byte at a time is no other stream
        assert list(raw_events(data, 1)) == list(raw_events(data))
    for raw in raw_events(data, step):
        if (parsed := sse.parse(raw)) is not None:
            events += reader.take(*parsed)
    return [*events, *reader.close()]


def stream(*events: dict[str, Any], named: bool = True) -> bytes:
    """A provider's stream of ``events``, numbered."""
    return b"".join(
        sse.event(event["type"], {**event, "sequence_number": i}) if named else sse.data(event)
        for i, event in enumerate(events)
    )


def created(**members: Any) -> dict[str, Any]:
    response = {"id": "resp_1", "object": "response", "model": "gpt-5", "created_at": 17.0, "output": [], **members}
    return {"type": "response.created", "response": response}


def ended(kind: str = "completed", *output: Any, **members: Any) -> dict[str, Any]:
    response = {"id": "resp_1", "object": "response", "status": kind, "output": list(output), **members}
    return {"type": f"response.{kind}", "response": response}


def added(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def said(index: int, delta: Any, part: int = 0, kind: str = "output_text") -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": index, "content_index": part, "delta": delta}


def message(text: str, id: str = "msg_1") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": id, "role": "assistant", "status": "completed", "content": [part]}


def function(arguments: str, id: str = "fc_1", call_id: str = "call_1", name: str = "f") -> dict[str, Any]:
    return {"type": "function_call", "id": id, "call_id": call_id, "name": name, "arguments": arguments}


def check_order(events: Sequence[Event]) -> None:
    """The promise of ``streams/events.py``, checked for whatever a reader says."""
    *body, last = events
    assert isinstance(last, End | Failed)
    assert isinstance(events[0], Begin | Failed)
    opened: dict[int, bool] = {}  # block: is it a tool call
    live: set[int] = set()
    for event in body:
        assert not isinstance(event, End | Failed)
        block = getattr(event, "block", None)
        if block is None:
            continue
        if isinstance(event, BlockEnd):
            live.remove(block)
        elif isinstance(event, Native):
            assert block == len(opened)
            opened[block] = False
        elif block in opened:
            assert block in live
            assert not isinstance(event, ToolBegin)
        else:
            assert block == len(opened)
            assert isinstance(event, Text | Refusal | Thought | Sealed | ToolBegin)
            opened[block] = isinstance(event, ToolBegin)
            live.add(block)
        if isinstance(event, Text | Refusal | Thought):
            assert event.text
        assert sum(not opened[one] for one in live) <= 1
    assert not live or isinstance(last, Failed)


TEXT_STREAM = stream(
    created(),
    added(0, type="message", id="msg_1", content=[]),
    {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": {}},
    said(0, "Grüße,\u2028 "),
    said(0, "Welt 🌍"),
    {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Grüße,\u2028 Welt 🌍"},
    done(0, **message("Grüße,\u2028 Welt 🌍")),
    ended("completed", message("Grüße,\u2028 Welt 🌍"), usage={"input_tokens": 9, "output_tokens": 3}),
)


def test_text_is_told_once_although_it_comes_four_times() -> None:
    assert read(TEXT_STREAM) == [
        Begin("resp_1", "gpt-5", 17),
        Text(0, "Grüße,\u2028 "),
        Text(0, "Welt 🌍"),
        BlockEnd(0),
        Usage(input=9, output=3),
        End("stop", "completed"),
    ]


def test_a_stream_reads_the_same_in_whatever_pieces_it_comes() -> None:
    whole = read(TEXT_STREAM)
    assert all(read(TEXT_STREAM, step) == whole for step in range(1, 60))


@pytest.mark.parametrize("named", [True, False])
def test_text_that_no_delta_told_is_taken_from_where_it_stands(named: bool) -> None:
    text_done = {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "hi"}
    part_done = {
        "type": "response.content_part.done", "output_index": 0, "content_index": 0,
        "part": {"type": "output_text", "text": "hi"},
    }  # fmt: skip
    for told in ([text_done], [part_done], [done(0, **message("hi"))], [], [text_done, part_done]):
        events = read(stream(created(), *told, ended("completed", message("hi")), named=named))
        check_order(events)
        assert fold(events).blocks == (TextBlock("hi"),)


def test_arguments_come_as_deltas_or_whole_and_calls_may_interleave() -> None:
    delta = {"type": "response.function_call_arguments.delta"}
    events = read(
        stream(
            created(),
            added(0, **function("")),
            added(1, **function("", "fc_2", "call_2", "g")),
            {**delta, "output_index": 0, "delta": '{"a"'},
            {**delta, "item_id": "fc_x", "output_index": 0, "delta": ":1}"},
            {"type": "response.function_call_arguments.done", "output_index": 1, "arguments": '{"b":2}'},
            done(1, **function('{"b":2}', "fc_2", "call_2", "g")),
            done(0, **function('{"a":1}')),
            ended("completed", function('{"a":1}'), function('{"b":2}', "fc_2", "call_2", "g")),
        )
    )
    check_order(events)
    answer = fold(events)
    assert answer.blocks == (ToolBlock("call_1", "f", '{"a":1}'), ToolBlock("call_2", "g", '{"b":2}'))
    assert answer.end.reason == "tool_calls"


def test_calls_without_an_id_or_with_a_repeated_one_get_one_of_their_own() -> None:
    item = {"type": "function_call", "name": "f", "arguments": "{}"}
    events = read(
        stream(created(), done(0, **item), done(1, **item, call_id="c"), done(2, **item, call_id="c"), ended())
    )
    ids = [event.id for event in events if isinstance(event, ToolBegin)]
    assert len(set(ids)) == 3
    assert all(ids)


def test_a_call_in_a_namespace_has_the_flat_name() -> None:
    answer = fold(read(stream(created(), done(0, **function("{}"), namespace="ns"), ended())))
    assert answer.blocks == (ToolBlock("call_1", "ns__f", "{}"),)


def test_custom_calls_are_the_clients_unless_the_provider_runs_them_itself() -> None:
    call = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "sql", "input": "SELECT 1"}
    ours = [{"type": "custom", "name": "sql"}]
    answer = fold(read(stream(created(tools=ours), done(0, **call), ended())))
    assert answer.blocks == (ToolBlock("c", "sql", "SELECT 1", "custom"),)
    hosted = fold(read(stream(created(tools=[{"type": "x_search"}]), done(0, **call), ended())))
    assert hosted.blocks == (NativeBlock("responses", "custom_tool_call", call),)
    assert hosted.end.reason == "stop"


def test_summaries_are_one_block_and_the_item_goes_back_whole() -> None:
    item = {
        "type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA",
        "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}],
    }  # fmt: skip
    delta = {"type": "response.reasoning_summary_text.delta", "output_index": 0}
    streamed = read(
        stream(
            created(),
            added(0, type="reasoning", id="rs_1", summary=[]),
            {**delta, "summary_index": 0, "delta": "o"},
            {**delta, "summary_index": 0, "delta": "ne"},
            {**delta, "summary_index": 1, "delta": "two"},
            {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "said again"},
            done(0, **item),
            said(1, "hi"),
            ended("completed", item, message("hi")),
        )
    )
    check_order(streamed)
    blocks = fold(streamed).blocks
    assert blocks == (ThoughtBlock("one\n\ntwo", Sealed(0, "responses", item)), TextBlock("hi"))
    assert fold(read(stream(created(), ended("completed", item, message("hi"))))).blocks == blocks


@pytest.mark.parametrize(
    ("item", "store", "kept"),
    [
        ({"encrypted_content": "gAAA"}, False, True),
        ({"content": [{"type": "reasoning_text", "text": "hm"}]}, False, True),
        ({}, True, True),
        ({}, False, False),
    ],
)
def test_reasoning_is_kept_if_the_provider_has_a_use_for_it(item: dict[str, Any], store: bool, kept: bool) -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], **item}
    events = read(stream(created(store=store), done(0, **reasoning), ended()))
    assert any(isinstance(event, Sealed) for event in events) == kept


def test_annotations_and_refusals_keep_their_place() -> None:
    note = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 2}
    part = {"type": "output_text", "text": "hi", "annotations": [note]}
    whole = {**message("hi"), "content": [part, {"type": "refusal", "refusal": "no"}]}
    annotation = {"type": "response.output_text.annotation.added", "output_index": 0, "annotation": note}
    part_done = {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": part}
    for told in ([annotation], [part_done], [annotation, part_done]):
        events = read(stream(created(), said(0, "hi"), *told, said(0, "no", 1, "refusal"), done(0, **whole), ended()))
        check_order(events)
        assert fold(events).blocks == (TextBlock("hi", (Cited(0, "responses", note),)), RefusalBlock("no"))
    assert fold(read(stream(created(), ended("completed", whole)))).blocks == fold(events).blocks


def test_hosted_items_come_whole_and_their_progress_is_ignored() -> None:
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    events = read(
        stream(
            created(),
            added(0, type="web_search_call", id="ws_1"),
            {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"},
            {"type": "keepalive"},
            done(0, **item),
            ended("completed", item),
        )
    )
    assert events[1] == Native(0, "responses", "web_search_call", item)
    assert len(events) == 3


@pytest.mark.parametrize(
    ("details", "reason"),
    [({"reason": "max_output_tokens"}, "length"), ({"reason": "content_filter"}, "refusal"), (None, "length")],
)
def test_an_incomplete_answer_says_why(details: Any, reason: Reason) -> None:
    end = read(stream(created(), said(0, "hi"), ended("incomplete", incomplete_details=details)))[-1]
    assert isinstance(end, End)
    assert end.reason == reason


FLAT = {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None}
NESTED = {"type": "error", "error": {"type": "x", "code": "rate_limit_exceeded", "message": "slow down"}}
FAILED = ended("failed", error={"code": "rate_limit_exceeded", "message": "slow down"})


@pytest.mark.parametrize("told", [[FLAT], [NESTED], [FAILED], [NESTED, FAILED], [FLAT, FAILED, ended()]])
def test_an_error_is_told_once(told: list[dict[str, Any]]) -> None:
    events = read(stream(created(), *told))
    assert [event for event in events if isinstance(event, Failed | End)] == [events[-1]]
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.message, failed.status) == ("rate_limited", "slow down", 429)


@pytest.mark.parametrize("data", [b'{"error":{"message":"boom"}}\n\n', b'error: {"error":{"message":"boom"}}\n\n'])
def test_an_error_that_is_no_event_ends_the_stream(data: bytes) -> None:
    failed = read(stream(created(), said(0, "hi")) + data)[-1]
    assert isinstance(failed, Failed)
    assert failed.message == "boom"


def test_an_early_end_is_a_failure_and_done_marks_are_no_end() -> None:
    data = stream(created(), said(0, "hi"))
    for tail in (b"", b"data: [DONE]\n\n"):
        assert read(data + tail)[-1] == Failed("upstream", "the upstream ended the stream early")
    assert isinstance(read(TEXT_STREAM + b"data: [DONE]\n\n")[-1], End)


def test_malformed_json_is_a_failure_and_a_completed_that_says_failed_is_no_end() -> None:
    cut = read(stream(created()) + b'data: {"type": "response.output\n\n')[-1]
    assert isinstance(cut, Failed)
    assert "not JSON" in cut.message
    lie = {"type": "response.completed", "response": {"status": "failed", "error": {"message": "x"}}}
    assert isinstance(read(stream(created(), lie))[-1], Failed)


@pytest.mark.parametrize(
    ("usage", "want"),
    [
        (
            {"input_tokens": 12000, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 11008}},
            Usage(992, 11008, output=5),
        ),
        (
            {"input_tokens": 1220, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 1217}},
            Usage(3, 0, 1217),
        ),
        (
            {"input_tokens": 2168, "input_tokens_details": {"cached_tokens": 2161, "cache_write_tokens": 2161}},
            Usage(0, 2161, 7),
        ),
        (
            {"input_tokens": 1, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 12}},
            Usage(1, output=9, reasoning=9),
        ),
        ({"input_tokens": None, "output_tokens": "x", "input_tokens_details": None}, Usage()),
    ],
)
def test_usage_counts_every_token_once(usage: Any, want: Usage) -> None:
    assert read(stream(created(), ended(usage=usage)))[-2] == want


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"a":1}', b'{"object":"list","data":[]}'])
def test_what_is_no_response_object_is_a_502(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        RESPONSES.read_answer(body)
    assert caught.value.failed.status == 502


def test_whole_answers_fail_by_their_status() -> None:
    error = RESPONSES.read_answer(b'{"error":{"message":"no","code":"invalid_prompt"}}')[-1]
    failed = RESPONSES.read_answer(sse.dump(FAILED["response"]))[-1]
    queued = RESPONSES.read_answer(sse.dump({"object": "response", "status": "queued", "output": []}))[-1]
    assert isinstance(error, Failed)
    assert error.kind == "invalid_request"
    assert isinstance(failed, Failed)
    assert failed.kind == "rate_limited"
    assert isinstance(queued, Failed)


@needs_corpus
@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name[:60])
def test_recorded_streams_say_what_their_last_event_says(path: Path) -> None:
    data = path.read_bytes()
    events = read(data)
    check_order(events)
    assert read(data, 1021) == events
    terminal = [e for raw in raw_events(data) if (e := _json(raw)).get("type") in TERMINAL]
    if isinstance(events[-1], Failed):
        assert terminal[-1]["type"] == "response.failed"
        return
    whole = RESPONSES.read_answer(sse.dump(terminal[-1]["response"]))
    assert shape(fold(events)) == shape(fold(whole))


@needs_corpus
@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.name[:60])
def test_recorded_answers_lose_no_text_and_no_call(path: Path) -> None:
    body = json.loads(path.read_bytes())
    events = RESPONSES.read_answer(path.read_bytes())
    if body["status"] == "queued":
        assert isinstance(events[-1], Failed)
        return
    check_order(events)
    answer = fold(events)
    parts = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
    assert [b.text for b in answer.blocks if isinstance(b, TextBlock)] == [p["text"] for p in parts if "text" in p]
    calls = [item["call_id"] for item in body["output"] if item["type"] == "function_call"]
    assert [b.id for b in answer.blocks if isinstance(b, ToolBlock)] == calls


TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def _json(raw: bytes) -> dict[str, Any]:
    parsed = sse.parse(raw)
    if parsed is None or not parsed[1].startswith(b"{"):
        return {}
    value: dict[str, Any] = json.loads(parsed[1])
    return value


def shape(answer: Answer) -> Any:
    """``answer`` without what providers themselves say differently in the terminal event: encrypted content is made
    anew, results of hosted tools are left out, items are put in another order."""

    def plain(block: Any) -> Any:
        match block:
            case ThoughtBlock(text=text):
                return ("thought", text)
            case NativeBlock(kind=kind, item=item):
                return ("native", kind, item.get("id"))
            case TextBlock(text=text, citations=citations):
                return ("text", text, repr([cited.item for cited in citations]))
            case _:
                return block

    return answer.begin, sorted(map(plain, answer.blocks), key=repr), answer.usage, answer.end


LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
MEMBERS = ("delta", "output_index", "content_index", "summary_index", "item_id", "text", "arguments", "part", "item",
           "annotation", "response", "error", "input", "refusal")  # fmt: skip
INNER = ("type", "id", "call_id", "name", "arguments", "content", "summary", "text", "output", "status", "usage",
         "namespace", "encrypted_content", "tools", "annotations", "input", "created_at")  # fmt: skip
TYPES = ("message", "reasoning", "function_call", "custom_tool_call", "web_search_call", "output_text", "refusal")
INNER_OBJECT = st.recursive(
    LEAF | st.sampled_from(TYPES),
    lambda inner: st.dictionaries(st.sampled_from(INNER), inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=8,
)
EVENT_TYPES = (
    "response.created", "response.output_item.added", "response.output_item.done", "response.content_part.done",
    "response.output_text.delta", "response.output_text.done", "response.output_text.annotation.added",
    "response.reasoning_summary_text.delta", "response.reasoning_text.delta", "response.refusal.delta",
    "response.function_call_arguments.delta", "response.function_call_arguments.done",
    "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done", "response.completed",
    "response.incomplete", "response.failed", "error", "new.thing",
)  # fmt: skip
WIRE = st.builds(
    lambda type, members: {**members, "type": type},
    st.sampled_from(EVENT_TYPES) | LEAF,
    st.dictionaries(st.sampled_from(MEMBERS), LEAF | st.integers(0, 2) | INNER_OBJECT, max_size=5),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(WIRE, max_size=12))
def test_no_upstream_makes_the_reader_raise_or_break_its_order(wires: list[dict[str, Any]]) -> None:
    reader = RESPONSES.reader()
    events: list[Event] = []
    for wire in wires:
        events += reader.take("", sse.dump(wire))
    check_order([*events, *reader.close()])


# Writing


def reply(**members: Any) -> Reply:
    call = Call(**{"api": "responses", "model": "my-model", "turns": (), **members})
    return Reply(call, ISSUER, created=1_700_000_000)


def written(events: Iterable[Event], to: Reply | None = None) -> list[dict[str, Any]]:
    writer = RESPONSES.writer(to or reply())
    data = b"".join(map(writer.send, events))
    assert b"[DONE]" not in data
    found = []
    for raw in raw_events(data):
        if raw:
            name, body = sse.parse(raw) or ("", b"")
            event = json.loads(body)
            assert raw.startswith(b"event: " + event["type"].encode() + b"\ndata: ")
            assert name == event["type"]
            found.append(event)
    check_grammar(found)
    return found


PIECES = {  # delta event: (done event, its member)
    "response.output_text.delta": ("response.output_text.done", "text"),
    "response.refusal.delta": ("response.refusal.done", "refusal"),
    "response.reasoning_summary_text.delta": ("response.reasoning_summary_text.done", "text"),
    "response.function_call_arguments.delta": ("response.function_call_arguments.done", "arguments"),
    "response.custom_tool_call_input.delta": ("response.custom_tool_call_input.done", "input"),
}
INNERMOST = {"response.content_part": "content_index", "response.reasoning_summary_part": "summary_index"}


def check_grammar(events: Sequence[dict[str, Any]]) -> None:
    """OpenAI's grammar of a stream, written down a second time."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert sum(event["type"] in TERMINAL for event in events) == 1
    last = events[-1]
    assert last["type"] in TERMINAL
    items: dict[int, dict[str, Any]] = {}
    finished: dict[int, dict[str, Any]] = {}
    pieces: dict[Any, str] = {}
    parts: dict[Any, bool] = {}  # is the part open
    for event in events[2:-1]:
        index = event["output_index"]
        if event["type"] == "response.output_item.added":
            assert index == len(items)
            items[index] = event["item"]
            continue
        assert index in items
        assert index not in finished
        if event["type"] == "response.output_item.done":
            assert same_identity(items[index], event["item"])
            assert not any(open for key, open in parts.items() if key[0] == index)
            finished[index] = event["item"]
            continue
        assert event["item_id"] == items[index]["id"]
        check_part(event, pieces, parts)
    assert list(finished) == sorted(finished) or last["type"] != "response.completed" or has_calls(items)
    check_response(last, items, finished, events[0]["response"]["id"])


def check_part(event: dict[str, Any], pieces: dict[Any, str], parts: dict[Any, bool]) -> None:
    index, name = event["output_index"], event["type"]
    part = (index, event.get("content_index"), event.get("summary_index"))
    stem, _, verb = name.rpartition(".")
    if stem in INNERMOST:
        assert parts.get(part, False) == (verb == "done")
        parts[part] = verb == "added"
        return
    if part[1:] != (None, None):
        assert parts[part]
    if name in PIECES:
        assert event["delta"]
        key = (PIECES[name][0], part)
        pieces[key] = pieces.get(key, "") + event["delta"]
        assert ("logprobs" in event) == (name == "response.output_text.delta")
    for done_name, member in PIECES.values():
        if name == done_name:
            assert event[member] == pieces.get((name, part), "")


def same_identity(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return all(before.get(name) == after.get(name) for name in ("id", "type", "call_id", "name", "namespace"))


def has_calls(items: dict[int, dict[str, Any]]) -> bool:
    return any("call_id" in item for item in items.values())


def check_response(last: dict[str, Any], items: dict[int, Any], finished: dict[int, Any], id: str) -> None:
    response = last["response"]
    assert response["id"] == id
    assert last["type"] == f"response.{response['status']}"
    assert response["output"] == [finished[index] for index in sorted(finished)]
    if response["status"] != "failed":
        assert set(finished) == set(items)
        check_ints(response["usage"])
    for name in ("error", "incomplete_details", "instructions", "metadata", "temperature", "top_p", "tools", "text"):
        assert name in response
    assert response["text"]["format"]["type"]


def check_ints(usage: dict[str, Any]) -> None:
    for value in usage.values():
        if isinstance(value, dict):
            check_ints(value)
        else:
            assert type(value) is int
            assert value >= 0


def accumulated(events: Sequence[dict[str, Any]]) -> Any:
    """What the openai SDK makes of the stream; it raises where it finds a fault."""
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    final = None
    for event in events:
        typed: Any = construct_type_unchecked(type_=ResponseStreamEvent, value=event)  # type: ignore[arg-type]
        for out in state.handle_event(typed):
            if out.type in TERMINAL:
                final = out.response
    return final


HELLO = [Begin("x", "up"), Text(0, "Hel"), Text(0, "lo\u2028\x85"), BlockEnd(0), Usage(3, 2, 1, output=5, reasoning=4)]


def test_text_is_told_in_full_grammar() -> None:
    events = written([*HELLO, End("stop")])
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert events[4]["logprobs"] == []
    response = events[-1]["response"]
    assert response["model"] == "my-model"
    assert response["usage"] == {
        "input_tokens": 6,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 11,
    }
    assert accumulated(events).output_text == "Hello\u2028\x85"


def test_line_separators_in_text_are_escaped() -> None:
    data = RESPONSES.writer(reply()).send(Text(0, "a\u2028b\u2029c\x85"))
    assert b"a\\u2028b\\u2029c\\u0085" in data


@pytest.mark.parametrize(
    ("end", "status", "details"),
    [
        (End("stop"), "completed", None),
        (End("pause"), "completed", None),
        (End("stop_sequence", stop_sequence="x"), "completed", None),
        (End("length"), "incomplete", {"reason": "max_output_tokens"}),
        (End("context_exceeded"), "incomplete", {"reason": "max_output_tokens"}),
        (End("refusal"), "incomplete", {"reason": "content_filter"}),
        (End("length", "steered"), "incomplete", {"reason": "steered"}),
    ],
)
def test_the_terminal_event_tells_how_it_ended(end: End, status: str, details: Any) -> None:
    response = written([*HELLO, end])[-1]["response"]
    assert (response["status"], response["incomplete_details"]) == (status, details)
    assert response["output"][0]["status"] == status


def test_a_failure_is_response_failed_also_as_the_first_event() -> None:
    failed = Failed("rate_limited", "slow down")
    for events in ([failed], [*HELLO, failed], [Begin(), Text(0, "hal"), failed, End("stop")]):
        last = written(events)[-1]
        assert last["type"] == "response.failed"
        assert last["response"]["error"] == {"code": "rate_limit_exceeded", "message": "slow down"}
    own = written([Failed("invalid_request", "too long", code="context_length_exceeded")])[-1]
    assert own["response"]["error"]["code"] == "context_length_exceeded"


def test_text_blocks_that_follow_each_other_are_parts_of_one_message() -> None:
    cited = Cited(1, "messages", {"type": "web_search_result_location", "url": "https://x.test", "title": "X"})
    lost = Cited(1, "messages", {"type": "char_location", "cited_text": "c"})
    events = [
        Begin(),
        Text(0, "a"),
        BlockEnd(0),
        Text(1, "bcd"),
        cited,
        lost,
        BlockEnd(1),
        Refusal(2, "no"),
        BlockEnd(2),
    ]
    found = written([*events, End("stop")])
    (item,) = found[-1]["response"]["output"]
    note = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 3}
    assert [part.get("annotations") for part in item["content"]] == [[], [note], None]
    assert [event["annotation"] for event in found if "annotation" in event] == [note]
    assert list(fold(read(b"".join(map(dumped, found)))).blocks) == [
        TextBlock("a"), TextBlock("bcd", (Cited(1, "responses", note),)), RefusalBlock("no"),
    ]  # fmt: skip


def dumped(event: dict[str, Any]) -> bytes:
    return sse.event(event["type"], event)


def test_reasoning_comes_before_text_with_one_id() -> None:
    item = {"type": "thinking", "thinking": "hm", "signature": "S"}
    events = [Begin(), Thought(0, "h"), Thought(0, "m"), Sealed(0, "messages", item), BlockEnd(0), Text(1, "hi")]
    found = written([*events, BlockEnd(1), End("stop")])
    reasoning, text = found[-1]["response"]["output"]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert reasoning["id"].startswith("rs_")
    seal = unseal(reasoning["encrypted_content"])
    assert seal is not None
    assert (seal.issuer, seal.api, seal.item) == (ISSUER, "messages", item)
    assert text["content"][0]["text"] == "hi"


def test_encrypted_reasoning_of_this_api_goes_through_as_it_came() -> None:
    item = {"type": "reasoning", "id": "rs_up", "summary": [], "encrypted_content": "gAAA"}
    found = written([Begin(), Sealed(0, "responses", item), BlockEnd(0), End("stop")])
    assert found[-1]["response"]["output"] == [item]


def test_reasoning_that_went_out_under_an_id_of_ours_comes_back_as_the_item_it_was() -> None:
    item = {"type": "reasoning", "id": "rs_up", "summary": [], "encrypted_content": "gAAA"}
    found = written([Begin(), Thought(0, "hm"), Sealed(0, "responses", item), BlockEnd(0), End("stop")])
    output = found[-1]["response"]["output"]
    restored, dropped = RESPONSES.restore({"input": output}, ISSUER)
    assert (restored, dropped) == ({"input": [item]}, ())


def test_interleaved_calls_are_items_of_their_own() -> None:
    calls = [Begin(), ToolBegin(0, "c1", "f"), ToolBegin(1, "c2", "g"), ToolInput(0, '{"a"'), ToolInput(1, "{}")]
    found = written([*calls, ToolInput(0, ":1}"), BlockEnd(1), BlockEnd(0), End("tool_calls")])
    output = found[-1]["response"]["output"]
    assert [(item["call_id"], item["name"], item["arguments"]) for item in output] == [
        ("c1", "f", '{"a":1}'),
        ("c2", "g", "{}"),
    ]
    assert all(item["id"].startswith("fc_") for item in output)
    assert [event["name"] for event in found if event["type"].endswith("arguments.done")] == ["g", "f"]


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (['{"inp', 'ut":"*** Begin\\n"}'], "*** Begin\n"),
        (['{"patch":"p"}'], "p"),
        (['"quoted"'], "quoted"),
        (["*** Begin", " Patch"], "*** Begin Patch"),
        (['{"other":1}'], '{"other":1}'),
        ([], ""),
    ],
)
def test_a_custom_tool_that_was_called_as_a_function_gets_its_bare_text(pieces: list[str], text: str) -> None:
    tools = (Tool("apply_patch", kind="custom"),)
    events = [Begin(), ToolBegin(0, "c", "apply_patch"), *(ToolInput(0, piece) for piece in pieces), BlockEnd(0)]
    found = written([*events, End("tool_calls")], reply(tools=tools))
    (item,) = found[-1]["response"]["output"]
    assert (item["type"], item["input"], item["id"][:4]) == ("custom_tool_call", text, "ctc_")
    answer = json.loads(RESPONSES.write_answer(fold([*events, End("tool_calls")]), reply(tools=tools)))
    assert answer["output"][0]["input"] == text


def test_custom_input_streams_when_the_provider_has_custom_tools() -> None:
    found = written(
        [Begin(), ToolBegin(0, "c", "sql", "custom"), ToolInput(0, '{"input":1}'), BlockEnd(0), End("stop")]
    )
    assert [e["delta"] for e in found if "delta" in e] == ['{"input":1}']
    assert found[-1]["response"]["output"][0]["input"] == '{"input":1}'


def test_a_flat_name_is_a_name_in_its_namespace_again() -> None:
    body = {
        "model": "m", "input": "x",
        "tools": [{"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "f"}]}],
    }  # fmt: skip
    to = Reply(RESPONSES.read_request(body), ISSUER, 1)
    events = [Begin(), ToolBegin(0, "c", "ns__f"), BlockEnd(0), ToolBegin(1, "d", "other__f"), BlockEnd(1)]
    found = written([*events, End("tool_calls")], to)
    names = [(item["name"], item.get("namespace")) for item in found[-1]["response"]["output"]]
    assert names == [("f", "ns"), ("other__f", None)]
    added_names = [e["item"]["name"] for e in found if e["type"] == "response.output_item.added"]
    assert added_names == ["f", "other__f"]


def test_native_items_of_other_apis_are_left_out() -> None:
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}
    events = [Begin(), Native(0, "messages", "server_tool_use", {}), Native(1, "responses", "web_search_call", item)]
    found = written([*events, End("stop")])
    assert found[-1]["response"]["output"] == [item]


def test_the_response_repeats_the_request_and_parses_as_the_sdks_type() -> None:
    body = {
        "model": "m", "input": "x", "instructions": "Be\u2028brief.", "temperature": 0.5, "tool_choice": "required",
        "tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "web_search"}],
        "text": {"verbosity": "low"}, "reasoning": {"effort": "low"}, "metadata": {"a": "b"}, "max_output_tokens": 99,
    }  # fmt: skip
    to = Reply(RESPONSES.read_request(body), ISSUER, 1)
    response = written([*HELLO, End("stop")], to)[-1]["response"]
    typed = Response.model_validate(response)
    assert typed.instructions == "Be\u2028brief."
    assert (typed.temperature, typed.tool_choice, typed.max_output_tokens) == (0.5, "required", 99)
    assert typed.metadata == {"a": "b"}
    assert response["text"] == {"verbosity": "low", "format": {"type": "text"}}
    assert response["tools"][0]["strict"] is False
    Response.model_validate(written([*HELLO, End("stop")], reply(api="chat", source={"tools": "x"}))[-1]["response"])


def test_pings_are_comments_and_nothing_follows_the_end() -> None:
    writer = RESPONSES.writer(reply())
    assert writer.ping() == b": ping\n\n"
    assert writer.send(End("stop"))
    assert writer.send(Text(0, "late")) == writer.send(Failed("upstream", "late")) == b""


TOOLS = (Tool("own", kind="custom"), Tool("f"))


@st.composite
def legal_events(draw: st.DrawFn) -> list[Event]:
    """Any sequence that ``streams/events.py`` allows."""
    events: list[Event] = [Begin("id", "m")]
    open_calls: dict[int, None] = {}
    blocks = 0
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["text", "refusal", "thought", "call", "native", "input", "end"]))
        if kind in ("input", "end"):
            if open_calls:
                block = draw(st.sampled_from(sorted(open_calls)))
                events.append(ToolInput(block, draw(words)) if kind == "input" else BlockEnd(block))
                if kind == "end":
                    del open_calls[block]
            continue
        block, blocks = blocks, blocks + 1
        if kind == "call":
            name, form = draw(st.sampled_from([("f", "function"), ("own", "function"), ("own", "custom")]))
            events.append(ToolBegin(block, f"call_{block}", name, form))  # type: ignore[arg-type]
            open_calls[block] = None
        else:
            events += draw_block(draw, kind, block)
    events += [BlockEnd(block) for block in open_calls]
    if draw(st.booleans()):
        events.append(Usage(1, 2, 3, output=4, reasoning=draw(st.none() | st.integers(0, 4))))
    reason = draw(st.sampled_from(["stop", "length", "refusal", "tool_calls", "pause"]))
    return [*events, draw(st.just(End(reason)) | st.just(Failed("upstream", "gone")))]  # type: ignore[arg-type]


words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)


def draw_block(draw: st.DrawFn, kind: str, block: int) -> list[Event]:
    if kind == "native":
        api = draw(st.sampled_from(["responses", "messages"]))
        return [Native(block, api, "web_search_call", {"type": "web_search_call", "id": f"ws_{block}"})]  # type: ignore[arg-type]
    pieces = draw(st.lists(words, min_size=kind != "thought", max_size=3))
    speech: Any = {"text": Text, "refusal": Refusal, "thought": Thought}[kind]
    events: list[Event] = [speech(block, piece) for piece in pieces]
    if kind == "text" and draw(st.booleans()):
        events.append(Cited(block, "responses", {"type": "file_citation", "file_id": "f", "index": 0}))
    if kind == "thought" and (not pieces or draw(st.booleans())):
        summary = [{"type": "summary_text", "text": "".join(pieces)}] if pieces else []
        item = {"type": "reasoning", "id": f"rs_{block}", "summary": summary, "encrypted_content": "e"}
        events.append(Sealed(block, draw(st.sampled_from(["responses", "messages", "chat"])), item))
    return [*events, BlockEnd(block)]


def essence(answer: Answer) -> Any:
    """What must survive writing and reading again."""

    def plain(block: Any) -> Any:
        match block:
            case ThoughtBlock(text=text, sealed=sealed):
                return ("thought", text, sealed is not None)
            case TextBlock(text=text, citations=citations):
                return ("text", text, [cited.item for cited in citations])
            case ToolBlock(id=id, name=name, input=input, kind=kind):
                return ("call", id, name, input if name == "f" or kind == "custom" else None)
            case _:
                return attrs.evolve(block, kind="") if isinstance(block, NativeBlock) else block

    blocks = [plain(b) for b in answer.blocks if not (isinstance(b, NativeBlock) and b.api != "responses")]
    return [b[:3] if isinstance(b, tuple) and b[0] == "call" else b for b in blocks], answer.usage or Usage()


def zero(value: Any) -> Any:
    blocks, usage = value
    return blocks, attrs.evolve(usage, reasoning=usage.reasoning or 0)


@settings(max_examples=120, deadline=None)
@given(legal_events())
def test_any_answer_survives_the_writer_and_our_own_reader(events: list[Event]) -> None:
    to = reply(tools=TOOLS, source={"store": False})
    found = written(events, to)
    accumulated(found)
    again = read(b"".join(map(dumped, found)))
    check_order(again)
    if isinstance(events[-1], Failed):
        assert isinstance(again[-1], Failed)
        return
    answer = fold(events)
    assert zero(essence(fold(again))) == zero(essence(answer))
    whole = msgspec.json.decode(RESPONSES.write_answer(answer, to))
    assert set(whole) == set(found[-1]["response"])
    assert whole["status"] == found[-1]["response"]["status"]
    reread = fold(RESPONSES.read_answer(sse.dump(whole)))
    assert zero(essence(reread)) == zero(essence(answer))


@needs_corpus
@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name[:60])
def test_recorded_streams_can_be_told_again(path: Path) -> None:
    data = path.read_bytes()
    events = read(data)
    first = next(e["response"] for raw in raw_events(data) if (e := _json(raw)).get("type") == "response.created")
    tools = [tool for tool in first["tools"] if tool["type"] != "x_search"] or [{"type": "web_search"}]
    found = written(events, reply(source={"tools": tools}))  # they say which tools are the client's
    accumulated(found)
    if isinstance(events[-1], End):
        again = read(b"".join(map(dumped, found)))
        assert shape(fold(again))[1] == shape(fold(events))[1]


def test_errors_have_the_shape_of_the_api() -> None:
    body = json.loads(RESPONSES.write_error(Failed("not_found", "no such model", code="model_not_found"), "req_1"))
    assert body == {
        "error": {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": None,
            "code": "model_not_found",
        }
    }
