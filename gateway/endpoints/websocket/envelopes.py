"""Envelopes of requests and answers on a websocket: client frames in, server frames out. Pure.

Every frame is a JSON text. The client's is the body of a POST with ``type`` and, if it likes, ``generate`` and
``stream_id``; the server's are the events of the stream, each with that ``stream_id``, and ``error`` with a status
(https://developers.openai.com/api/reference/resources/responses/websocket-events).
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from gateway.http.headers import Headers
from gateway.request.members import check_members
from streams import sse
from streams.errors import GatewayError, invalid

Members: TypeAlias = Mapping[str, msgspec.Raw]

CREATE: Final = "response.create"
PROCESSED: Final = "response.processed"
TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENVELOPE: Final = ("type", "generate", "stream_id", "stream")
_ABOUT_CONNECTION: Final = ("content-type", "content-length")


class _Typed(msgspec.Struct):
    type: Any = None


class _Error(msgspec.Struct):
    """An error in a stream: OpenAI puts its members into the event itself, others into ``error``."""

    error: Any = None
    code: Any = None
    message: Any = None
    param: Any = None
    sequence_number: Any = None


_TYPED = msgspec.json.Decoder(_Typed)
_ERROR = msgspec.json.Decoder(_Error)


def is_processed(frame: str | bytes | None) -> bool:
    """True if ``frame`` only says that an answer was taken note of (openai/codex#21284): nothing is to be done."""
    if not isinstance(frame, str) or PROCESSED not in frame[:200]:
        return False
    try:
        return bool(_TYPED.decode(frame).type == PROCESSED)
    except (msgspec.MsgspecError, RecursionError):
        return False


@attrs.frozen
class Envelope:
    """A client's frame. ``members`` are those of a POST's body, each value's bytes untouched."""

    members: Members
    generate: bool = True
    stream_id: str | None = None


def read_envelope(frame: str | bytes | None) -> Envelope:
    """Raises ``GatewayError`` (400) for what is no ``response.create``."""
    if not isinstance(frame, str):
        raise invalid("a frame must be text: send the JSON as a text frame, not as a binary one")
    try:
        text = frame.encode()
        members = _MEMBERS.decode(text)
        check_members(text, members)
    except msgspec.ValidationError:
        raise invalid("a frame must be a JSON object") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid(f"the frame is not valid JSON: {error}") from None
    kind = _member(members, "type", str | None, "a string")
    if kind != CREATE:
        raise invalid(f"the frame's type is {kind!r}: {CREATE} is what is understood here", "type")
    generate = _member(members, "generate", bool | None, "a boolean")
    stream_id = _member(members, "stream_id", str | None, "a string")
    return Envelope(
        {name: raw for name, raw in members.items() if name not in _ENVELOPE}, generate is not False, stream_id
    )


def body_of(members: Members) -> bytes:
    """The body of the POST that asks for the same. Raises ``GatewayError`` (400) for what a websocket does not have."""
    if _member(members, "background", bool | None, "a boolean"):
        raise invalid("background is not supported over a WebSocket: use POST /v1/responses", "background")
    return msgspec.json.encode({**members, "stream": True})


def _member(members: Members, name: str, type: Any, kind: str) -> Any:
    try:
        return msgspec.json.decode(members.get(name, msgspec.Raw(b"null")), type=type)
    except msgspec.MsgspecError:
        raise invalid(f"{name} must be {kind}", name) from None


def error_frame(status: int, body: bytes, headers: Headers, stream_id: str | None) -> str:
    """The frame for an error response. Codex reads the ``headers`` as those of the response."""
    named = {name.lower(): value for name, value in headers if name.lower() not in _ABOUT_CONNECTION}
    error = _coded(msgspec.json.decode(body, type=_Error).error)
    return _frame({"type": "error", "status": status, "error": error, "headers": named}, stream_id)


def _coded(error: Any) -> Any:
    """``error`` with a code, which Open Responses requires in a frame though not in the body of an HTTP response."""
    if not isinstance(error, dict) or isinstance(error.get("code"), str):
        return error
    return {**error, "code": error.get("type") or "server_error"}


def _frame(members: dict[str, Any], stream_id: str | None) -> str:
    lane = {} if stream_id is None else {"stream_id": stream_id}
    return sse.dump(members | lane).decode()


class Frames:
    """One stream as frames. The first one carries the ``headers`` that a response would have, as OpenAI's do: the id of
    the request, and what was left out of it. A stream has exactly one terminal frame, and nothing behind it: the next
    one would be taken for the next answer's."""

    def __init__(self, headers: Headers, stream_id: str | None) -> None:
        self._splitter = sse.Splitter(sys.maxsize)  # the lanes bound the size of events
        self._stream_id = stream_id
        self._error: bytes | None = None
        self._over = False
        self._tail = b"" if stream_id is None else b',"stream_id":' + msgspec.json.encode(stream_id)
        own = {name: value for name, value in headers if name.startswith("x-trigate-") or name == "x-request-id"}
        self._extra = b',"headers":' + msgspec.json.encode(own)

    def take(self, data: bytes) -> Iterator[str]:
        """The frames for the next bytes of the stream; comments are left out."""
        for raw in self._splitter.feed(data):
            parsed = sse.parse(raw)
            if parsed is not None and not self._over and (frame := self._event(parsed[1].strip())) is not None:
                yield frame

    def _event(self, data: bytes) -> str | None:
        try:
            kind = _TYPED.decode(data).type
        except msgspec.MsgspecError:  # [DONE]
            return None
        if not isinstance(kind, str) or kind == "error":
            self._error = data  # OpenAI's stream says it again, in the event that ends the response
            return None
        self._over = kind in TERMINAL
        extra, self._extra = self._extra, b""
        return (data[:-1] + self._tail + extra + b"}").decode()

    def end(self, status: int) -> str | None:
        """The frame that is still missing at the end of the stream, if one is: an error of which the response itself
        has not spoken, with ``status``. Raises ``GatewayError`` if the stream has no end at all."""
        if self._over:
            return None
        if self._error is None:
            raise GatewayError("internal", "the stream ended without an end")
        said = _ERROR.decode(self._error)
        error = said.error or {"type": "server_error", "code": said.code, "message": said.message, "param": said.param}
        members = {"type": "error", "status": status, "error": _coded(error), "sequence_number": said.sequence_number}
        return _frame(members, self._stream_id)
