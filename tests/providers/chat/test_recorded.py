"""Recorded answers of Chat providers, read and written for clients."""

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from providers.chat import CHAT
from streams import sse
from streams.events import AnswerEnd, ErrorInfo, ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStart
from streams.fold import fold
from tests.support.chat_wire import (
    ANSWERS,
    DONE,
    RECORDED,
    assert_order,
    chunks,
    content,
    needs_corpus,
    read,
    reply,
    write,
)


def recorded_texts(stream: bytes) -> str:
    """The visible text of choice 0, straight from the recording."""
    found = []
    for raw in [*(splitter := sse.Splitter()).feed(stream), splitter.close()]:
        parsed = sse.parse(raw)
        value = json.loads(parsed[1]) if parsed and parsed[1] != b"[DONE]" else {}
        for choice in value.get("choices") or []:
            text = choice["delta"].get("content") if choice["index"] == 0 else None
            if isinstance(text, list):
                text = "".join(part["text"] for part in text if part["type"] == "text")
            found.append(text or "")
    return "".join(found)


def accumulated(stream: bytes) -> tuple[str, str, list[tuple[str, str, str]]]:
    """What a client collects from a stream by way of the SDK's own types."""
    text = thought = ""
    tools: dict[int, list[str]] = {}
    for value in chunks(stream):
        parsed = ChatCompletionChunk.model_validate(value)
        for choice in parsed.choices:
            text += choice.delta.content or ""
            thought += (choice.delta.model_extra or {}).get("reasoning_content", "")
            for call in choice.delta.tool_calls or []:
                if call.index not in tools:
                    assert call.id
                    tools[call.index] = [call.id, call.function.name, ""]
                else:
                    assert call.id is None
                    assert call.function.name is None
                tools[call.index][2] += call.function.arguments
    assert list(tools) == list(range(len(tools)))
    return text, thought, [tuple(tool) for tool in tools.values()]


@needs_corpus
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name[-40:])
def test_recorded_streams_reach_a_client_whole(path):
    stream = path.read_bytes()
    events = read([stream])
    assert_order(events)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == recorded_texts(stream)
    written = write(events)
    text, thought, tools = (
        accumulated(written) if isinstance(events[-1], AnswerEnd) else accumulated(write(events[:-1]))
    )
    assert text == recorded_texts(stream)
    assert thought == "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    assert [tool[:2] for tool in tools] == [(e.id, e.name) for e in events if isinstance(e, ToolCallStart)]
    assert "".join(tool[2] for tool in tools) == "".join(
        event.text for tool in events if isinstance(tool, ToolCallStart)
        for event in events if isinstance(event, ToolCallDelta) and event.block == tool.block
    )  # fmt: skip
    assert written.endswith(DONE) == isinstance(events[-1], AnswerEnd)


@needs_corpus
def test_recorded_streams_fail_only_where_the_provider_did():
    failed = [path.name for path in RECORDED if isinstance(read([path.read_bytes()])[-1], ErrorInfo)]
    assert ["tool-use-failed-error-streaming.53b444" in name for name in failed] == [True]


@needs_corpus
@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.name[-40:])
def test_recorded_answers_are_read_and_written_whole(path):
    body = path.read_bytes()
    message = json.loads(body)["choices"][0]["message"]
    events = CHAT.read_answer(body)
    assert_order(events)
    answer = fold(events)
    written = json.loads(CHAT.write_answer(answer, reply()))
    ChatCompletion.model_validate(written)
    got = written["choices"][0]["message"]
    text = message.get("content") or (message.get("audio") or {}).get("transcript") or ""
    if isinstance(text, list):
        text = "".join(part["text"] for part in text if part["type"] == "text")
    assert (got["content"] or "") == text
    assert len(got.get("tool_calls", [])) == len(message.get("tool_calls") or []) + bool(
        (message.get("function_call") or {}).get("name")
    )
    assert (got["refusal"] or "") == (message.get("refusal") or "")
    assert content(fold(read([write(events)]))) == content(answer)
