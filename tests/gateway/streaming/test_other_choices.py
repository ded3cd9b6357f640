"""Choices after the first one of an answer for a client of its API: one that fails or is cut fails the whole answer."""

from typing import Any, Final

import msgspec
import pytest

from providers.apis import CODECS
from providers.grammar import judge
from providers.neutral.ends import ENDS, Failed
from streams.events import ErrorInfo
from tests.support.cases import case
from tests.support.lanes import byte_lane

CALL: Final = {"index": 0, "id": "c", "type": "function", "function": {"name": "get_weather", "arguments": '{"city"'}}


def event(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def chat(index: int, delta: Any, end: str | None = None, **members: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": end, **members}


def google(index: int, text: str, end: str | None = None) -> dict[str, Any]:
    content = {"parts": [{"text": text}], "role": "model"}
    return {"index": index, "content": content, **({"finishReason": end} if end else {})}


def chat_stream(*choices: Any) -> list[bytes]:
    return [*(event({"id": "c", "choices": [one]}) for one in choices), b"data: [DONE]\n\n"]


def gemini_stream(*candidates: Any) -> list[bytes]:
    return [event({"candidates": [one], "responseId": "r"}) for one in candidates]


FIRST: Final = (chat(0, {"content": "fine"}), chat(0, {}, "stop"))
FAILED_CHAT: Final = {
    **{f"the word {word}": (chat(1, {"content": "Hal"}), chat(1, {}, word))
       for word, meaning in ENDS["chat"].items() if isinstance(meaning, Failed)},
    "an error in the choice": (chat(1, {"content": "Hal"}, error={"message": "it broke", "code": 502}),),
    "cut arguments": (chat(1, {"tool_calls": [CALL]}), chat(1, {}, "tool_calls")),
    "cut arguments that end with stop": (chat(1, {"tool_calls": [CALL]}), chat(1, {}, "stop")),
    "cut arguments without an end": (chat(1, {"tool_calls": [CALL]}),),
    "an unknown word without content": (chat(1, {}, "something_new"),),
}  # fmt: skip
COMPLETE_CHAT: Final = {
    "text": (chat(1, {"content": "Hal"}), chat(1, {}, "stop")),
    "text without an end": (chat(1, {"content": "Hal"}),),  # before [DONE]
    "arguments cut by the limit": (chat(1, {"tool_calls": [CALL]}), chat(1, {}, "length")),
    "whole arguments": (
        chat(1, {"tool_calls": [CALL]}),
        chat(1, {"tool_calls": [{"index": 0, "function": {"arguments": ': "Zurich"}'}}]}, "tool_calls"),
    ),
    "an unknown word": (chat(1, {"content": "Hal"}, "something_new"),),
}


@pytest.mark.parametrize("first", [True, False], ids=["after the first", "before the first"])
def test_a_chat_stream_with_a_failed_choice_is_a_failure(first):
    for name, other in FAILED_CHAT.items():
        with case(name):
            sent = chat_stream(*FIRST, *other) if first else chat_stream(*other, *FIRST)
            lane = byte_lane("chat")
            out = b"".join(map(lane.feed, sent)) + lane.end()
            assert lane.progress.error is not None
            assert (lane.progress.end, out.count(b'"error"') > 0, b"[DONE]" in out) == (None, True, False)
            assert judge("chat", out, streamed=True).outcome == "failed"


def test_a_chat_stream_with_complete_choices_passes_unchanged():
    for name, other in COMPLETE_CHAT.items():
        for sent in (chat_stream(*FIRST, *other), chat_stream(*other, *FIRST)):
            with case(name):
                lane = byte_lane("chat")
                assert b"".join(map(lane.feed, sent)) + lane.end() == b"".join(sent)
                assert lane.progress.error is None
                assert lane.progress.end is not None


def test_calls_of_several_choices_are_not_mixed():
    """Each choice numbers its calls from 0."""
    ends = {"index": 0, "function": {"arguments": ": 1}"}}
    calls = [chat(at, {"tool_calls": [CALL]}) for at in range(3)]
    rest = [chat(at, {"tool_calls": [ends]}, "tool_calls") for at in range(3)]
    sent = chat_stream(*calls, *rest)
    lane = byte_lane("chat")
    assert b"".join(map(lane.feed, sent)) + lane.end() == b"".join(sent)
    assert lane.progress.error is None


def test_a_gemini_stream_with_a_failed_candidate_is_a_failure_whose_bytes_pass():
    """Its own clients know the words."""
    words = [word for word, meaning in ENDS["gemini"].items() if isinstance(meaning, Failed)]
    for word in words:
        with case(word):
            sent = gemini_stream(google(0, "fine", "STOP"), google(1, "Hal", word))
            lane = byte_lane("gemini")
            assert b"".join(map(lane.feed, sent)) + lane.end() == b"".join(sent)
            assert word in lane.progress.error.message
            assert lane.progress.end is None


@pytest.mark.parametrize("api", ["chat", "gemini"])
def test_a_whole_answer_with_a_failed_choice_is_a_failure(api):
    for word, meaning in ENDS[api].items():
        if not isinstance(meaning, Failed):
            continue
        with case(word):
            if api == "chat":
                listed = [{"index": at, "message": {"role": "assistant", "content": "a"}, "finish_reason": end}
                          for at, end in enumerate(("stop", word))]  # fmt: skip
                body: Any = {"id": "c", "choices": listed}
            else:
                body = {"candidates": [google(0, "a", "STOP"), google(1, "b", word)]}
            for texts in (True, False):
                *_, last = CODECS[api].read_answer(msgspec.json.encode(body), texts)
                assert isinstance(last, ErrorInfo)
                assert last.native == (api == "gemini")
