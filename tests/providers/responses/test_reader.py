"""The reader of Responses streams and answers."""

import itertools
import json
from typing import Any, get_args

from openai.types.responses import ResponseStreamEvent

from providers.responses import RESPONSES
from streams import sse
from streams.events import (
    AnswerEnd,
    AnswerStart,
    Citation,
    ErrorInfo,
    NativeItem,
    Reason,
    ReasoningState,
    TextDelta,
    Usage,
)
from streams.fold import NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock, fold
from tests.support.block_events import text_events
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.provider_streams import check_order
from tests.support.responses_streams import (
    created_event,
    ended_event,
    function,
    item_added,
    item_done,
    message,
    read,
    stream,
    text_delta,
)

TEXT_STREAM = stream(
    created_event(),
    item_added(0, type="message", id="msg_1", content=[]),
    {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": {}},
    text_delta(0, "Grüße,\u2028 "),
    text_delta(0, "Welt 🌍"),
    {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Grüße,\u2028 Welt 🌍"},
    item_done(0, **message("Grüße,\u2028 Welt 🌍")),
    ended_event("completed", message("Grüße,\u2028 Welt 🌍"), usage={"input_tokens": 9, "output_tokens": 3}),
)


def test_text_that_arrives_four_times_is_read_once() -> None:
    assert read(TEXT_STREAM) == [
        AnswerStart("resp_1", "gpt-5", 17), *text_events(0, "Grüße,\u2028 ", "Welt 🌍"), Usage(input=9, output=3),
        AnswerEnd("stop", "completed"),
    ]  # fmt: skip


def all_event_types() -> list[str]:
    """Return the types of all events in the openai package but those that start or end an answer, and newer ones."""
    union, _ = get_args(ResponseStreamEvent)
    types = {get_args(member.model_fields["type"].annotation)[0] for member in get_args(union)}
    ends = {"error", *(f"response.{word}" for word in ("created", "queued", "completed", "failed", "incomplete"))}
    newer = {"response.steer.failed", "response.compaction.in_progress", "response.something_new.delta"}
    return sorted((types | newer) - ends)


@each_row("type", all_event_types())
def test_no_event_without_members_breaks_a_stream(type) -> None:
    """Shell calls, compactions and steering have events that no other API has."""
    head, *rest = TEXT_STREAM.split(b"\n\n", 4)[:4], TEXT_STREAM.split(b"\n\n", 4)[4]
    odd = stream({"type": type, "sequence_number": 7})
    events = read(b"\n\n".join(head) + b"\n\n" + odd + rest[0])
    check_order(events)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Grüße,\u2028 Welt 🌍"
    assert events[-1] == AnswerEnd("stop", "completed")


@each_row("named", [True, False])
def test_text_without_deltas_is_read_from_the_whole_part(named: bool) -> None:
    text_done = {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "hi"}
    part_done = {
        "type": "response.content_part.done", "output_index": 0, "content_index": 0,
        "part": {"type": "output_text", "text": "hi"},
    }  # fmt: skip
    for told in ([text_done], [part_done], [item_done(0, **message("hi"))], [], [text_done, part_done]):
        events = read(stream(created_event(), *told, ended_event("completed", message("hi")), named=named))
        check_order(events)
        assert fold(events).blocks == (TextBlock("hi"),)


def without(event: dict[str, Any], *names: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names} | more


@each_row(
    "placed, announced", itertools.product([(), ("added",), ("done",), ("added", "done"), ("delta",)], [True, False])
)
def test_text_is_reported_once_whether_events_say_the_place_or_the_id(placed, announced) -> None:
    """Servers leave ``output_index`` out, not all of them in all events."""
    kinds = {
        "added": item_added(0, type="message", id="msg_1", content=[]),
        "delta": text_delta(0, "ab") | {"item_id": "msg_1"},
        "done": item_done(0, **message("ab")),
    }
    events = {kind: event if kind in placed else without(event, "output_index") for kind, event in kinds.items()}
    told = [events["added"]] * announced + [events["delta"], events["done"]]
    for after in (told, told[:-1]):
        found = read(stream(created_event(), *after, ended_event("completed", message("ab"))))
        check_order(found)
        assert fold(found).blocks == (TextBlock("ab"),)


def test_items_that_share_an_id_are_distinguished_by_position() -> None:
    """huggingface/smolagents#1958."""
    told = [
        event for i in range(2) for event in (item_added(i, type="message", id="x", content=[]), text_delta(i, str(i)))
    ]
    output = [message(str(i), "x") for i in range(2)]
    found = read(
        stream(created_event(), *told, *(item_done(i, **item) for i, item in enumerate(output)), ended_event())
    )
    assert [block.text for block in fold(found).blocks if isinstance(block, TextBlock)] == ["0", "1"]


@each_row("output", [True, False])
def test_items_that_share_a_position_are_distinguished_by_id(output: bool) -> None:
    """tashfeenahmed/freellmapi#842, teabranch/open-responses-server#63"""
    said, called = message("hi"), function('{"a":1}')
    text, input = ({"item_id": item["id"], "output_index": 0} for item in (said, called))
    words = [item_added(0, **message("")), {**text_delta(0, "hi"), **text}]
    words_end = [{"type": "response.output_text.done", "content_index": 0, "text": "hi", **text}, item_done(0, **said)]
    call = [item_added(0, **function("")), {"type": "response.function_call_arguments.delta", "delta": '{"a"', **input}]
    call_rest = {"type": "response.function_call_arguments.delta", "delta": ":1}", **input}
    call_end = [
        {"type": "response.function_call_arguments.done", "arguments": '{"a":1}', **input},
        item_done(0, **called),
    ]
    end = ended_event("completed", *([called, said] if output else []))
    for events in (
        (*words, *call, *words_end, call_rest, *call_end),
        (*words, *call, call_rest, *call_end, *words_end),
        (*call, *words, *words_end, call_rest, *call_end),
        (*call, call_rest, *words, *call_end, *words_end),
        (*call, call_rest, words[1], *words_end, *call_end),
        (call[0], words[1], call[1], call_rest, *words_end, *call_end),
    ):
        found = read(stream(created_event(), *events, end))
        check_order(found)
        assert {*fold(found).blocks} == {TextBlock("hi"), ToolCallBlock("call_1", "f", '{"a":1}')}
        assert len(fold(found).blocks) == 2


def test_parts_that_only_the_whole_item_has_are_returned_too() -> None:
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in "abc"]
    item = {**message(""), "content": parts}
    for streamed in ([text_delta(0, "a")], [text_delta(0, "b", 1)], [text_delta(0, "a"), text_delta(0, "b", 1)]):
        found = read(stream(created_event(), *streamed, item_done(0, **item), ended_event("completed", item)))
        check_order(found)
        assert sorted(block.text for block in fold(found).blocks if isinstance(block, TextBlock)) == ["a", "b", "c"]
    found = read(stream(created_event(), text_delta(0, "a", None), item_done(0, **item), ended_event()))  # type: ignore[arg-type]
    assert fold(found).blocks == (TextBlock("a"),)
    # Some servers number parts differently in deltas, or not in each event; their text counts once all the same.
    for part, later in itertools.product((0, None), repeat=2):
        end = {"type": "response.output_text.done", "output_index": 0, "content_index": later, "text": "a"}
        found = read(
            stream(created_event(), text_delta(0, "a", part), end, item_done(0, **message("a")), ended_event())
        )  # type: ignore[arg-type]
        assert fold(found).blocks == (TextBlock("a"),)
    for part in (1, None):
        found = read(stream(created_event(), text_delta(0, "a", part), item_done(0, **message("a")), ended_event()))  # type: ignore[arg-type]
        assert fold(found).blocks == (TextBlock("a"),)


@each_row("part", [{"type": "text", "text": "a"}, {"type": "output_audio", "data": "AA==", "transcript": "a"}])
def test_a_part_of_another_type_has_its_text(part: Any) -> None:
    """OpenAI's specification has such parts of a message (``TextContent``, ``OutputAudioContent``)."""
    item = {**message(""), "content": [part]}
    body = json.dumps({"object": "response", "status": "completed", "output": [item]}).encode()
    for found in (read(stream(created_event(), item_done(0, **item), ended_event())), RESPONSES.read_answer(body)):
        assert fold(found).blocks == (TextBlock("a"),)


@each_row("kind", ["output_text", "refusal"])
def test_text_that_only_the_final_event_has_is_returned(kind: str) -> None:
    member = "text" if kind == "output_text" else kind
    for whole, want in (("abcd", "abcd"), ("abc", "abc"), ("ab", "abc"), ("Xbyd and another text", "abc")):
        end = {"type": f"response.{kind}.done", "output_index": 0, "content_index": 0, member: whole}
        found = read(
            stream(
                created_event(), text_delta(0, "ab", kind=kind), text_delta(0, "c", kind=kind), end, end, ended_event()
            )
        )
        check_order(found)
        (block,) = fold(found).blocks
        assert isinstance(block, TextBlock | RefusalBlock)
        assert block.text == want


def test_arguments_come_as_deltas_or_whole_and_calls_may_interleave() -> None:
    delta = {"type": "response.function_call_arguments.delta"}
    events = read(
        stream(
            created_event(),
            item_added(0, **function("")),
            item_added(1, **function("", "fc_2", "call_2", "g")),
            {**delta, "output_index": 0, "delta": '{"a"'},
            {**delta, "item_id": "fc_x", "output_index": 0, "delta": ":1}"},
            {"type": "response.function_call_arguments.done", "output_index": 1, "arguments": '{"b":2}'},
            item_done(1, **function('{"b":2}', "fc_2", "call_2", "g")),
            item_done(0, **function('{"a":1}')),
            ended_event("completed", function('{"a":1}'), function('{"b":2}', "fc_2", "call_2", "g")),
        )
    )
    check_order(events)
    answer = fold(events)
    assert answer.blocks == (ToolCallBlock("call_1", "f", '{"a":1}'), ToolCallBlock("call_2", "g", '{"b":2}'))
    assert answer.end.reason == "tool_calls"


def test_a_call_in_a_namespace_has_the_flat_name() -> None:
    answer = fold(read(stream(created_event(), item_done(0, **function("{}"), namespace="ns"), ended_event())))
    assert answer.blocks == (ToolCallBlock("call_1", "ns__f", "{}"),)


def test_custom_calls_are_the_clients_unless_the_provider_runs_them_itself() -> None:
    call = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "sql", "input": "SELECT 1"}
    ours = [{"type": "custom", "name": "sql"}]
    answer = fold(read(stream(created_event(tools=ours), item_done(0, **call), ended_event())))
    assert answer.blocks == (ToolCallBlock("c", "sql", "SELECT 1", "custom"),)
    hosted = fold(read(stream(created_event(tools=[{"type": "x_search"}]), item_done(0, **call), ended_event())))
    assert hosted.blocks == (NativeBlock("responses", "custom_tool_call", call),)
    assert hosted.end.reason == "stop"


def test_summaries_are_one_block_and_the_item_returns_whole() -> None:
    item = {
        "type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA",
        "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}],
    }  # fmt: skip
    delta = {"type": "response.reasoning_summary_text.delta", "output_index": 0}
    streamed = read(
        stream(
            created_event(),
            item_added(0, type="reasoning", id="rs_1", summary=[]),
            {**delta, "summary_index": 0, "delta": "o"},
            {**delta, "summary_index": 0, "delta": "ne"},
            {**delta, "summary_index": 1, "delta": "two"},
            {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "said again"},
            item_done(0, **item),
            text_delta(1, "hi"),
            ended_event("completed", item, message("hi")),
        )
    )
    check_order(streamed)
    blocks = fold(streamed).blocks
    assert blocks == (ReasoningBlock("one\n\ntwo", ReasoningState(0, "responses", item)), TextBlock("hi"))
    assert fold(read(stream(created_event(), ended_event("completed", item, message("hi"))))).blocks == blocks


def test_a_text_with_the_index_of_a_reasoning_item_is_a_separate_block() -> None:
    """The state of the reasoning was a part of the text, and its block had no form in other APIs."""
    item = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": []}
    note = {"type": "response.output_text.annotation.added", "output_index": 1, "annotation": {"type": "x"}}
    events = read(
        stream(
            created_event(),
            item_added(0, type="reasoning", id="rs_1", summary=[]),
            text_delta(0, "hi"),
            item_done(0, **item),
            item_added(1, type="reasoning", id="rs_2", summary=[]),
            {"type": "response.reasoning_summary_text.delta", "output_index": 1, "summary_index": 0, "delta": "hm"},
            note,
            ended_event(),
        )
    )
    check_order(events)
    assert fold(events).blocks == (
        TextBlock("hi"),
        ReasoningBlock("", ReasoningState(1, "responses", item)),
        ReasoningBlock("hm"),
    )


def test_reasoning_is_kept_if_the_provider_has_a_use_for_it() -> None:
    for item, store, kept in [
        ({"encrypted_content": "gAAA"}, False, True),
        ({"content": [{"type": "reasoning_text", "text": "hm"}]}, False, True),
        ({}, True, True),
        ({}, False, False),
    ]:
        with case((item, store, kept)):
            reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], **item}
            events = read(stream(created_event(store=store), item_done(0, **reasoning), ended_event()))
            assert any(isinstance(event, ReasoningState) for event in events) == kept


def test_annotations_and_refusals_keep_their_place() -> None:
    note = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 2}
    part = {"type": "output_text", "text": "hi", "annotations": [note]}
    whole = {**message("hi"), "content": [part, {"type": "refusal", "refusal": "no"}]}
    annotation = {"type": "response.output_text.annotation.added", "output_index": 0, "annotation": note}
    part_done = {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": part}
    for told in ([annotation], [part_done], [annotation, part_done]):
        events = read(
            stream(
                created_event(),
                text_delta(0, "hi"),
                *told,
                text_delta(0, "no", 1, "refusal"),
                item_done(0, **whole),
                ended_event(),
            )
        )
        check_order(events)
        assert fold(events).blocks == (TextBlock("hi", (Citation(0, "responses", note),)), RefusalBlock("no"))
    assert fold(read(stream(created_event(), ended_event("completed", whole)))).blocks == fold(events).blocks


def test_hosted_items_come_whole_and_their_progress_is_ignored() -> None:
    """Events outside the SDK's types (``keepalive`` and others) are in real streams."""
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    events = read(
        stream(
            created_event(),
            item_added(0, type="web_search_call", id="ws_1"),
            {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"},
            {"type": "keepalive"},
            item_done(0, **item),
            ended_event("completed", item),
        )
    )
    assert events[1] == NativeItem(0, "responses", "web_search_call", item)
    assert len(events) == 3


@each_row(
    ("details", "reason"),
    [({"reason": "max_output_tokens"}, "length"), ({"reason": "content_filter"}, "refusal"), (None, "length")],
)
def test_an_incomplete_answer_has_its_reason(details: Any, reason: Reason) -> None:
    end = read(stream(created_event(), text_delta(0, "hi"), ended_event("incomplete", incomplete_details=details)))[-1]
    assert isinstance(end, AnswerEnd)
    assert end.reason == reason


def test_an_incomplete_answer_with_the_reason_of_a_failure_has_failed() -> None:
    details = {"reason": "network_error"}
    end = read(stream(created_event(), text_delta(0, "hi"), ended_event("incomplete", incomplete_details=details)))[-1]
    assert isinstance(end, ErrorInfo)
    assert end.reason == "server_error"


FLAT = {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None}


NESTED = {"type": "error", "error": {"type": "x", "code": "rate_limit_exceeded", "message": "slow down"}}


FAILED = ended_event("failed", error={"code": "rate_limit_exceeded", "message": "slow down"})


@each_row("told", [[FLAT], [NESTED], [FAILED], [NESTED, FAILED], [FLAT, FAILED, ended_event()]])
def test_an_error_is_reported_once(told) -> None:
    """OpenAI sends the nested form, its types have the flat one, and ``response.failed`` may follow either."""
    events = read(stream(created_event(), *told))
    assert [event for event in events if isinstance(event, ErrorInfo | AnswerEnd)] == [events[-1]]
    failed = events[-1]
    assert isinstance(failed, ErrorInfo)
    assert (failed.kind, failed.message, failed.status) == ("rate_limited", "slow down", 429)


@each_row("data", [b'{"error":{"message":"boom"}}\n\n', b'error: {"error":{"message":"boom"}}\n\n'])
def test_an_error_outside_an_event_ends_the_stream(data: bytes) -> None:
    failed = read(stream(created_event(), text_delta(0, "hi")) + data)[-1]
    assert isinstance(failed, ErrorInfo)
    assert failed.message == "boom"


def test_an_early_end_is_a_failure_even_with_a_done_mark() -> None:
    """icebear0828/codex-proxy#108: the end of the connection alone is an error."""
    data = stream(created_event(), text_delta(0, "hi"))
    for tail in (b"", b"data: [DONE]\n\n"):
        assert read(data + tail)[-1] == ErrorInfo(
            "upstream", "the provider ended the stream early", reason="bad_answer"
        )
    assert isinstance(read(TEXT_STREAM + b"data: [DONE]\n\n")[-1], AnswerEnd)


def test_malformed_json_and_a_completed_event_with_status_failed_are_failures() -> None:
    cut = read(stream(created_event()) + b'data: {"type": "response.output\n\n')[-1]
    assert isinstance(cut, ErrorInfo)
    assert "not JSON" in cut.message
    lie = {"type": "response.completed", "response": {"status": "failed", "error": {"message": "x"}}}
    assert isinstance(read(stream(created_event(), lie))[-1], ErrorInfo)


def test_an_answer_with_an_error_fails_although_it_is_completed() -> None:
    """An error without any value is none."""
    for error, end in (
        ({"code": "server_error", "message": "boom"}, ErrorInfo),
        ({"code": "", "message": None}, AnswerEnd),
    ):
        ended = ended_event("completed", error=error)
        for events in (read(stream(created_event(), text_delta(0, "hi"), ended)),
                       RESPONSES.read_answer(sse.dump({"object": "response", **ended["response"]}))):  # fmt: skip
            assert isinstance(events[-1], end)


def test_whole_answers_fail_by_their_status() -> None:
    error = RESPONSES.read_answer(b'{"error":{"message":"no","code":"invalid_prompt"}}')[-1]
    failed = RESPONSES.read_answer(sse.dump(FAILED["response"]))[-1]
    queued = RESPONSES.read_answer(sse.dump({"object": "response", "status": "queued", "output": []}))[-1]
    assert isinstance(error, ErrorInfo)
    assert error.kind == "invalid_request"
    assert isinstance(failed, ErrorInfo)
    assert failed.kind == "rate_limited"
    assert isinstance(queued, ErrorInfo)


# Log probabilities

TOKENS = [{"token": "hi", "logprob": -0.5, "bytes": [104, 105], "top_logprobs": []}]


def test_log_probabilities_are_read_from_every_text_event() -> None:
    part = {"type": "output_text", "text": "hi", "annotations": [], "logprobs": TOKENS}
    item = {**message("hi"), "content": [part]}
    whole = {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "hi"}
    part_done = {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": part}
    for told in (
        [{**text_delta(0, "hi"), "logprobs": TOKENS}, {**whole, "logprobs": TOKENS}, item_done(0, **item)],
        [{**whole, "logprobs": TOKENS}],
        [part_done],
        [item_done(0, **item)],
        [],
    ):
        events = read(stream(created_event(), *told, ended_event("completed", item)))
        check_order(events)
        assert fold(events).blocks == (TextBlock("hi", (), tuple(TOKENS)),)


@each_row("logprobs", [None, [], "x", {"a": 1}, [1]])
def test_invalid_log_probabilities_are_ignored(logprobs) -> None:
    events = read(stream(created_event(), {**text_delta(0, "hi"), "logprobs": logprobs}, ended_event()))
    assert events[1] == TextDelta(0, "hi")
