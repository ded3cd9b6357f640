"""Our own writers keep every rule of the grammars, streamed and whole, and both forms have the whole content."""

import itertools
import json
from typing import Any

from providers.apis import CODECS
from providers.grammar import judge
from providers.neutral.codec import Reply
from providers.neutral.request import Parameter, Reasoning, Request
from providers.neutral.seal import Issuer
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    NativeItem,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import Answer, NativeBlock, fold
from tests.support.block_events import call_events, refusal_events, text_events, thought_events
from tests.support.cases import case
from tests.support.common_parts import common_parts
from tests.support.each_row import each_row
from tests.support.provider_streams import read_stream

ISSUER = Issuer("p", "a1")
COUNTED = Usage(input=10, cache_read=4, cache_write=1, output=5, reasoning=2)
REASONING = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "s1"}
REDACTED = {"type": "redacted_thinking", "data": "x"}
NATIVE = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
CITATION = {"type": "url_citation", "url": "https://e.org", "title": "t", "start_index": 0, "end_index": 2}
STOP = [COUNTED, AnswerEnd("stop")]
CALLS = [COUNTED, AnswerEnd("tool_calls")]
SCRIPTS: dict[str, list[Any]] = {
    "text": [*text_events(0, "pi", "ng"), *STOP],
    "nothing": STOP,
    "no usage": [*text_events(0, "hi"), AnswerEnd("stop")],
    "thoughts and text": [*thought_events(0, "h", "m"), *text_events(1, "hi"), *STOP],
    "text, thoughts, text": [*text_events(0, "a"), *thought_events(1, "b"), *text_events(2, "c"), *STOP],
    # modelcontextprotocol/typescript-sdk#1926
    "separators": [*text_events(0, "a\u2028b\u0085c"), *STOP],
    "one call": [*call_events(0, '{"a":', "1}"), *CALLS],
    "text and a call": [*text_events(0, "hi"), *call_events(1, "{}"), *STOP],
    "signed thoughts and a call": [
        *thought_events(0, "hm", api="messages", item=THINKING), *call_events(1, "{}"), *STOP,
    ],
    # agentjido/req_llm#763, BerriAI/litellm#31561
    "calls without arguments": [
        *text_events(0, "hi"), *call_events(1), *call_events(2, kind="custom"), *call_events(3, "{}"), *CALLS,
    ],
    # QwenLM/Qwen-Agent#943, mcowger/plexus#691; the name of a call comes once: langchain-ai/langchain#35281
    "two calls, interleaved": [
        ToolCallStart(0, "a", "f"), ToolCallStart(1, "b", "g"), ToolCallDelta(0, '{"x"'), ToolCallDelta(1, "{}"),
        ToolCallDelta(0, ":1}"), BlockEnd(0), BlockEnd(1), *CALLS,
    ],
    "custom call": [*call_events(0, "*** AnswerStart", " Patch", kind="custom"), *CALLS],
    # BerriAI/litellm#24355, vllm-project/vllm#34887, braintrustdata/lingua#318
    "whole arguments": [*call_events(0, '{"path": "/tmp/\u00e9", "n": 1.0}'), *CALLS],
    # openai Python: "Completed output item identity changed."
    "thoughts, text and calls of both kinds": [
        *thought_events(0, "hm"), *text_events(1, "a"), *call_events(2), *call_events(3, "b", kind="custom"), *CALLS,
    ],
    # Blocks were not found (ollama/ollama#17101, Wei-Shaw/sub2api#4286), their first tokens were lost
    # (BerriAI/litellm#25212), and reasoning was in a text block (BerriAI/litellm#33224, #29600, #29441, #32777).
    "blocks of all kinds in any order": [
        *text_events(0, "one"), *thought_events(1, "h", "m"), *text_events(2, "two"), *call_events(3, '{"x":1}'),
        *thought_events(4, "so"), *CALLS,
    ],
    "overlapping calls and a text": [
        ToolCallStart(0, "a", "f"), ToolCallStart(1, "b", "g"), ToolCallDelta(0, '{"x"'), ToolCallDelta(1, "{}"),
        ToolCallDelta(0, ":1}"), BlockEnd(1), ToolCallStart(2, "c", "h"), *text_events(3, "t"), BlockEnd(0),
        ToolCallDelta(2, "{}"), BlockEnd(2), *CALLS,
    ],
    # BerriAI/litellm#10667
    "more reasoning than output": [*text_events(0, "hi"), Usage(1, output=774, reasoning=1175), AnswerEnd("stop")],
    "call cut short": [*call_events(0, '{"a":'), COUNTED, AnswerEnd("length")],
    "length": [*text_events(0, "hi"), COUNTED, AnswerEnd("length")],
    "stop sequence": [*text_events(0, "hi"), COUNTED, AnswerEnd("stop_sequence", "stop_sequence", "END")],
    "refusal": [*refusal_events(0, "no"), COUNTED, AnswerEnd("refusal")],
    "pause": [*text_events(0, "hi"), COUNTED, AnswerEnd("pause")],
    "context": [*text_events(0, "hi"), COUNTED, AnswerEnd("context_exceeded")],
    "sealed thoughts": [
        *thought_events(0, "hm", api="chat", item={"field": "reasoning_content"}), *text_events(1, "hi"), *STOP,
    ],
    "sealed without words": [*thought_events(0, api="responses", item=REASONING), *text_events(1, "hi"), *STOP],
    "signed thoughts": [*thought_events(0, "hm", api="messages", item=THINKING), *text_events(1, "hi"), *STOP],
    "a provider's own reasoning": [
        *thought_events(0, api="responses", item={**REASONING, "id": "x", "encrypted_content": "e"}),
        *text_events(1, "hi"), *STOP,
    ],
    "redacted": [*thought_events(0, api="messages", item=REDACTED), *text_events(1, "a"), *STOP],
    "cited": [*text_events(0, "hi", Citation(0, "responses", CITATION)), *STOP],
    "served": [*text_events(0, "a"), NativeItem(1, "responses", "web_search_call", NATIVE),
               NativeItem(2, "messages", "server_tool_use", SEARCH), *text_events(3, "b"), *STOP],
    "failed": [*text_events(0, "hi"), TextDelta(1, "b"), ErrorInfo("upstream", "gone")],
    "failed at once": [ErrorInfo("overloaded", "busy")],
    "failed in a call": [ToolCallStart(0, "a", "f"), ToolCallDelta(0, "{"), ErrorInfo("timeout", "late", code="x")],
}  # fmt: skip
HAVE_WORDS = ("sealed without words", "a provider's own reasoning")
"""The scripts whose reasoning items have words that no event has."""


def reply(api: Any, shown: bool) -> Reply:
    """Return a reply to a client that requests usage and thoughts, or neither."""
    reasoning = Reasoning("adaptive", summary=Parameter("auto")) if shown else None
    return Reply(Request(api, "m", (), include_usage=shown, reasoning=reasoning), ISSUER, 1_700_000_000, 7)


@each_row("api, shown", itertools.product(CODECS, [True, False]))
def test_our_streams_and_whole_answers_keep_every_rule(api, shown):
    """Cached tokens were only in whole answers (BerriAI/litellm#35127, langchain-ai/langchain-litellm#52)."""
    codec = CODECS[api]
    for script, events in SCRIPTS.items():
        with case(script):
            failed = script.startswith("failed")
            writer = codec.writer(reply(api, shown))
            told = [AnswerStart("u1", "upstream", 5), *events]
            said = [writer.send(one) for one in told]
            ping = codec.wire.ping or codec.wire.framing.comment
            body = b"".join(part for one in said for part in (one, b"" if one is said[-1] or not one else ping))
            verdict = judge(api, body, streamed=True, include_usage=None if failed else shown)
            assert (verdict.broken, verdict.outcome) == (None, "failed" if failed else "complete")
            late = (TextDelta(9, "late"), BlockEnd(9), Usage(), AnswerEnd("stop"), ErrorInfo("upstream", "x"))
            assert [writer.send(one) for one in late] == [b""] * len(late)
            if not failed:
                whole = codec.write_answer(fold(told), reply(api, shown))
                verdict = judge(api, whole)
                assert (verdict.broken, verdict.outcome) == (None, "complete")
                told_all = shown and script not in HAVE_WORDS
                answers = fold(read_stream(codec, body)), fold(codec.read_answer(whole))
                check_content(api, fold(told), *answers, told_all)


def check_content(api: str, told: Answer, streamed: Answer, whole: Answer, told_all: bool) -> None:
    """Check that a stream and a whole answer have all the content that ``api`` has a place for.

    Without ``told_all``, thoughts and usage may differ.
    """
    wanted = common_parts(told, api)
    for answer in (streamed, whole):
        found = common_parts(answer, api)
        hidden = () if told_all else ("thoughts", "tokens")
        assert {name: found[name] for name in found if name not in hidden and wanted[name] is not None} == {
            name: value for name, value in wanted.items() if name not in hidden and value is not None
        }
        assert [block.item for block in answer.blocks if isinstance(block, NativeBlock)] == [
            block.item for block in told.blocks if isinstance(block, NativeBlock) and block.api == api
        ]
    if told_all:
        assert streamed.usage == whole.usage


FULL = "model_context_window_exceeded"
ENDS = f"""
stop            text stop           end_turn      completed         STOP       end_turn         completed
stop            call tool_calls     tool_use      completed         STOP       tool_use         requires_action
tool_calls      text stop           end_turn      completed         STOP       end_turn         completed
stop_sequence   text stop           stop_sequence completed         STOP       stop_sequence    completed
stop_sequence   call tool_calls     tool_use      completed         STOP       tool_use         requires_action
pause           text stop           pause_turn    completed         STOP       end_turn         incomplete
pause           call tool_calls     pause_turn    completed         STOP       end_turn         incomplete
length          call length         max_tokens    max_output_tokens MAX_TOKENS max_tokens       incomplete
refusal         text content_filter refusal       content_filter    SAFETY     content_filtered incomplete
stop:compaction text stop           compaction    completed         STOP       end_turn         completed
stop:eos        text stop           end_turn      completed         STOP       end_turn         completed
length:steered  text length         max_tokens    steered           MAX_TOKENS max_tokens       incomplete
refusal:SPII    text content_filter refusal       content_filter    SPII       content_filtered incomplete
refusal:guardrail_intervened text content_filter refusal content_filter SAFETY guardrail_intervened incomplete
context_exceeded text length {FULL} max_output_tokens MAX_TOKENS {FULL} incomplete
"""
"""The neutral reason, with a provider's own word; the content; and what clients of each API read."""


@each_row("row", ENDS.strip().splitlines())
def test_the_end_of_an_answer_agrees_with_its_content_in_the_words_of_each_api(row):
    """Agent loops stop silently, or never (vercel/ai#12218, strands-agents/harness-sdk#1827, can1357/oh-my-pi#12224,
    vllm-project/agentic-api#296, jasonxu114514/opencode2api#27)."""
    (reason, _, raw), (content, *words) = row.split()[0].partition(":"), row.split()[1:]
    said = call_events(0, "{}") if content == "call" else text_events(0, "hi")
    told = [AnswerStart(), *said, COUNTED, AnswerEnd(reason, raw or None)]
    for api, word in zip(CODECS, words, strict=True):
        with case(api):
            writer = CODECS[api].writer(reply(api, True))
            streamed = fold(read_stream(CODECS[api], b"".join(map(writer.send, told))))
            whole = fold(CODECS[api].read_answer(CODECS[api].write_answer(fold(told), reply(api, True))))
            assert (streamed.end.raw, whole.end.raw) == (word, word)


KINDS = ("invalid_request", "billing", "overloaded", "upstream", "timeout", "internal")


@each_row("api, kind", itertools.product(CODECS, KINDS))
def test_our_error_bodies_keep_every_rule(api, kind):
    verdict = judge(api, CODECS[api].write_error(ErrorInfo(kind, "no", param="model"), "r1"))
    assert (verdict.broken, verdict.outcome) == (None, "failed")


OPENAI = {"message": "no", "type": "invalid_request_error", "param": None, "code": "gone"}
TOLD = {
    "chat": {"error": OPENAI},
    "responses": {"error": OPENAI},
    "messages": {
        "type": "error",
        "error": {"type": "not_found_error", "message": "no", "details": {"error_code": "x"}},
        "request_id": "req_1",
    },
}


@each_row("api", TOLD)
def test_an_error_body_has_the_shape_of_its_api(api):
    failed = ErrorInfo("not_found", "no", code="gone", details={"error_code": "x"})
    assert json.loads(CODECS[api].write_error(failed, "req_1")) == TOLD[api]
