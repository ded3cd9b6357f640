"""Every string of a provider's response is reported by its reader, found as unread, or on the list of exemptions."""

import functools
import json
import time
from collections.abc import Iterator
from typing import Any, Final

import anthropic.types.beta
import botocore.session
import google.genai.types
import openai.types
import openai.types.audio
import openai.types.chat
import openai.types.responses
import pytest
from google.genai.interactions import InteractionSSEEventTypedDict, InteractionTypedDict

from gateway.features.steps.commands.listing import exempt_answer_paths
from gateway.features.steps.response_texts import UnreadTexts, item_strings, reported_strings, response_texts
from gateway.features.steps.tables.gemini import camel_case
from providers.apis import CODECS
from streams.events import ErrorInfo, TextDelta
from tests.support.each_row import each_row
from tests.support.gemini_fields import wire_type
from tests.support.recordings import ABSENT, CORPUS, recordings
from tests.support.sdk_strings import MARKER, plant, plant_in_shape, plant_in_value

TYPES: Final[dict[str, tuple[str, Any]]] = {
    "chat": ("chat", openai.types.chat.ChatCompletion),
    "chat chunk": ("chat", openai.types.chat.ChatCompletionChunk),
    "messages": ("messages", anthropic.types.beta.BetaMessage),
    "messages event": ("messages", anthropic.types.beta.BetaRawMessageStreamEvent),
    "responses": ("responses", openai.types.responses.Response),
    "responses event": ("responses", openai.types.responses.ResponseStreamEvent),
    "compaction": ("responses", openai.types.responses.CompactedResponse),
    "completions": ("completions", openai.types.Completion),
    "gemini": ("gemini", wire_type(google.genai.types.GenerateContentResponseDict)),
    "interactions": ("interactions", InteractionTypedDict),
    "images": ("image_generations", openai.types.ImagesResponse),
    "moderations": ("moderations", openai.types.ModerationCreateResponse),
    "transcriptions": ("transcriptions", openai.types.audio.TranscriptionVerbose),
    "transcription event": ("transcriptions", openai.types.audio.TranscriptionStreamEvent),
    "embeddings": ("embeddings", openai.types.CreateEmbeddingResponse),
}
FULL: Final = ("chat chunk", "messages", "gemini", "compaction", "transcriptions")
"""The types whose objects also have all their members around a string, in the gate."""


WITHIN: Final = ("responses event",)
"""The types with the strings of another one in each event, which only the soak reads."""


@functools.cache
def _exempt_paths(api: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the exempt paths, and the beginnings of those that are exempt with everything below."""
    exempt = exempt_answer_paths(api)
    return frozenset(exempt), tuple(one[:-2] for one in exempt if one.endswith(".*"))


def is_exempt(api: str, path: str) -> bool:
    """Return whether ``path`` is on the list, or below a path that ends with ``.*``."""
    exact, beginnings = _exempt_paths(api)
    return path in exact or path.startswith(beginnings)


def find_unseen(api: str, strings: Iterator[tuple[str, Any]]) -> tuple[list[str], int]:
    """Return the strings that would reach a client unseen if no reader reported them; and the number of all."""
    wrong, count = [], 0
    for path, body in strings:
        count += 1
        name = path.removeprefix(".")
        found = sum(one.text.count(MARKER) for one in response_texts(api, json.dumps(body).encode()))
        if found > 1 or (not found and not is_exempt(api, name)):
            wrong.append(f"{name} in {json.dumps(body)}")
    return wrong, count


@pytest.mark.parametrize(
    ("name", "full"),
    [
        pytest.param(name, full, marks=() if full is (name in FULL) and name not in WITHIN else pytest.mark.soak)
        for name in TYPES
        for full in (False, True)
    ],
)
def test_every_string_of_an_sdk_is_found_or_exempt(name: str, full: bool) -> None:
    """``full``: the objects around a string have all their members."""
    api, kind = TYPES[name]
    wrong, count = find_unseen(api, plant(kind, full=full))

    assert wrong == []
    assert count


@pytest.mark.parametrize("operation", ["Converse", "ConverseStream"])
def test_every_string_of_botocores_model_is_found_or_exempt(operation: str) -> None:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    shape = model.operation_model(operation).output_shape
    shapes = [shape]
    if operation == "ConverseStream":
        events = shape.members["stream"].members
        shapes = [event for name, event in events.items() if not name.endswith("Exception")]
    for one in shapes:
        assert find_unseen("converse", plant_in_shape(one))[0] == []


_HEAD: Final = {"id": "v1_a", "object": "interaction", "model": "m", "status": "completed"}
_NEW: Final = {"type": "a_new_kind", "k": MARKER}
_NEW_EVENTS: Final = (
    (".k", {"event_type": "step.start", "index": 1, "step": _NEW}),
    (".k", {"event_type": "step.delta", "index": 1, "delta": _NEW}),
)


def interactions_streams() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Yield the path of each string in the SDK's types of events, and a stream with the marker there."""

    def event(kind: str, **members: Any) -> tuple[str, Any]:
        return kind, {"event_type": kind, **members}

    created = event("interaction.created", interaction={**_HEAD, "status": "in_progress"})
    completed, step = event("interaction.completed", interaction=_HEAD), {"type": "model_output"}
    for path, value in (*plant(InteractionSSEEventTypedDict), *_NEW_EVENTS):
        planted = value["event_type"], value
        match value["event_type"]:
            case "interaction.completed":
                value["interaction"]["status"] = "completed"
                yield path, [created, planted]
            case "step.start":
                yield path, [created, planted, event("step.stop", index=1), completed]
            case "step.delta":
                begin = event("step.start", index=1, step=step)
                yield path, [created, begin, planted, event("step.stop", index=1), completed]
            case _:
                yield path, [planted, completed]


def test_every_string_of_an_interactions_stream_is_shown_or_exempt() -> None:
    wrong, count = [], 0
    for path, stream in interactions_streams():
        if not is_exempt("interactions", path.removeprefix(".")):
            count += 1
            if not shows_marker("interactions", stream):
                wrong.append(f"{path} in {json.dumps(stream)[:500]}")

    assert wrong == []
    assert count > 1000


FOLDERS: Final = {
    "chat": "openai_chat", "messages": "anthropic_messages", "responses": "openai_responses", "gemini": "gemini",
    "converse": "bedrock_converse",
}  # fmt: skip


def recorded_streams(api: str) -> list[list[tuple[str, Any]]]:
    """Return the events of each recorded stream of ``api``, with decoded data, except those without JSON."""
    own = [one.body for one in recordings() if one.own and one.api == api and one.streamed and one.status == 200]
    folder = CORPUS / FOLDERS[api]
    files = sorted((*folder.glob("*.response.sse"), *folder.glob("*.response.eventstream")))
    found = []
    for stream in (*own, *(file.read_bytes() for file in files)):
        events = CODECS[api].wire.framing.parse_all(stream)
        found.append([(name, json.loads(data)) for name, data in events if data[:1] == b"{"])
    return found


def shows_marker(api: str, stream: list[tuple[str, Any]]) -> bool:
    """Return whether steps see the marker in a stream, unless it fails before."""
    reader, unread = CODECS[api].reader(), UnreadTexts(api)
    for name, value in stream:
        data = json.dumps(value).encode()
        events = reader.read_event(name, data)
        shown = (*reported_strings(events), *(one.text for one in unread.find(data, events)))
        if any(isinstance(event, ErrorInfo) for event in events) or any(MARKER in one for one in shown):
            return True
    return any(MARKER in one for one in reported_strings(reader.close()))


@pytest.mark.parametrize("api", FOLDERS)
def test_every_string_of_recorded_streams_is_shown_or_exempt(api: str) -> None:
    """For each path in all streams, the reader reports one string, or finds it as unread."""
    streams = recorded_streams(api)
    if not streams:
        pytest.skip(ABSENT)
    seen, wrong = set(), []
    for stream in sorted(streams, key=len):  # most paths are in short streams
        for index, (name, value) in enumerate(stream):
            for path, changed in plant_in_value(value):
                at = (camel_case(path) if api == "gemini" else path).removeprefix(".")
                kind = value.get("type", name), at, str(value.get("delta"))[:12]
                if kind in seen or is_exempt(api, at):
                    continue
                seen.add(kind)
                if not shows_marker(api, [*stream[:index], (name, changed), *stream[index + 1 :]]):
                    wrong.append(f"{kind} in {json.dumps(changed)[:500]}")

    assert wrong == []
    assert len(seen) >= 5


@pytest.mark.parametrize("api", FOLDERS)
def test_texts_of_recorded_streams_are_shown_once(api: str) -> None:
    """What the reader reports is not shown again as unread, also where later events repeat it."""
    streams = recorded_streams(api)
    if not streams:
        pytest.skip(ABSENT)
    for stream in streams:
        reader, unread = CODECS[api].reader(), UnreadTexts(api)
        for name, value in stream:
            data = json.dumps(value).encode()
            events = reader.read_event(name, data)
            texts = {event.text for event in events if isinstance(event, TextDelta) and len(event.text) > 20}
            assert [one.text for one in unread.find(data, events) if one.text in texts] == []


def chunk(text: str, **more: Any) -> bytes:
    return json.dumps({"id": "1", "choices": [{"index": 0, "delta": {"content": text}}], **more}).encode()


def test_an_event_like_earlier_ones_is_clean_only_without_new_strings() -> None:
    unread = UnreadTexts("chat")
    for text in ("a", "b", 'it\'s 5 \u00e9 "quoted"\n'):
        assert unread.find(chunk(text), [TextDelta(0, text)]) == []

    assert [one.text for one in unread.find(chunk("c", note="new"), [TextDelta(0, "c")])] == ["note", "new"]
    assert unread.find(chunk("e", note="new"), [TextDelta(0, "e")]) == []
    assert [one.text for one in unread.find(chunk("e", note="4111"), [TextDelta(0, "e")])] == ["4111"]
    assert [one.text for one in unread.find(chunk("e", note="4112"), [TextDelta(0, "e")])] == ["4112"]
    assert [one.text for one in unread.find(chunk("secret"), [])] == ["secret"]


def test_the_pieces_of_an_unknown_stream_are_shown_together() -> None:
    unread = UnreadTexts("chat")
    pieces = [json.dumps({"choices": [{"delta": {"thought": piece}}]}).encode() for piece in ("sk-", "ab", "ab")]

    shown = [[one for one in unread.find(piece, []) if one.text != "thought"][-1] for piece in pieces]

    assert [(one.text, one.released_length) for one in shown] == [("sk-", 0), ("sk-ab", 3), ("sk-abab", 5)]


def test_a_repeated_text_that_differs_is_shown() -> None:
    """The last events of a Responses stream repeat the text, and some clients show only that."""
    unread = UnreadTexts("responses")
    delta = {"type": "response.output_text.delta", "item_id": "1", "delta": "fine"}
    unread.find(json.dumps(delta).encode(), [TextDelta(0, "fine")])

    done = {"type": "response.output_text.done", "item_id": "1", "text": "fine"}
    assert unread.find(json.dumps(done).encode(), []) == []
    other = json.dumps(done | {"text": "a secret"}).encode()
    assert [one.text for one in unread.find(other, [])] == ["a secret"]


def test_every_choice_is_found() -> None:
    """The reader of a stream follows one choice."""
    body = json.dumps({"choices": [{"index": i, "message": {"content": f"text {i}"}} for i in range(3)]}).encode()

    assert [one.text for one in UnreadTexts("chat").find(body, [TextDelta(0, "text 0")])] == ["text 1", "text 2"]


def test_data_that_is_no_json_is_text() -> None:
    assert [one.text for one in response_texts("chat", b"not JSON")] == ["not JSON"]
    assert response_texts("chat", b"[DONE]") == []
    assert [one.text for one in response_texts("chat", b"[" * 100_000)] == ["[" * 100_000]


def test_duplicate_members_are_found() -> None:
    body = b'{"choices": [{"message": {"content": "a"}}], "choices": [{"message": {"content": "b"}}]}'

    assert [one.text for one in response_texts("chat", body)] == ["a", "b"]


def test_a_large_response_takes_seconds_at_most() -> None:
    """25,000 strings that are not in the text."""
    body = json.dumps({"vendor": [f"string {i}" for i in range(25_000)]}).encode()
    unread = UnreadTexts("chat")
    unread.find(chunk("x" * 2**20), [TextDelta(0, "x" * 2**20)])
    started = time.process_time()

    assert len(unread.find(body, [])) == 25_001
    assert time.process_time() - started < 10


def test_the_strings_of_an_item_that_is_reported_whole_are_text() -> None:
    """A document that a server's tool fetched has its text in ``data``, as pictures have base64."""
    source = {"type": "text", "media_type": "text/plain", "data": "secret"}
    document = {"type": "document", "source": source, "title": "a title"}
    content = {"type": "web_fetch_result", "url": "https://example.com", "content": document}
    block = {"type": "web_fetch_tool_result", "tool_use_id": "1", "content": content}

    assert [one.text for one in item_strings("messages", block)] == ["https://example.com", "secret", "a title"]
    assert [one.keys[-1] for one in item_strings("messages", block)] == ["url", "data", "title"]


@each_row("value", ["4111111111111111", "abc", "1"])
@each_row("member", ["transcript", "id2"])
def test_a_string_is_found_in_an_event_of_a_known_form(member: str, value: str) -> None:
    """An event whose strings are empty is known. The same event with a string, digits included, is another one, in this
    response and in others."""

    def event(text: str) -> bytes:
        choice = {"index": 0, "delta": {"audio": {"transcript": "", member: text}}, "finish_reason": None}
        return json.dumps({"id": "c1", "object": "chat.completion.chunk", "choices": [choice]}).encode()

    unread = UnreadTexts("chat")
    unread.find(event(""), ())
    unread.find(event(""), ())
    for texts in (unread, UnreadTexts("chat")):
        assert value in [one.text for one in texts.find(event(value), ())]


def test_an_id_of_another_response_is_no_new_form() -> None:
    for number in range(3):
        event = {"id": f"chatcmpl-{'abc'[number]}", "object": "chat.completion.chunk", "model": "m", "choices": []}
        assert UnreadTexts("chat").find(json.dumps(event).encode(), ()) == []
