"""The envelopes of requests and responses on a websocket: client frames in, server frames out. Pure.

Every frame is a JSON text. A client's is the body of a POST with ``type`` and optionally ``generate`` and
``stream_id``. The server's are the stream's events, each with that ``stream_id``, and ``error`` with a status
(https://developers.openai.com/api/reference/resources/responses/websocket-events)."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from gateway.http.headers import Headers
from gateway.http.passing import HeaderNames
from gateway.request.members import BOOLEAN, STRING, check_members, decode_member
from gateway.websockets.frames import size_of
from providers.apis import CODECS
from streams import sse
from streams.errors import GatewayError, invalid
from streams.surrogates import NOT_JSON, describe_json_error, tolerate_lone_surrogates

Members: TypeAlias = Mapping[str, msgspec.Raw]

CREATE: Final = "response.create"
PROCESSED: Final = "response.processed"
STEER: Final = "response.steer"
TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENVELOPE: Final = ("type", "generate", "stream_id", "stream")
_WORDS: Final = CODECS["responses"].wire.words
_ABOUT_CONNECTION: Final = ("content-type", "content-length")


class _Typed(msgspec.Struct):
    type: Any = None


class _Error(msgspec.Struct):
    """An error in a stream: OpenAI puts its members into the event, others into ``error``."""

    error: Any = None
    code: Any = None
    message: Any = None
    param: Any = None
    sequence_number: Any = None


_TYPED = msgspec.json.Decoder(_Typed)
_EVENT = tolerate_lone_surrogates(_TYPED.decode)
_ERROR = tolerate_lone_surrogates(msgspec.json.Decoder(_Error).decode)


def is_processed(frame: str | bytes | None) -> bool:
    """Return whether ``frame`` only acknowledges a response (openai/codex#21284), so requires nothing."""
    if not isinstance(frame, str) or PROCESSED not in frame[:200]:
        return False
    try:
        return bool(_TYPED.decode(frame).type == PROCESSED)
    except NOT_JSON:
        return False


MAX_STREAM_ID: Final = 256
"""Characters of a ``stream_id``, which the connection remembers and every frame of its responses repeats."""

_NULL: Final = msgspec.Raw(b"null")


class _FrameMembers(msgspec.Struct):
    type: msgspec.Raw = _NULL
    stream_id: msgspec.Raw = _NULL
    previous_response_id: msgspec.Raw = _NULL
    input: msgspec.Raw = _NULL


_FRAME_MEMBERS = msgspec.json.Decoder(_FrameMembers)


@attrs.frozen
class LaneFrame:
    """A client's frame with the id of its lane. ``kind`` is its type, ``None`` if it has none or cannot be read.

    ``steering`` are the members of the response to a ``response.steer``, whose input no provider receives."""

    text: str | bytes | None
    kind: str | None = None
    stream_id: str | None = None
    steering: Mapping[str, msgspec.Raw] = attrs.field(factory=dict)

    @property
    def size(self) -> int:
        """The size of the frame in bytes."""
        return size_of(self.text or b"")


def read_lane(text: str | bytes | None) -> LaneFrame:
    """Return the frame ``text`` with its type and lane. A frame that cannot be read belongs to the lane without an id,
    as a request that is refused."""
    try:
        head = _FRAME_MEMBERS.decode(text if isinstance(text, str) else b"")
    except NOT_JSON:
        return LaneFrame(text, CREATE)
    kind, stream_id = _short_text(head.type), _short_text(head.stream_id)
    steering = {"input": head.input, "previous_response_id": head.previous_response_id} if kind == STEER else {}
    return LaneFrame(text, kind, stream_id, steering)


def _short_text(raw: msgspec.Raw) -> str | None:
    try:
        text = msgspec.json.decode(raw, type=str | None) if len(raw) <= 6 * MAX_STREAM_ID else None
    except NOT_JSON:
        return None
    return text if text is not None and len(text) <= MAX_STREAM_ID else None


def steer_failed_frame(frame: LaneFrame) -> str:
    """Return the response to a ``response.steer``: no provider can be steered, because the gateway requests responses
    over HTTP. It returns the input, which the client may send with its next request."""
    members = {
        "type": "response.steer.failed",
        "sequence_number": 0,
        "steer": frame.steering,
        "error": {
            "type": "invalid_request_error",
            "code": "steering_not_supported",
            "message": "this gateway cannot steer a response in progress: send the input in a response.create",
        },
    }
    return _frame(members, frame.stream_id)


@attrs.frozen
class Envelope:
    """A client's frame; ``members`` are those of a POST's body with unchanged bytes. ``headers`` are those of a POST in
    ``client_metadata``, with lower-case names."""

    members: Members
    generate: bool = True
    stream_id: str | None = None
    headers: Headers = ()


def read_envelope(frame: str | bytes | None) -> Envelope:
    """Return the contents of a ``response.create`` frame. Raises ``GatewayError`` (400) for any other."""
    if not isinstance(frame, str):
        raise invalid("the frame is binary: send JSON as a text frame")
    try:
        text = frame.encode()
        members = _MEMBERS.decode(text)
        check_members(text, members)
    except msgspec.ValidationError:
        raise invalid("the frame must be a JSON object") from None
    except NOT_JSON as error:
        raise invalid(f"the frame is not valid JSON: {describe_json_error(error)}") from None
    kind = decode_member(members, "type", STRING, "a string")
    if kind != CREATE:
        raise invalid(f"unknown frame type {kind!r}: only {CREATE} is supported", "type")
    generate = decode_member(members, "generate", BOOLEAN, "a boolean")
    stream_id = decode_member(members, "stream_id", STRING, "a string")
    if len(stream_id or "") > MAX_STREAM_ID:
        raise invalid(f"stream_id has more than {MAX_STREAM_ID} characters: use a shorter one", "stream_id")
    return Envelope(
        {name: raw for name, raw in members.items() if name not in _ENVELOPE},
        generate is not False,
        stream_id,
        tuple(_metadata_headers(members.get("client_metadata"))),
    )


_HEADER_KEY: Final = "ws_request_header_"
_FRAME_HEADERS: Final = HeaderNames.of(CODECS["responses"].wire.client_headers)
_LONGEST_HEADER: Final = 4096


def _metadata_headers(metadata: msgspec.Raw | None) -> Iterator[tuple[str, str]]:
    """Yield the headers that Codex sends in the metadata of each frame, because the handshake has those of the first
    turn (openai/codex#26542, Menci/Floway#455). A value that no header can have is empty."""
    try:
        values = msgspec.json.decode(metadata or b"{}", type=dict[str, msgspec.Raw])
    except NOT_JSON:
        return
    for key, raw in values.items():
        name = key.removeprefix(_HEADER_KEY).replace("_", "-") if key.startswith(_HEADER_KEY) else key
        if name in _FRAME_HEADERS:
            yield name, _header_value(raw)


def _header_value(raw: msgspec.Raw) -> str:
    try:
        value = msgspec.json.decode(raw, type=str) if len(raw) <= _LONGEST_HEADER else ""
    except NOT_JSON:
        return ""
    return value if value.isascii() and value.isprintable() else ""


def body_of(members: Members) -> bytes:
    """Return the equivalent POST's body. Raises ``GatewayError`` (400) for options that a websocket lacks."""
    if decode_member(members, "background", BOOLEAN, "a boolean"):
        raise invalid("background is not supported over a WebSocket: use POST /v1/responses", "background")
    return msgspec.json.encode({**members, "stream": True})


def error_frame(status: int, body: bytes, headers: Headers, stream_id: str | None) -> str:
    """Return the frame for an error response; Codex reads ``headers`` as the response's."""
    named = {name.lower(): value for name, value in headers if name.lower() not in _ABOUT_CONNECTION}
    error = _add_code(msgspec.json.decode(body, type=_Error).error)
    return _frame({"type": "error", "status": status, "error": error, "headers": named}, stream_id)


def _add_code(error: Any) -> Any:
    """Return ``error`` with a code, which Open Responses requires in frames but not in HTTP bodies."""
    if not isinstance(error, dict) or isinstance(error.get("code"), str):
        return error
    return {**error, "code": error.get("type") or "server_error"}


def _frame(members: dict[str, Any], stream_id: str | None) -> str:
    lane = {} if stream_id is None else {"stream_id": stream_id}
    return sse.dump(members | lane).decode()


def _as_utf8(data: bytes) -> tuple[bytes, str]:
    """Return ``data`` and its text, both with U+FFFD for invalid UTF-8."""
    try:
        return data, data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        return text.encode(), text


class Frames:
    """The frames of one stream.

    The first one that is no keep-alive has the ``headers`` of a response, as OpenAI's does: the request's id, and
    losses. A stream has exactly one terminal frame, the last one: a later frame would count for the next response."""

    def __init__(self, headers: Headers, stream_id: str | None) -> None:
        self._splitter = sse.Splitter(sys.maxsize, is_own=True)  # the lanes limit the size of events
        self._stream_id = stream_id
        self._error: bytes | None = None
        self._is_over = False
        self._tail = "" if stream_id is None else f',"stream_id":{msgspec.json.encode(stream_id).decode()}'
        own = {name: value for name, value in headers if name.startswith("x-trigate-") or name == "x-request-id"}
        self._extra = f',"headers":{msgspec.json.encode(own).decode()}'

    def take(self, data: bytes) -> Iterator[str]:
        """Yield the frames for the next bytes of the stream, without comments.

        A provider's invalid UTF-8 becomes U+FFFD: a text frame may not have it."""
        for raw in self._splitter.feed(data):
            parsed = sse.parse(raw)
            if parsed is None or self._is_over:
                continue
            if (frame := self._event(*_as_utf8(parsed[1].strip()))) is not None:
                yield frame

    def _event(self, data: bytes, text: str) -> str | None:
        try:
            kind = _EVENT(data).type
        except NOT_JSON:  # [DONE]
            return None
        if not isinstance(kind, str) or kind == "error":
            self._error = data  # OpenAI's stream repeats it in the terminal event
            return None
        self._is_over = kind in TERMINAL
        if kind in _WORDS.keep_alives:
            return f"{text[:-1]}{self._tail}}}"
        extra, self._extra = self._extra, ""
        return f"{text[:-1]}{self._tail}{extra}}}"

    def end(self, status: int) -> str | None:
        """Return the frame missing at the end: an error with ``status`` that the response did not contain, else
        ``None``.

        Raises ``GatewayError`` if the stream has no end."""
        if self._is_over:
            return None
        if self._error is None:
            raise GatewayError("internal", "the stream ended without a final event")
        error_event = _ERROR(self._error)
        error = error_event.error or {
            "type": "server_error",
            "code": error_event.code,
            "message": error_event.message,
            "param": error_event.param,
        }
        members = {
            "type": "error",
            "status": status,
            "error": _add_code(error),
            "sequence_number": error_event.sequence_number,
        }
        return _frame(members, self._stream_id)
