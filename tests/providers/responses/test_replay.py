"""Repeated streams of stored responses, and the log of a stream."""

import contextlib
import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from providers.grammar import judge
from providers.responses import RESPONSES
from providers.responses.answer import whole_answer
from providers.responses.kept_items import prepare_input
from providers.responses.replay import after_number, replay
from streams.event_log import EventLog
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Event,
    TextDelta,
)
from streams.fold import fold
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.responses_strategies import TOOLS, legal_events
from tests.support.responses_streams import (
    ANSWERS,
    HELLO,
    accumulate,
    as_plain_json,
    needs_corpus,
    part_text,
    reply,
    sdk_response,
    values,
)

Item = dict[str, Any]
SAID: Item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
              "content": [{"type": "output_text", "text": "ok", "annotations": []}]}  # fmt: skip
WEB: Item = {"type": "web_search_call", "id": "ws_1", "status": "completed",
             "action": {"type": "search", "query": "q"}}  # fmt: skip


# Replayed streams


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(legal_events())
def test_a_stored_response_is_replayed_with_all_events(events: list[Event]) -> None:
    """`GET …?stream=true` of a response that was not streamed (SamSaffron/term-llm#460). Mistakes of the model, such
    as invalid arguments, remain."""
    writer = RESPONSES.writer(reply(tools=TOOLS))
    first = judge("responses", b"".join(writer.send(event) for event in events)).broken
    response = as_plain_json(writer.response)
    data = replay(response)
    found = judge("responses", data).broken
    assert (found and found.rule) == (first and first.rule)
    assert found is None or found.rule == "responses.call.json"
    told = values(data)
    assert told[-1]["response"] == response
    if response["status"] == "completed":
        assert [(item.type, item.id) for item in sdk_response(told).output] == [
            (item["type"], item["id"]) for item in response["output"]
        ]
        for collected, item in zip(accumulate(told), response["output"], strict=True):
            assert collected.get("arguments") == item.get("arguments")
            assert [part_text(part) for part in collected.get("content") or ()] == [
                part_text(part) for part in item.get("content") or ()
            ]


def test_a_cancelled_response_ends_in_a_failure_that_is_reported() -> None:
    """There is no event for it, and a bare close makes clients ask again (router-for-me/CLIProxyAPI#1407)."""
    writer = RESPONSES.writer(reply())
    writer.send(TextDelta(0, "a"))
    for status, words in (("cancelled", "was cancelled"), ("incomplete", "ended before it was complete")):
        last = values(replay(as_plain_json(writer.interrupted_response(status))))[-1]  # type: ignore[arg-type]
        assert last["type"] == "response.failed"
        assert words in last["response"]["error"]["message"]


@each_row("status", ["queued", "in_progress"])
def test_an_unfinished_response_cannot_be_replayed(status: str) -> None:
    writer = RESPONSES.writer(reply())
    with pytest.raises(ValueError, match=status):
        replay({**as_plain_json(writer.interrupted_response("cancelled")), "status": status})


def test_items_of_other_servers_are_replayed_too() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "encrypted_content": "g",
               "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]}  # fmt: skip
    response = as_plain_json(whole_answer(fold([*HELLO, AnswerEnd("stop")]), reply())) | {
        "output": [thought, WEB, SAID]
    }
    verdict = judge("responses", replay(response))
    assert verdict.broken is None, verdict.broken


@needs_corpus
def test_recorded_answers_are_reported_in_grammar_and_their_input_is_stored() -> None:
    found = 0
    for path in ANSWERS:
        response = json.loads(path.read_bytes())
        if response.get("object") != "response" or response["status"] not in ("completed", "incomplete"):
            continue
        verdict = judge("responses", replay(response), tolerant=True)
        assert verdict.broken is None, (path.name, verdict.broken)
        assert prepare_input(response["output"]) == prepare_input(prepare_input(response["output"]))
        found += 1
    assert found > 20


# The log of a stream


def whole_stream(text: str, size: int = 400) -> bytes:
    writer = RESPONSES.writer(reply())
    events: list[Event] = [AnswerStart(), *(TextDelta(0, text) for _ in range(size)), BlockEnd(0), AnswerEnd("stop")]
    return b"".join(writer.send(event) for event in events)


def log_events(data: bytes, step: int) -> bytes:
    """Log ``data`` in a number of events."""
    log, events = EventLog(), [event + b"\n\n" for event in data.split(b"\n\n")[:-1]]
    for i in range(0, len(events), step):
        log.add(b"".join(events[i : i + step]))
    return log.close()


PLAIN = whole_stream("word " * 40)
LOG = log_events(PLAIN, 9)


def events_after(log: bytes, number: int = -1) -> bytes:
    return after_number(number).of_log(log)


@settings(max_examples=examples(12), deadline=None)
@given(st.integers(2, 500))
@example(1)
def test_a_log_is_the_same_for_any_batches_of_events(step: int) -> None:
    assert events_after(log_events(PLAIN, step)) == PLAIN


def test_a_log_grows_with_every_event() -> None:
    log, middle = EventLog(), PLAIN.index(b"\n\n", 5000) + 2
    log.add(PLAIN[:middle])
    assert events_after(log.close()) == PLAIN[:middle]
    log.add(PLAIN[middle:])
    assert events_after(log.close()) == PLAIN
    assert len(log.close()) < len(PLAIN) / 5
    assert events_after(EventLog().close()) == b""


def test_events_without_a_number_stay_with_the_event_before() -> None:
    first, odd = b'event: a\ndata: {"sequence_number":0}\n\n', b"event: b\ndata: nonsense\n\n"
    data = first + odd + first.replace(b"0", b"1")
    assert events_after(log_events(data, 2), 0) == first.replace(b"0", b"1")
    assert events_after(log_events(data, 1)) == data


@settings(max_examples=examples(150), deadline=None)
@given(st.binary(max_size=40) | st.integers(0, 2000).map(lambda size: LOG[:size]))
def test_a_damaged_log_is_an_error_or_nothing(log: bytes) -> None:
    found = b""
    with contextlib.suppress(ValueError):
        found = events_after(log, 3)
    assert found in PLAIN


def test_a_changed_byte_is_detected() -> None:
    for at in (0, 3, 4, 20, len(LOG) - 1):
        with pytest.raises(ValueError, match="log"):
            events_after(LOG[:at] + bytes([LOG[at] ^ 0x5A]) + LOG[at + 1 :])


def test_incompressible_events_are_kept_too() -> None:
    data = whole_stream(os.urandom(3000).hex(), 30)
    assert events_after(log_events(data, 7)) == data
