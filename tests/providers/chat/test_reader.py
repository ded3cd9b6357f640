"""The reader of Chat streams: odd chunks become correct events. All bytes; no sockets."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from providers.chat.reader import ChatReader
from streams import sse
from streams.events import AnswerEnd, ReasoningState
from streams.fold import ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock, fold
from tests.support.chat_wire import DONE, calls, chunk, fragment, pieces, read, same_ids
from tests.support.each_row import each_row
from tests.support.provider_streams import check_order

A, B, C = ({"token": text, "logprob": -0.5, "bytes": None, "top_logprobs": []} for text in "abc")


def logprobs_chunk(text: str, *tokens: dict) -> bytes:
    logprobs = {"content": list(tokens), "refusal": None}
    return sse.data({"choices": [{"index": 0, "delta": {"content": text}, "logprobs": logprobs}]})


STOP, CALLED = chunk({}, "stop") + DONE, chunk({}, "tool_calls") + DONE
ENDED, CALLS = AnswerEnd("stop", "stop"), AnswerEnd("tool_calls", "tool_calls")


def row(stream: bytes, *blocks: object, end: AnswerEnd = ENDED) -> tuple[bytes, tuple, AnswerEnd]:
    """Build a stream, its blocks and its end."""
    return stream, blocks, end


def thoughts(text: str, item: dict) -> ReasoningBlock:
    return ReasoningBlock(text, ReasoningState(0, "chat", item))


STREAMS = {
    # Portkey-AI/gateway#1000, BerriAI/litellm#32357: one start, however often the provider sends the role
    "text with the role in every delta": row(
        b"".join(chunk({"role": "assistant", "content": text}) for text in ("", "Hel", "lo")) + STOP, TextBlock("Hello")
    ),
    # Perplexity and Hugging Face's router send no [DONE] (icebear0828/codex-proxy#108)
    "no done marker": row(chunk({"content": "a"}) + chunk({}, "stop"), TextBlock("a")),
    # Snowflake sends nothing but [DONE]
    "no finish reason": row(chunk({"content": "a"}) + DONE, TextBlock("a"), end=AnswerEnd("stop", is_known=False)),
    "no finish reason after a call": row(
        calls(fragment("f", "{}", index=0, id="a")) + DONE,
        ToolCallBlock("a", "f", "{}"),
        end=AnswerEnd("tool_calls", is_known=False),
    ),
    # BerriAI/litellm#25212: what rides on the chunk that ends is not lost
    "last text in the finish chunk": row(
        chunk({"content": "a"}) + chunk({"content": "b"}, "length") + DONE,
        TextBlock("ab"),
        end=AnswerEnd("length", "length"),
    ),
    # BerriAI/litellm#30761, #36553, #32519; usage without `choices`: vercel/ai#7417
    "empty choices before, between and after": row(
        sse.data({"choices": [], "id": "", "model": "", "prompt_filter_results": []})
        + chunk({"content": "a"}, usage=None)
        + sse.data({"choices": [], "usage": None})
        + chunk({}, "stop")
        + sse.data({"usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}})
        + DONE,
        TextBlock("a"),
    ),
    "a repeated finish reason and an empty chunk after it": row(
        chunk({"content": "a"}, "stop") + chunk({"content": ""}, "stop") + chunk({"content": ""}) + DONE, TextBlock("a")
    ),
    # BerriAI/litellm#29600, Portkey-AI/gateway#1112: never doubled
    "reasoning and its details with the same text": row(
        chunk({"reasoning": "t", "reasoning_details": [{"type": "reasoning.text", "text": "t", "index": 0}]})
        + chunk({"reasoning": "u", "reasoning_details": [{"type": "reasoning.text", "text": "u", "index": 0}]})
        + chunk({"reasoning_details": [{"type": "reasoning.text", "text": None, "signature": "s", "index": 0}]})
        + chunk({"content": "a"}, "stop")
        + DONE,
        thoughts("tu", {"reasoning_details": [{"type": "reasoning.text", "text": "tu", "index": 0, "signature": "s"}]}),
        TextBlock("a"),
    ),
    "reasoning, and afterwards its details with the same text": row(
        chunk({"reasoning_content": "t"})
        + chunk({"reasoning_details": [{"type": "reasoning.text", "text": "t"}]})
        + chunk({"content": "a"}, "stop")
        + DONE,
        thoughts("t", {"reasoning_details": [{"type": "reasoning.text", "text": "t"}]}),
        TextBlock("a"),
    ),
    "reasoning under two names": row(
        chunk({"reasoning_content": "t", "reasoning": "t"}) + chunk({"content": "a"}, "stop") + DONE,
        thoughts("t", {"field": "reasoning_content"}),
        TextBlock("a"),
    ),
    # what OpenRouter wants back of models that show no reasoning
    "encrypted details without text": row(
        chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]})
        + chunk({"content": "a"}, "stop")
        + DONE,
        thoughts("", {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}),
        TextBlock("a"),
    ),
    # Mistral
    "content as typed parts": row(
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}]})
        + chunk({"content": [{"type": "thinking", "thinking": "u"}, {"type": "text", "text": "a"}, {"type": "new"}]})
        + chunk({"content": "b"}, "stop")
        + DONE,
        thoughts("tu", {"field": "content"}),
        TextBlock("ab"),
    ),
    "text with another type, or without one": row(
        chunk({"content": [{"type": "output_text", "text": "a"}, {"text": "b"}]})
        + chunk({"content": {"type": "text", "text": "c"}}, "stop")
        + DONE,
        TextBlock("abc"),
    ),
    "a refusal as a typed part": row(
        chunk({"content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "No."}]}, "stop") + DONE,
        TextBlock("a"),
        RefusalBlock("No."),
    ),
    # Pings are no errors, although they have no choices.
    "pings without a finish reason": row(
        chunk({"content": "a"}) + sse.data({"type": "ping"}) + sse.data({}) + DONE,
        TextBlock("a"),
        end=AnswerEnd("stop", is_known=False),
    ),
    # Poolside (poolsideai/pool#9)
    "a call with another id after its first fragment": row(
        calls(fragment("f", "", index=0, id="a"))
        + calls(fragment(None, '{"x"', index=0, id="b"))
        + calls(fragment(None, ": 1}", index=0, id="b"))
        + chunk({}, "tool_calls")
        + DONE,
        ToolCallBlock("a", "f", '{"x": 1}'),
        end=AnswerEnd("tool_calls", "tool_calls"),
    ),
    # Databricks (tidyverse/ellmer#822)
    "reasoning as typed parts": row(
        chunk({"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]}]})
        + chunk({"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "u"}]}]})
        + chunk({"content": [{"type": "text", "text": "a"}]}, "stop")
        + DONE,
        ReasoningBlock("tu"),
        TextBlock("a"),
    ),
    # ollama/ollama#17101, Wei-Shaw/sub2api#4286: each block is opened once and closed once
    "text, then reasoning, then text": row(
        chunk({"content": "a"}) + chunk({"reasoning": "t"}) + chunk({"content": "b"}, "stop") + DONE,
        TextBlock("a"),
        ReasoningBlock("t", ReasoningState(1, "chat", {"field": "reasoning"})),
        TextBlock("b"),
    ),
    # QwenLM/Qwen-Agent#943, mcowger/plexus#691
    "interleaved calls": row(
        calls(fragment("f", "", index=0, id="a", type="function"))
        + calls(fragment("g", "", index=1, id="b", type="function"))
        + calls(fragment(None, '{"x":', index=0))
        + calls(fragment(None, '{"y":', index=1), fragment(None, "1}", index=0))
        + calls(fragment(None, "2}", index=1))
        + CALLED,
        ToolCallBlock("a", "f", '{"x":1}'),
        ToolCallBlock("b", "g", '{"y":2}'),
        end=CALLS,
    ),
    # Ollama: huggingface/smolagents#1569
    "one index for calls of different ids": row(
        calls(fragment("f", '{"a":1}', index=0, id="a"), fragment("f", '{"a":2}', index=0, id="b")) + STOP,
        ToolCallBlock("a", "f", '{"a":1}'),
        ToolCallBlock("b", "f", '{"a":2}'),
    ),
    # Mistral; vllm-project/vllm#34887
    "whole calls without an index, with the finish reason": row(
        calls(fragment("f", "{}", id="a"), fragment("g", "{}", id="b"), finish="tool_calls") + DONE,
        ToolCallBlock("a", "f", "{}"),
        ToolCallBlock("b", "g", "{}"),
        end=CALLS,
    ),
    # Google's and Alibaba's endpoints: su-kaka/gcli2api#406, langchain-ai/langchain#34807
    "whole calls with one index and empty ids": row(
        calls(fragment("f", '{"a":1}', index=0, id="")) + calls(fragment("f", '{"a":2}', index=0, id="")) + DONE,
        ToolCallBlock("0", "f", '{"a":1}'),
        ToolCallBlock("1", "f", '{"a":2}'),
        end=AnswerEnd("tool_calls", is_known=False),
    ),
    # langchain-ai/langchain#35281
    "a name on every fragment and no id": row(
        calls(fragment("f", '{"a"', index=0)) + calls(fragment("f", ":1}", index=0)) + CALLED,
        ToolCallBlock("0", "f", '{"a":1}'),
        end=CALLS,
    ),
    # BerriAI/litellm#24355, braintrustdata/lingua#318
    "id and name on every fragment": row(
        calls(fragment("f", '{"a"', index=0, id="a")) + calls(fragment("f", ":1}", index=0, id="a")) + CALLED,
        ToolCallBlock("a", "f", '{"a":1}'),
        end=CALLS,
    ),
    # ai-dynamo/dynamo#4723
    "fragments without index and id continue the last call": row(
        calls(fragment("f", "", id="a")) + calls(fragment(None, "{}")) + CALLED,
        ToolCallBlock("a", "f", "{}"),
        end=CALLS,
    ),
    "arguments before the name": row(
        calls(fragment(None, '{"a"', index=0, id="a")) + calls(fragment("f", ":1}", index=0)) + CALLED,
        ToolCallBlock("a", "f", '{"a":1}'),
        end=CALLS,
    ),
    # an id must be unique in the answer: huggingface/smolagents#1958
    "two calls of one id": row(
        calls(
            fragment("f", "{}", index=0, id="call_1"), fragment("g", "{}", index=1, id="call_1"), finish="tool_calls"
        ),
        ToolCallBlock("call_1", "f", "{}"),
        ToolCallBlock("1", "g", "{}"),
        end=CALLS,
    ),
    "a custom call": row(
        calls({"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": ""}})
        + calls({"index": 0, "custom": {"input": "*** Begin"}})
        + CALLED,
        ToolCallBlock("a", "patch", "*** Begin", "custom"),
        end=CALLS,
    ),
    "a legacy function call": row(
        chunk({"function_call": {"name": "f", "arguments": ""}})
        + chunk({"function_call": {"arguments": "{}"}})
        + chunk({}, "function_call")
        + DONE,
        ToolCallBlock("0", "f", "{}"),
        end=AnswerEnd("tool_calls", "function_call"),
    ),
    "a refusal": row(chunk({"refusal": "I "}) + chunk({"refusal": "won't"}) + STOP, RefusalBlock("I won't")),
    # BerriAI/litellm#20711: later fragments have `id: null`
    "later fragments with a null id": row(
        calls({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}})
        + calls({"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": '{"a":'}})
        + calls({"index": 0, "id": None, "function": {"name": None, "arguments": "1}"}})
        + CALLED,
        ToolCallBlock("a", "f", '{"a":1}'),
        end=CALLS,
    ),
    # BerriAI/litellm#31561, agentjido/req_llm#763: no empty text block before a call without arguments
    "a call first, without arguments": row(
        chunk({"role": "assistant", "content": "", "tool_calls": [{"index": 0, **fragment("f", "", id="a")}]})
        + calls(fragment("g", None, index=1, id="b"))
        + chunk({"content": None}, "tool_calls")
        + DONE,
        ToolCallBlock("a", "f", ""),
        ToolCallBlock("b", "g", ""),
        end=CALLS,
    ),
    # BerriAI/litellm#33224, #25212: reasoning first, and the chunk that changes the block carries text too
    "reasoning and the first text in one chunk": row(
        chunk({"role": "assistant", "content": None, "reasoning_content": ""})
        + chunk({"reasoning_content": "t", "content": ""})
        + chunk({"reasoning_content": "u", "content": "a"})
        + chunk({"content": "b"}, "stop")
        + DONE,
        thoughts("tu", {"field": "reasoning_content"}),
        TextBlock("ab"),
    ),
    "text, a call and the end in one chunk": row(
        chunk({"role": "assistant", "content": "a", "tool_calls": [fragment("f", "{}", index=0, id="x")]}, "tool_calls")
        + DONE,
        TextBlock("a"),
        ToolCallBlock("x", "f", "{}"),
        end=CALLS,
    ),
    "log probabilities beside their text": row(
        logprobs_chunk("a", A) + logprobs_chunk("", B) + logprobs_chunk("b", C) + chunk({"content": "c"}) + STOP,
        TextBlock("abc", logprobs=(A, B, C)),
    ),
    "log probabilities in no known form": row(
        sse.data({"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"tokens": ["a"]}}]})
        + sse.data({"choices": [{"index": 0, "delta": {"content": "b"}, "logprobs": [0.1]}]})
        + chunk({}, "stop"),
        TextBlock("ab"),
    ),
    "spoken output": row(
        chunk({"audio": {"id": "x", "transcript": "Hel"}})
        + chunk({"audio": {"data": "QUJD", "transcript": "lo"}})
        + chunk({"audio": {"expires_at": 5}}, "stop")
        + DONE,
        TextBlock("Hello"),
    ),
    "spoken output that is written, too": row(
        chunk({"content": "Hel", "audio": {"id": "x", "transcript": "Hel"}})
        + chunk({"content": "lo", "audio": {"data": "QUJD", "transcript": "lo"}})
        + STOP,
        TextBlock("Hello"),
    ),
    # vLLM names the string that matched
    "a stop string": row(
        chunk({"content": "a"})
        + sse.data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "###"}]})
        + DONE,
        TextBlock("a"),
        end=AnswerEnd("stop_sequence", "stop", "###"),
    ),
    # SGLang has it in another member (agentgateway/agentgateway#3283, sgl-project/sglang#33153)
    "a stop string of SGLang": row(
        sse.data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "matched_stop": "###"}]}) + DONE,
        end=AnswerEnd("stop_sequence", "stop", "###"),
    ),
    "the id of a stop token of SGLang": row(
        sse.data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "matched_stop": 151645}]}) + DONE,
        end=AnswerEnd("stop", "stop"),
    ),
    "a stop string like a finish reason": row(
        sse.data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]}) + DONE,
        end=AnswerEnd("stop_sequence", "stop", "END"),
    ),
    "a finish reason in place of a stop string": row(
        sse.data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "stop"}]}) + DONE,
        end=AnswerEnd("stop", "stop"),
    ),
    # Portkey-AI/gateway#857: the model's own words leak through routers
    "reasons in other words": row(
        chunk({"content": "a"}, "SAFETY") + DONE, TextBlock("a"), end=AnswerEnd("refusal", "SAFETY")
    ),
    "a content filter": row(
        chunk({"content": "a"}, "content_filter") + DONE, TextBlock("a"), end=AnswerEnd("refusal", "content_filter")
    ),
    # agent loops stop at an unknown reason (can1357/oh-my-pi#12224)
    "an unknown reason": row(
        chunk({"content": "a"}, "bored") + DONE, TextBlock("a"), end=AnswerEnd("stop", "bored", is_known=False)
    ),
    "odd values where others should be": row(
        sse.data({"id": 7, "model": None, "created": "x", "choices": [None, {"index": 0, "delta": {"content": 3}}]})
        + sse.data({"choices": {}, "usage": []})
        + sse.data({"choices": [{"index": 0, "delta": "text", "finish_reason": 4}]})
        + calls({"index": 0, "id": 9, "function": "f"})
        + chunk({"content": "a", "tool_calls": {}, "annotations": 1, "reasoning_content": {}}, "stop")
        + DONE,
        TextBlock("a"),
    ),
    "only the first choice": row(
        sse.data({"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}}]})
        + sse.data({"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]})
        + STOP,
        TextBlock("yes"),
    ),
    "a last event without its blank line": row((chunk({"content": "a"}) + STOP).rstrip(b"\n"), TextBlock("a")),
    "an end of lines with carriage returns": row(
        (chunk({"content": "a"}) + STOP).replace(b"\n", b"\r\n"), TextBlock("a")
    ),
    "usage cut off after the finish reason": row(
        chunk({"content": "a"}, "stop") + b'data: {"choices":[],"usa', TextBlock("a")
    ),
}


@each_row("name", STREAMS)
def test_a_stream_has_its_blocks_and_end_for_any_split(name):
    stream, blocks, end = STREAMS[name]
    events = read([stream])
    check_order(events)
    expected = same_ids(events)
    answer = fold(expected)
    assert (answer.blocks, answer.end) == (blocks, end)
    for cut in range(1, len(stream)):
        assert same_ids(read(pieces(stream, [cut]))) == expected
    assert same_ids(read(pieces(stream, range(1, len(stream))))) == expected


MEMBERS = {
    "delta": (
        *("content", "reasoning_content", "reasoning", "reasoning_details", "refusal", "tool_calls", "function_call"),
        *("annotations", "audio", "images", "role"),
    ),
    "choice": ("delta", "index", "finish_reason", "logprobs", "error", "message", "stop_reason", "matched_stop"),
    "chunk": ("choices", "id", "model", "usage", "moderation", "error", "errors", "message", "type"),
}
CALL = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
VALUES = (
    None,
    "",
    [],
    {},
    0,
    1,
    "x",
    "stop",
    True,
    [CALL],
    {"content": [{"token": "a"}]},
    {"prompt_tokens": 1},
    [{}],
    {"input": {"results": [{}]}},
)
PLACES = [(place, name) for place, names in MEMBERS.items() for name in names]


def text_chunk(changes: list[tuple[tuple[str, str], object]]) -> bytes:
    """Write a chunk of text whose members have the values in ``changes``."""
    delta = {"content": "a"}
    choice = {"index": 0, "delta": delta}
    chunk = {"choices": [choice]}
    for (place, name), value in changes:
        {"delta": delta, "choice": choice, "chunk": chunk}[place][name] = value
    return msgspec.json.encode(chunk)


RAW_CHUNKS = st.one_of(
    st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES)), max_size=2).map(text_chunk),
    st.sampled_from(
        [
            rb'{"choices":[{"index":0,"delta":{"content":"\ud83d"}}]}',
            b'{"id":"\xff","choices":[{"index":0,"delta":{"content":"a"}}]}',
            b'{"choices":[{"index":0,"delta":{"content":"a","content":"b"}}]}',
            b'{"choices":[{"index":0,"delta":{"content":"a"},"delta":{"content":5}}]}',
            b'{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":1},"usage":null}',
            b'{"choices":[{"index":0,"delta":{"content":"a"}}]',
            b"[DONE]",
            b"",
        ]
    ),
)


def check_text_after_text(*chunks: bytes) -> None:
    """Assert that a reader that expects text reads ``chunks`` after text like one that does not: those have a name."""
    expecting, other = ChatReader(), ChatReader()
    end = text_chunk([(("choice", "delta"), {}), (("choice", "finish_reason"), "stop")])
    for data in (text_chunk([]), *chunks, end):
        assert [*expecting.read_event("", data)] == [*other.read_event("some_name", data)]
    assert [*expecting.close()] == [*other.close()]


@given(st.lists(RAW_CHUNKS, max_size=3))
def test_text_after_text_is_read_like_any_event(chunks):
    check_text_after_text(*chunks)


@each_row("place", PLACES)
def test_text_with_another_member_is_read_like_any_event(place):
    for value in VALUES:
        check_text_after_text(text_chunk([(place, value)]), text_chunk([]))
