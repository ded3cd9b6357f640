"""The reader of Gemini's streams."""

import json

from providers.gemini.reader import read_answer
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    NativeItem,
    ReasoningState,
    TextDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import ReasoningBlock, TextBlock, ToolCallBlock, fold
from tests.support.block_events import call_events, text_events, thought_events
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.gemini_answers import call, candidate, fold_answer, read_chunks, text, thought_part
from tests.support.provider_streams import check_order

STOP = {"finishReason": "STOP"}


def state(number, **item):
    return thought_events(number, api="gemini", item=item)


def test_an_answers_start_and_end_have_the_providers_values():
    first = candidate(text("Hel")) | {"responseId": "r1", "modelVersion": "gemini-3-flash"}
    events = read_chunks(first, candidate(text("lo"), **STOP))
    assert events == [AnswerStart("r1", "gemini-3-flash"), *text_events(0, "Hel", "lo"), AnswerEnd("stop", "STOP")]


def test_thought_is_reasoning_and_a_signature_is_not():
    """BerriAI/litellm#17266, decolua/9router#1752; what only looks like a thought (googleapis/python-genai#2121) is
    text."""
    answer = fold_answer(thought_part("hm"), text("THOUGHT: no", "s1"))
    assert answer.blocks == (
        ReasoningBlock("hm"),
        ReasoningBlock("", ReasoningState(1, "gemini", {"part": "text", "signature": "s1"})),
        TextBlock("THOUGHT: no"),
    )


def test_the_signature_of_a_thought_is_the_state_of_its_block():
    events = read_chunks(candidate(thought_part("a"), thought_part("b", "s"), text("c"), **STOP))
    assert events[1:5] == thought_events(0, "a", "b", api="gemini", item={"part": "thought", "signature": "s"})


def test_the_signature_of_a_call_precedes_it_with_its_id():
    """Of parallel calls only the first is signed."""
    events = read_chunks(candidate(call("f", {"x": 1}, "c1", "sig"), call("g", id="c2"), **STOP))
    assert events[1:] == [
        *state(0, part="functionCall", id="c1", signature="sig"), *call_events(1, '{"x":1}', id="c1"),
        *call_events(2, "{}", id="c2", name="g"), AnswerEnd("tool_calls", "STOP"),
    ]  # fmt: skip


def test_a_signature_after_the_text_comes_after_it_streamed_and_whole():
    events = read_chunks(candidate(text("a")), candidate(text("", "s"), **STOP))
    assert events[1:] == [
        *text_events(0, "a"), *state(1, part="text", empty=True, signature="s"), AnswerEnd("stop", "STOP"),
    ]  # fmt: skip
    late = read_chunks(candidate(text("a")), candidate(text("b", "s"), **STOP))
    assert late[1:5] == [*text_events(0, "a", "b"), *state(1, part="text", signature="s")[:1]]


def test_a_call_in_a_part_with_text_is_read():
    """trpc-group/trpc-agent-go#1089, NousResearch/hermes-agent#109862"""
    for said in (text(""), text("a"), thought_part("a"), {"text": None}):
        both = {**said, **call("f", {"b": 1}, "c", "s")}
        for events in (read_chunks(candidate(both, **STOP)), read_answer(json.dumps(candidate(both, **STOP)).encode())):
            check_order(events)
            words = [block.text for block in fold(events).blocks if not isinstance(block, ToolCallBlock)]
            assert "".join(words) == (said["text"] or "")
            assert fold(events).blocks[-1] == ToolCallBlock("c", "f", '{"b":1}')
            (signed,) = [event for event in events if isinstance(event, ReasoningState)]
            assert signed.item == {"part": "functionCall", "id": "c", "signature": "s"}
            assert fold(events).end.reason == "tool_calls"


def test_two_signed_texts_stay_two():
    """open-telemetry/opentelemetry-ebpf-instrumentation#2530"""
    blocks = fold_answer(text("a", "s1"), text("b", "s2")).blocks
    assert [block.text for block in blocks if isinstance(block, TextBlock)] == ["a", "b"]
    assert [block.state.item["signature"] for block in blocks if isinstance(block, ReasoningBlock)] == ["s1", "s2"]


def test_parts_of_googles_own_tools_come_whole_and_sealed_for_other_clients():
    part = {"toolCall": {"id": "t", "toolType": "GOOGLE_SEARCH_WEB"}, "thoughtSignature": "s"}
    events = read_chunks(candidate(part, text("x"), **STOP))
    assert events[1:4] == [*state(0, part="toolCall", native=part), NativeItem(1, "gemini", "toolCall", part)]


def test_an_image_follows_its_signature_which_has_its_mark():
    image = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "s"}
    assert read_chunks(candidate(image, **STOP))[1:4] == [
        *state(0, part="inlineData", id="4:AA", signature="s"), NativeItem(1, "gemini", "inlineData", image),
    ]  # fmt: skip
    unsigned = {"inlineData": image["inlineData"]}
    assert read_chunks(candidate(unsigned, **STOP))[1:2] == [NativeItem(0, "gemini", "inlineData", unsigned)]


REASONS = (
    ("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "refusal"), ("RECITATION", "refusal"),
    ("PROHIBITED_CONTENT", "refusal"), ("SPII", "refusal"), ("BLOCKLIST", "refusal"), ("MODEL_ARMOR", "refusal"),
    ("IMAGE_SAFETY", "refusal"), ("NO_IMAGE", "stop"), ("IMAGE_OTHER", "stop"), ("OTHER", "stop"), ("NEWER", "stop"),
    (1, "stop"), (2, "length"), (3, "refusal"), (99, "stop"), ("CONTINUATION", "length"), ("ESCALATION", "refusal"),
)  # fmt: skip


def test_every_reason_ends_an_answer_with_text_and_one_without_any_content():
    """BerriAI/litellm#40477, agentjido/req_llm#944, epam/ai-dial-adapter-vertexai#149"""
    for word, reason in REASONS:
        for body in (candidate(text("a"), finishReason=word), {"candidates": [{"finishReason": word}]},
                     {"candidates": [{"finishReason": word, "content": {"role": "model"}}]}):  # fmt: skip
            assert read_chunks(body)[-1].reason == reason, (word, body)
            assert read_answer(json.dumps(body).encode())[-1].reason == reason, (word, body)


@each_row("word", ["CONTINUATION", "STOP", "OTHER", "NEWER", None])
def test_an_answer_with_a_continuation_token_is_incomplete(word):
    """Source: ``FinishReason.CONTINUATION`` and ``Candidate.continuation_token`` of google-genai."""
    body = candidate(text("a"), continuationToken="dG9rZW4=", **({"finishReason": word} if word else {}))
    end = AnswerEnd("length", word or "CONTINUATION")
    assert read_chunks(body)[-1] == read_answer(json.dumps(body).encode())[-1] == end
    assert read_chunks(candidate(text("a"), continuationToken="dG9rZW4="), candidate(**STOP))[-1].reason == "length"


def test_a_whole_response_without_a_finish_reason_has_ended():
    """A stream without one was cut, and an array is a stream. A whole response is complete when it was read."""
    for part, reason in ((text("a"), "stop"), (call("f", {"a": 1}), "tool_calls")):
        assert read_answer(json.dumps(candidate(part)).encode())[-1] == AnswerEnd(reason, "STOP")
        failed = read_answer(json.dumps([candidate(part)]).encode())[-1]
        assert failed.message == "the provider ended the stream early"
    for body in ({"candidates": []}, {"candidates": None}, {"candidates": [{}]}, {"usageMetadata": {}}):
        failed = read_answer(json.dumps(body).encode())[-1]
        assert failed.message == "the provider's response has neither content nor a finish reason", body
        assert (failed.kind, failed.reason) == ("upstream", "bad_answer")


def test_a_limited_account_is_a_failure_of_the_credential():
    """Source: ``FinishReason.PUP_LIMITED_DISABLED`` of google-genai."""
    body = candidate(text("a"), finishReason="PUP_LIMITED_DISABLED", finishMessage="see the policy")
    for failed in (read_chunks(body)[-1], read_answer(json.dumps(body).encode())[-1]):
        assert (failed.kind, failed.reason) == ("upstream", "credential")
        assert failed.message == (
            "Google has limited or disabled the provider's account (PUP_LIMITED_DISABLED: see the policy)"
        )


def test_a_token_limit_exhausted_by_reasoning_is_a_billed_answer():
    """BerriAI/litellm#40477"""
    metadata = {"promptTokenCount": 5, "thoughtsTokenCount": 100, "totalTokenCount": 105}
    answer = fold(read_chunks({"candidates": [{"finishReason": "MAX_TOKENS"}], "usageMetadata": metadata}))
    assert (answer.blocks, answer.end.reason) == ((), "length")
    assert answer.usage == Usage(input=5, output=100, reasoning=100)


def test_a_malformed_answer_is_a_failure_and_its_call_is_not_run():
    """NousResearch/hermes-agent#83886, Wei-Shaw/sub2api#7081, maximhq/bifrost#1408"""
    for word in [
        "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE",
        "TOO_MANY_TOOL_CALLS", 9,
    ]:  # fmt: skip
        with case(word):
            body = candidate(
                call("gone", {"a": 1}, signature="s"), finishReason=word, finishMessage="Malformed: print(1)"
            )
            for events in (read_chunks(body), read_answer(json.dumps(body).encode())):
                assert not [event for event in events if isinstance(event, ToolCallStart | ReasoningState)]
                assert (events[-1].kind, events[-1].reason) == ("upstream", "bad_answer")
                assert "Malformed: print(1)" in events[-1].message


def test_a_blocked_prompt_is_an_answer_that_was_refused():
    body = {
        "promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "no"},
        "usageMetadata": {"trafficType": "X"},
    }
    why = {"type": "refusal", "category": None, "explanation": "no"}
    expected = [AnswerStart(), AnswerEnd("refusal", "SAFETY", details=why)]
    assert read_chunks(body) == expected
    assert read_answer(json.dumps(body).encode()) == expected


def test_a_reason_does_not_end_the_stream_and_an_error_may_follow():
    """A recorded stream has several chunks with `STOP`, then a bare object with an error."""
    error = {"error": {"code": 499, "message": "The operation was cancelled.", "status": "CANCELLED"}}
    events = read_chunks(candidate(text("a"), **STOP), candidate(text("b"), **STOP), error)
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["a", "b"]
    assert isinstance(events[-1], ErrorInfo)
    assert events[-1].message == "The operation was cancelled."
    assert not [event for event in events if isinstance(event, AnswerEnd)]
    last = read_chunks(candidate(text("a"), **STOP), {"candidates": [{"finishReason": "RECITATION"}]})[-1]
    assert last == AnswerEnd("refusal", "RECITATION")


@each_row("broken", [b'{"candidates": [', b"<html>", b'[{"error": {"message": "no", "code": 503}}]'])
def test_an_unreadable_event_is_a_failure(broken):
    """praxis-proxy/ai#1000: it was logged, and the client got a good end."""
    events = read_chunks(candidate(text("a"), **STOP), broken, candidate(text("b"), **STOP))
    assert isinstance(events[-1], ErrorInfo)
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["a"]


def test_a_stream_without_a_reason_ended_early():
    assert isinstance(read_chunks(candidate(text("a")))[-1], ErrorInfo)
    assert isinstance(read_chunks()[-1], ErrorInfo)


# Arguments in pieces


def piece(path, more=False, **value):
    return {"jsonPath": path, **value, **({"willContinue": True} if more else {})}


def test_arguments_in_pieces_are_put_together():
    """Vertex AI's ``partialArgs``, which a client may ask for; the last piece may be missing (recorded)."""
    begun = candidate(call("add", willContinue=True, signature="s"))
    pieces = [
        [piece("$.list[0].text", True, stringValue="a")], [piece("$.list[0].text", stringValue="b")],
        [piece("$.list[1]['odd key']", numberValue=2), piece("$.yes", boolValue=True), piece("$.no", nullValue=None)],
    ]  # fmt: skip
    chunks = [candidate({"functionCall": {"partialArgs": one, "willContinue": True}}) for one in pieces]
    for last in (candidate({"functionCall": {}}), candidate(text(""))):
        events = read_chunks(begun, *chunks, last, candidate(call("other"), **STOP))
        calls = [block for block in fold(events).blocks if isinstance(block, ToolCallBlock)]
        assert [one.name for one in calls] == ["add", "other"]
        assert json.loads(calls[0].input) == {
            "list": [{"text": "ab"}, {"odd key": 2}], "yes": True, "no": None
        }  # fmt: skip


@each_row("path", ["$.a[7]", "$", "", "$[0]", "$.a..", None, "$.a.b"])
def test_a_piece_with_an_invalid_path_is_a_failure(path):
    begun = candidate(call("f", args={"a": "text"}, willContinue=True))
    events = read_chunks(begun, candidate({"functionCall": {"partialArgs": [piece(path, stringValue="x")]}}, **STOP))
    assert isinstance(events[-1], ErrorInfo)


NAMELESS = [
    [{"partialArgs": [piece("$.a", stringValue="x")]}],
    [{"partialArgs": [piece("$.a", True, stringValue="")], "willContinue": True},
     {"partialArgs": [piece("$.a", stringValue="x")]}],
    [{"willContinue": True}, {"partialArgs": [piece("$.a", stringValue="x")], "willContinue": True}, {}],
    [{"id": "c", "partialArgs": [piece("$.a", stringValue="x")]}],
]  # fmt: skip


@each_row("parts", NAMELESS)
def test_a_call_in_pieces_without_a_name_keeps_an_empty_one(parts):
    """BerriAI/litellm#23815: they are no arguments of the next call. The whole answer was a 502."""
    chunks = [candidate({"functionCall": part}) for part in parts]
    events = read_chunks(*chunks, candidate(call("next", {"b": 1}), **STOP))
    calls = [block for block in fold(events).blocks if isinstance(block, ToolCallBlock)]
    assert [(one.name, json.loads(one.input)) for one in calls] == [("", {"a": "x"}), ("next", {"b": 1})]


@each_row("part", [{}, {"willContinue": False}, {"name": ""}, {"name": None, "partialArgs": []}])
def test_the_end_of_no_call_is_no_call(part):
    events = read_chunks(candidate(text("a")), candidate({"functionCall": part}, **STOP))
    assert not [event for event in events if isinstance(event, ToolCallStart)]
    assert events[-1] == AnswerEnd("stop", "STOP")


@each_row("begun", [{"args": {"a": 1}}, {"args": {"a": 1}, "willContinue": True}])
def test_an_end_with_the_id_of_its_call_is_no_second_call(begun):
    ends = [candidate({"functionCall": {"id": "c"}}), candidate({"functionCall": {"id": "c", "willContinue": False}})]
    events = read_chunks(candidate({"functionCall": {"name": "f", "id": "c", **begun}}), *ends, candidate(**STOP))
    assert [event.name for event in events if isinstance(event, ToolCallStart)] == ["f"]


# Citations and probabilities


def test_grounding_becomes_citations_with_places_in_characters():
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}, {"retrievedContext": {"title": "none"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 3, "endIndex": 6, "text": "abc"}, "groundingChunkIndices": [0, 1, 9]}
        ],
        "webSearchQueries": ["q", "r"],
    }
    events = read_chunks(candidate(text("é abc")), candidate(text("", "s"), groundingMetadata=grounding, **STOP))
    cited = [event for event in events if isinstance(event, Citation)]
    assert cited == [Citation(0, "gemini", {"url": "https://a", "title": "A", "start_index": 2, "end_index": 5})]
    assert events.index(cited[0]) < events.index(BlockEnd(0))


def test_searches_are_counted():
    chunk = candidate(text("a"), groundingMetadata={"webSearchQueries": ["q", "r"]}, **STOP)
    usage = fold(read_chunks(chunk | {"usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 2}})).usage
    assert (usage.calls, usage.output) == ((("web_search", 2),), 1)


def test_log_probabilities_come_with_the_text():
    result = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "e", "logProbability": -2}]}],
    }
    block = fold_answer(text("é"), reason="STOP").blocks[0]
    assert block.logprobs == ()
    block = fold(read_chunks(candidate(text("é"), logprobsResult=result, **STOP))).blocks[0]
    assert block.logprobs[0] == {
        "token": "é", "logprob": -0.5, "bytes": [195, 169],
        "top_logprobs": [{"token": "e", "logprob": -2, "bytes": [101]}],
    }  # fmt: skip


# Counts


def test_each_token_count_is_the_last_one_of_the_stream():
    """langchain-ai/langchainjs#9912, NousResearch/hermes-agent#19632: the cached part came early and alone."""
    early = candidate(text("a")) | {"usageMetadata": {"cachedContentTokenCount": 4}}
    last = candidate(**STOP) | {"usageMetadata": {"promptTokenCount": 10, "toolUsePromptTokenCount": 3,
                                                  "thoughtsTokenCount": 2, "totalTokenCount": 20}}  # fmt: skip
    assert fold(read_chunks(early, last)).usage == Usage(input=9, cache_read=4, output=7, reasoning=2)


def test_citations_in_every_chunk_take_no_time():
    grounding = {"groundingChunks": [{"web": {"uri": "https://a"}}], "groundingSupports": [
        {"segment": {"endIndex": 5}, "groundingChunkIndices": [0]}
    ]}  # fmt: skip
    chunks = [candidate(text("x" * 2**18)), *[candidate(text("y"), groundingMetadata=grounding)] * 500]
    assert len([event for event in read_chunks(*chunks) if isinstance(event, Citation)]) == 1
