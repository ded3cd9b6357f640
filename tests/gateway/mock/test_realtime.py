"""Realtime sessions of the stand-in: every event has the type of OpenAI's SDK, and items have their content."""

import json
from typing import Any

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from gateway.mock.realtime import MockSession
from tests.support.each_row import each_row

EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
CREATE_ITEM = {
    "type": "conversation.item.create",
    "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
}


def events(session: MockSession, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events that answer ``messages``, each checked against its type."""
    answers = [session.created_event()]
    for message in messages:
        answers += session.take(json.dumps(message))
    decoded = [json.loads(answer) for answer in answers]
    for event in decoded:
        assert EVENT.validate_python(event, strict=True).type == event["type"]
    return decoded


@pytest.mark.parametrize(("modality", "member"), [("text", "text"), ("audio", "transcript")])
def test_an_answer_is_one_item_from_its_start_to_its_content(modality, member):
    create = {"type": "response.create", "response": {"output_modalities": [modality]}}
    answer = events(MockSession("m"), CREATE_ITEM, create)[3:]
    kinds = [event["type"] for event in answer if not event["type"].endswith(".delta")]
    spoken = ["response.output_audio.done"] if modality == "audio" else []
    text = "output_audio_transcript" if modality == "audio" else "output_text"
    assert kinds == [
        "response.created", "response.output_item.added", "conversation.item.added", "response.content_part.added",
        *spoken, f"response.{text}.done", "response.content_part.done", "response.output_item.done",
        "conversation.item.done", "response.done",
    ]  # fmt: skip
    by_kind = {event["type"]: event for event in answer}
    assert by_kind["response.output_item.added"]["item"]["content"] == []
    whole = "".join(event["delta"] for event in answer if event["type"] == f"response.{text}.delta")
    assert by_kind["response.content_part.done"]["part"] == {"type": modality, member: whole}
    (item,) = by_kind["response.done"]["response"]["output"]
    assert (item["status"], item["content"]) == ("completed", [{"type": f"output_{modality}", member: whole}])
    assert item == by_kind["response.output_item.done"]["item"] == by_kind["conversation.item.done"]["item"]


def test_committed_audio_becomes_an_item_of_the_conversation():
    committed, added, done = events(MockSession("m"), {"type": "input_audio_buffer.commit"})[1:]
    assert (committed["type"], added["type"], done["type"]) == (
        "input_audio_buffer.committed", "conversation.item.added", "conversation.item.done",
    )  # fmt: skip
    assert committed["item_id"] == added["item"]["id"] == done["item"]["id"]
    assert [part["type"] for part in added["item"]["content"]] == ["input_audio"]


def test_cleared_audio_is_reported():
    assert [event["type"] for event in events(MockSession("m"), {"type": "input_audio_buffer.clear"})[1:]] == [
        "input_audio_buffer.cleared"
    ]


@each_row(
    ("message", "param"),
    [
        ({"type": "session.update", "session": 5}, "session"),
        ({"type": "session.update", "session": {"output_modalities": "text"}}, "session.output_modalities"),
        ({"type": "session.update"}, "session"),
        ({"type": "conversation.item.create", "item": [1]}, "item"),
        ({"type": "conversation.item.create"}, "item"),
        ({"type": "response.create", "response": "x"}, "response"),
        ({"type": "input_audio_buffer.append"}, "audio"),
        ({"type": "input_audio_buffer.append", "audio": 5}, "audio"),
        ({"type": 5}, "type"),
        ({"type": "response.make"}, "type"),
        ({}, "type"),
        (["no event"], "the event"),
    ],
)
def test_members_of_wrong_types_are_an_error_event(message, param):
    session = MockSession("m")
    (error,) = events(session, {**message, "event_id": "mine"} if isinstance(message, dict) else message)[1:]
    assert (error["type"], error["error"]["type"], error["error"]["param"]) == ("error", "invalid_request_error", param)
    assert error["error"].get("event_id") == ("mine" if isinstance(message, dict) else None)
    assert events(session, {"type": "response.create"})[-1]["type"] == "response.done"


def test_an_item_follows_the_previous_one():
    added = [event for event in events(MockSession("m"), CREATE_ITEM, CREATE_ITEM, {"type": "response.create"})
             if event["type"] == "conversation.item.added"]  # fmt: skip
    ids = [event["item"]["id"] for event in added]
    assert [event["previous_item_id"] for event in added] == [None, *ids[:2]]


def test_a_cancellation_without_a_response_is_an_error_event():
    assert events(MockSession("m"), {"type": "response.cancel"})[-1]["error"]["code"] == "response_cancel_not_active"
