"""Recorded requests of real clients and recorded answers of real providers."""

import json
from pathlib import Path

import pytest

from providers.responses import RESPONSES
from streams import sse
from streams.events import AnswerEnd, ErrorInfo
from streams.fold import TextBlock, ToolCallBlock, fold
from tests.support.cases import case
from tests.support.responses_requests import RECORDED, SENT, needs_recordings, recorded, send, words
from tests.support.responses_streams import (
    ANSWERS,
    STREAMS,
    TERMINAL,
    accumulated,
    as_json,
    check_order,
    dumped,
    needs_corpus,
    raw_events,
    read,
    reply,
    shape,
    written,
)


@needs_recordings
def test_recorded_requests_lose_nothing_that_a_responses_provider_could_use() -> None:
    for path in [*RECORDED, *SENT]:
        with case(path.name):
            body = recorded(path)
            call = RESPONSES.read_request(body)
            sent, outgoing = send(call)
            known = {"reasoning.context", "client_metadata", "tools[].description", "input[]"}
            assert set(outgoing.dropped) <= known | ({"top_logprobs"} & set(body))
            assert words(sent["input"]) == words(body["input"]) if "input" in body else "input" not in sent
            assert len(sent.get("tools", ())) >= len(body.get("tools") or ())


@needs_corpus
@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name[:60])
def test_recorded_streams_say_what_their_last_event_says(path: Path) -> None:
    data = path.read_bytes()
    events = read(data)
    check_order(events)
    assert read(data, 1021) == events
    terminal = [e for raw in raw_events(data) if (e := as_json(raw)).get("type") in TERMINAL]
    if isinstance(events[-1], ErrorInfo):
        assert terminal[-1]["type"] == "response.failed"
        return
    whole = RESPONSES.read_answer(sse.dump(terminal[-1]["response"]))
    assert shape(fold(events)) == shape(fold(whole))


@needs_corpus
@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.name[:60])
def test_recorded_answers_lose_no_text_and_no_call(path: Path) -> None:
    body = json.loads(path.read_bytes())
    events = RESPONSES.read_answer(path.read_bytes())
    if body["status"] == "queued":
        assert isinstance(events[-1], ErrorInfo)
        return
    check_order(events)
    answer = fold(events)
    parts = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
    assert [b.text for b in answer.blocks if isinstance(b, TextBlock)] == [p["text"] for p in parts if "text" in p]
    calls = [item["call_id"] for item in body["output"] if item["type"] == "function_call"]
    assert [b.id for b in answer.blocks if isinstance(b, ToolCallBlock)] == calls


@needs_corpus
@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name[:60])
def test_recorded_streams_can_be_told_again(path: Path) -> None:
    data = path.read_bytes()
    events = read(data)
    first = next(e["response"] for raw in raw_events(data) if (e := as_json(raw)).get("type") == "response.created")
    tools = [tool for tool in first["tools"] if tool["type"] != "x_search"] or [{"type": "web_search"}]
    found = written(events, reply(source={"tools": tools}))  # they say which tools are the client's
    accumulated(found)
    if isinstance(events[-1], AnswerEnd):
        found[0]["response"]["store"] = first.get("store")  # trigate keeps nothing, and says so; the provider may have
        again = read(b"".join(map(dumped, found)))
        assert shape(fold(again))[1] == shape(fold(events))[1]
