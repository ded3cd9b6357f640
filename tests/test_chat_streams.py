"""Chat answers, streamed and whole, read and written. All bytes; no sockets."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from providers.call import Call
from providers.chat import CHAT
from providers.codec import Reply
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
    Refusal,
    Sealed,
    Text,
    Thought,
    ToolBegin,
    ToolInput,
    Usage,
)
from streams.fold import Answer, RefusalBlock, TextBlock, ThoughtBlock, ToolBlock, fold

ISSUER = Issuer("anthropic", "abc123")
CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "openai_chat"
RECORDED = sorted(CORPUS.glob("*.response.sse"))
ANSWERS = sorted(CORPUS.glob("*.response.json"))
needs_corpus = pytest.mark.skipif(not RECORDED, reason="the recorded provider traffic is not beside this checkout")
DONE = b"data: [DONE]\n\n"


def reply(**fields) -> Reply:
    call = Call("chat", "my-model", (), stream=True, **{"include_usage": True} | fields)
    return Reply(call, ISSUER, 1_700_000_000, input_estimate=7)


def chunk(delta: dict | None = None, finish: str | None = None, **more) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return sse.data({"id": "c1", "created": 5, "model": "m", "choices": [choice], **more})


def calls(*fragments: dict, finish: str | None = None) -> bytes:
    return chunk({"tool_calls": list(fragments)}, finish)


def fragment(name: str | None = None, arguments: str | None = None, **more) -> dict:
    function = {"name": name, "arguments": arguments}
    return {**more, "function": {key: value for key, value in function.items() if value is not None}}


def pieces(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *cuts, len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


def read(reads: Iterable[bytes]) -> list[Event]:
    """The events of a stream that arrived in ``reads``."""
    splitter, reader = sse.Splitter(), CHAT.reader()
    raws = [raw for data in reads for raw in splitter.feed(data)]
    events = [event for raw in (*raws, splitter.close()) if (one := sse.parse(raw)) for event in reader.take(*one)]
    events.extend(reader.close())
    assert reader.close() == ()
    assert reader.take("", b'{"choices":[{"delta":{"content":"late"}}]}') == ()
    return events


def write(events: Iterable[Event], **fields) -> bytes:
    writer = CHAT.writer(reply(**fields))
    return b"".join(writer.send(event) for event in events)


def chunks(stream: bytes) -> list[dict]:
    found = [sse.parse(raw) for raw in sse.Splitter().feed(stream)]
    return [json.loads(one[1]) for one in found if one and one[1] != b"[DONE]"]


def deltas(stream: bytes) -> list[dict]:
    return [one["choices"][0]["delta"] for one in chunks(stream) if one.get("choices")]


def same_ids(events: Iterable[Event]) -> list[Event]:
    """Events with the ids that the reader made up replaced by the block's number."""
    return [
        attrs.evolve(event, id=str(event.block))
        if isinstance(event, ToolBegin) and re.fullmatch("call_[0-9a-f]{24}", event.id)
        else event
        for event in events
    ]


STREAMS: dict[str, tuple[bytes, tuple, End | Failed]] = {
    "text with the role in every delta": (
        b"".join(chunk({"role": "assistant", "content": text}) for text in ("", "Hel", "lo"))
        + chunk({}, "stop")
        + DONE,
        (TextBlock("Hello"),),
        End("stop", "stop"),
    ),
    "no done marker": (chunk({"content": "a"}) + chunk({}, "stop"), (TextBlock("a"),), End("stop", "stop")),
    "no finish reason": (chunk({"content": "a"}) + DONE, (TextBlock("a"),), End("stop")),
    "no finish reason after a call": (
        calls(fragment("f", "{}", index=0, id="a")) + DONE,
        (ToolBlock("a", "f", "{}"),),
        End("tool_calls"),
    ),
    "last text in the finish chunk": (
        chunk({"content": "a"}) + chunk({"content": "b"}, "length") + DONE,
        (TextBlock("ab"),),
        End("length", "length"),
    ),
    "empty choices before, between and after": (
        sse.data({"choices": [], "id": "", "model": "", "prompt_filter_results": []})
        + chunk({"content": "a"}, usage=None)
        + sse.data({"choices": [], "usage": None})
        + chunk({}, "stop")
        + sse.data({"usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}})
        + DONE,
        (TextBlock("a"),),
        End("stop", "stop"),
    ),
    "a repeated finish reason and an empty chunk after it": (
        chunk({"content": "a"}, "stop") + chunk({"content": ""}, "stop") + chunk({"content": ""}) + DONE,
        (TextBlock("a"),),
        End("stop", "stop"),
    ),
    "reasoning and its details with the same text": (
        chunk({"reasoning": "t", "reasoning_details": [{"type": "reasoning.text", "text": "t", "index": 0}]})
        + chunk({"reasoning": "u", "reasoning_details": [{"type": "reasoning.text", "text": "u", "index": 0}]})
        + chunk({"reasoning_details": [{"type": "reasoning.text", "text": None, "signature": "s", "index": 0}]})
        + chunk({"content": "a"}, "stop")
        + DONE,
        (
            ThoughtBlock(
                "tu",
                Sealed(
                    0,
                    "chat",
                    {"reasoning_details": [{"type": "reasoning.text", "text": "tu", "index": 0, "signature": "s"}]},
                ),
            ),
            TextBlock("a"),
        ),
        End("stop", "stop"),
    ),
    "reasoning, and afterwards its details with the same text": (
        chunk({"reasoning_content": "t"})
        + chunk({"reasoning_details": [{"type": "reasoning.text", "text": "t"}]})
        + chunk({"content": "a"}, "stop")
        + DONE,
        (
            ThoughtBlock("t", Sealed(0, "chat", {"reasoning_details": [{"type": "reasoning.text", "text": "t"}]})),
            TextBlock("a"),
        ),
        End("stop", "stop"),
    ),
    "reasoning under two names": (
        chunk({"reasoning_content": "t", "reasoning": "t"}) + chunk({"content": "a"}, "stop") + DONE,
        (ThoughtBlock("t", Sealed(0, "chat", {"field": "reasoning_content"})), TextBlock("a")),
        End("stop", "stop"),
    ),
    "encrypted details without text": (
        chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]})
        + chunk({"content": "a"}, "stop")
        + DONE,
        (
            ThoughtBlock("", Sealed(0, "chat", {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]})),
            TextBlock("a"),
        ),
        End("stop", "stop"),
    ),
    "content as typed parts": (
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}]})
        + chunk({"content": [{"type": "thinking", "thinking": "u"}, {"type": "text", "text": "a"}, {"type": "new"}]})
        + chunk({"content": "b"}, "stop")
        + DONE,
        (ThoughtBlock("tu"), TextBlock("ab")),
        End("stop", "stop"),
    ),
    "text, then reasoning, then text": (
        chunk({"content": "a"}) + chunk({"reasoning": "t"}) + chunk({"content": "b"}, "stop") + DONE,
        (TextBlock("a"), ThoughtBlock("t", Sealed(1, "chat", {"field": "reasoning"})), TextBlock("b")),
        End("stop", "stop"),
    ),
    "interleaved calls": (
        calls(fragment("f", "", index=0, id="a", type="function"))
        + calls(fragment("g", "", index=1, id="b", type="function"))
        + calls(fragment(None, '{"x":', index=0))
        + calls(fragment(None, '{"y":', index=1), fragment(None, "1}", index=0))
        + calls(fragment(None, "2}", index=1))
        + chunk({}, "tool_calls")
        + DONE,
        (ToolBlock("a", "f", '{"x":1}'), ToolBlock("b", "g", '{"y":2}')),
        End("tool_calls", "tool_calls"),
    ),
    "one index for calls of different ids": (
        calls(fragment("f", '{"a":1}', index=0, id="a"), fragment("f", '{"a":2}', index=0, id="b"))
        + chunk({}, "stop")
        + DONE,
        (ToolBlock("a", "f", '{"a":1}'), ToolBlock("b", "f", '{"a":2}')),
        End("stop", "stop"),
    ),
    "whole calls without an index, with the finish reason": (
        calls(fragment("f", "{}", id="a"), fragment("g", "{}", id="b"), finish="tool_calls") + DONE,
        (ToolBlock("a", "f", "{}"), ToolBlock("b", "g", "{}")),
        End("tool_calls", "tool_calls"),
    ),
    "whole calls with one index and empty ids": (
        calls(fragment("f", '{"a":1}', index=0, id="")) + calls(fragment("f", '{"a":2}', index=0, id="")) + DONE,
        (ToolBlock("0", "f", '{"a":1}'), ToolBlock("1", "f", '{"a":2}')),
        End("tool_calls"),
    ),
    "a name on every fragment and no id": (
        calls(fragment("f", '{"a"', index=0)) + calls(fragment("f", ":1}", index=0)) + chunk({}, "tool_calls") + DONE,
        (ToolBlock("0", "f", '{"a":1}'),),
        End("tool_calls", "tool_calls"),
    ),
    "id and name on every fragment": (
        calls(fragment("f", '{"a"', index=0, id="a"))
        + calls(fragment("f", ":1}", index=0, id="a"))
        + chunk({}, "tool_calls")
        + DONE,
        (ToolBlock("a", "f", '{"a":1}'),),
        End("tool_calls", "tool_calls"),
    ),
    "fragments without index and id continue the last call": (
        calls(fragment("f", "", id="a")) + calls(fragment(None, "{}")) + chunk({}, "tool_calls") + DONE,
        (ToolBlock("a", "f", "{}"),),
        End("tool_calls", "tool_calls"),
    ),
    "arguments before the name": (
        calls(fragment(None, '{"a"', index=0, id="a"))
        + calls(fragment("f", ":1}", index=0))
        + chunk({}, "tool_calls")
        + DONE,
        (ToolBlock("a", "f", '{"a":1}'),),
        End("tool_calls", "tool_calls"),
    ),
    "two calls of one id": (
        calls(
            fragment("f", "{}", index=0, id="call_1"), fragment("g", "{}", index=1, id="call_1"), finish="tool_calls"
        ),
        (ToolBlock("call_1", "f", "{}"), ToolBlock("1", "g", "{}")),
        End("tool_calls", "tool_calls"),
    ),
    "a custom call": (
        calls({"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": ""}})
        + calls({"index": 0, "custom": {"input": "*** Begin"}})
        + chunk({}, "tool_calls")
        + DONE,
        (ToolBlock("a", "patch", "*** Begin", "custom"),),
        End("tool_calls", "tool_calls"),
    ),
    "a legacy function call": (
        chunk({"function_call": {"name": "f", "arguments": ""}})
        + chunk({"function_call": {"arguments": "{}"}})
        + chunk({}, "function_call")
        + DONE,
        (ToolBlock("0", "f", "{}"),),
        End("tool_calls", "function_call"),
    ),
    "a refusal": (
        chunk({"refusal": "I "}) + chunk({"refusal": "won't"}) + chunk({}, "stop") + DONE,
        (RefusalBlock("I won't"),),
        End("stop", "stop"),
    ),
    "a stop string": (
        chunk({"content": "a"})
        + sse.data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]})
        + DONE,
        (TextBlock("a"),),
        End("stop_sequence", "stop", "END"),
    ),
    "reasons in other words": (
        chunk({"content": "a"}, "SAFETY") + DONE,
        (TextBlock("a"),),
        End("refusal", "SAFETY"),
    ),
    "an unknown reason": (chunk({"content": "a"}, "bored") + DONE, (TextBlock("a"),), End("stop", "bored")),
    "odd values where others should be": (
        sse.data({"id": 7, "model": None, "created": "x", "choices": [None, {"index": 0, "delta": {"content": 3}}]})
        + sse.data({"choices": {}, "usage": []})
        + sse.data({"choices": [{"index": 0, "delta": "text", "finish_reason": 4}]})
        + calls({"index": 0, "id": 9, "function": "f"})
        + chunk({"content": "a", "tool_calls": {}, "annotations": 1, "reasoning_content": {}}, "stop")
        + DONE,
        (TextBlock("a"),),
        End("stop", "stop"),
    ),
    "only the first choice": (
        sse.data({"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}}]})
        + sse.data({"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]})
        + chunk({}, "stop")
        + DONE,
        (TextBlock("yes"),),
        End("stop", "stop"),
    ),
    "a last event without its blank line": (
        (chunk({"content": "a"}) + chunk({}, "stop") + DONE).rstrip(b"\n"),
        (TextBlock("a"),),
        End("stop", "stop"),
    ),
    "an end of lines with carriage returns": (
        (chunk({"content": "a"}) + chunk({}, "stop") + DONE).replace(b"\n", b"\r\n"),
        (TextBlock("a"),),
        End("stop", "stop"),
    ),
    "usage cut off after the finish reason": (
        chunk({"content": "a"}, "stop") + b'data: {"choices":[],"usa',
        (TextBlock("a"),),
        End("stop", "stop"),
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_tells_its_blocks_and_its_end(name):
    stream, blocks, end = STREAMS[name]
    answer = fold(same_ids(read([stream])))
    assert answer.blocks == blocks
    assert answer.end == end


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_may_be_cut_anywhere(name):
    stream = STREAMS[name][0]
    expected = same_ids(read([stream]))
    for cut in range(1, len(stream)):
        assert same_ids(read(pieces(stream, [cut]))) == expected
    assert same_ids(read(pieces(stream, range(1, len(stream))))) == expected


@pytest.mark.parametrize("name", STREAMS)
def test_events_keep_the_order_that_is_promised(name):
    assert_order(read([STREAMS[name][0]]))


def assert_order(events: Sequence[Event]) -> None:
    """Begin first, blocks numbered as they open, closed once and not used after, one end, last."""
    opened: list[int] = []
    closed: set[int] = set()
    tools: set[int] = set()
    assert [type(event) for event in events].count(Begin) <= 1
    for event in events:
        block = getattr(event, "block", None)
        if isinstance(event, BlockEnd):
            assert block in opened
            assert block not in closed
            closed.add(event.block)
        elif block is not None:
            assert block not in closed
            if block not in opened:
                assert isinstance(event, Text | Thought | Refusal | Sealed | ToolBegin | Native)
                opened.append(block)
            if isinstance(event, ToolBegin):
                tools.add(event.block)
            assert len(set(opened) - closed - tools) <= 1
    assert opened == list(range(len(opened)))
    assert sum(isinstance(event, End | Failed) for event in events) == 1
    assert isinstance(events[-1], End | Failed)
    if isinstance(events[-1], End):
        assert closed == set(opened)


FAILURES = {
    "an error in the stream": (
        chunk({"content": "a"}) + sse.data({"error": {"message": "busy", "code": "overloaded"}}) + DONE,
        ("overloaded", "busy"),
    ),
    "an error event": (b'event: error\ndata: {"error":{"message":"busy"}}\n\n', ("upstream", "busy")),
    "an error after the finish reason": (
        chunk({"content": "a"}, "stop") + sse.data({"error": {"message": "busy", "type": "rate_limit_error"}}),
        ("rate_limited", "busy"),
    ),
    "an error in a chunk with choices": (
        chunk({"content": ""}, "error", error={"code": 502, "message": "gone"}),
        ("upstream", "gone"),
    ),
    "an error as a string": (sse.data({"error": "boom", "code": "server_error"}), ("upstream", "boom")),
    "an error without an envelope": (
        b'error: {"message":"too long","type":"invalid_request_error"}\n\n',
        ("invalid_request", "too long"),
    ),
    "a bare JSON error": (b'{"error":{"message":"quota","code":429}}\n\n', ("rate_limited", "quota")),
    "an early close": (chunk({"content": "a"}), ("upstream", "the upstream ended the stream early")),
    "an empty stream": (b"", ("upstream", "the upstream ended the stream early")),
    "nothing but the done marker": (DONE, ("upstream", "the upstream ended the stream early")),
    "an event that is no JSON": (
        chunk({"content": "a"}) + b"data: {oops\n\n",
        ("upstream", "the upstream sent an event that is not a JSON object"),
    ),
    "an event that is a list": (
        b"data: [1]\n\n",
        ("upstream", "the upstream sent an event that is not a JSON object"),
    ),
    "a finish reason that is a failure": (
        chunk({}, "MALFORMED_FUNCTION_CALL"),
        ("upstream", "the provider could not finish its answer: MALFORMED_FUNCTION_CALL"),
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_stream_that_does_not_end_well_fails(name):
    stream, expected = FAILURES[name]
    events = read([stream])
    assert isinstance(events[-1], Failed)
    assert (events[-1].kind, events[-1].message) == expected
    assert_order(events)


def test_usage_is_told_even_if_the_stream_fails():
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    events = read([chunk({"content": "a"}, usage=usage)])
    assert [type(event) for event in events[-2:]] == [Usage, Failed]
    assert events[-2] == Usage(input=5, output=2)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"prompt_tokens": 12000, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 11008}},
            Usage(input=992, cache_read=11008, output=5),
        ),
        (
            {"prompt_tokens": 1220, "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 1217}},
            Usage(input=3, cache_write=1217),
        ),
        (
            {"prompt_tokens": 2168, "prompt_tokens_details": {"cached_tokens": 2161, "cache_write_tokens": 2161}},
            Usage(cache_read=2161, cache_write=7),
        ),
        (
            {"prompt_tokens": 5, "completion_tokens": None, "total_tokens": 5, "completion_tokens_details": None},
            Usage(input=5),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 11}},
            Usage(input=9, output=7, reasoning=7),
        ),
        (
            {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
            Usage(input=35, output=74),
        ),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 4}, Usage(input=6, cache_read=4)),
        ({"prompt_tokens": "many", "completion_tokens": True, "prompt_tokens_details": 3}, Usage()),
    ],
)
def test_usage_is_counted_in_parts_that_add_up(usage, expected):
    running = chunk({"content": "a"}, usage={"prompt_tokens": 1, "completion_tokens": 1})
    events = read([running + chunk({}, "stop", usage=usage) + DONE])
    assert [event for event in events if isinstance(event, Usage)] == [expected]
    assert isinstance(events[-1], End)


def test_citations_before_their_text_wait_for_it():
    item = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A"}}
    stream = chunk({"content": "", "annotations": [item]}) + chunk({"content": "a"}) + chunk({}, "stop") + DONE
    assert fold(read([stream])).blocks == (TextBlock("a", (Cited(0, "chat", item),)),)


def whole(message: dict, finish: str | None = "stop", **more) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return json.dumps({"id": "c1", "created": 5, "model": "m", "choices": [choice], **more}).encode()


@pytest.mark.parametrize(
    ("message", "stream", "finish"),
    [
        ({"content": "Hello"}, [{"content": "Hel"}, {"content": "lo"}], "stop"),
        (
            {"content": "a", "reasoning_content": "tu"},
            [{"reasoning_content": "t"}, {"reasoning_content": "u"}, {"content": "a"}],
            "length",
        ),
        ({"content": None, "refusal": "no"}, [{"refusal": "n"}, {"refusal": "o"}], "stop"),
        (
            {
                "content": None,
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                    {"id": "b", "type": "custom", "custom": {"name": "g", "input": "raw"}},
                ],
            },
            [
                {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f"}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": '{"x":1}'}}]},
                {"tool_calls": [{"index": 1, "id": "b", "type": "custom", "custom": {"name": "g", "input": "raw"}}]},
            ],
            "tool_calls",
        ),
        (
            {"content": "a", "reasoning_details": [{"type": "reasoning.text", "text": "tu"}]},
            [
                {"reasoning_details": [{"type": "reasoning.text", "text": "t"}]},
                {"reasoning_details": [{"type": "reasoning.text", "text": "u"}]},
                {"content": "a"},
            ],
            "stop",
        ),
    ],
)
def test_a_whole_answer_folds_as_its_stream_does(message, stream, finish):
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    streamed = b"".join(map(chunk, stream)) + chunk({}, finish, usage=usage) + DONE
    events = CHAT.read_answer(whole(message, finish, usage=usage))
    assert_order(events)
    assert fold(events) == fold(read([streamed]))


def test_empty_members_of_a_whole_answer_are_no_calls():
    message = {"content": "a", "refusal": "", "function_call": {"name": "", "arguments": ""}, "tool_calls": None}
    answer = fold(CHAT.read_answer(whole(message, "")))
    assert answer.blocks == (TextBlock("a"),)
    assert answer.end == End("stop")


def test_an_error_inside_a_good_status_is_a_failure():
    events = CHAT.read_answer(b'{"error":{"message":"no credit","code":402}}')
    assert [(event.kind, event.message) for event in events] == [("billing", "no credit")]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices":[]}', b'{"choices":null}', whole({})[:-4]])
def test_a_body_that_is_no_answer_is_a_502(body):
    with pytest.raises(GatewayError) as caught:
        CHAT.read_answer(body)
    assert caught.value.failed.status == 502


CALLED = [
    Begin("msg_1", "claude"),
    Thought(0, "hm"),
    Sealed(0, "messages", {"type": "thinking", "thinking": "hm", "signature": "s"}),
    BlockEnd(0),
    Text(1, "Let me "),
    Text(1, "see."),
    BlockEnd(1),
    ToolBegin(2, "toolu_1", "look"),
    ToolBegin(3, "toolu_2", "patch", "custom"),
    ToolInput(2, '{"a":'),
    ToolInput(3, "raw"),
    ToolInput(2, "1}"),
    BlockEnd(2),
    BlockEnd(3),
    Usage(input=3, cache_read=10, cache_write=2, output=6, reasoning=4),
    End("tool_calls", "tool_use"),
]


def test_a_stream_is_written_chunk_by_chunk():
    stream = write(CALLED)
    found = chunks(stream)
    assert {(one["object"], one["created"], one["model"]) for one in found} == {
        ("chat.completion.chunk", 1_700_000_000, "my-model")
    }
    assert len({one["id"] for one in found}) == 1
    assert found[0]["id"].startswith("chatcmpl-")
    parts = deltas(stream)
    seal = parts[-2].pop("reasoning_details")
    assert parts == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": "Let me "},
        {"content": "see."},
        {
            "tool_calls": [
                {"index": 0, "id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 1, "id": "toolu_2", "type": "custom", "custom": {"name": "patch", "input": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 1, "custom": {"input": "raw"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {},
        {},
    ]
    assert [item["type"] for item in seal] == ["reasoning.encrypted"]
    assert unseal(seal[0]["data"]).item == [CALLED[2].item]
    assert unseal(seal[0]["data"]).issuer == ISSUER
    reasons = [one["choices"][0]["finish_reason"] for one in found if one["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + ["tool_calls"]


def test_usage_is_written_when_asked_for_and_not_otherwise():
    asked, unasked = write(CALLED), write(CALLED, include_usage=False)
    assert [one for one in chunks(asked) if not one["choices"]] == chunks(asked)[-1:]
    assert chunks(asked)[-1]["usage"] == {
        "prompt_tokens": 15,
        "completion_tokens": 6,
        "total_tokens": 21,
        "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    assert all(one["choices"] and not one.get("usage") for one in chunks(unasked))


def test_unknown_usage_is_estimated_in_integers():
    stream = write([Begin(), Text(0, "twelve chars"), BlockEnd(0), End("stop")])
    usage = chunks(stream)[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (7, 3, 10)
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 0}


@pytest.mark.parametrize("end", [End("stop"), Failed("upstream", "gone")])
def test_nothing_follows_the_end(end):
    writer = CHAT.writer(reply())
    last = writer.send(end)
    assert last.endswith(DONE) == isinstance(end, End)
    assert last.count(b"[DONE]") == isinstance(end, End)
    for event in (Text(0, "more"), End("stop"), Failed("internal", "x"), Usage()):
        assert writer.send(event) == b""


def test_a_failure_is_one_error_chunk_without_done():
    stream = write([Begin(), Text(0, "a"), Failed("overloaded", "busy", param="p"), End("stop")])
    assert stream.endswith(
        b'data: {"error":{"message":"busy","type":"server_error","param":"p","code":"overloaded"}}\n\n'
    )
    assert b"[DONE]" not in stream
    assert b'"finish_reason":"' not in stream


@pytest.mark.parametrize(
    ("reason", "called", "expected"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("tool_calls", False, "stop"),
        ("stop_sequence", False, "stop"),
        ("pause", False, "stop"),
        ("length", True, "length"),
        ("context_exceeded", False, "length"),
        ("refusal", False, "content_filter"),
    ],
)
def test_finish_reasons_agree_with_what_was_said(reason, called, expected):
    events = [Begin(), *([ToolBegin(0, "a", "f"), BlockEnd(0)] if called else []), Usage(), End(reason)]
    streamed = [one["choices"][0]["finish_reason"] for one in chunks(write(events)) if one["choices"]]
    assert streamed[-1] == expected
    assert json.loads(CHAT.write_answer(fold(events), reply()))["choices"][0]["finish_reason"] == expected


def test_what_only_others_can_say_is_left_out():
    url = Cited(0, "messages", {"type": "web_search_result_location", "url": "https://a", "title": "A"})
    item = {"type": "url_citation", "url_citation": {"url": "https://b"}}
    events = [
        Text(0, "a"), url, Cited(0, "chat", item), BlockEnd(0), Native(1, "messages", "server_tool_use", {}),
        BlockEnd(1), Refusal(2, "no"), BlockEnd(2), End("stop"),
    ]  # fmt: skip
    assert deltas(write(events)) == [
        {"role": "assistant", "content": ""}, {"content": "a"}, {"annotations": [item]}, {"refusal": "no"}, {},
    ]  # fmt: skip


def test_native_details_go_out_as_they_are():
    details = [{"type": "reasoning.text", "text": "t", "signature": "s"}]
    events = [
        Thought(0, "t"),
        Sealed(0, "chat", {"reasoning_details": details}),
        BlockEnd(0),
        Text(1, "a"),
        End("stop"),
    ]
    assert {"reasoning_details": details} in deltas(write(events))
    named = [Thought(0, "t"), Sealed(0, "chat", {"field": "reasoning"}), BlockEnd(0), Text(1, "a"), End("stop")]
    assert b"reasoning_details" not in write(named)


def test_separators_that_clients_split_on_are_escaped():
    stream = write([Begin(), Text(0, "a\u2028b\u2029c\x85d"), BlockEnd(0), End("stop")])
    assert len(stream.decode().splitlines()) == stream.count(b"\n")
    assert {"content": "a\u2028b\u2029c\x85d"} in deltas(stream)


def test_a_ping_is_a_comment():
    assert CHAT.writer(reply()).ping() == b": ping\n\n"


def test_a_whole_answer_has_every_key():
    body = json.loads(CHAT.write_answer(fold(CALLED), reply()))
    (choice,) = body["choices"]
    assert body.keys() == {"id", "object", "created", "model", "choices", "usage"}
    assert choice.keys() == {"index", "message", "logprobs", "finish_reason"}
    (seal,) = choice["message"].pop("reasoning_details")
    assert unseal(seal["data"]).item == [CALLED[2].item]
    assert choice["message"] == {
        "role": "assistant",
        "content": "Let me see.",
        "refusal": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}},
            {"id": "toolu_2", "type": "custom", "custom": {"name": "patch", "input": "raw"}},
        ],
    }
    assert body["usage"]["prompt_tokens"] == 15
    ChatCompletion.model_validate(body)


@pytest.mark.parametrize(
    ("block", "content"),
    [
        ([ToolBegin(0, "a", "f"), BlockEnd(0)], None),
        ([Refusal(0, "no"), BlockEnd(0)], None),
        ([], ""),
    ],
)
def test_content_is_null_beside_calls_and_refusals(block, content):
    message = json.loads(CHAT.write_answer(fold([*block, End("stop")]), reply()))["choices"][0]["message"]
    assert message["content"] == content
    assert "content" in message
    assert ("tool_calls" in message) == any(isinstance(event, ToolBegin) for event in block)


def test_citations_with_a_url_become_annotations_of_a_whole_answer():
    events = [
        Text(0, "One. "), BlockEnd(0), Text(1, "Two."),
        Cited(1, "messages", {"type": "web_search_result_location", "url": "https://a", "title": "A"}),
        Cited(1, "responses", {"type": "url_citation", "url": "https://b", "start_index": 1, "end_index": 3}),
        Cited(1, "messages", {"type": "char_location", "document_index": 0}),
        BlockEnd(1), End("stop"),
    ]  # fmt: skip
    message = json.loads(CHAT.write_answer(fold(events), reply()))["choices"][0]["message"]
    assert [item["url_citation"] for item in message["annotations"]] == [
        {"url": "https://a", "title": "A", "start_index": 5, "end_index": 9},
        {"url": "https://b", "title": "", "start_index": 6, "end_index": 8},
    ]


def test_an_error_body_has_chats_shape():
    body = json.loads(CHAT.write_error(Failed("not_found", "no such model", code="model_not_found"), "req_1"))
    assert body == {
        "error": {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": None,
            "code": "model_not_found",
        }
    }


def content(answer: Answer) -> tuple:
    """What a translation of Chat into Chat must keep, whatever the pieces."""
    text = "".join(block.text for block in answer.blocks if isinstance(block, TextBlock))
    thought = "".join(block.text for block in answer.blocks if isinstance(block, ThoughtBlock))
    refusal = "".join(block.text for block in answer.blocks if isinstance(block, RefusalBlock))
    usage = attrs.evolve(answer.usage, reasoning=answer.usage.reasoning or 0) if answer.usage else None
    return text, thought, refusal, [block for block in answer.blocks if isinstance(block, ToolBlock)], usage


words = st.text(min_size=1, max_size=8)
block_texts = st.lists(words, min_size=1, max_size=4)


@st.composite
def answers(draw) -> list[Event]:
    """A valid sequence of events."""
    events: list[Event] = [Begin("x", "y")]
    kinds = draw(st.lists(st.sampled_from([Text, Thought, Refusal, ToolBegin]), max_size=5))
    for block, kind in enumerate(kinds):
        pieces = draw(block_texts)
        if kind is ToolBegin:
            events.append(ToolBegin(block, f"call_{block}", "f", draw(st.sampled_from(["function", "custom"]))))
            events.extend(ToolInput(block, piece) for piece in pieces)
        else:
            events.extend(kind(block, piece) for piece in pieces)
        events.append(BlockEnd(block))
    events.append(Usage(input=1, cache_read=2, cache_write=3, output=5, reasoning=draw(st.integers(0, 5))))
    return [*events, End("stop")]


@given(answers())
def test_what_is_written_reads_back_the_same(events):
    written = read([write(events)])
    assert_order(written)
    assert content(fold(written)) == content(fold(events))
    whole_events = CHAT.read_answer(CHAT.write_answer(fold(events), reply()))
    assert content(fold(whole_events)) == content(fold(events))


@given(st.lists(st.binary(max_size=30) | st.sampled_from([stream for stream, *_ in STREAMS.values()]), max_size=4))
def test_no_bytes_make_the_reader_raise(reads):
    assert_order(read(reads))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
members = (
    "content", "reasoning_content", "reasoning", "reasoning_details", "refusal", "tool_calls", "function_call",
    "annotations",
)  # fmt: skip
odd_chunks = st.fixed_dictionaries(
    {
        "choices": st.lists(
            st.fixed_dictionaries(
                {"delta": st.dictionaries(st.sampled_from(members), json_values, max_size=3)},
                optional={"index": json_values, "finish_reason": json_values, "message": json_values},
            ),
            max_size=2,
        )
        | json_values
    },
    optional=dict.fromkeys(("usage", "error", "message", "id", "model", "created", "object"), json_values),
)


@given(st.lists(odd_chunks, max_size=4))
def test_no_json_makes_the_reader_raise(values):
    assert_order(read([b"".join(map(sse.data, values)) + DONE]))


def recorded_texts(stream: bytes) -> str:
    """The visible text of choice 0, straight from the recording."""
    found = []
    for raw in [*(splitter := sse.Splitter()).feed(stream), splitter.close()]:
        parsed = sse.parse(raw)
        value = json.loads(parsed[1]) if parsed and parsed[1] != b"[DONE]" else {}
        for choice in value.get("choices") or []:
            text = choice["delta"].get("content") if choice["index"] == 0 else None
            if isinstance(text, list):
                text = "".join(part["text"] for part in text if part["type"] == "text")
            found.append(text or "")
    return "".join(found)


def accumulated(stream: bytes) -> tuple[str, str, list[tuple[str, str, str]]]:
    """What a client collects from a stream by way of the SDK's own types."""
    text = thought = ""
    tools: dict[int, list[str]] = {}
    for value in chunks(stream):
        parsed = ChatCompletionChunk.model_validate(value)
        for choice in parsed.choices:
            text += choice.delta.content or ""
            thought += (choice.delta.model_extra or {}).get("reasoning_content", "")
            for call in choice.delta.tool_calls or []:
                if call.index not in tools:
                    assert call.id
                    tools[call.index] = [call.id, call.function.name, ""]
                else:
                    assert call.id is None
                    assert call.function.name is None
                tools[call.index][2] += call.function.arguments
    assert list(tools) == list(range(len(tools)))
    return text, thought, [tuple(tool) for tool in tools.values()]


@needs_corpus
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name[-40:])
def test_recorded_streams_reach_a_client_whole(path):
    stream = path.read_bytes()
    events = read([stream])
    assert_order(events)
    assert "".join(event.text for event in events if isinstance(event, Text)) == recorded_texts(stream)
    written = write(events)
    text, thought, tools = accumulated(written) if isinstance(events[-1], End) else accumulated(write(events[:-1]))
    assert text == recorded_texts(stream)
    assert thought == "".join(event.text for event in events if isinstance(event, Thought))
    assert [tool[:2] for tool in tools] == [(e.id, e.name) for e in events if isinstance(e, ToolBegin)]
    assert "".join(tool[2] for tool in tools) == "".join(
        event.text for tool in events if isinstance(tool, ToolBegin)
        for event in events if isinstance(event, ToolInput) and event.block == tool.block
    )  # fmt: skip
    assert written.endswith(DONE) == isinstance(events[-1], End)


@needs_corpus
def test_recorded_streams_fail_only_where_the_provider_did():
    failed = [path.name for path in RECORDED if isinstance(read([path.read_bytes()])[-1], Failed)]
    assert ["tool-use-failed-error-streaming.53b444" in name for name in failed] == [True]


@needs_corpus
@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.name[-40:])
def test_recorded_answers_are_read_and_written_whole(path):
    body = path.read_bytes()
    message = json.loads(body)["choices"][0]["message"]
    events = CHAT.read_answer(body)
    assert_order(events)
    answer = fold(events)
    written = json.loads(CHAT.write_answer(answer, reply()))
    ChatCompletion.model_validate(written)
    got = written["choices"][0]["message"]
    text = message.get("content") or ""
    if isinstance(text, list):
        text = "".join(part["text"] for part in text if part["type"] == "text")
    assert (got["content"] or "") == text
    assert len(got.get("tool_calls", [])) == len(message.get("tool_calls") or []) + bool(
        (message.get("function_call") or {}).get("name")
    )
    assert (got["refusal"] or "") == (message.get("refusal") or "")
    assert content(fold(read([write(events)]))) == content(answer)
