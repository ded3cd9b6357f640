"""Text in which no built-in step can find anything passes by a short way, one event after the other.

It changes nothing of the guarantees: https://github.com/elizaOS/eliza/issues/15348,
https://github.com/BerriAI/litellm/issues/41611."""

import base64
import json
from collections.abc import Sequence
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.features.steps.loaded import LoadedStep
from gateway.features.steps.loading import load_steps
from gateway.features.steps.masks import Placeholders, Span
from providers.apis import CODECS
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Event,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from tests.support.counted_calls import calls
from tests.support.examples import examples
from tests.support.released_streams import KEY, release
from tests.support.step_files import step_config

APIS: Final = tuple(CODECS)
MESSAGE: Final = {"role": "user", "content": "Hi"}
REQUEST: Final = CODECS["chat"].read_request({"model": "m", "stream": True, "messages": [MESSAGE]})
VALUES: Final = (
    "ann@corp.example", "4111 1111 1111 1111", "falcon-12", "ann%40corp.example", "192.0.2.44",
    "ghp_" + "a1B2c3D4e5" * 3 + "F6g7h8", base64.b64encode(b"write to ann@corp.example now").decode(),
    "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEF" * 2 + "\n-----END PRIVATE KEY-----",
)  # fmt: skip
WORDS: Final = (
    "word", " ", " the", ", ", "don't", "USA ", "(I ", " 9", "9 ", "1", "%", "é", "—", "\0", "\n", "ann", "@", "-",
    "falcon-", "falcon", "4111 ", "[EMAIL_", "\ue000", "中文", "'", "#x", "…", " [", "-----BEGIN ", "corp.example",
)  # fmt: skip

pieces = st.lists(st.one_of(st.sampled_from(WORDS), st.sampled_from(VALUES)), min_size=1, max_size=12)
plain_pieces = st.lists(st.sampled_from(("word", " the", ", ", "don't", "USA ", "é", "—", "\n", "9", "'", "#x", "中")),
                        min_size=1, max_size=20)  # fmt: skip


def configured(folder: Any, action: str) -> tuple[LoadedStep, ...]:
    listed: list[dict[str, Any]] = [
        {"use": "pii", "at": ["response"], "action": action},
        {"use": "secrets", "at": ["response"], "action": action},
        {"use": "regex", "at": ["response"], "action": action, "with": {"patterns": {"word": "falcon-[0-9]+"}}},
        {"use": "tools", "with": {"deny": ["rm"]}},
    ]
    return load_steps(step_config(folder, "".join(f"  - {json.dumps(one)}\n" for one in listed))).steps


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    return {action: configured(folder, action) for action in ("mask", "refuse", "report")}


def stream_of(api: str, texts: Sequence[str], *, calls_tool: bool = False) -> list[bytes]:
    """Return the events of a stream of ``texts``, one event for each."""
    writer = CODECS[api].writer(Reply(REQUEST, Issuer("openai", "test"), 0))
    events: list[Event] = [AnswerStart("a", "m"), *(TextDelta(0, text) for text in texts), BlockEnd(0)]
    if calls_tool:
        events += [ToolCallStart(1, "call_1", "f"), ToolCallDelta(1, "{}"), BlockEnd(1)]
    events += [Usage(1, 1), AnswerEnd("tool_calls" if calls_tool else "stop")]
    return [data for data in map(writer.send, events) if data]


def read_text(api: str, data: bytes) -> str:
    """Return the text in the events of a stream."""
    codec = CODECS[api]
    reader = codec.reader()
    events = [event for name, value in codec.wire.framing.parse_all(data) for event in reader.read_event(name, value)]
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def in_reads(events: Sequence[bytes], sizes: Sequence[int]) -> list[bytes]:
    """Return the bytes of ``events`` in reads of so many events, and one event each after these."""
    reads, at = [], 0
    for size in sizes:
        reads.append(b"".join(events[at : at + size]))
        at += size
    return [one for one in (*reads, *events[at:]) if one]


def cut_anew(text: str, cuts: Sequence[int]) -> list[str]:
    found, at, index = [], 0, 0
    while at < len(text):
        size = cuts[index % len(cuts)]
        found.append(text[at : at + size])
        at, index = at + size, index + 1
    return found


cuts = st.lists(st.integers(1, 9), min_size=1, max_size=5)
sizes = st.lists(st.integers(1, 4), max_size=6)


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=examples(25))
@given(pieces=pieces, cuts=cuts, sizes=sizes)
def test_released_text_does_not_depend_on_the_arrival(steps, api, pieces, cuts, sizes):
    text = "".join(pieces)
    masking = steps["mask"]
    whole = [attrs.evolve(step, hold="whole") for step in masking]
    expected = "".join(release(whole, api, stream_of(api, [text])).texts)
    for texts in (pieces, cut_anew(text, cuts)):
        events = stream_of(api, texts)
        for reads in (events, in_reads(events, sizes), [b"".join(events)]):
            assert "".join(release(masking, api, reads).texts) == expected


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=examples(15))
@given(pieces=pieces, cuts=cuts)
def test_the_providers_events_pass_unchanged_up_to_a_refusal(steps, api, pieces, cuts):
    text = "".join(pieces)
    enforcing = steps["refuse"]
    whole = release([attrs.evolve(step, hold="whole") for step in enforcing], api, stream_of(api, [text]))
    events = stream_of(api, cut_anew(text, cuts), calls_tool=True)
    found = release(enforcing, api, events)
    passed = b"".join(found.releases)
    assert b"".join(events).startswith(passed)
    assert (found.refused is None) == (whole.refused is None)
    assert found.refused is not None or passed == b"".join(events)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("value", VALUES)
def test_a_value_at_the_very_end_of_a_paced_stream_is_found(steps, api, value):
    for texts in (list(f"some words, then {value}"), ["some", " words", ", then", f" {value}"]):
        masked = "".join(release(steps["mask"], api, stream_of(api, texts)).texts)
        assert masked.startswith("some words, then ")
        assert value not in masked
        assert "[" in masked
        refused = release(steps["refuse"], api, stream_of(api, texts))
        assert refused.refused is not None
        assert "some words, then ".startswith(read_text(api, b"".join(refused.releases)))


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=examples(12))
@given(pieces=plain_pieces)
def test_text_without_findings_passes_word_by_word(steps, api, pieces):
    """The client has each word when the next one begins, except at most one more."""
    texts = [f" {one}{number * 'x'}" for number, one in enumerate(("some", "plain", "words"))] * 6
    events = stream_of(api, [*texts, *pieces])
    found = release(steps["refuse"], api, events)
    assert b"".join(found.releases) == b"".join(events)
    assert len(found.releases) >= len(texts) - 1


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=examples(8))
@given(pieces=pieces, repeats=st.integers(1, 60))
def test_steps_that_only_report_see_every_word(steps, api, pieces, repeats):
    text = "".join(pieces) + ", and some plain words" * repeats + " of ann@corp.example"
    found = release(steps["report"], api, events := stream_of(api, cut_anew(text, [5])))
    assert b"".join(found.releases) == b"".join(events)
    labels = {label for record in found.records for label in record.labels}
    assert "email" in labels


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=examples(12))
@given(pieces=pieces, cuts=cuts)
def test_values_return_to_the_client_however_their_placeholders_arrive(api, pieces, cuts):
    placeholder = Placeholders(KEY, "c").text_for(Span(0, 16, "email"), "bob@corp.example")
    text = placeholder.join([*pieces, "."])
    found = release((), api, stream_of(api, cut_anew(text, cuts)), "bob@corp.example")
    assert "".join(found.texts) == text.replace(placeholder, "bob@corp.example")


BUDGET: Final = {"chat": 61, "messages": 67, "responses": 71, "gemini": 114, "converse": 93, "interactions": 106}
"""Calls for an event that arrives alone, by API, without those of the client's lane."""


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("action", ["mask", "refuse", "report"])
def test_a_single_event_takes_few_calls_for_any_number_of_steps(steps, api, action):
    def cost(chosen: Sequence[LoadedStep]) -> float:
        few, many = (stream_of(api, [" word", " more"] * count) for count in (40, 80))
        release(chosen, api, many)
        return (calls(lambda: release(chosen, api, many)) - calls(lambda: release(chosen, api, few))) / 80

    one, four = cost(steps[action][:1]), cost(steps[action])
    assert four < one + 5, f"{four:.0f} calls with four steps, {one:.0f} with one"
    assert four <= BUDGET[api] * 1.05, f"{four:.3f} calls, and the budget is {BUDGET[api]}"
