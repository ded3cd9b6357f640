"""Complete responses that may be failures, so that another provider is tried; streamed and not."""

from collections.abc import Sequence

from gateway.streaming.doubt import answer_doubt, stream_doubt
from gateway.streaming.lane import StreamProgress
from providers.apis import CODECS
from streams.events import (
    APIS,
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import fold
from tests.support.each_row import each_row
from tests.support.lanes import byte_lane, hub_lane
from tests.support.upstreams import Script, Tokens, render

CONTENT: dict[str, Event] = {
    "text": TextDelta(0, "a"),
    "a refusal in words": RefusalDelta(0, "I cannot"),
    "reasoning": ReasoningDelta(0, "hm"),
    "sealed reasoning": ReasoningState(0, "messages", {"type": "redacted_thinking"}),
    "a call": ToolCallStart(0, "call_1", "f"),
    "an item of its own API": NativeItem(0, "responses", "web_search_call", {}),
}
NOTHING = (
    ("stop", None, "bad_answer"),
    ("stop", Usage(input=9, output=0), "bad_answer"),
    ("length", Usage(input=9, output=0), "bad_answer"),
    ("stop", Usage(input=9, output=3), None),  # Claude ends its turn so, on purpose
    ("length", Usage(input=9, output=900, reasoning=900), None),  # unseen thoughts
    ("refusal", Usage(input=9, output=0), "content_filter"),
    ("refusal", Usage(input=9, output=3), "content_filter"),
    ("refusal", None, "content_filter"),
)


def reasons(events: Sequence[Event]) -> set[str | None]:
    """Return the reasons for doubt about the stream, and about the whole answer of the same events."""
    seen = StreamProgress()
    for event in events:
        seen.add(event)
    doubts = stream_doubt(seen), answer_doubt(fold(events), 100)
    return {None if doubt is None else doubt.reason for doubt in doubts}


@each_row(("end", "usage", "reason"), NOTHING)
def test_an_answer_of_nothing_is_doubtful(end, usage, reason):
    """BerriAI/litellm#24462, Wei-Shaw/sub2api#7081; BerriAI/litellm#40406 for refusals."""
    assert reasons([AnswerStart(), *([usage] if usage else []), AnswerEnd(end)]) == {reason}


@each_row("content", CONTENT.values())
@each_row("end", ["stop", "refusal", "length"])
def test_an_answer_with_content_is_no_failure(content, end):
    assert reasons([AnswerStart(), content, BlockEnd(0), Usage(input=9), AnswerEnd(end)]) == {None}


def test_an_answer_that_has_not_ended_well_is_not_doubted_but_failed():
    seen = StreamProgress()
    assert stream_doubt(seen) is None
    seen.add(ErrorInfo("upstream", "m"))
    assert stream_doubt(seen) is None


def test_a_long_answer_with_undecoded_text_is_not_doubted():
    assert answer_doubt(fold([AnswerStart(), AnswerEnd("stop")]), 20_000) is None


@each_row("stop", ["stop", "content_filter"])
@each_row(("source", "client"), [(api, client) for at, api in enumerate(APIS) for client in (api, APIS[at - 1])])
def test_every_api_has_answers_of_nothing(source, client, stop):
    script = Script(stop=stop, tokens=Tokens(prompt=9, output=0))
    lane = byte_lane(client) if client == source else hub_lane(source, client)
    for piece in render(script, source, {"stream": True, "model": "up"}).pieces:
        lane.feed(piece)
    lane.end()
    body = b"".join(render(script, source, {"model": "up"}).pieces)
    doubts = stream_doubt(lane.progress), answer_doubt(fold(CODECS[source].read_answer(body)), len(body))
    # Interactions has no status for a filter: its status "incomplete" has many other causes.
    reason = "content_filter" if stop == "content_filter" and source != "interactions" else "bad_answer"
    assert {doubt and doubt.reason for doubt in doubts} == {reason}


def test_a_prompt_that_google_blocks_is_a_refusal_without_a_word():
    """Its Chat endpoint reports it by a choice that has only a finish reason."""
    body = (
        b'{"id":"x","object":"chat.completion","model":"gemini","choices":[{"index":0,'
        b'"finish_reason":"content_filter: PROHIBITED_CONTENT"}],"usage":{"prompt_tokens":9,"completion_tokens":0}}'
    )
    doubt = answer_doubt(fold(CODECS["chat"].read_answer(body)), len(body))
    assert doubt.reason == "content_filter"
    body = body.replace(b"content_filter: PROHIBITED_CONTENT", b"function_call_filter: MALFORMED_FUNCTION_CALL")
    failed = CODECS["chat"].read_answer(body)[-1]
    assert isinstance(failed, ErrorInfo)
    assert failed.reason == "bad_answer"
