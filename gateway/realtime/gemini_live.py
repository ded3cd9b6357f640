"""The messages of Gemini Live (https://ai.google.dev/api/live), read for metering and checks.

The first message, ``setup``, contains the model; all messages may be binary. ``usageMetadata`` may occur several times
in a turn: the last one counts."""

from typing import Final

import msgspec

from gateway.realtime.notices import ClientFrame, FrameReader, ModelRule, Notice, OutputPiece, ResponseEnded, Resumable
from gateway.realtime.objects import ExaminedObject, Tree, is_too_much, read_object
from gateway.request.members import check_members
from gateway.upstream.websocket import Piece
from streams.errors import invalid
from streams.events import Usage
from streams.surrogates import NOT_JSON, reading

PREFIX: Final = "models/"

_TREE: Final[Tree] = {"setup": {"model": None, "sessionResumption": {"handle": None}}}
_HEARD: Final = 1600  # characters of base64 audio per character of text


class _Modality(msgspec.Struct, rename="camel"):
    modality: str = ""
    token_count: int = 0


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    cached_content_token_count: int = 0
    response_token_count: int = 0
    candidates_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    thoughts_token_count: int = 0
    prompt_tokens_details: list["_Modality"] = []
    cache_tokens_details: list["_Modality"] = []
    response_tokens_details: list["_Modality"] = []


class _Content(msgspec.Struct, rename="camel"):
    turn_complete: bool = False
    interrupted: bool = False


class _Resumption(msgspec.Struct, rename="camel"):
    new_handle: str = ""


class _ServerMessage(msgspec.Struct, rename="camel"):
    session_resumption_update: _Resumption | None = None
    server_content: _Content | None = None
    tool_call: msgspec.Raw | None = None
    usage_metadata: _Usage | None = None


_SERVER: Final = reading(msgspec.json.Decoder(_ServerMessage).decode)


def read_setup(message: Piece) -> tuple[str, str | None]:
    """Return the model in a client's first message, and the handle of the session to resume.

    Raises ``GatewayError`` (400) if it is no ``setup``."""
    texts = _read(message)[1].texts
    model = texts.get("setup.model", "").removeprefix(PREFIX)
    if not model:
        raise invalid("the first message must be a setup with a model", "setup.model")
    return model, texts.get("setup.sessionResumption.handle")


def _read(message: Piece) -> tuple[bytes, ExaminedObject]:
    body = message.encode() if isinstance(message, str) else bytes(message)
    members = read_object(body)
    if members is None:
        raise invalid("the message must be a JSON object")
    check_members(body, members)
    return body, ExaminedObject(members, _TREE)


class GeminiFrames(FrameReader):
    """The messages of one session."""

    is_metered = True

    def __init__(self) -> None:
        self._usage: Usage | None = None

    def from_client(self, message: Piece, models: ModelRule) -> ClientFrame:
        body, event = _read(message)
        characters = len(body) // _HEARD if b"realtimeInput" in body[:200] else len(body)
        if (name := event.texts.get("setup.model")) is None:
            return ClientFrame(message, characters=characters)
        event.put("setup.model", PREFIX + models.own("setup.model", name.removeprefix(PREFIX)))
        written = event.encode()
        return ClientFrame(written.decode() if isinstance(message, str) else written, characters=characters)

    def from_provider(self, message: Piece) -> tuple[Notice, ...]:
        body = message.encode() if isinstance(message, str) else message
        if is_too_much(body):
            return ()
        try:
            said = _SERVER(body)
        except NOT_JSON:
            return ()
        if said.usage_metadata is not None:
            self._usage = _usage_of(said.usage_metadata)
        content, resumption = said.server_content, said.session_resumption_update
        if resumption is not None and resumption.new_handle:
            return (Resumable(resumption.new_handle),)
        if content is None:
            return self._ended("tool_call") if said.tool_call is not None and self._usage is not None else ()
        if content.turn_complete:
            return self._ended("complete")
        return (OutputPiece(len(message) // _HEARD),)

    def _ended(self, status: str) -> tuple[Notice, ...]:
        usage, self._usage = self._usage, None
        return (ResponseEnded(None, usage, status),)

    def rest(self) -> tuple[Notice, ...]:
        return self._ended("cut") if self._usage is not None else ()


def _usage_of(said: _Usage) -> Usage:
    asked = said.prompt_token_count + said.tool_use_prompt_token_count
    cached = min(said.cached_content_token_count, asked)
    output = (said.response_token_count or said.candidates_token_count) + said.thoughts_token_count
    return Usage(
        input=asked - cached,
        cache_read=cached,
        output=output,
        reasoning=said.thoughts_token_count or None,
        units=_units(said),
    )


def _units(said: _Usage) -> tuple[tuple[str, int], ...]:
    """Return the audio and image tokens among those counted."""
    found: dict[str, int] = {}
    for sense in ("audio", "image"):
        given, again, out = (
            sum(one.token_count for one in details if one.modality.lower() == sense)
            for details in (said.prompt_tokens_details, said.cache_tokens_details, said.response_tokens_details)
        )
        found[f"input_{sense}_token"], found[f"cached_{sense}_token"] = max(0, given - again), again
        found[f"output_{sense}_token"] = out
    return tuple((name, number) for name, number in found.items() if number)
