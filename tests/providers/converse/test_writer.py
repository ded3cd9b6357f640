"""The writer for Converse clients: frames in the API's order and equal whole answers, both by Amazon's own parser."""

import json
from typing import Any

import pytest

from providers.converse import CONVERSE
from providers.grammar import judge
from providers.neutral.codec import Reply
from providers.neutral.request import Request
from providers.neutral.seal import Issuer, seal
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
from streams.fold import fold
from tests.support.block_events import call_events, text_events, thought_events

pytest.importorskip("botocore", reason="Amazon's SDK, whose parser reads what is written here, is not installed")
from botocore.parsers import create_parser

from tests.support.converse_sdk import MODEL, join_blocks, read_stream_with_sdk
from tests.support.each_row import each_row

OURS = Issuer("deepseek", "a1")
FIELD = {"field": "reasoning_content"}
COUNTED = Usage(input=10, cache_read=4, cache_write=1, cache_write_1h=1, output=5, reasoning=2)
STOP: list[Any] = [COUNTED, AnswerEnd("stop")]
SERVED = {"toolUse": {"toolUseId": "srv_1", "name": "nova_grounding", "type": "server_tool_use", "input": {"q": "a"}}}
RESULT = {"toolResult": {"toolUseId": "srv_1", "type": "nova_grounding_result", "content": [{"text": "b"}]}}
CITED = {"title": "T", "sourceContent": [{"text": "s"}], "location": {"documentChar": {"documentIndex": 0}}}


def reply(**source: Any) -> Reply:
    return Reply(Request("converse", "m", (), source=source), OURS, 1_700_000_000, input_estimate=7)


def stream(events: list[Any], asked: Reply | None = None, pings: bool = False) -> bytes:
    writer = CONVERSE.writer(asked or reply())
    said = [writer.send(one) for one in (AnswerStart("u1", "upstream"), *events)]
    return b"".join(one + (CONVERSE.wire.framing.comment if pings and one is not said[-1] else b"") for one in said)


def read_whole_with_sdk(events: list[Any], asked: Reply | None = None) -> Any:
    """Read the whole answer with Amazon's SDK for Python."""
    body = CONVERSE.write_answer(fold([AnswerStart("u1", "upstream"), *events]), asked or reply())
    verdict = judge("converse", body)
    assert verdict.broken is None, verdict.broken
    response = {"status_code": 200, "headers": {}, "body": body}
    return create_parser("rest-json").parse(response, MODEL.operation_model("Converse").output_shape)


THOUGHT = {"api": "chat", "item": FIELD}
OWN = {"api": "converse", "item": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}
UNTOLD = {"api": "converse", "item": {"reasoningText": {"text": "", "signature": "c2ln"}}}
HIDDEN = {"api": "converse", "item": {"redactedContent": "AAEC"}}
SCRIPTS: dict[str, tuple[list[Any], str, list[Any]]] = {
    "text": ([*text_events(0, "pi", "ng"), *STOP], "end_turn", [{"text": "ping"}]),
    "sealed": ([*thought_events(0, "hm", **THOUGHT), *text_events(1, "hi"), *STOP], "end_turn",
               [{"reasoningContent": {"reasoningText": {"text": "hm", "signature": seal(OURS, "chat", FIELD)}}},
                {"text": "hi"}]),
    "signed": ([*thought_events(0, "hm", **OWN), *text_events(1, "hi"), *STOP], "end_turn",
               [{"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}, {"text": "hi"}]),
    "signed without text": ([*thought_events(0, **UNTOLD), *text_events(1, "hi"), *STOP], "end_turn",
                            [{"reasoningContent": {"reasoningText": {"text": "", "signature": "c2ln"}}},
                             {"text": "hi"}]),
    "hidden": ([*thought_events(0, **HIDDEN), *text_events(1, "hi"), *STOP], "end_turn",
               [{"reasoningContent": {"redactedContent": b"\0\1\2"}}, {"text": "hi"}]),
    "one call": ([*call_events(0, '{"a":', "1}"), COUNTED, AnswerEnd("tool_calls")], "tool_use",
                 [{"toolUse": {"toolUseId": "call_0", "name": "f", "input": {"a": 1}}}]),
    "a call without arguments": ([*call_events(0), COUNTED, AnswerEnd("stop")], "tool_use",
                                 [{"toolUse": {"toolUseId": "call_0", "name": "f", "input": {}}}]),
    "no object": ([*call_events(0, "nu", "ll"), *call_events(1, "3"), COUNTED, AnswerEnd("stop")], "tool_use",
                  [{"toolUse": {"toolUseId": "call_0", "name": "f", "input": {}}},
                   {"toolUse": {"toolUseId": "call_1", "name": "f", "input": {"_raw": "3"}}}]),
    "custom call": ([*call_events(0, "{free", " text}", kind="custom"), COUNTED, AnswerEnd("stop")], "tool_use",
                    [{"toolUse": {"toolUseId": "call_0", "name": "f", "input": {"input": "{free text}"}}}]),
    "an id that the API does not take": (
        [ToolCallStart(0, "a b" * 40, "f"), ToolCallDelta(0, "{}"), BlockEnd(0), *STOP], "tool_use",
        [{"toolUse": {"toolUseId": "tooluse_f48370d34eb05890fe3c160c", "name": "f", "input": {}}}]),
    "two calls, interleaved": (
        [ToolCallStart(0, "a", "f"), ToolCallStart(1, "b", "g"), ToolCallDelta(0, '{"x"'), ToolCallDelta(1, "{}"),
         ToolCallDelta(0, ":1}"), BlockEnd(1), *text_events(2, "t"), BlockEnd(0), *STOP], "tool_use",
        [{"toolUse": {"toolUseId": "a", "name": "f", "input": {"x": 1}}},
         {"toolUse": {"toolUseId": "b", "name": "g", "input": {}}}, {"text": "t"}]),
    "cited": ([TextDelta(0, "hi"), Citation(0, "converse", CITED), Citation(0, "messages", {}), BlockEnd(0), *STOP],
              "end_turn", [{"citationsContent": {"content": [{"text": "hi"}], "citations": [CITED]}}]),
    "served": ([NativeItem(0, "converse", "toolUse", SERVED), NativeItem(1, "converse", "toolResult", RESULT),
                NativeItem(2, "messages", "server_tool_use", {}), *text_events(3, "b"), *STOP], "end_turn",
               [SERVED, RESULT, {"text": "b"}]),
}  # fmt: skip


def test_streams_obey_every_rule_and_equal_whole_answers():
    for name, (events, reason, content) in SCRIPTS.items():
        for pings in (False, True):
            body = stream(events, pings=pings)
            verdict = judge("converse", body)
            assert (verdict.broken, verdict.outcome) == (None, "complete"), name
        told = read_stream_with_sdk(body)
        assert join_blocks(body) == content, name
        stop, metadata = told[-2]["messageStop"], told[-1]["metadata"]
        answer = read_whole_with_sdk(events)
        assert answer["output"]["message"] == {"role": "assistant", "content": content}, name
        assert stop["stopReason"] == answer["stopReason"] == reason, name
        usage = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 20, "cacheReadInputTokens": 4,
                 "cacheWriteInputTokens": 1, "cacheDetails": [{"ttl": "1h", "inputTokens": 1}]}  # fmt: skip
        assert metadata["usage"] == answer["usage"] == usage, name
        assert metadata["metrics"] == answer["metrics"] == {"latencyMs": 0}


def test_the_stop_sequence_is_returned_on_request():
    events = [*text_events(0, "hi"), COUNTED, AnswerEnd("stop_sequence", "stop_sequence", "END")]
    asked = reply(additionalModelResponseFieldPaths=["/stop_sequence"])
    told = {"stop_sequence": "END"}
    assert read_stream_with_sdk(stream(events, asked))[-2]["messageStop"]["additionalModelResponseFields"] == told
    assert read_whole_with_sdk(events, asked)["additionalModelResponseFields"] == told
    assert read_stream_with_sdk(stream(events))[-2]["messageStop"] == {"stopReason": "stop_sequence"}


def test_a_failure_is_an_exception_that_amazons_parser_shows():
    cases = {
        "rate_limited": "throttlingException", "overloaded": "serviceUnavailableException",
        "upstream": "modelStreamErrorException", "timeout": "modelStreamErrorException",
        "internal": "internalServerException", "invalid_request": "validationException",
        "permission": "validationException",
    }  # fmt: skip
    for kind, code in cases.items():
        for before in ([], text_events(0, "hi"), [ToolCallStart(0, "a", "f"), ToolCallDelta(0, "{")]):
            body = stream([*before, ErrorInfo(kind, "not now"), *STOP])  # type: ignore[arg-type]
            assert read_stream_with_sdk(body)[-1] == {"Code": code, "Message": "not now"}
            if before:
                assert (judge("converse", body).broken, judge("converse", body).outcome) == (None, "failed")
    passed = stream(text_events(0, "hi")) + CONVERSE.last_event(ErrorInfo("upstream", "gone"), AnswerStart(), 2)
    assert (judge("converse", passed).broken, judge("converse", passed).outcome) == (None, "failed")


@each_row("named_by", ["header", "body"])
def test_an_error_response_has_its_type(named_by):
    parser = create_parser("rest-json")
    shape = MODEL.operation_model("Converse").output_shape
    cases = {
        "invalid_request": "ValidationException", "authentication": "AccessDeniedException",
        "billing": "ServiceQuotaExceededException", "not_found": "ResourceNotFoundException",
        "rate_limited": "ThrottlingException", "overloaded": "ServiceUnavailableException",
        "upstream": "InternalServerException", "timeout": "ModelTimeoutException",
    }  # fmt: skip
    for kind, code in cases.items():
        failed = ErrorInfo(kind, "no")  # type: ignore[arg-type]
        body = CONVERSE.write_error(failed, "r1")
        assert judge("converse", body).outcome == "failed"
        headers = dict(CONVERSE.wire.error_headers(failed))
        if named_by == "header":
            body = json.dumps({"message": "no"}).encode()
        else:
            headers = {}
        read = parser.parse({"status_code": failed.status, "headers": headers, "body": body}, shape)
        assert (read["Error"]["Code"], read["Error"]["Message"]) == (code, "no"), kind
    assert dict(CONVERSE.wire.error_headers(ErrorInfo("invalid_request", "no", status=424))) == {
        "x-amzn-errortype": "ModelErrorException"
    }


def test_an_overflow_has_bedrocks_message():
    failed = ErrorInfo("invalid_request", "prompt is too long: 9 tokens > 8 maximum", code="context_length_exceeded")
    told = CONVERSE.phrase_error(failed)
    assert told.message == "Input is too long for requested model: prompt is too long: 9 tokens > 8 maximum"
    assert CONVERSE.phrase_error(told) == told
    assert CONVERSE.is_own_error({"message": told.message})
    assert not CONVERSE.is_own_error({"message": failed.message})
    assert not CONVERSE.is_own_error({"error": {"message": "no"}})
    assert CONVERSE.is_own_error({"message": "Malformed input request"})
