"""Realtime sessions of the stand-in, which introduces itself in text and tone whatever it hears."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from gateway.mock import words
from gateway.mock.media import tone
from providers.neutral.codec import new_id
from streams.surrogates import NOT_JSON

PATH: Final = "/v1/realtime"
_AUDIO_BYTES: Final = 8192  # bytes of audio per event
_SOUND_TOKENS: Final = 20


class MockSession:
    """One session: client events in, stand-in events out."""

    def __init__(self, model: str) -> None:
        self._session: dict[str, Any] = {
            "type": "realtime", "object": "realtime.session", "id": new_id("sess_"), "model": model,
            "output_modalities": ["audio"],
        }  # fmt: skip

    def created_event(self) -> str:
        return _event("session.created", session=self._session)

    def take(self, message: bytes | str) -> Iterator[str]:
        """Yield the events that answer ``message``."""
        try:
            event = msgspec.json.decode(message)
            kind = event["type"]
        except (*NOT_JSON, KeyError, TypeError):
            yield _error("the message is not an event")
            return
        match kind:
            case "session.update":
                self._session |= event.get("session") or {}
                yield _event("session.updated", session=self._session)
            case "conversation.item.create":
                item = {"id": new_id("item_"), "object": "realtime.item", **(event.get("item") or {})}
                yield from _item_events(item)
            case "input_audio_buffer.commit":
                item = _message("user", [{"type": "input_audio", "transcript": None}])
                yield _event("input_audio_buffer.committed", item_id=item["id"], previous_item_id=None)
                yield from _item_events(item)
            case "input_audio_buffer.clear":
                yield _event("input_audio_buffer.cleared")
            case "input_audio_buffer.append" | "response.cancel":
                return
            case "response.create":
                yield from self._answer(event.get("response") or {})
            case _:
                yield _error(f"unknown event {str(kind)[:80]}")

    def _answer(self, options: Mapping[str, Any]) -> Iterator[str]:
        with_audio = "audio" in (options.get("output_modalities") or self._session["output_modalities"])
        part, text_event, member = (
            ("audio", "output_audio_transcript", "transcript") if with_audio else ("text", "output_text", "text")
        )
        text = words.WHO
        response: dict[str, Any] = {"id": new_id("resp_"), "object": "realtime.response", "status": "in_progress"}
        item = _message("assistant", [], "in_progress")
        done = {**item, "status": "completed", "content": [{"type": f"output_{part}", member: text}]}
        within = {"response_id": response["id"], "output_index": 0}
        place = {**within, "item_id": item["id"], "content_index": 0}
        yield _event("response.created", response={**response, "output": []})
        yield _event("response.output_item.added", item=item, **within)
        yield _event("conversation.item.added", item=item, previous_item_id=None)
        yield _event("response.content_part.added", part={"type": part, member: ""}, **place)
        for word in re.findall(r"\s*\S+", text):
            yield _event(f"response.{text_event}.delta", delta=word, **place)
        if with_audio:
            yield from _audio_events(tone(text), place)
        yield _event(f"response.{text_event}.done", **place, **{member: text})
        yield _event("response.content_part.done", part={"type": part, member: text}, **place)
        yield _event("response.output_item.done", item=done, **within)
        yield _event("conversation.item.done", item=done, previous_item_id=None)
        yield _event(
            "response.done",
            response={**response, "status": "completed", "output": [done], "usage": _usage(with_audio)},
        )


def _message(role: str, content: list[dict[str, Any]], status: str = "completed") -> dict[str, Any]:
    return {
        "id": new_id("item_"), "object": "realtime.item", "type": "message", "role": role, "status": status,
        "content": content,
    }  # fmt: skip


def _item_events(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield the events that add ``item`` to the conversation."""
    yield _event("conversation.item.added", item=item, previous_item_id=None)
    yield _event("conversation.item.done", item=item, previous_item_id=None)


def _audio_events(sound: bytes, place: Mapping[str, Any]) -> Iterator[str]:
    for at in range(0, len(sound), _AUDIO_BYTES):
        piece = base64.b64encode(sound[at : at + _AUDIO_BYTES]).decode()
        yield _event("response.output_audio.delta", delta=piece, **place)
    yield _event("response.output_audio.done", **place)


def _usage(with_audio: bool) -> dict[str, Any]:
    text, sound = len(words.WHO.split()), _SOUND_TOKENS if with_audio else 0
    return {
        "total_tokens": 10 + text + sound, "input_tokens": 10, "output_tokens": text + sound,
        "input_token_details": {"text_tokens": 10, "audio_tokens": 0, "cached_tokens": 0},
        "output_token_details": {"text_tokens": text, "audio_tokens": sound},
    }  # fmt: skip


def _event(kind: str, **members: Any) -> str:
    return msgspec.json.encode({"type": kind, "event_id": new_id("event_"), **members}).decode()


def _error(message: str) -> str:
    return _event("error", error={"type": "invalid_request_error", "code": "invalid_event", "message": message})
