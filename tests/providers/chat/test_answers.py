"""Readers of failures, usage and whole answers of Chat providers. All bytes; no sockets."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.chat import CHAT
from providers.chat.reader import LAZY_FROM
from streams import sse
from streams.errors import GatewayError
from streams.events import AnswerEnd, Citation, ErrorInfo, Usage
from streams.fold import RefusalBlock, TextBlock, ToolCallBlock, fold
from tests.support.cases import case
from tests.support.chat_wire import DONE, calls, chunk, fragment, read, whole
from tests.support.each_row import each_row
from tests.support.provider_streams import check_order

QUOTA = {"code": 429, "message": "quota"}

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
    # OpenRouter (genkit-ai/genkit#6259)
    "an error inside a choice": (
        chunk({"content": "a"}) + sse.data({"choices": [{"delta": {}, "finish_reason": "error", "error": QUOTA}]}),
        ("rate_limited", "quota"),
    ),
    "an error as a string": (sse.data({"error": "boom", "code": "server_error"}), ("upstream", "boom")),
    "an error without an envelope": (
        b'error: {"message":"too long","type":"invalid_request_error"}\n\n',
        ("invalid_request", "too long"),
    ),
    "a bare JSON error": (b'{"error":{"message":"quota","code":429}}\n\n', ("rate_limited", "quota")),
    "an early close": (chunk({"content": "a"}), ("upstream", "the provider ended the stream early")),
    "an empty stream": (b"", ("upstream", "the provider ended the stream early")),
    # Agents ran such a call with half of its arguments.
    "the done marker after half a call": (
        calls(fragment("f", "{}", index=0, id="a")) + calls(fragment("g", '{"path": "/tmp/', index=1, id="b")) + DONE,
        ("upstream", "the provider ended the stream early"),
    ),
    "the done marker in the middle of a string": (
        calls(fragment("g", '{"path": "a}\\', index=0, id="b")) + calls(fragment(None, '"}', index=0)) + DONE,
        ("upstream", "the provider ended the stream early"),
    ),
    "nothing but the done marker": (DONE, ("upstream", "the provider ended the stream early")),
    "an event that is no JSON": (
        chunk({"content": "a"}) + b"data: {oops\n\n",
        ("upstream", "the provider sent an event that is not a JSON object"),
    ),
    "an event that is a list": (
        b"data: [1]\n\n",
        ("upstream", "the provider sent an event that is not a JSON object"),
    ),
    # Google (FuzzAnything/PromptFuzz#42, langroid/langroid#988)
    "an error in a list": (sse.data([{"error": {"message": "quota", "code": 429}}]), ("rate_limited", "quota")),
    "a list of errors": (sse.data({"errors": [{"message": "quota", "code": 429}]}), ("rate_limited", "quota")),
    # A truncated answer looked complete: Snowflake's end without a finish reason, too.
    "an error in an unknown form before the done marker": (
        chunk({"content": "a"}) + sse.data({"code": 1113, "msg": "no credit"}) + DONE,
        ("upstream", "no credit"),
    ),
    # MiniMax (adrianlyjak/obsidian-aloud-tts#114)
    "a status other than 0": (
        chunk({"content": "a"}) + sse.data({"choices": None, "base_resp": {"status_code": 1, "status_msg": "busy"}}),
        ("upstream", "busy"),
    ),
    "a status other than 0 with a finish reason": (
        chunk({"content": "a"}, "stop", base_resp={"status_code": 1027, "status_msg": "output"}) + DONE,
        ("upstream", "output"),
    ),
    "a finish reason that is a failure": (
        chunk({}, "MALFORMED_FUNCTION_CALL"),
        ("upstream", "the provider could not finish its answer: MALFORMED_FUNCTION_CALL"),
    ),
}


@each_row("name", FAILURES)
def test_a_stream_that_does_not_end_well_fails(name):
    """No invented end: an empty "success" hides the failure (BerriAI/litellm#40578, #2180, maximhq/bifrost#5546,
    Portkey-AI/gateway#1797, icebear0828/codex-proxy#108)."""
    stream, expected = FAILURES[name]
    events = read([stream])
    assert isinstance(events[-1], ErrorInfo)
    assert (events[-1].kind, events[-1].message) == expected
    check_order(events)


def test_usage_may_be_in_the_choice():
    """Moonshot's streams, and others without the usage chunk (earendil-works/pi#2017, anomalyco/opencode#44502)."""
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "cached_tokens": 3}
    for delta in [{}, {"content": "b"}]:
        choice = {"index": 0, "delta": delta, "finish_reason": "stop", "usage": usage}
        for last in [b"", sse.data({"choices": [], "usage": usage})]:
            events = read([chunk({"content": "a"}) + sse.data({"choices": [choice], "usage": None}) + last + DONE])
            assert [event for event in events if isinstance(event, Usage)] == [Usage(input=2, cache_read=3, output=2)]
    running = {"index": 0, "delta": {"content": "b"}, "finish_reason": None, "usage": usage}
    assert Usage(input=2, cache_read=3, output=2) in read(
        [chunk({"content": "a"}) + sse.data({"choices": [running]}) + chunk({}, "stop") + DONE]
    )


def test_usage_is_reported_even_if_the_stream_fails():
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    events = read([chunk({"content": "a"}, usage=usage)])
    assert [type(event) for event in events[-2:]] == [Usage, ErrorInfo]
    assert events[-2] == Usage(input=5, output=2)


@each_row(
    "usage, expected",
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
        ({"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109}, Usage(input=35, output=74)),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 4}, Usage(input=6, cache_read=4)),
        ({"prompt_tokens": 0, "completion_tokens": True, "prompt_tokens_details": 3}, Usage(input=1, output=1)),
        ({"prompt_tokens": "many", "completion_tokens": None}, Usage(input=1, output=1)),  # of the chunk before
    ],
)
def test_usage_is_counted_in_parts_that_add_up(usage, expected):
    """Clients add the parts up: a straight copy doubles the context (icebear0828/codex-proxy#587,
    BerriAI/litellm#35127), and more reasoning than output is nonsense (BerriAI/litellm#10667: 1175 > 774)."""
    running = chunk({"content": "a"}, usage={"prompt_tokens": 1, "completion_tokens": 1})
    events = read([running + chunk({}, "stop", usage=usage) + DONE])
    assert [event for event in events if isinstance(event, Usage)] == [expected]
    assert isinstance(events[-1], AnswerEnd)


def test_a_cut_off_call_with_a_finish_reason_is_an_end():
    """The reason `length` already means that the arguments may be incomplete."""
    events = read([calls(fragment("f", '{"a', index=0, id="a")) + chunk({}, "length") + DONE])
    assert events[-1] == AnswerEnd("length", "length")


def test_citations_of_a_whole_answer_belong_to_its_text():
    item = {"type": "url_citation", "url_citation": {"url": "https://a"}}
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = whole({"content": "a", "refusal": "no", "annotations": [item], "tool_calls": [call]})
    blocks = fold(CHAT.read_answer(body)).blocks
    assert blocks[0] == TextBlock("a", (Citation(0, "chat", item),))
    assert [type(block) for block in blocks[1:]] == [RefusalBlock, ToolCallBlock]


def test_the_pages_of_a_search_belong_to_the_text_of_a_whole_answer():
    """Perplexity lists them next to the choices."""
    events = CHAT.read_answer(whole({"content": "a"}, search_results=[{"url": "https://x.test", "title": "X"}]))
    check_order(events)
    assert [event.item["url_citation"]["url"] for event in events if isinstance(event, Citation)] == ["https://x.test"]


def test_citations_before_their_text_wait_for_it():
    item = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A"}}
    stream = chunk({"content": "", "annotations": [item]}) + chunk({"content": "a"}) + chunk({}, "stop") + DONE
    assert fold(read([stream])).blocks == (TextBlock("a", (Citation(0, "chat", item),)),)


def test_a_whole_answer_equals_its_folded_stream():
    """2455 of 2459 tokens were billed in full when streaming (BerriAI/litellm#35127)."""
    for message, stream, finish in [
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
    ]:
        with case((message, stream, finish)):
            usage = {"prompt_tokens": 2459, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 2455}}
            streamed = b"".join(map(chunk, stream)) + chunk({}, finish, usage=usage) + DONE
            events = CHAT.read_answer(whole(message, finish, usage=usage))
            check_order(events)
            assert fold(events) == fold(read([streamed]))


def test_a_stream_of_a_complete_answer_has_the_same_content():
    """Servers that cannot stream with tools put all of it into one event."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = whole({"content": "Hello", "tool_calls": [call]}, "tool_calls", usage={"prompt_tokens": 1})
    events = read([b"data: %b\n\n" % body + DONE])
    check_order(events)
    assert fold(events) == fold(CHAT.read_answer(body))


@each_row("delta", [{}, {"delta": {}}, {"delta": {"content": "b"}}])
def test_a_whole_message_next_to_deltas_is_not_repeated(delta):
    """Perplexity repeats the text so far in `message`."""
    last = {"index": 0, "message": {"content": "ab"}, "finish_reason": "stop", **delta}
    sent = "a" if delta.get("delta") else "ab"
    answer = fold(read([chunk({"content": sent}) + sse.data({"choices": [last]}) + DONE]))
    assert answer.blocks == (TextBlock("ab"),)


def test_empty_members_of_a_whole_answer_are_not_calls():
    message = {"content": "a", "refusal": "", "function_call": {"name": "", "arguments": ""}, "tool_calls": None}
    answer = fold(CHAT.read_answer(whole(message, "")))
    assert answer.blocks == (TextBlock("a"),)
    assert answer.end == AnswerEnd("stop", is_known=False)


def test_a_status_of_0_is_not_an_error():
    """MiniMax sends it with good answers."""
    status = {"base_resp": {"status_code": 0, "status_msg": ""}}
    for events in (
        read([chunk({"content": "a"}, "stop", **status) + DONE]),
        CHAT.read_answer(whole({"content": "a"}, **status)),
    ):
        assert fold(events).blocks == (TextBlock("a"),)


@each_row("body", [b'{"error":%b}', b'[{"error":%b}]', b'{"errors":[%b]}', b'{"detail":%b}'])
def test_an_error_inside_a_good_status_is_a_failure(body):
    events = CHAT.read_answer(body % b'{"message":"no credit","code":402}')
    assert [(event.kind, event.message) for event in events] == [("billing", "no credit")]


@each_row("texts", [True, False])
def test_an_error_inside_a_choice_keeps_its_kind(texts):
    choice = {"index": 0, "message": {"content": ""}, "finish_reason": "error", "error": QUOTA}
    failed = CHAT.read_answer(json.dumps({"choices": [choice], "x": "x" * LAZY_FROM}).encode(), texts)[-1]
    assert (failed.kind, failed.status, failed.message) == ("rate_limited", 429, "quota")


def test_an_error_next_to_a_normal_end_is_ignored():
    body = b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop","error":{"message":"m"}}]}'
    assert fold(CHAT.read_answer(body)).blocks == (TextBlock("a"),)


# Texts that the reader skips

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(lambda text: text * 500)
TYPED = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm. " * 9000}]}, {"type": "text", "text": "Yes."}]


@given(st.none() | WORDS | st.just(TYPED), st.none() | WORDS, st.booleans(), st.booleans())
def test_a_long_answer_read_without_its_text_is_otherwise_the_same(content, reasoning, called, escaped):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": content, "reasoning_content": reasoning}
    message |= {"tool_calls": [call]} if called else {}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if called else "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    padding = "x" * LAZY_FROM
    body = json.dumps({"id": "i", "choices": [choice], "usage": usage, "x": padding}, ensure_ascii=escaped).encode()
    whole, unread = fold(CHAT.read_answer(body)), fold(CHAT.read_answer(body, texts=False))
    assert (unread.start, unread.usage, unread.end) == (whole.start, whole.usage, whole.end)
    if not isinstance(content, str):
        assert unread == whole
    elif content:
        assert [block for block in whole.blocks if block not in unread.blocks] == [TextBlock(content)]


@each_row("broken", [b"\xff", rb"\x", rb"\u12", b"\n", b'"'])
def test_a_long_answer_of_invalid_json_fails_even_if_its_text_is_skipped(broken):
    body = b'{"choices":[{"message":{"content":"%b%b"},"finish_reason":"stop"}]}' % (b"x" * LAZY_FROM, broken)
    for texts in (True, False):
        with pytest.raises(GatewayError, match="not a JSON object"):
            CHAT.read_answer(body, texts)


def test_calls_of_a_whole_answer_with_the_same_id_stay_separate():
    """If joined, the second call would have the arguments of both, or lose its name."""
    body = whole({"content": None, "tool_calls": [fragment("f", "{}", id="a"), fragment("g", '{"x":1}', id="a")]})
    repaired = CHAT.answer_repair()(body)
    for data in (body, repaired):
        found = [block for block in fold(CHAT.read_answer(data)).blocks if isinstance(block, ToolCallBlock)]
        assert [(one.name, one.input) for one in found] == [("f", "{}"), ("g", '{"x":1}')]
        assert len({one.id for one in found}) == 2
    names = [one["function"]["name"] for one in json.loads(repaired)["choices"][0]["message"]["tool_calls"]]
    assert names == ["f", "g"]


def test_repairs_of_endless_choices_stay_small():
    repair = CHAT.answer_repair()
    piece = '{"choices":[{"index":%d,"delta":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]}'
    repaired = [repair(data) is not data for data in ((piece % at).encode() for at in range(2000))]
    assert repaired[0]
    assert not repaired[-1]  # no place for it
