"""Writers of streams and whole answers for Chat clients. All bytes; no sockets."""

import json

from openai.types.chat import ChatCompletion

from providers.chat import CHAT
from providers.neutral.seal import unseal
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    NativeItem,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import fold
from tests.support.block_events import refusal_events, text_events, thought_events
from tests.support.chat_wire import chunks, deltas, reply, write

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


def test_events_without_a_chat_form_are_omitted():
    """The client must not see calls of the provider's own tools, because it would try to run them."""
    events = [
        *text_events(0, "a", Citation(0, "messages", {"type": "char_location"})),
        NativeItem(1, "messages", "server_tool_use", {}), BlockEnd(1), *refusal_events(2, "no"), AnswerEnd("stop"),
    ]  # fmt: skip
    assert deltas(write(events)) == [
        {"role": "assistant", "content": ""}, {"content": "a"}, {"refusal": "no"}, {},
    ]  # fmt: skip


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
        "annotations": [],
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}},
            {"id": "toolu_2", "type": "custom", "custom": {"name": "patch", "input": "raw"}},
        ],
    }
    assert body["usage"]["prompt_tokens"] == 15
    ChatCompletion.model_validate(body)


def test_citations_appear_once_in_a_stream_as_in_a_whole_answer():
    """openai Python fails on a second list of them."""
    titled = {"url": "https://b", "title": None, "end_index": 9}
    events = [
        *text_events(0, "One. ", Citation(0, "messages", {"url": "https://a"})), ToolCallStart(1, "x", "f"),
        TextDelta(2, "Two."), Citation(2, "chat", {"type": "url_citation", "url_citation": titled}),
        Citation(2, "responses", {"type": "url_citation", "url": "https://c", "start_index": 1, "end_index": 3}),
        Citation(2, "messages", {"type": "char_location", "document_index": 0}),
        Citation(2, "chat", {"type": "url_citation", "url_citation": None}), BlockEnd(1), BlockEnd(2),
        AnswerEnd("stop"),
    ]  # fmt: skip
    annotations = [one["annotations"] for one in deltas(write(events)) if "annotations" in one]
    assert [[one["url_citation"] for one in several] for several in annotations] == [
        [
            {"url": "https://a", "title": "", "start_index": 0, "end_index": 5},
            {"url": "https://b", "title": "", "start_index": 5, "end_index": 9},
            {"url": "https://c", "title": "", "start_index": 6, "end_index": 8},
        ]
    ]
    message = json.loads(CHAT.write_answer(fold(events), reply()))["choices"][0]["message"]
    assert [message["annotations"]] == annotations
