"""Output for Responses clients by the schemas of Open Responses: response objects, other events, and whole answers.
Pure; ``e2e`` has tests with a real gateway."""

import itertools
import json
from typing import Any

import attrs

from providers.neutral.codec import Reply
from providers.neutral.request import Request
from providers.responses import RESPONSES
from providers.responses.answer import compaction_response
from providers.responses.compaction import compaction_item
from providers.responses.replay import replay
from providers.responses.tools import own_id
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import fold
from streams.sse import Splitter, parse
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.open_responses import misfits, misfits_of_stream
from tests.support.responses_streams import HELLO, ISSUER, as_plain_json, reply, write_events

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOKEN = {"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "Ho", "logprob": -2}]}
LINK = {"url": "https://a.example", "title": None}

# Requests, each with members that their client may leave out or send as null.
ASKED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "nulls": dict.fromkeys(
        ("temperature", "top_p", "presence_penalty", "frequency_penalty", "tools", "tool_choice", "text", "reasoning",
         "metadata", "instructions", "truncation", "service_tier", "top_logprobs", "parallel_tool_calls")
    ),
    "sampling": {"temperature": 0, "top_p": 0.5, "presence_penalty": -1, "frequency_penalty": 1.5, "top_logprobs": 2},
    "tools": {"tools": [{"type": "function", "name": "f"}, {"type": "function", "name": "g", "parameters": SCHEMA}],
              "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": False},
    "allowed tools": {"tools": [{"type": "function", "name": "f"}],
                      "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}]}},
    "format": {"text": {"format": {"type": "json_schema", "name": "out", "schema": SCHEMA}, "verbosity": None}},
    "format without a name": {"text": {"format": {"type": "json_schema", "schema": SCHEMA, "strict": None}}},
    "reasoning": {"reasoning": {"effort": "minimal"}, "include": ["reasoning.encrypted_content"]},
    "limits": {"max_output_tokens": 16, "max_tool_calls": 2, "truncation": "auto", "instructions": "Be brief.",
               "metadata": {"a": "b"}, "safety_identifier": "me", "prompt_cache_key": "k", "service_tier": "flex"},
}  # fmt: skip

ANSWERS: dict[str, list[Event]] = {
    "text": [*HELLO, AnswerEnd("stop")],
    "nothing": [AnswerStart(), AnswerEnd("stop")],
    "calls": [
        AnswerStart(), TextDelta(0, "Let me see."), BlockEnd(0), ToolCallStart(1, "call_1", "f"),
        ToolCallStart(2, "call_2", "g"),
        ToolCallDelta(1, '{"city":'), ToolCallDelta(2, "{}"), ToolCallDelta(1, '"Z"}'), BlockEnd(1), BlockEnd(2),
        Usage(input=3, output=5), AnswerEnd("tool_calls"),
    ],
    "reasoning": [
        AnswerStart(), ReasoningDelta(0, "hm "), ReasoningDelta(0, "so"),
        ReasoningState(0, "messages", {"type": "thinking"}), BlockEnd(0),
        ReasoningState(1, "chat", {"field": "reasoning_content"}), BlockEnd(1), TextDelta(2, "x"), BlockEnd(2),
        AnswerEnd("stop"),
    ],
    "phases": [
        AnswerStart(), TextDelta(0, "I look.", phase="commentary"), BlockEnd(0),
        TextDelta(1, "Four.", phase="final_answer"),
        BlockEnd(1), AnswerEnd("stop"),
    ],
    "refusal": [AnswerStart(), RefusalDelta(0, "I can "), RefusalDelta(0, "not."), BlockEnd(0), AnswerEnd("stop")],
    "citation": [AnswerStart(), TextDelta(0, "x"), Citation(0, "chat", {"url_citation": LINK}), BlockEnd(0),
    AnswerEnd("stop")],
    "probabilities": [AnswerStart(), TextDelta(0, "Hi", logprobs=[TOKEN]), BlockEnd(0), AnswerEnd("stop")],
    "cut text": [AnswerStart(), TextDelta(0, "x"), BlockEnd(0), Usage(output=16), AnswerEnd("length")],
    "cut reasoning": [AnswerStart(), ReasoningDelta(0, "hm"), BlockEnd(0), AnswerEnd("length")],
    "cut call": [AnswerStart(), ToolCallStart(0, "call_1", "f"), ToolCallDelta(0, '{"ci'), BlockEnd(0),
    AnswerEnd("length")],
    "filtered": [AnswerStart(), TextDelta(0, "x"), BlockEnd(0), AnswerEnd("refusal")],
}  # fmt: skip
FAILURES: dict[str, list[Event]] = {
    "at once": [AnswerStart(), ErrorInfo("overloaded", "too much", status=529)],
    "in a text": [*HELLO[:2], ErrorInfo("upstream", "gone")],
    "in a call": [
        AnswerStart(),
        ToolCallStart(0, "call_1", "f"),
        ToolCallDelta(0, '{"ci'),
        ErrorInfo("rate_limited", "slowly"),
    ],
    "behind reasoning": [AnswerStart(), ReasoningDelta(0, "hm"), BlockEnd(0), ErrorInfo("timeout", "silent")],
}


def asked_with(request: dict[str, Any]) -> Reply:
    call = RESPONSES.read_request({"model": "my-model", "input": "hi", **request})
    return attrs.evolve(reply(), request=call)


@each_row("asked, said", itertools.product(ASKED, ANSWERS))
def test_an_answer_is_valid_streamed_and_whole(asked, said):
    answer, to = ANSWERS[said], asked_with(ASKED[asked])
    events = write_events(answer, to)
    assert misfits_of_stream(events) == []
    assert misfits(json.loads(RESPONSES.write_answer(fold(answer), to))) == []
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]


@each_row("request_, answer", itertools.product(ASKED.values(), FAILURES.values()))
def test_a_failed_answer_is_valid(request_, answer):
    events = write_events(answer, asked_with(request_))
    assert misfits_of_stream(events) == []
    assert events[-1]["type"] == "response.failed"


@each_row("answer, status", itertools.product((ANSWERS | FAILURES).values(), ["cancelled", "failed", "incomplete"]))
def test_an_interrupted_response_is_valid_at_every_event(answer, status):
    writer = RESPONSES.writer(asked_with(ASKED["tools"]))
    for event in answer:
        writer.send(event)
        assert misfits(as_plain_json(writer.interrupted_response(status))) == []


@each_row("sequence", [0, 3])
def test_the_failure_event_of_a_providers_stream_is_valid(sequence):
    """The gateway ends a provider's interrupted stream with hardly any data about it."""
    data = RESPONSES.last_event(ErrorInfo("upstream", "it broke off"), AnswerStart("resp_1", "m", 5), sequence)
    events = [json.loads(found[1]) for raw in Splitter().feed(data) if (found := parse(raw))]
    assert misfits_of_stream(events) == []
    assert [event["type"] for event in events] == ["response.created", "error", "response.failed"][sequence > 0 :]


def test_a_stored_answer_is_replayed_validly():
    for answer in [*ANSWERS.values(), *FAILURES.values()]:
        with case(answer):
            told = write_events(answer, asked_with(ASKED["tools"]))[-1]["response"]
            events = [json.loads(found[1]) for raw in Splitter().feed(replay(told)) if (found := parse(raw))]
            assert misfits_of_stream(events) == []
            assert events[-1]["response"] == told


def test_every_item_has_an_id_a_type_and_a_status():
    """The specification wants them of all items, though its schema of reasoning has no status."""
    for answer in ANSWERS.values():
        with case(answer):
            for event in write_events(answer):
                if event["type"] in ("response.output_item.added", "response.output_item.done"):
                    item = event["item"]
                    assert item["id"]
                    assert item["type"]
                    assert (item["status"] == "in_progress") is event["type"].endswith("added")


def test_a_compaction_is_valid():
    told = compaction_response(own_id("resp_"), 5, compaction_item("We agreed on Tuesday."), Usage(input=3, output=4))
    assert misfits(as_plain_json(told), "CompactResource") == []


def test_response_objects_repeat_the_clients_settings_and_state_the_others():
    told = write_events(ANSWERS["text"], asked_with(ASKED["sampling"]))[0]["response"]
    names = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
    assert [told[name] for name in names] == [0, 0.5, -1, 1.5]
    told = write_events(ANSWERS["text"], asked_with({}))[0]["response"]
    assert [told[name] for name in names] == [1.0, 1.0, 0.0, 0.0]


def test_nullable_members_are_present_as_null():
    function, format = ASKED["tools"]["tools"][0], ASKED["format"]["text"]["format"]
    for event in write_events(ANSWERS["calls"], asked_with({"tools": [function], "text": {"format": format}})):
        if response := event.get("response"):
            assert response["tools"] == [{**function, "description": None, "parameters": None, "strict": False}]
            assert response["text"] == {"format": {**format, "description": None, "strict": False}}


def test_tools_of_other_kinds_are_repeated_unchanged():
    tools = [{"type": "custom", "name": "patch"}, {"type": "web_search"}]
    assert write_events(ANSWERS["text"], asked_with({"tools": tools}))[0]["response"]["tools"] == tools


def test_an_answer_to_another_apis_request_is_valid():
    to = Reply(Request("chat", "my-model", ()), ISSUER, created=5)
    assert misfits_of_stream(write_events(ANSWERS["text"], to)) == []
