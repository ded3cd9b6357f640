"""Recorded requests of real clients and recorded answers of real providers."""

from pathlib import Path

from providers.responses import RESPONSES
from streams import sse
from streams.events import ErrorInfo
from streams.fold import fold
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.provider_streams import check_order
from tests.support.responses_requests import RECORDED, SENT, needs_recordings, recorded_body, send, words
from tests.support.responses_streams import (
    STREAMS,
    TERMINAL,
    as_json,
    needs_corpus,
    raw_events,
    read,
    shape,
)


@needs_recordings
def test_recorded_requests_lose_nothing_that_a_responses_provider_could_use() -> None:
    for path in [*RECORDED, *SENT]:
        with case(path.name):
            body = recorded_body(path)
            call = RESPONSES.read_request(body)
            sent, outgoing = send(call)
            known = {"reasoning.context", "client_metadata", "tools[].description", "input[]"}
            assert set(outgoing.dropped) <= known | ({"top_logprobs"} & set(body))
            assert words(sent["input"]) == words(body["input"]) if "input" in body else "input" not in sent
            assert len(sent.get("tools", ())) >= len(body.get("tools") or ())


@needs_corpus
@each_row("path", STREAMS or [None])
def test_recorded_streams_equal_their_last_event(path: Path) -> None:
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
