"""Writers of Gemini streams and whole answers."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from providers.gemini import GEMINI
from providers.gemini.framing import ARRAY, KEEP_ALIVE
from providers.neutral.request import ReasoningPart
from providers.neutral.seal import Seal
from providers.neutral.texts import CitedText
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import fold
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.gemini_wire import OURS, chunks, gemini_reply, parts, write_stream
from tests.support.growth import assert_time_grows_linearly

THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"}
CALL: list[Event] = [ToolCallStart(1, "call_1", "f"), ToolCallDelta(1, '{"a": '), ToolCallDelta(1, "1}"), BlockEnd(1)]
THOUGHT: list[Event] = [ReasoningDelta(0, "Hm."), ReasoningState(0, "messages", THINKING), BlockEnd(0)]
END: list[Event] = [Usage(input=10, cache_read=3, output=7, reasoning=2), AnswerEnd("stop", "end_turn")]
TEXT: list[Event] = [TextDelta(1, "Hello"), BlockEnd(1)]


def test_a_seal_that_no_call_follows_has_a_part_of_its_own():
    for events in ([*THOUGHT, *TEXT, *END], [*THOUGHT, *END]):
        said = parts(write_stream(events))
        assert said[1].keys() == {"text", "thought", "thoughtSignature"}
        assert (said[1]["text"], said[1]["thought"]) == ("", True)
        whole = json.loads(GEMINI.write_answer(fold(events), gemini_reply()))
        assert [part for part in whole["candidates"][0]["content"]["parts"] if part != {"text": ""}] == said


def test_reasoning_whose_item_has_no_text_is_reported_in_the_seal():
    named = ReasoningState(0, "chat", {"field": "reasoning"})
    events: list[Event] = [ReasoningDelta(0, "H"), ReasoningDelta(0, "m."), named, BlockEnd(0), *CALL, *END]
    whole = json.loads(GEMINI.write_answer(fold(events), gemini_reply(thoughts=False)))
    for said in (parts(write_stream(events, thoughts=False)), whole["candidates"][0]["content"]["parts"]):
        history = {"contents": [{"role": "model", "parts": said}]}
        reasoning = GEMINI.read_request(history).messages[0].parts[0]
        assert isinstance(reasoning, ReasoningPart)
        assert (reasoning.text, reasoning.seal) == ("Hm.", Seal(OURS, "chat", {"field": "reasoning"}))


def state(block: int, **item: object) -> list[Event]:
    return [ReasoningState(block, "gemini", item), BlockEnd(block)]


def test_geminis_own_signatures_are_on_parts_of_their_kind():
    for events, said in [
        ([*state(0, part="functionCall", id="call_1", signature="czE="), *CALL],
         [{"functionCall": {"id": "call_1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "czE="}]),
        ([*state(0, part="text", signature="czE="), *TEXT], [{"text": "Hello", "thoughtSignature": "czE="}]),
        ([*TEXT, *state(2, part="text", signature="czE=", empty=True)],
         [{"text": "Hello"}, {"text": "", "thoughtSignature": "czE="}]),
        ([*TEXT, *state(2, part="text", signature="czE=")],
         [{"text": "Hello"}, {"text": "", "thoughtSignature": "czE="}]),
        ([*state(0, part="text", signature="czE="), *CALL],
         [{"text": "", "thoughtSignature": "czE="}, {"functionCall": {"id": "call_1", "name": "f", "args": {"a": 1}}}]),
        ([*state(0, part="toolCall", native={}), NativeItem(1, "gemini", "toolCall", {"toolCall": {}})],
         [{"toolCall": {}}]),
        ([NativeItem(0, "messages", "server_tool_use", {}), *TEXT], [{"text": "Hello"}]),
    ]:  # fmt: skip
        with case((events, said)):
            assert parts(write_stream([*events, *END])) == said
            whole = json.loads(GEMINI.write_answer(fold([*events, *END]), gemini_reply()))
            assert whole["candidates"][0]["content"]["parts"] == said


def test_refusals_log_probabilities_and_citations_have_their_places():
    token = {"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Ho", "logprob": -2.0}]}
    page = {"type": "url_citation", "url": "https://e.org", "title": "E"}
    found = chunks(
        write_stream(
            [TextDelta(0, "Hi", [token]), Citation(0, "chat", page), BlockEnd(0), RefusalDelta(1, "No."), *END]
        )
    )
    first, second, last = [chunk["candidates"][0] for chunk in found]
    assert first["logprobsResult"] == {
        "chosenCandidates": [{"token": "Hi", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "Ho", "logProbability": -2.0}]}],
    }  # fmt: skip
    assert second["content"]["parts"] == [{"text": "No."}]
    assert last["groundingMetadata"]["groundingChunks"] == [{"web": {"uri": "https://e.org", "title": "E"}}]


def link(**members: Any) -> dict[str, Any]:
    return {"url_citation": {"url": "https://e.org", "title": "E", **members}}


OTHER = {"url": "https://o.org"}
CITED: list[Event] = [
    TextDelta(0, "Zü"), TextDelta(0, "rich is big."), Citation(0, "chat", link(start_index=0, end_index=6)),
    Citation(0, "responses", {**OTHER, "start_index": 0, "end_index": 6}), BlockEnd(0),
    TextDelta(1, "So."), Citation(1, "messages", {**OTHER, "cited_text": "x"}), BlockEnd(1),
]  # fmt: skip


@each_row("streamed", [True, False])
def test_citations_say_which_bytes_of_the_whole_text_they_support(streamed):
    """Google's examples insert links at these places of ``response.text``, and fail without them
    (https://ai.google.dev/gemini-api/docs/google-search)."""
    events = [*CITED, *END]
    answers = (
        chunks(write_stream(events)) if streamed else [json.loads(GEMINI.write_answer(fold(events), gemini_reply()))]
    )
    candidates = [one["candidates"][0] for one in answers]
    text = "".join(part["text"] for one in candidates for part in one["content"]["parts"]).encode()
    assert candidates[-1]["groundingMetadata"] == {
        "groundingChunks": [
            {"web": {"uri": "https://e.org", "title": "E"}}, {"web": {"uri": "https://o.org", "title": ""}},
        ],
        "groundingSupports": [
            {"segment": {"startIndex": 0, "endIndex": 7}, "groundingChunkIndices": [0, 1]},
            {"segment": {"startIndex": 15, "endIndex": 18}, "groundingChunkIndices": [1]},
        ],
    }  # fmt: skip
    assert (text[0:7], text[15:18]) == ("Zürich".encode(), b"So.")


def test_citations_take_time_linear_in_their_number():
    """A provider may send thousands, which are written in one turn of the event loop."""

    def writing(number: int) -> Callable[[], object]:
        cited = [Citation(0, "responses", {"url": f"https://e.org/{one}"}) for one in range(4 * number)]
        return lambda: write_stream([TextDelta(0, "Hi"), *cited, BlockEnd(0), *END])

    assert_time_grows_linearly(writing)


@pytest.mark.soak
def test_text_that_nothing_cites_takes_little_memory():
    """Each piece was kept as an object of its own, so that a stream could take 90 MB."""
    text = CitedText()
    tracemalloc.start()
    try:
        for one in range(100_000):
            text.add(chr(0x4E00 + one % 1000))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000
    assert text.byte_positions([1, 100_000]) == {1: 3, 100_000: 300_000}
    text.add("\r\n\ud800")
    assert text.byte_positions([100_003]) == {100_003: 300_005}


def test_a_failure_is_the_last_event_in_both_forms_that_clients_know():
    """Old SDKs of Google take bare JSON for an error and nothing else; all other clients read only events.

    The two forms are separate events: the SDK for JavaScript skips an event that does not begin with ``data:``."""
    failed = ErrorInfo("overloaded", "busy", headers=(("retry-after", "34.4"),))
    out = write_stream([*TEXT, failed, AnswerEnd("stop"), TextDelta(3, "x")])
    bare, data = out.split(b"\r\n\r\n")[-3:-1]
    assert json.loads(bare) == json.loads(data.removeprefix(b"data: "))
    assert json.loads(bare)["error"] == {
        "code": 503, "message": "busy", "status": "UNAVAILABLE",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "35s"}],
    }  # fmt: skip
    ending = bare + b"\r\n\r\n" + data + b"\r\n\r\n"
    assert GEMINI.last_event(failed, AnswerStart(), 3) == ending
    assert [json.loads(data) for _, data in GEMINI.wire.framing.parse_all(ending)] == [json.loads(bare)] * 2
    assert GEMINI.wire.error_parts(out) == (out[: -len(ending)], bare + b"\r\n\r\n", data + b"\r\n\r\n")
    assert GEMINI.wire.error_parts(ending) == (bare + b"\r\n\r\n", data + b"\r\n\r\n")
    assert GEMINI.wire.error_parts(data) == (data,)


def test_a_failure_is_one_element_of_an_array():
    ending = GEMINI.last_event(ErrorInfo("overloaded", "busy"), AnswerStart(), 3)
    writer = ARRAY.writer()
    out = b"".join(writer.event(*event) for event in GEMINI.wire.framing.parse_all(KEEP_ALIVE + KEEP_ALIVE + ending))
    elements = json.loads(out + writer.close())
    assert [list(element) for element in elements] == [["candidates"], ["candidates"], ["error"]]


def test_errors_are_in_the_shape_of_google_s_apis():
    failed = ErrorInfo("invalid_request", "contents is required", param="contents", code="missing")
    error = json.loads(GEMINI.write_error(failed, "req_1"))["error"]
    assert (error["code"], error["status"], error["message"]) == (400, "INVALID_ARGUMENT", "contents is required")
    assert [detail["@type"].rpartition(".")[2] for detail in error["details"]] == [
        "BadRequest",
        "ErrorInfo",
        "RequestInfo",
    ]
    assert error["details"][0]["fieldViolations"][0]["field"] == "contents"
    assert error["details"][-1]["requestId"] == "req_1"
    assert GEMINI.is_own_error({"error": error})
    assert not GEMINI.is_own_error({"error": {"message": "x", "type": "y"}})


def test_an_overflow_has_googles_message():
    failed = ErrorInfo(
        "invalid_request", "prompt is too long: 200 tokens > 100 maximum", code="context_length_exceeded"
    )
    phrased = GEMINI.phrase_error(failed)
    assert phrased.message == "The input token count (200) exceeds the maximum number of tokens allowed (100)."
    assert GEMINI.phrase_error(phrased) == phrased
    assert GEMINI.phrase_error(ErrorInfo("invalid_request", "no")).message == "no"
    wordless = GEMINI.phrase_error(ErrorInfo("invalid_request", "too long", code="context_length_exceeded"))
    assert GEMINI.phrase_error(wordless) == wordless


def test_a_keep_alive_has_no_content():
    assert parts(GEMINI.wire.framing.comment) == []
