"""What a Messages client is told when the provider speaks Chat or Responses: real bytes in, checked stream out."""

import json
import re

import pytest

from providers.apis import CODECS
from providers.messages import MESSAGES
from streams import sse
from streams.fold import fold
from tests.support.messages_streams import accumulated, check_grammar, frames, reply
from tests.support.provider_streams import read_stream


def chunk(delta=None, finish=None, **members):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt", "choices": choices}
    return told | members


def fragment(index, id=None, name=None, arguments=None):
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}


def body(*chunks, done=True):
    return b"".join(map(sse.data, chunks)) + (b"data: [DONE]\n\n" if done else b"")


def events(data, step, api="chat"):
    return read_stream(CODECS[api], data, step)


def translated(*chunks, done=True):
    """The client's bytes, the same however the provider's were cut: whole, byte by byte, event by event, in halves."""
    data = body(*chunks, done=done)
    sizes = {len(data), 1, max(1, len(data) // 2), 61}
    (out,) = {told(events(data, size)) for size in sizes}
    return out


def told(said):
    """What a client is told, but for the id that is made anew for each message."""
    return re.sub(rb"msg_[0-9a-f]{24}", b"msg_0", b"".join(map(MESSAGES.writer(reply()).send, said)))


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_stream_that_begins_with_reasoning_begins_with_a_thinking_block(field):
    """ "Content block is not a thinking block" (BerriAI/litellm#33224, #25212, #29600)."""
    out = translated(chunk({"role": "assistant", field: "Hm"}), chunk({field: "m"}), chunk({"content": "pong"}),
                     chunk({}, "stop"))  # fmt: skip
    assert [block["type"] for block in check_grammar(out)] == ["thinking", "text"]
    thinking, text = accumulated(out).content
    assert (thinking.thinking, text.text) == ("Hmm", "pong")


def test_role_and_text_in_one_chunk_lose_nothing():
    """(BerriAI/litellm#25212, #32357)"""
    out = translated(
        chunk({"role": "assistant", "content": "pi"}), chunk({"role": "assistant", "content": "ng"}, "stop")
    )
    check_grammar(out)
    assert accumulated(out).content[0].text == "ping"


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(fragment(0, "call_1", "f", '{"a":1}')), chunk({}, "tool_calls")],
        [chunk(fragment(0, "call_1", "f", "")), chunk(fragment(0, None, None, '{"a":1}'), "tool_calls")],
        [chunk(fragment(0, "call_1", "f", '{"a"')), chunk(fragment(0, "call_1", "f", ":1}")), chunk({}, "tool_calls")],
        [chunk(fragment(0, "call_1", "f", '{"a":1}')), chunk({}, "stop")],
    ],
)
def test_a_call_arrives_whole_however_it_was_cut(chunks):
    """Tools ran with empty input (BerriAI/litellm#24355, vllm-project/vllm#34887, braintrustdata/lingua#318)."""
    out = translated(*chunks)
    check_grammar(out)
    message = accumulated(out)
    assert [(block.id, block.name, block.input) for block in message.content] == [("call_1", "f", {"a": 1})]
    assert message.stop_reason == "tool_use"


def test_parallel_calls_that_interleave_are_told_one_after_the_other():
    """(QwenLM/Qwen-Agent#943, mcowger/plexus#691)"""
    out = translated(
        chunk(fragment(0, "a", "f", '{"x"')), chunk(fragment(1, "b", "g", '{"y"')), chunk(fragment(0, arguments=":1}")),
        chunk(fragment(1, arguments=":2}")), chunk({}, "tool_calls"),
    )  # fmt: skip
    check_grammar(out)
    assert [block.input for block in accumulated(out).content] == [{"x": 1}, {"y": 2}]


def prompt(tokens, cached, written):
    details = {"cached_tokens": cached, "cache_write_tokens": written}
    return {"prompt_tokens": tokens, "prompt_tokens_details": details}


@pytest.mark.parametrize(
    ("usage", "written"),
    [
        (prompt(12000, 11008, 0), (992, 11008, 0)),
        (prompt(1220, 0, 1217), (3, 0, 1217)),
        (prompt(2168, 2161, 2161), (0, 2161, 7)),
        ({"prompt_tokens": 5, "prompt_tokens_details": None}, (5, 0, 0)),
    ],
)
def test_cached_input_is_counted_once(usage, written):
    """A straight copy doubles the context, which Claude Code adds up (icebear0828/codex-proxy#587,
    BerriAI/litellm#35127)."""
    usage = usage | {"completion_tokens": 9, "total_tokens": 9 + usage["prompt_tokens"]}
    out = translated(chunk({"content": "a"}), chunk({}, "stop"), chunk(usage=usage))
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    assert tuple(frames(out)[-2][1]["usage"][name] for name in names) == (*written, 9)
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    answer = {"id": "c", "model": "gpt", "usage": usage, "choices": [choice]}
    whole = json.loads(MESSAGES.write_answer(fold(CODECS["chat"].read_answer(json.dumps(answer).encode())), reply()))
    assert tuple(whole["usage"][name] for name in names) == (*written, 9)


def test_chunks_without_choices_open_nothing():
    """Azure begins with one, usage ends with one (BerriAI/litellm#30761, #36553)."""
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    out = translated(chunk(prompt_filter_results=[]), chunk({"content": "a"}), chunk({}, "stop"), chunk(usage=usage))
    assert [block["type"] for block in check_grammar(out)] == ["text"]
    assert frames(out)[-2][1]["usage"]["input_tokens"] == 5


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal"), ("tool_calls", "end_turn"),
     ("function_call", "end_turn"), ("eos", "end_turn")],
)  # fmt: skip
def test_finish_reasons_become_stop_reasons(finish, reason):
    """Never `tool_use` without a call (earendil-works/pi#9681, jasonxu114514/opencode2api#27)."""
    assert accumulated(translated(chunk({"content": "a"}), chunk({}, finish))).stop_reason == reason


@pytest.mark.parametrize(
    ("last", "done", "whole"),
    [
        ([chunk({}, "stop")], False, True),
        ([], True, True),
        ([], False, False),
        ([{"error": {"message": "busy", "type": "overloaded_error", "code": 529}}], True, False),
    ],
)
def test_only_a_good_end_ends_well(last, done, whole):
    """A `finish_reason` or `[DONE]`, and neither after an error (icebear0828/codex-proxy#108)."""
    out = translated(chunk({"content": "a"}), *last, done=done)
    assert (frames(out)[-1][0] == "message_stop") == whole
    assert (frames(out)[-1][0] == "error") != whole
    assert (b"message_delta" in out) == whole


def test_a_refusal_of_openai_is_told_as_text():
    """Details are Anthropic's alone: they stay empty (types of the anthropic SDK)."""
    out = translated(chunk({"refusal": "I won't."}), chunk({}, "content_filter"))
    message = accumulated(out)
    assert (message.content[0].text, message.stop_reason, message.stop_details) == ("I won't.", "refusal", None)


def test_a_hosted_search_of_openai_leaves_its_words_and_no_call():
    """The client would be asked to run a tool that it does not have (types of the SDKs)."""
    cited = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 5}
    text = {"type": "output_text", "text": "found", "annotations": [cited]}
    search = {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "x"}}
    said = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    answer = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "gpt",
        "created_at": 1,
        "output": [search, said],
        "usage": {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6},
    }
    folded = fold(CODECS["responses"].read_answer(json.dumps(answer).encode()))
    message = json.loads(MESSAGES.write_answer(folded, reply()))
    assert message["content"] == [{"type": "text", "text": "found", "citations": []}]
    assert message["stop_reason"] == "end_turn"
