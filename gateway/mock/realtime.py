"""Realtime sessions of the stand-in, which introduces itself in text and tone whatever it hears."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from quart import websocket

from gateway.mock import words
from gateway.mock.media import tone
from gateway.serving.asgi_extensions import AsgiApp
from gateway.websockets.in_quart import HostlessQuart, configure
from providers.neutral.codec import new_id
from providers.neutral.fields import expect
from streams.errors import GatewayError, invalid
from streams.events import ErrorInfo
from streams.surrogates import decode_or

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
        self._last_id: str | None = None

    def created_event(self) -> str:
        return _event("session.created", session=self._session)

    def take(self, message: bytes | str) -> Iterator[str]:
        """Yield the events that answer ``message``; an invalid one is answered with an error event."""
        event: dict[str, Any] = {}
        try:
            event = expect(decode_or(msgspec.json.decode, message, None), dict, "the event")
            yield from self._answer_event(event)
        except GatewayError as error:
            yield _error(error.info, event.get("event_id"))

    def _answer_event(self, event: Mapping[str, Any]) -> Iterator[str]:
        match expect(event.get("type"), str, "type"):
            case "session.update":
                session = expect(event.get("session"), dict, "session")
                expect(session.get("output_modalities", []), list, "session.output_modalities")
                self._session |= session
                yield _event("session.updated", session=self._session)
            case "conversation.item.create":
                item = expect(event.get("item"), dict, "item")
                yield from self._add({"id": new_id("item_"), "object": "realtime.item", **item})
            case "input_audio_buffer.append":
                expect(event.get("audio"), str, "audio")
            case "input_audio_buffer.commit":
                item = _message("user", [{"type": "input_audio", "transcript": None}])
                yield _event("input_audio_buffer.committed", item_id=item["id"], previous_item_id=self._last_id)
                yield from self._add(item)
            case "input_audio_buffer.clear":
                yield _event("input_audio_buffer.cleared")
            case "response.cancel":  # the events of a response are sent together, so none is in progress
                raise invalid(
                    "Cancellation failed: no active response found", "type", code="response_cancel_not_active"
                )
            case "response.create":
                response = {} if event.get("response") is None else expect(event["response"], dict, "response")
                yield from self._answer(response)
            case kind:
                raise invalid(f"unknown event {kind[:80]}", "type", code="invalid_value")

    def _add(self, item: Mapping[str, Any]) -> Iterator[str]:
        """Add ``item`` to the conversation. Yield the events that report it."""
        previous, self._last_id = self._last_id, item["id"]
        yield _event("conversation.item.added", item=item, previous_item_id=previous)
        yield _event("conversation.item.done", item=item, previous_item_id=previous)

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
        previous, self._last_id = self._last_id, item["id"]
        yield _event("response.created", response={**response, "output": []})
        yield _event("response.output_item.added", item=item, **within)
        yield _event("conversation.item.added", item=item, previous_item_id=previous)
        yield _event("response.content_part.added", part={"type": part, member: ""}, **place)
        for word in re.findall(r"\s*\S+", text):
            yield _event(f"response.{text_event}.delta", delta=word, **place)
        if with_audio:
            yield from _audio_events(tone(text), place)
        yield _event(f"response.{text_event}.done", **place, **{member: text})
        yield _event("response.content_part.done", part={"type": part, member: text}, **place)
        yield _event("response.output_item.done", item=done, **within)
        yield _event("conversation.item.done", item=done, previous_item_id=previous)
        yield _event(
            "response.done",
            response={**response, "status": "completed", "output": [done], "usage": _usage(with_audio)},
        )


def _message(role: str, content: list[dict[str, Any]], status: str = "completed") -> dict[str, Any]:
    return {
        "id": new_id("item_"), "object": "realtime.item", "type": "message", "role": role, "status": status,
        "content": content,
    }  # fmt: skip


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


def _error(error: ErrorInfo, event_id: Any) -> str:
    """Return the error event that answers the client's event ``event_id``."""
    return _event(
        "error",
        error={
            "type": "invalid_request_error", "code": error.code or "invalid_type", "message": error.message,
            "param": error.param, "event_id": event_id if isinstance(event_id, str) else None,
        },
    )  # fmt: skip


async def session_app() -> AsgiApp:
    """Return the app of websockets."""
    app = HostlessQuart("trigate-mock", static_folder=None)
    configure(app)
    app.add_websocket(PATH, f"websocket {PATH}", _serve_session)
    return app


async def _serve_session() -> None:
    """Serve a realtime session until its client leaves."""
    session = MockSession(websocket.args.get("model", "mock-small"))
    offered = websocket.requested_subprotocols
    await websocket.accept(subprotocol="realtime" if "realtime" in offered else None)
    await websocket.send(session.created_event())
    while True:
        for event in session.take(await websocket.receive()):
            await websocket.send(event)
