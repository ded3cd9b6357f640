"""Odd events in any order, odd members of whole answers, and any bytes: no reader raises, and answers end in order."""

import contextlib
import copy
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.apis import CODECS
from streams.errors import GatewayError
from streams.events import AnswerEnd, ErrorInfo, ToolCallStart
from streams.fold import fold
from tests.support import lanes
from tests.support.examples import examples
from tests.support.full_answers import full_answers
from tests.support.grammar_changes import places, set_value
from tests.support.growing_streams import STREAMS, StreamEvent, wire
from tests.support.provider_streams import check_order, read_pieces
from tests.support.scripts import Script, ToolCall
from tests.support.upstreams import ANSWERS

CONVERSE: list[StreamEvent] = [
    *(("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}) for delta in (
        {"text": ""}, {"toolResult": [{"text": "x"}]}, {"toolResult": {"content": 1}}, {"image": {"source": {}}},
        {"image": {"source": {"bytes": "AA=="}}}, {"image": {"source": {"bytes": "é"}}},
    )),
    *(("contentBlockStart", {"contentBlockIndex": 0, "start": begun}) for begun in (
        {"toolResult": {"toolUseId": "a"}}, {"toolResult": {"content": "x"}}, {"image": {"format": "png"}},
    )),
]  # fmt: skip
"""Events that ``STREAMS`` lacks: results and images."""
WORDS = st.sampled_from(
    ("", "a", "text", "stop", "STOP", "$.a", "AA==", "message", "reasoning", "function_call", "error")
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
every_api = pytest.mark.parametrize("api", CODECS)


@cache
def events_of(api: str) -> list[StreamEvent]:
    """Return events of every kind, of blocks with several numbers."""
    found = [event for make in STREAMS[api].values() for event in make(3)]
    return [*{json.dumps(event): event for event in found}.values(), *(CONVERSE if api == "converse" else ())]


def change_value(draw: Callable[[Any], Any], value: Any) -> Any:
    """Return ``value`` with up to two odd members."""
    for _ in range(draw(st.integers(0, 2))):
        if paths := places(value):
            value = set_value(*draw(st.sampled_from(paths)), draw(JUNK))(copy.deepcopy(value))
    return value


@every_api
@given(data=st.data(), content_limit=st.sampled_from((0, 2**20)))
@settings(max_examples=examples(150), deadline=None)
def test_no_events_make_a_reader_raise_or_break_its_order(api, data, content_limit):
    """A reader that holds no content does not put overlapping blocks in order, except for Converse."""
    reader = CODECS[api].reader(content_limit)
    events = []
    for name, value in data.draw(st.lists(st.sampled_from(events_of(api)), max_size=12)):
        events += reader.read_event(name, json.dumps(change_value(data.draw, value)).encode())
    events += reader.close()
    if content_limit or api == "converse":
        check_order(events)
    assert isinstance(events[-1], AnswerEnd | ErrorInfo)
    if isinstance(events[-1], AnswerEnd):
        fold(events)


@every_api
@pytest.mark.parametrize("given_id", ["", "same"])
def test_each_call_gets_an_id_of_its_own(api, given_id):
    """Results are paired with their calls by it (huggingface/smolagents#1958, praxis-proxy/ai#1000)."""
    script = Script(calls=(ToolCall(given_id, "f", '{"a":1}'),) * 2, stop="tool_calls")
    whole = CODECS[api].read_answer(json.dumps(ANSWERS[api](script, "m")).encode())
    for events in (read_pieces(CODECS[api], lanes.events_of(api, script)), whole):
        first, second = [event.id for event in events if isinstance(event, ToolCallStart)]
        assert first
        assert second not in ("", first)


@every_api
@given(data=st.data())
@settings(max_examples=examples(100), deadline=None)
def test_odd_members_of_a_whole_answer_are_read_or_refused(api, data):
    body = json.dumps(change_value(data.draw, full_answers()[api])).encode()
    for checked in (True, False):
        with contextlib.suppress(GatewayError):
            check_order(list(CODECS[api].read_answer(body, checked=checked)))


@pytest.mark.parametrize("api", [api for api in CODECS if api != "converse"])
@given(data=st.data())
@settings(max_examples=examples(100), deadline=None)
def test_no_bytes_make_a_reader_raise(api, data):
    """Frames of Converse have checksums."""
    whole = st.sampled_from(events_of(api)).map(lambda event: wire(api, [event]))
    check_order(read_pieces(CODECS[api], data.draw(st.lists(st.binary(max_size=30) | whole, max_size=8))))
