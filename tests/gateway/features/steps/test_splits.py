"""The released text of a stream is the same for every split, and no release has a part of a masked value:
https://github.com/elizaOS/eliza/issues/15348, https://github.com/BerriAI/litellm/issues/41611."""

import json
import random
import re
from collections.abc import Sequence
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.features.steps.commands.trying import TrialSession
from gateway.features.steps.loading import load_steps
from gateway.features.steps.stages import WindowStage
from gateway.streaming.released import RELEASED, ReleasedReader
from providers.apis import CODECS
from streams.events import AnswerEnd, BlockEnd, Event, ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStart
from tests.support import word_steps
from tests.support.each_row import each_row
from tests.support.examples import examples, places
from tests.support.growing_streams import chunk, wire
from tests.support.released_streams import release
from tests.support.step_files import step_config
from tests.support.upstreams import Script, ToolCall, converse_frame, render
from tests.support.upstreams import data as sse_event
from trigate.steps import Check, Finding, Passage

CODE: Final = """
import re
from trigate.steps import Finding

WORD = re.compile(r"falcon-[0-9]{2}")

async def words(check):
    return [Finding("word", one, *found.span()) for one in check.passages for found in WORD.finditer(one.text)]
"""
SECRET: Final = re.compile("falcon-[0-9]{2}")
PATTERNS: Final = {"patterns": {"word": "falcon-[0-9]+"}}
APIS: Final = tuple(CODECS)

texts = st.lists(
    st.sampled_from(("falcon-12", "falcon-", "a", " ", "falcon-1", "é", "[WORD_", "\n", "7", "word")), max_size=14
).map("".join)


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    listed: list[dict[str, Any]] = [
        {"use": "./steps.py:words", "name": "whole", "action": "mask", "hold": "whole"},
        {"use": "./steps.py:words", "name": "window", "action": "mask", "hold": 9},
        {"use": "./steps.py:words", "name": "wide", "action": "mask", "hold": 40},
        {"use": "./steps.py:words", "name": "gate", "action": "refuse", "hold": 9},
        {"use": "./steps.py:words", "name": "flow", "action": "refuse", "hold": "nothing"},
        {"use": "regex", "name": "tail", "action": "mask", "with": PATTERNS},
        {"use": "regex", "name": "tail-gate", "action": "refuse", "with": PATTERNS},
    ]
    rows = "".join(f"  - {json.dumps(one)}\n" for one in listed)
    return load_steps(step_config(folder, rows, CODE)).by_name


def release_all(step: Any, api: str, pieces: list[bytes]) -> list[bytes]:
    """Return each release of a stream."""
    found = release([step], api, pieces)
    assert found.refused is None
    return found.releases


def text_in(frames: list[bytes], kind: type) -> list[str]:
    """Return the text of each release."""
    return ["".join(event.text for event in events_in([frame]) if isinstance(event, kind)) for frame in frames]


def events_in(frames: list[bytes]) -> list[Event]:
    """Return the events of releases."""
    reader, splitter = ReleasedReader(), RELEASED.splitter(0)
    return [event for one in frames for raw in splitter.feed(one) for event in reader.read_event(*RELEASED.parse(raw))]


def join_texts(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def split(data: bytes, seed: int) -> list[bytes]:
    source, pieces = random.Random(seed), []
    while data:
        size = source.choice((1, 2, 7, 40, 200, len(data)))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def rendered(api: str, script: Script) -> bytes:
    request = {"stream": True, "model": "up", "stream_options": {"include_usage": True}}
    return b"".join(render(script, api, request).pieces)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", ["whole", "window", "wide"])
@settings(max_examples=examples(12))
@given(text=texts.filter(bool), seed=st.integers(0, 10**6))
def test_masks_do_not_depend_on_the_splits(steps, api, name, text, seed):
    step = steps[name]
    data = rendered(api, Script(text=text))
    found = text_in(release_all(step, api, split(data, seed)), TextDelta)
    whole = "".join(text_in(release_all(step, api, [data]), TextDelta))
    assert "".join(found) == whole
    assert SECRET.sub("#", text) == re.sub(r"\[WORD_[0-9a-f]{10,}\]", "#", whole)


def long_chat_stream(text: str, size: int) -> list[bytes]:
    """Return the events of a stream whose deltas have ``size`` characters."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [{"content": text[at : at + size]} for at in range(0, len(text), size)]
    events = [sse_event({**head, "choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    end = sse_event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return [*events, end, b"data: [DONE]\n\n"]


@pytest.mark.parametrize("size", [16, 5000, 100_000])
@pytest.mark.parametrize("name", ["window", "wide", "tail"])
def test_a_long_text_keeps_all_its_characters_however_much_arrives_together(steps, name, size):
    words = [f"word{number:05} " for number in range(2000)]
    for at in (3, 700, 1999):
        words[at] = "falcon-12 "
    events = long_chat_stream("".join(words), size)
    for pieces in (events, [b"".join(events)]):
        found = "".join(text_in(release_all(steps[name], "chat", pieces), TextDelta))
        assert re.sub(r"\[WORD_[0-9a-f]{10,}\]", "falcon-12", found) == "".join(words)
        assert "falcon" not in found


@pytest.mark.parametrize("size", [16, 5000, 100_000])
@pytest.mark.parametrize("name", ["gate", "tail-gate"])
def test_a_long_text_passes_a_gate_unchanged(steps, name, size):
    events = long_chat_stream("word " * 4000, size)
    for pieces in (events, [b"".join(events)]):
        assert b"".join(release_all(steps[name], "chat", pieces)) == b"".join(events)


@each_row("api", APIS)
def test_no_release_has_a_part_of_a_masked_value_at_any_split(steps, api):
    """The text is split into two events at each position, or into single bytes."""
    text = "before falcon-12 after"
    data = rendered(api, Script(text=text))
    for at in places(range(len(text)), 4):
        for part in text_in(release_all(steps["window"], api, [data[: at * 7 + 150], data[at * 7 + 150 :]]), TextDelta):
            assert "alcon" not in part
            assert "fal" not in part
    pieces = [data[i : i + 1] for i in range(len(data))]
    texts = text_in(release_all(steps["window"], api, pieces), TextDelta)
    assert re.fullmatch(r"before \[WORD_[0-9a-f]{10,}\] after", "".join(texts))
    assert not any("falc" in one or "12" in re.sub(r"\[WORD_\w+\]", "", one) for one in texts)


@each_row("api", APIS, every=3)
@each_row("name", ["whole", "window"])
def test_a_call_is_released_in_one_piece_with_its_masks(steps, api, name):
    calls = (ToolCall("call_1", "f", '{"city": "falcon-12 \\"x\\""}'), ToolCall("call_2", "g", "{}"))
    data = rendered(api, Script(thinking="about falcon-33", text="ok", calls=calls, stop="tool_calls"))
    for seed in range(6):
        frames = release_all(steps[name], api, split(data, seed))
        arguments = [one for one in text_in(frames, ToolCallDelta) if one]
        assert re.fullmatch(r'\{"city": ?"\[WORD_[0-9a-f]{10,}\] \\"x\\""\}(\{\})?', arguments[0])
        assert "falcon" not in "".join(text_in(frames, ReasoningDelta))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", ["gate", "tail-gate", "flow"])
@settings(max_examples=examples(12))
@given(text=texts.filter(lambda text: text and "falcon" not in text), seed=st.integers(0, 10**6))
def test_a_gate_releases_the_providers_own_bytes(steps, api, name, text, seed):
    data = rendered(api, Script(thinking="hm", text=text, calls=(ToolCall("call_1", "f", "{}"),), stop="tool_calls"))
    assert b"".join(release_all(steps[name], api, split(data, seed))) == data


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", ["gate", "tail-gate"])
@settings(max_examples=examples(12))
@given(seed=st.integers(0, 10**6))
def test_a_gate_releases_no_part_of_a_refused_value(steps, api, name, seed):
    data = rendered(api, Script(text="a text that begins well, and then there is falcon-12 in it"))
    found = release([steps[name]], api, split(data, seed))
    assert found.refused is not None
    assert b"falc" not in b"".join(found.releases)


END: Final = re.compile(rb'"(finish_?reason|stop_?reason)" ?: ?"|steal|"city|(response|interaction).completed', re.I)
"""An event that ends an answer, or that is a part of a tool call."""


@each_row("api", APIS)
@each_row("calls", [(ToolCall("call_1", "steal", '{"city": "falcon-12"}'),), ()])
def test_a_step_that_holds_nothing_holds_calls_and_the_end(steps, api, calls):
    """A client cannot act on an answer that is refused."""
    text = "a text that flows" + ("" if calls else " to falcon-12")
    data = rendered(api, Script(text=text, calls=calls, stop="tool_calls" if calls else "stop"))
    for pieces in ([data], *(split(data, seed) for seed in range(4)), [data[i : i + 1] for i in range(len(data))]):
        found = release([steps["flow"]], api, pieces)
        assert found.refused is not None
        assert END.search(b"".join(found.releases)) is None
        events = events_in(release([steps["flow"]], api, pieces, translates=True).releases)
        assert not any(isinstance(event, ToolCallStart | ToolCallDelta | AnswerEnd) for event in events)
    assert join_texts(events) == text


@each_row("hold", [9, "nothing"])
@each_row("length", [999, 1000, 1008, 2000])
def test_the_last_check_of_a_text_is_marked(tmp_path, hold, length):
    """The length may also be a multiple of the characters between two calls."""
    row = {"use": "tests.support.word_steps:words", "action": "refuse", "at": ["response"], "hold": hold}
    steps = load_steps(step_config(tmp_path, f"  - {json.dumps(row)}\n")).steps
    word_steps.seen.clear()
    release(steps, "chat", long_chat_stream("x" * length, 100))
    assert [check.is_last for check in word_steps.seen] == [*[False] * (len(word_steps.seen) - 1), True]
    assert word_steps.seen[-1].passages[0].text.endswith("x")


CALL: Final = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "rm", "arguments": ""}}]}
KINDS: Final = {
    "at once": {},
    "whole": {"hold": "whole"},
    "window": {"hold": 9},
    "nothing": {"hold": "nothing"},
    "report": {"action": "report"},
}


@each_row("kind", KINDS)
def test_a_step_sees_a_call_without_arguments(tmp_path, kind):
    """https://github.com/BerriAI/litellm/issues/35999"""
    row = {"use": "tools", "with": {"deny": ["rm"]}, "at": ["response"], **KINDS[kind]}
    steps = load_steps(step_config(tmp_path, f"  - {json.dumps(row)}\n")).steps
    events = [chunk(CALL), chunk({}, "tool_calls")]
    found = release(steps, "chat", [wire("chat", [event]) for event in events])
    assert [dict(record.labels) for record in found.records] == [{"tool": 1}]
    assert (found.refused is None) == (kind == "report")


def gemini_event(part: dict[str, Any]) -> tuple[str, list[bytes]]:
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    return "gemini", [sse_event({"candidates": [candidate], "modelVersion": "m", "responseId": "r"})]


CITATION: Final = {"title": "t", "location": {"web": {"url": "https://falcon-12.test", "domain": "a.test"}}}
ONCE: Final = {
    "code": gemini_event({"executableCode": {"language": "PYTHON", "code": "falcon-12"}}),
    "result": gemini_event({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "falcon-12"}}),
    "call": gemini_event({"toolCall": {"toolType": "X", "id": "1", "args": {"queries": ["falcon-12"]}}}),
    "response": gemini_event({"toolResponse": {"toolType": "X", "id": "1", "response": {"a": "falcon-12"}}}),
    "url": (
        "converse",
        [
            converse_frame("messageStart", {"role": "assistant"}),
            converse_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "cited"}}),
            converse_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"citation": CITATION}}),
            converse_frame("contentBlockStop", {"contentBlockIndex": 0}),
            converse_frame("messageStop", {"stopReason": "end_turn"}),
        ],
    ),
}
"""Streams with a string that the reader reports in several events or members."""


@each_row("name", ONCE)
@each_row("action", ["mask", "report"])
def test_a_string_is_one_passage_and_masked_wherever_it_is(tmp_path, name, action):
    row = {"use": "tests.support.word_steps:words", "action": action, "at": ["response"]}
    steps = load_steps(step_config(tmp_path, f"  - {json.dumps(row)}\n")).steps
    word_steps.seen.clear()
    found = release(steps, *ONCE[name])
    texts = [one.text for check in word_steps.seen for one in check.passages]
    assert sum("falcon-12" in text for text in texts) == 1
    assert (b"falcon-12" in b"".join(found.releases)) == (action == "report")


# A service that holds text back

GUARDED: Final = "some words before falcon with a name longer than the window! and words after it"
VALUE: Final = re.compile(r"falcon[^!]*!")


@attrs.define
class Guard:
    """A service that masks a value, and holds back its beginning."""

    sees_text_so_far: bool = True
    lengths: list[int] = attrs.field(factory=list)

    def held_back(self, passage: Passage) -> int:
        at = passage.text.find("falcon")
        return 0 if at < 0 or VALUE.search(passage.text) else len(passage.text) - at

    async def __call__(self, check: Check) -> list[Finding]:
        (passage,) = check.passages
        assert GUARDED.startswith(passage.text)
        self.lengths.append(len(passage.text))
        return [Finding("masked", passage, *found.span(), "<BIRD>", "mask") for found in VALUE.finditer(passage.text)]


@pytest.mark.parametrize("size", [4, 8, 16])
async def test_a_service_that_holds_text_back_releases_the_same_text_at_every_split(tmp_path, size):
    (loaded,) = load_steps(step_config(tmp_path, "  - {use: http, at: [response], with: {url: 'http://a'}}\n")).steps
    guard = Guard()
    step = attrs.evolve(loaded, hold=size, state=attrs.evolve(loaded.state, resource=None), function=guard)
    session = TrialSession(Check("response", ()))
    for first in range(len(GUARDED)):
        for second in (first, (first + len(GUARDED)) // 2, len(GUARDED)):
            guard.lengths.clear()
            stage = WindowStage(step, session)
            released = []
            for piece in (GUARDED[:first], GUARDED[first:second], GUARDED[second:]):
                released += await stage.feed([TextDelta(0, piece)] if piece else [])
                assert "falcon" not in join_texts(released)
            released += await stage.feed([BlockEnd(0), AnswerEnd("stop")])
            assert join_texts(released) == "some words before <BIRD> and words after it"
            assert guard.lengths == [
                *range(size, len(GUARDED) + 1, size),
                *([len(GUARDED)] if len(GUARDED) % size else []),
            ]
