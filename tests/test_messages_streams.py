"""Messages streams and whole answers: read into events, written from events, and both at once."""

import json
from pathlib import Path

import anthropic.types as sdk
import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from providers.call import Call
from providers.codec import Reply
from providers.messages import MESSAGES
from providers.seal import Issuer, Seal, seal, unseal
from streams import sse
from streams.errors import GatewayError
from streams.events import (
    Begin,
    BlockEnd,
    Cited,
    End,
    Failed,
    Native,
    Refusal,
    Sealed,
    Text,
    Thought,
    ToolBegin,
    ToolInput,
    Usage,
)
from streams.fold import NativeBlock, TextBlock, ThoughtBlock, ToolBlock, fold

CORPUS = Path(__file__).parent.parent.parent / "shared" / "corpus" / "anthropic_messages"
OURS = Issuer("deepseek", "a1")
START = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "stop_reason": None,
    "stop_sequence": None, "usage": {"input_tokens": 15, "cache_read_input_tokens": 3, "output_tokens": 1},
}  # fmt: skip


def reply(**fields):
    return Reply(Call("messages", "my-alias", ()), OURS, 0, **({"input_estimate": 77} | fields))


def raw(*events):
    return b"".join(sse.event(event["type"], event) for event in events)


def message_start(**members):
    return {"type": "message_start", "message": START | members}


def block_start(index, **item):
    return {"type": "content_block_start", "index": index, "content_block": item}


def delta(index, **members):
    return {"type": "content_block_delta", "index": index, "delta": members}


def block_stop(index):
    return {"type": "content_block_stop", "index": index}


def message_delta(stop_reason="end_turn", usage=None, **members):
    return {
        "type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": None} | members,
        "usage": usage or {"output_tokens": 9},
    }  # fmt: skip


STOP = {"type": "message_stop"}
PING = {"type": "ping"}
TEXT = (
    block_start(0, type="text", text=""),
    delta(0, type="text_delta", text="pi"),
    PING,
    delta(0, type="text_delta", text="ng"),
    block_stop(0),
)


def read(data, step=None):
    """The events that a reader says, fed in pieces of ``step`` bytes."""
    splitter, reader, events = sse.Splitter(), MESSAGES.reader(), []
    for start in range(0, len(data), step or max(1, len(data))):
        for event in splitter.feed(data[start : start + (step or len(data))]):
            if (parsed := sse.parse(event)) is not None:
                events.extend(reader.take(*parsed))
    if (parsed := sse.parse(splitter.close())) is not None:
        events.extend(reader.take(*parsed))
    return [*events, *reader.close()]


def taken(*events):
    return read(raw(*events))


def write(events, **fields):
    writer = MESSAGES.writer(reply(**fields))
    return b"".join(map(writer.send, events))


def frames(data):
    """The events of a stream as (name, JSON)."""
    parsed = [sse.parse(event) for event in sse.Splitter().feed(data)]
    return [(name, json.loads(value)) for name, value in filter(None, parsed)]


def check_order(events):
    """The promises of ``streams/events.py`` for what a reader says."""
    assert isinstance(events[-1], End | Failed)
    assert sum(isinstance(event, End | Failed) for event in events) == 1
    assert sum(isinstance(event, Begin) for event in events) <= 1
    seen, open_blocks = [], {}
    for i, event in enumerate(events):
        if isinstance(event, Begin):
            assert i == 0
        if isinstance(event, Text | Thought | Refusal | ToolInput):
            assert event.text
        number = getattr(event, "block", None)
        if number is None:
            continue
        if number not in open_blocks:
            assert not isinstance(event, BlockEnd | ToolInput | Cited)
            assert number == len(seen), "blocks are numbered as they open and never open twice"
            if not isinstance(event, ToolBegin):
                assert set(open_blocks.values()) <= {"tool"}
            seen.append(number)
            if not isinstance(event, Native):
                open_blocks[number] = "tool" if isinstance(event, ToolBegin) else "words"
        elif isinstance(event, BlockEnd):
            del open_blocks[number]
    if isinstance(events[-1], End):
        assert not open_blocks


DELTAS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
}


def check_grammar(data):
    """A finished stream, checked against the grammar by a small machine of its own. Returns its blocks."""
    events = frames(data)
    for name, value in events:
        assert name == value["type"]
    kinds = [name for name, _ in events if name != "ping"]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("message_start") == kinds.count("message_delta") == 1
    blocks, open_block, signed = [], None, False
    for name, value in events[1:-2]:
        if name == "content_block_start":
            assert open_block is None
            assert value["index"] == len(blocks)
            open_block, signed = value["content_block"], False
            blocks.append(open_block)
        elif name == "content_block_delta":
            assert value["index"] == len(blocks) - 1
            assert not signed, "the signature is the last delta"
            kind = value["delta"]["type"]
            assert kind in DELTAS[open_block["type"]]
            signed = kind == "signature_delta"
        elif name == "content_block_stop":
            assert value["index"] == len(blocks) - 1
            assert signed or open_block["type"] != "thinking"
            open_block = None
    assert open_block is None
    return blocks


EVENT = TypeAdapter(RawMessageStreamEvent)


def accumulated(data, strict=True):
    """The message that the anthropic SDK puts together from a stream, whose every event has its type if ``strict``."""
    message, buffers = None, {}
    for name, value in frames(data):
        if name != "ping":
            event = EVENT.validate_python(value) if strict else value
            message = accumulate_event(event=event, current_snapshot=message, json_bufs=buffers)
    return message


# Reading


FIXTURES = {
    "text": [message_start(), *TEXT, message_delta(), STOP],
    "thinking, text and a call": [
        message_start(),
        block_start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="Hm, "),
        delta(0, type="thinking_delta", thinking="weiß\u2028nicht"),
        delta(0, type="signature_delta", signature="c2ln"),
        block_stop(0),
        block_start(1, type="text", text=""),
        delta(1, type="text_delta", text="Let me look 🙂"),
        block_stop(1),
        block_start(2, type="tool_use", id="toolu_1", name="f", input={}),
        delta(2, type="input_json_delta", partial_json=""),
        delta(2, type="input_json_delta", partial_json='{"a":'),
        delta(2, type="input_json_delta", partial_json="1.0}"),
        block_stop(2),
        message_delta("tool_use"),
        STOP,
    ],
    "redacted thinking and a server tool": [
        message_start(),
        block_start(0, type="redacted_thinking", data="b3BhcXVl"),
        block_stop(0),
        block_start(1, type="server_tool_use", id="srv_1", name="web_search", input={}),
        delta(1, type="input_json_delta", partial_json='{"query":"x"}'),
        block_stop(1),
        block_start(2, type="web_search_tool_result", tool_use_id="srv_1", content=[]),
        block_stop(2),
        block_start(3, type="text", text="", citations=[]),
        delta(3, type="citations_delta", citation={"type": "web_search_result_location", "url": "https://a.example"}),
        delta(3, type="text_delta", text="found"),
        block_stop(3),
        message_delta(),
        STOP,
    ],
}


@pytest.mark.parametrize("name", FIXTURES)
def test_events_are_the_same_however_the_bytes_are_cut(name):
    data = raw(*FIXTURES[name])
    whole = read(data)
    check_order(whole)
    assert isinstance(whole[-1], End)
    for step in (1, 2, 7, 64):
        assert read(data, step) == whole


@pytest.mark.parametrize("name", FIXTURES)
def test_a_cut_anywhere_before_the_stop_reason_never_looks_complete(name):
    data = raw(*FIXTURES[name][:-2])
    for end in range(0, len(data), 13):
        events = read(data[:end])
        check_order(events)
        assert isinstance(events[-1], Failed)


def test_a_text_stream_is_told_piece_by_piece():
    assert taken(*FIXTURES["text"]) == [
        Begin("msg_1", "claude"),
        Usage(15, 3, output=1),
        Text(0, "pi"),
        Text(0, "ng"),
        BlockEnd(0),
        Usage(15, 3, output=9),
        End("stop", "end_turn"),
    ]


def test_a_signed_thinking_block_is_sealed_whole():
    folded = fold(taken(*FIXTURES["thinking, text and a call"]))
    text = "Hm, weiß\u2028nicht"
    item = {"type": "thinking", "thinking": text, "signature": "c2ln"}
    assert folded.blocks[0] == ThoughtBlock(text, Sealed(0, "messages", item))
    assert folded.blocks[2] == ToolBlock("toolu_1", "f", '{"a":1.0}')
    assert folded.end.reason == "tool_calls"


def test_redacted_thinking_is_a_seal_without_text_and_server_tools_come_whole():
    folded = fold(taken(*FIXTURES["redacted thinking and a server tool"]))
    redacted, call, result, text = folded.blocks
    assert redacted == ThoughtBlock("", Sealed(0, "messages", {"type": "redacted_thinking", "data": "b3BhcXVl"}))
    item = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}}
    assert call == NativeBlock("messages", "server_tool_use", item)
    assert result.kind == "web_search_tool_result"
    assert text.text == "found"
    assert text.citations[0].item["url"] == "https://a.example"


def test_a_thinking_block_with_a_signature_and_no_text_is_kept():
    events = taken(
        message_start(),
        block_start(0, type="thinking", thinking="", signature=""),
        delta(0, type="signature_delta", signature="c2ln"),
        block_stop(0),
        message_delta(),
    )
    item = {"type": "thinking", "thinking": "", "signature": "c2ln"}
    assert fold(events).blocks == (ThoughtBlock("", Sealed(0, "messages", item)),)


def test_a_signature_in_the_start_of_the_block_counts():
    start = block_start(0, type="thinking", thinking="all at once", signature="c2ln")
    block = fold(taken(message_start(), start, block_stop(0), message_delta())).blocks[0]
    assert block.text == "all at once"
    assert block.sealed.item["signature"] == "c2ln"


def test_a_call_that_has_its_input_in_the_start_is_told_as_if_streamed():
    start = block_start(0, type="tool_use", id="toolu_1", name="f", input={"a": [1, 2]})
    block = fold(taken(message_start(), start, block_stop(0), message_delta("tool_use"))).blocks[0]
    assert block == ToolBlock("toolu_1", "f", '{"a":[1,2]}')


def test_blocks_that_are_in_the_message_start_come_first():
    begun = [{"type": "text", "text": "before"}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]
    folded = fold(taken(message_start(content=begun), *TEXT, message_delta("tool_use"), STOP))
    assert folded.blocks == (TextBlock("before"), ToolBlock("toolu_1", "f", '{"a":1}'), TextBlock("ping"))


def test_a_call_without_arguments_has_no_pieces():
    start = block_start(0, type="tool_use", id="toolu_1", name="now", input={})
    empty = delta(0, type="input_json_delta", partial_json="")
    events = taken(message_start(), start, empty, block_stop(0), message_delta("tool_use"), STOP)
    assert events[2:4] == [ToolBegin(0, "toolu_1", "now"), BlockEnd(0)]


@pytest.mark.parametrize("ids", [("", ""), (None, None), ("same", "same")])
def test_calls_get_ids_of_their_own_where_the_provider_gives_none(ids):
    starts = [block_start(i, type="tool_use", id=id, name="f", input={}) for i, id in enumerate(ids)]
    events = taken(message_start(), starts[0], block_stop(0), starts[1], block_stop(1), message_delta("tool_use"))
    first, second = [event.id for event in events if isinstance(event, ToolBegin)]
    assert first
    assert second
    assert first != second


def test_an_empty_text_block_opens_nothing():
    empty = [block_start(0, type="text", text=""), block_stop(0)]
    call = [block_start(1, type="tool_use", id="toolu_1", name="f", input={}), block_stop(1)]
    events = taken(message_start(), *empty, *call, message_delta("tool_use"))
    check_order(events)
    assert ToolBegin(0, "toolu_1", "f") in events


@pytest.mark.parametrize(
    ("last", "booked"),
    [
        ({"output_tokens": 9}, Usage(15, 3, output=9)),
        ({"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 9}, Usage(15, 3, output=9)),
        ({"input_tokens": 20, "output_tokens": 9}, Usage(20, 3, output=9)),
        ({"input_tokens": None, "output_tokens": "9"}, Usage(15, 3, output=1)),
        (
            {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}},
            Usage(15, 3, output=9, reasoning=4),
        ),
        (
            {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 2,
             "ephemeral_1h_input_tokens": 3}},
            Usage(15, 3, 5, 2, 3, 1),
        ),
    ],
)  # fmt: skip
def test_later_usage_replaces_earlier_only_where_it_says_something(last, booked):
    assert fold(taken(message_start(), *TEXT, message_delta(usage=last), STOP)).usage == booked


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop_sequence"), ("max_tokens", "length"), ("tool_use", "tool_calls"),
        ("refusal", "refusal"), ("pause_turn", "pause"), ("model_context_window_exceeded", "context_exceeded"),
        ("compaction", "stop"), ("something_new", "stop"),
    ],
)  # fmt: skip
def test_every_stop_reason_has_a_neutral_word_and_keeps_its_own(word, reason):
    assert taken(message_start(), *TEXT, message_delta(word), STOP)[-1] == End(reason, word)


def test_the_stop_sequence_that_matched_is_told():
    last = message_delta("stop_sequence", stop_sequence="###")
    assert taken(message_start(), *TEXT, last, STOP)[-1] == End("stop_sequence", "stop_sequence", "###")


def test_a_stream_that_ends_after_its_stop_reason_is_whole():
    assert taken(message_start(), *TEXT, message_delta())[-1] == End("stop", "end_turn")


def test_a_stream_that_ends_without_a_stop_reason_has_failed():
    last = taken(message_start(), *TEXT)[-1]
    assert (last.kind, last.message) == ("upstream", "the upstream ended the stream early")


@pytest.mark.parametrize(
    ("error", "kind"),
    [("overloaded_error", "overloaded"), ("rate_limit_error", "rate_limited"), ("api_error", "upstream")],
)
def test_an_error_event_fails_the_stream_and_ends_it(error, kind):
    failure = {"type": "error", "error": {"type": error, "message": "no"}}
    events = taken(message_start(), *TEXT, failure, message_delta(), STOP)
    assert (events[-1].kind, events[-1].message) == (kind, "no")
    assert not any(isinstance(event, End) for event in events)


def test_a_bare_json_error_in_mid_stream_is_an_error():
    data = raw(message_start(), *TEXT) + b'{"error":{"type":"overloaded_error","message":"busy"}}\n\n'
    assert read(data)[-1].kind == "overloaded"


def test_malformed_json_fails_the_stream():
    for data in (b'event: content_block_delta\ndata: {"type":\n\n', b"event: ping\ndata: \xff{\n\n"):
        last = read(raw(message_start(), *TEXT) + data)[-1]
        assert (last.kind, last.message) == ("upstream", "the upstream sent an event that is not valid JSON")


def test_what_is_unknown_or_odd_never_fails_a_stream():
    odd = [
        {"type": "something_new", "index": "x"},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_start", "index": 4, "content_block": {"type": None}},
        {"type": "content_block_stop", "index": 99},
        {"type": "content_block_delta", "index": 7},
        delta(8, type="new_delta", text="?"),
        {"type": "message_delta", "delta": None, "usage": []},
        {"type": "message_start", "message": None},
    ]
    events = taken(message_start(), message_start(), *odd, *TEXT, delta(0, type="text_delta", text=None),
                   message_delta(), STOP)  # fmt: skip
    check_order(events)
    assert [block for block in fold(events).blocks if isinstance(block, TextBlock)] == [TextBlock("ping")]


def test_deltas_with_odd_members_are_read_the_slow_way():
    odd = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "!", "thinking": 7}}
    assert fold(taken(message_start(), *TEXT[:-1], odd, TEXT[-1], message_delta())).blocks == (TextBlock("ping!"),)


def test_a_server_that_forgets_starts_and_stops_is_still_understood():
    events = taken(
        delta(0, type="thinking_delta", thinking="hm"),
        delta(1, type="text_delta", text="a"),
        block_start(2, type="tool_use", id="toolu_1", name="f", input={}),
        block_start(3, type="text", text=""),
        delta(3, type="text_delta", text="b"),
        STOP,
    )
    check_order(events)
    assert fold(events).blocks == (ThoughtBlock("hm"), TextBlock("a"), ToolBlock("toolu_1", "f", ""), TextBlock("b"))


def test_done_from_a_compatible_server_is_no_error():
    assert read(raw(message_start(), *TEXT, message_delta()) + b"data: [DONE]\n\n")[-1] == End("stop", "end_turn")


# Whole answers, read

WHOLE = START | {
    "content": [
        {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
        {"type": "text", "text": "Let me look", "citations": None},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1.0, "z": [], "b": None}},
        {"type": "mcp_tool_use", "id": "mcp_1", "name": "x", "server_name": "s", "input": {}},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 15, "cache_read_input_tokens": 3, "output_tokens": 9},
}


def streamed(message):
    """A stream that says what ``message`` says."""
    events = [{"type": "message_start", "message": message | {"content": [], "stop_reason": None}}]
    for i, block in enumerate(message["content"]):
        match block["type"]:
            case "text":
                parts = [delta(i, type="text_delta", text=block["text"])]
                parts += [delta(i, type="citations_delta", citation=item) for item in block.get("citations") or ()]
                events += [block_start(i, type="text", text=""), *parts, block_stop(i)]
            case "thinking":
                start = block_start(i, **{**block, "thinking": "", "signature": ""})
                parts = [delta(i, type="thinking_delta", thinking=piece) for piece in block["thinking"].partition(" ")]
                events += [start, *parts, delta(i, type="signature_delta", signature=block["signature"]), block_stop(i)]
            case "tool_use":
                text = msgspec.json.encode(block["input"]).decode() if block["input"] else ""
                parts = [delta(i, type="input_json_delta", partial_json=piece) for piece in text.partition(":")]
                events += [block_start(i, **{**block, "input": {}}), *parts, block_stop(i)]
            case _:
                events += [block_start(i, **block), block_stop(i)]
    last = message_delta(message["stop_reason"], message["usage"], stop_sequence=message["stop_sequence"])
    return raw(*events, last, STOP)


def test_a_whole_answer_says_the_same_events_as_its_stream():
    events = MESSAGES.read_answer(json.dumps(WHOLE).encode())
    check_order(events)
    assert fold(events) == fold(read(streamed(WHOLE)))


def test_an_error_in_place_of_an_answer_is_a_failure():
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'
    (failed,) = MESSAGES.read_answer(body)
    assert (failed.kind, failed.message) == ("overloaded", "busy")


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"choices":[]}', b"\xff", b'{"content":"x"}', b"[" * 5000])
def test_what_is_no_answer_is_a_502(body):
    with pytest.raises(GatewayError) as raised:
        MESSAGES.read_answer(body)
    assert raised.value.failed.status == 502


# Writing


def test_a_stream_obeys_the_grammar_and_says_who_was_asked():
    out = write([Begin("chatcmpl-1", "gpt"), Text(0, "ping"), BlockEnd(0), Usage(12, 3, 0, output=5), End("stop")])
    check_grammar(out)
    first, last = frames(out)[0][1]["message"], frames(out)[-2][1]
    assert first["id"].startswith("msg_")
    assert (first["model"], first["content"], first["stop_reason"]) == ("my-alias", [], None)
    assert first["usage"]["input_tokens"] == 77, "an estimate, as the provider has not counted yet"
    assert last["delta"] == {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None, "container": None}
    assert last["usage"] == {
        "input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 3, "output_tokens": 5,
    }  # fmt: skip
    assert b"[DONE]" not in out


def test_a_text_delta_is_written_as_clients_know_it():
    writer = MESSAGES.writer(reply())
    writer.send(Begin())
    writer.send(Text(0, "a"))
    assert writer.send(Text(0, 'é"\u2028')) == (
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\xc3\xa9\\"\\u2028"}}\n\n'
    )


def test_an_own_id_of_the_api_is_kept():
    assert frames(write([Begin("msg_9"), End("stop")]))[0][1]["message"]["id"] == "msg_9"


def test_interleaved_calls_are_told_one_after_the_other():
    out = write([
        Begin(), ToolBegin(0, "a", "f"), ToolBegin(1, "b", "g"), ToolInput(0, '{"x"'), ToolInput(1, '{"y"'),
        ToolInput(0, ":1}"), BlockEnd(1), ToolBegin(2, "c", "h"), BlockEnd(0), ToolInput(2, "{}"), BlockEnd(2),
        End("tool_calls"),
    ])  # fmt: skip
    check_grammar(out)
    blocks = accumulated(out).content
    assert [(block.id, block.input) for block in blocks] == [("a", {"x": 1}), ("b", {}), ("c", {})]
    assert frames(out)[-2][1]["delta"]["stop_reason"] == "tool_use"


def test_a_call_without_arguments_has_no_delta():
    out = write([Begin(), ToolBegin(0, "a", "f"), BlockEnd(0), End("stop")])
    assert [name for name, _ in frames(out)][1:3] == ["content_block_start", "content_block_stop"]
    assert accumulated(out).content[0].input == {}


def test_the_free_text_of_a_custom_call_becomes_an_object():
    events = [ToolBegin(0, "a", "patch", "custom"), ToolInput(0, '*** "Be'), ToolInput(0, "gin"), BlockEnd(0)]
    out = write([Begin(), *events, End("tool_calls")])
    check_grammar(out)
    assert accumulated(out).content[0].input == {"input": '*** "Begin'}


def test_ids_that_the_api_refuses_are_mapped_the_same_way_every_time():
    calls = [accumulated(write([Begin(), ToolBegin(0, "call|" + "x" * 80, "f"), BlockEnd(0), End("stop")]))] * 2
    first, second = (call.content[0].id for call in calls)
    assert first == second
    assert len(first) <= 64
    assert "|" not in first


def test_reasoning_of_another_api_is_shown_with_a_seal_that_names_its_maker():
    item = {"field": "reasoning_content"}
    out = write([Begin(), Thought(0, "hm"), Sealed(0, "chat", item), BlockEnd(0), Text(1, "a"), BlockEnd(1),
                 End("stop")])  # fmt: skip
    check_grammar(out)
    block = accumulated(out).content[0]
    assert block.thinking == "hm"
    assert unseal(block.signature) == Seal(OURS, "chat", item)


def test_reasoning_that_nobody_wants_back_is_signed_all_the_same():
    out = write([Begin(), Thought(0, "hm"), BlockEnd(0), End("stop")])
    check_grammar(out)
    assert unseal(accumulated(out).content[0].signature) == Seal(OURS, "messages", None)


def test_reasoning_without_text_is_redacted():
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    out = write([Begin(), Sealed(0, "responses", item), BlockEnd(0), Text(1, "a"), BlockEnd(1), End("stop")])
    assert [block["type"] for block in check_grammar(out)] == ["redacted_thinking", "text"]
    assert unseal(accumulated(out).content[0].data) == Seal(OURS, "responses", item)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
    ],
)
def test_reasoning_of_this_api_goes_through_as_it_is(item):
    thoughts = [Thought(0, item["thinking"])] if item.get("thinking") else []
    events = [Begin(), *thoughts, Sealed(0, "messages", item), BlockEnd(0), End("stop")]
    out = write(events)
    check_grammar(out)
    assert accumulated(out).content[0].to_dict() == item
    assert json.loads(MESSAGES.write_answer(fold(events), reply()))["content"] == [item]


def test_what_only_another_api_knows_takes_no_index():
    foreign = [Native(0, "responses", "web_search_call", {"type": "web_search_call"})]
    out = write([Begin(), *foreign, Text(1, "a"), Cited(1, "chat", {"url": "x"}), BlockEnd(1), End("stop")])
    assert [block["type"] for block in check_grammar(out)] == ["text"]
    assert b"citations_delta" not in out


def test_server_tools_and_citations_of_this_api_are_kept():
    item = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}
    cited = {
        "type": "web_search_result_location",
        "url": "https://a.example",
        "cited_text": "a",
        "encrypted_index": "i",
    }
    events = [Begin(), Native(0, "messages", item["type"], item), Text(1, "a"), Cited(1, "messages", cited),
              BlockEnd(1), End("stop")]  # fmt: skip
    message = accumulated(write(events))
    assert message.content[0].type == "web_search_tool_result"
    assert message.content[1].citations[0].url == "https://a.example"


@pytest.mark.parametrize(
    ("end", "called", "word"),
    [
        (End("stop"), False, "end_turn"), (End("stop"), True, "tool_use"), (End("tool_calls"), False, "end_turn"),
        (End("length"), True, "max_tokens"), (End("refusal"), False, "refusal"), (End("pause"), False, "pause_turn"),
        (End("context_exceeded"), False, "model_context_window_exceeded"),
        (End("stop", "compaction"), False, "compaction"), (End("stop", "eos"), False, "end_turn"),
        (End("stop_sequence", None, "###"), False, "stop_sequence"),
    ],
)  # fmt: skip
def test_stop_reasons_agree_with_what_was_said(end, called, word):
    said = [ToolBegin(0, "a", "f"), BlockEnd(0)] if called else [Refusal(0, "no"), BlockEnd(0)]
    out = write([Begin(), *said, end])
    assert frames(out)[-2][1]["delta"]["stop_reason"] == word
    assert frames(out)[-2][1]["delta"]["stop_sequence"] == end.stop_sequence
    assert json.loads(MESSAGES.write_answer(fold([Begin(), *said, end]), reply()))["stop_reason"] == word


def test_a_failure_is_the_last_event_and_nothing_pretends_success():
    writer = MESSAGES.writer(reply())
    out = writer.send(Begin()) + writer.send(Text(0, "a")) + writer.send(Failed("overloaded", "busy"))
    assert frames(out)[-1] == ("error", {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})
    assert b"message_stop" not in out
    after = [writer.send(Text(0, "b")), writer.send(BlockEnd(0)), writer.send(End("stop")), writer.ping()]
    assert after == [b""] * 4


def test_pings_are_comments_until_the_message_has_started():
    writer = MESSAGES.writer(reply())
    assert writer.ping() == b": ping\n\n"
    writer.send(Begin())
    assert frames(writer.ping()) == [("ping", {"type": "ping"})]


def test_usage_comes_with_all_that_is_known():
    usage = Usage(992, 11008, 5, 2, 3, 50, 20)
    known = {
        "input_tokens": 992, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 11008, "output_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3},
        "output_tokens_details": {"thinking_tokens": 20},
    }  # fmt: skip
    events = [Begin(), Text(0, "a"), BlockEnd(0), usage, End("stop")]
    assert frames(write(events))[-2][1]["usage"] == known
    whole = json.loads(MESSAGES.write_answer(fold(events), reply()))["usage"]
    assert whole == known | dict.fromkeys(("server_tool_use", "service_tier", "inference_geo", "speed"))


def test_a_whole_answer_has_every_member():
    events = [Begin("x"), Text(0, "a"), BlockEnd(0), ToolBegin(1, "t", "f"), ToolInput(1, '{ "z": 1.0 }'), BlockEnd(1),
              ToolBegin(2, "u", "f"), BlockEnd(2), ToolBegin(3, "v", "f"), ToolInput(3, "[1"), BlockEnd(3),
              End("stop")]  # fmt: skip
    body = MESSAGES.write_answer(fold(events), reply())
    assert b'{ "z": 1.0 }' in body, "the arguments keep their spelling"
    message = json.loads(body)
    assert set(message) == {
        "id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "stop_details", "container",
        "diagnostics", "usage",
    }  # fmt: skip
    assert [block.get("input") for block in message["content"]] == [None, {"z": 1.0}, {}, {"_raw": "[1"}]
    assert message["usage"]["input_tokens"] == 77
    assert sdk.Message.model_validate(message).content[1].input == {"z": 1.0}


# Both


@pytest.mark.parametrize("name", FIXTURES)
def test_what_is_written_is_read_again_as_it_was(name):
    once = fold(taken(*FIXTURES[name]))
    again = fold(read(write(taken(*FIXTURES[name]))))
    assert again.blocks == once.blocks
    assert again.usage == once.usage
    assert again.end == once.end


WORDS = st.text(min_size=1, max_size=8)
OPENINGS = {
    "text": lambda number, words: [Text(number, words)],
    "thought": lambda number, words: [Thought(number, words)],
    "refusal": lambda number, words: [Refusal(number, words)],
    "sealed": lambda number, words: [Sealed(number, "responses", {"id": "rs"})],
    "native": lambda number, words: [
        Native(number, "messages", "server_tool_use", {"type": "server_tool_use", "id": words, "name": "n"})
    ],
    "foreign": lambda number, words: [Native(number, "responses", "x", {"type": "x"})],
    "call": lambda number, words: [ToolBegin(number, f"id_{number}", words)],
    "custom call": lambda number, words: [ToolBegin(number, f"id_{number}", words, "custom")],
}


def more(draw, event):
    """Something that may follow in the block that ``event`` has opened."""
    if isinstance(event, ToolBegin):
        return [ToolInput(event.block, draw(WORDS))]
    return [] if isinstance(event, Sealed) else [event]


def ending(draw, event):
    """The end of the block that ``event`` has opened, with a seal or without."""
    seals = [Sealed(event.block, "chat", {"field": "reasoning"})] if isinstance(event, Thought) else []
    return [*(seals if draw(st.booleans()) else []), BlockEnd(event.block)]


@st.composite
def told(draw):
    """A legal sequence of events with interleaved calls."""
    events = [Begin()]
    open_blocks = {}
    for number in range(draw(st.integers(0, 8))):
        (event,) = OPENINGS[draw(st.sampled_from(list(OPENINGS)))](number, draw(WORDS))
        if not isinstance(event, ToolBegin):  # only one block of words is open at a time
            for other in [other for other in open_blocks.values() if not isinstance(other, ToolBegin)]:
                events += ending(draw, open_blocks.pop(other.block))
        events.append(event)
        if not isinstance(event, Native):
            open_blocks[number] = event
        for _ in range(draw(st.integers(0, 4)) if open_blocks else 0):
            events += more(draw, draw(st.sampled_from(list(open_blocks.values()))))
        if open_blocks and draw(st.booleans()):
            events += ending(draw, open_blocks.pop(draw(st.sampled_from(list(open_blocks)))))
    events += [end for event in open_blocks.values() for end in ending(draw, event)]
    return [*events, Usage(3, output=4), End(draw(st.sampled_from(["stop", "length", "tool_calls"])))]


@given(told())
@settings(max_examples=300, deadline=None)
def test_every_legal_sequence_of_events_gives_a_grammatical_stream(events):
    out = write(events)
    blocks = check_grammar(out)
    assert len(blocks) == sum(
        not (isinstance(block, NativeBlock) and block.api != "messages") for block in fold(events).blocks
    )
    again = fold(read(out)).blocks
    for kind in (TextBlock, ThoughtBlock):
        texts = [block.text for block in again if isinstance(block, kind)]
        assert texts == [
            block.text for block in fold(events).blocks
            if isinstance(block, kind) or (kind is TextBlock and type(block).__name__ == "RefusalBlock")
        ]  # fmt: skip
    told_calls = [block for block in fold(events).blocks if isinstance(block, ToolBlock)]
    for call, block in zip(told_calls, [b for b in again if isinstance(b, ToolBlock)], strict=True):
        expected = call.input if call.kind == "function" else json.dumps({"input": call.input})
        assert (block.id, block.name) == (call.id, call.name)
        assert block.input == call.input if call.kind == "function" else json.loads(block.input) == json.loads(expected)


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([raw(e) for e in FIXTURES["text"]])), max_size=12))
@settings(max_examples=200, deadline=None)
def test_a_reader_never_raises_for_what_an_upstream_sent(pieces):
    check_order(read(b"".join(pieces)))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
MEMBER = st.sampled_from(["index", "delta", "content_block", "message", "usage", "error"])


@given(st.lists(st.tuples(st.sampled_from(FIXTURES["thinking, text and a call"]), MEMBER, JUNK), max_size=12))
@settings(max_examples=300, deadline=None)
def test_a_reader_never_raises_for_odd_values(changed):
    check_order(read(raw(*({**event, member: junk} for event, member, junk in changed))))


# Recorded traffic

RECORDED = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of recorded provider traffic is not here")
STREAMS = sorted(CORPUS.glob("*.response.sse"))
ANSWERS = sorted(CORPUS.glob("*.response.json"))


@RECORDED
def test_every_recorded_stream_is_read_whole_and_written_again():
    for path in STREAMS:
        data = path.read_bytes()
        events = read(data)
        check_order(events)
        assert isinstance(events[-1], End), path.name
        assert read(data, 1) == events
        said = [value.get("delta", {}) for _, value in frames(data + b"\n\n")]
        text = "".join(part.get("text", "") for part in said if part.get("type") == "text_delta")
        thoughts = "".join(part.get("thinking", "") for part in said if part.get("type") == "thinking_delta")
        blocks = fold(events).blocks
        assert "".join(block.text for block in blocks if isinstance(block, TextBlock)) == text, path.name
        assert "".join(block.text for block in blocks if isinstance(block, ThoughtBlock)) == thoughts, path.name
        out = write(events)
        check_grammar(out)
        again = fold(read(out))
        assert (again.blocks, again.usage) == (blocks, fold(events).usage), path.name


@RECORDED
def test_the_sdk_sees_in_our_stream_what_it_sees_in_the_recorded_one():
    for path in STREAMS:
        data = path.read_bytes()
        if any(kind in data for kind in (b'"compaction"', b'"fallback"', b"mcp_", b"advisor_")):
            continue  # beta blocks, which the plain types do not know
        before, after = accumulated(data + b"\n\n", strict=False), accumulated(write(read(data)))
        given = [block.to_dict() for block in before.content if block.type != "text" or block.text]
        assert [_plain(block.to_dict()) for block in after.content] == list(map(_plain, given)), path.name
        assert after.stop_reason == before.stop_reason
        assert after.usage.output_tokens == (before.usage.output_tokens or 1), "0 replaces nothing"
        assert after.usage.input_tokens == before.usage.input_tokens


def _plain(block):
    """A block without what is optional in it."""
    block = {name: value for name, value in block.items() if name not in ("caller", "parsed_output")}
    return block if block.get("citations") else {name: block[name] for name in block if name != "citations"}


@RECORDED
def test_every_recorded_answer_says_what_its_stream_would_and_is_written_again():
    for path in ANSWERS:
        value = json.loads(path.read_bytes())
        events = MESSAGES.read_answer(path.read_bytes())
        check_order(events)
        assert isinstance(events[-1], End), path.name
        folded = fold(events)
        assert folded == fold(read(streamed(value | {"stop_sequence": value.get("stop_sequence")}))), path.name
        again = json.loads(MESSAGES.write_answer(folded, reply()))
        given = [block for block in value["content"] if block["type"] != "text" or block["text"]]
        assert list(map(_plain, again["content"])) == list(map(_plain, given)), path.name
        called = any(block["type"] == "tool_use" for block in given)
        word = "tool_use" if called and value["stop_reason"] == "end_turn" else value["stop_reason"]
        assert again["stop_reason"] == word, path.name
        check_grammar(write(events))


def test_a_seal_survives_the_way_to_the_client_and_back():
    item = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    body = {"messages": [{"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": seal(OURS, "messages", item)}]}]}  # fmt: skip
    assert MESSAGES.restore(body, OURS) == ({"messages": [{"role": "assistant", "content": [item]}]}, ())
