"""Writers of streams and whole answers for Chat clients. All bytes; no sockets."""

import json

from providers.chat import CHAT
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    ErrorInfo,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import fold
from tests.support.block_events import call_events, text_events, thought_events
from tests.support.cases import case
from tests.support.chat_wire import chunks, reply, write

CALLED = [
    AnswerStart("msg_1", "claude"),
    *thought_events(0, "hm", api="messages", item={"type": "thinking", "thinking": "hm", "signature": "s"}),
    *text_events(1, "Let me ", "see."), ToolCallStart(2, "toolu_1", "look"),
    ToolCallStart(3, "toolu_2", "patch", "custom"), ToolCallDelta(2, '{"a":'), ToolCallDelta(3, "raw"),
    ToolCallDelta(2, "1}"), BlockEnd(2), BlockEnd(3),
    Usage(input=3, cache_read=10, cache_write=2, output=6, reasoning=4), AnswerEnd("tool_calls", "tool_use"),
]  # fmt: skip


def test_usage_is_written_only_on_request():
    """Clients index `choices[0]` (microsoft/foundry-local#905, awslabs/llmeter#34, digitalocean/langchain-gradient#27),
    and the usage chunk has the array too (anomalyco/opencode#1298)."""
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


def test_a_failure_is_one_error_chunk_without_done():
    """BerriAI/litellm#40578, #2180, maximhq/bifrost#5546, Portkey-AI/gateway#1797."""
    stream = write([AnswerStart(), TextDelta(0, "a"), ErrorInfo("overloaded", "busy", param="p"), AnswerEnd("stop")])
    assert stream.endswith(
        b'data: {"error":{"message":"busy","type":"server_error","param":"p","code":"overloaded"}}\n\n'
    )
    assert b"[DONE]" not in stream
    assert b'"finish_reason":"' not in stream


def test_finish_reasons_agree_with_the_content():
    """vercel/ai#12218, strands-agents/harness-sdk#1827, jasonxu114514/opencode2api#27."""
    for reason, called, expected in [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("tool_calls", False, "stop"),
        ("stop_sequence", True, "tool_calls"),
        ("pause", True, "tool_calls"),
        ("stop_sequence", False, "stop"),
        ("pause", False, "stop"),
        ("length", True, "length"),
        ("context_exceeded", False, "length"),
        ("refusal", False, "content_filter"),
    ]:
        with case((reason, called, expected)):
            events = [AnswerStart(), *(call_events(0, id="a") if called else []), Usage(), AnswerEnd(reason)]
            streamed = [one["choices"][0]["finish_reason"] for one in chunks(write(events)) if one["choices"]]
            assert streamed[-1] == expected
            assert json.loads(CHAT.write_answer(fold(events), reply()))["choices"][0]["finish_reason"] == expected
