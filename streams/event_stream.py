"""Reader and writer of Amazon's event streams (``application/vnd.amazon.eventstream``), for reads split anywhere.

A frame consists of its total length and its headers' length (4 bytes each), a checksum of these eight bytes, the
headers, the payload, and a checksum of all preceding bytes. Numbers are big-endian; both checksums are CRC-32. Source:
"Event stream encoding" of the Smithy specification and of Amazon Transcribe.
"""

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from streams.framing import EventSplitter, EventTooComplex, EventTooLarge, Framing, FramingError
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import any_json, decode_or

MEDIA_TYPE: Final = "application/vnd.amazon.eventstream"

EXCEPTION: Final = ":exception"
"""The event name that ``parse`` returns for a failure declared in the service's model."""
ERROR: Final = ":error"
"""The event name that ``parse`` returns for any other failure, including unreadable headers."""

HeaderValue: TypeAlias = bool | int | bytes | str | UUID
"""The value of a header; a timestamp is an ``int`` of milliseconds since 1970."""

_PRELUDE: Final = 12
_MIN_FRAME: Final = 16
_STRING_TYPE: Final = 7
_LONGEST_CACHED: Final = 256
"""The end of the longest block of headers whose event name is cached."""
_LENGTHS = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
_JSON: Final = "application/json"

# Header types: the size of the value in bytes (None: a two-byte length precedes it) and its decoder.
_TYPES: Final[Mapping[int, tuple[int | None, Callable[[bytes], HeaderValue]]]] = {
    0: (0, lambda value: True),
    1: (0, lambda value: False),
    2: (1, lambda value: int.from_bytes(value, "big", signed=True)),
    3: (2, lambda value: int.from_bytes(value, "big", signed=True)),
    4: (4, lambda value: int.from_bytes(value, "big", signed=True)),
    5: (8, lambda value: int.from_bytes(value, "big", signed=True)),
    6: (None, bytes),
    _STRING_TYPE: (None, lambda value: value.decode("utf-8", "replace")),
    8: (8, lambda value: int.from_bytes(value, "big", signed=True)),
    9: (16, lambda value: UUID(bytes=value)),
}


class ChecksumError(FramingError):
    """A frame with a wrong checksum; the start of the next frame is unknown, so the stream cannot continue."""

    def __init__(self) -> None:
        super().__init__("the provider sent a frame with a wrong checksum")


# Reading


class FrameSplitter(EventSplitter):
    """A splitter of a byte stream into whole frames, which verifies both checksums of each.

    The returned pieces add up to the input, byte for byte. Work is linear in the input for any sizes of frames and
    reads: buffered bytes are joined only when a prelude or a frame is complete.
    """

    def __init__(self, limit: int = 16 * 2**20) -> None:
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0
        self._needs = _PRELUDE

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that ``data`` completes.

        Raises ``ChecksumError``, ``EventTooLarge`` as soon as a frame announces too large a size, and
        ``EventTooComplex`` for a frame with too many JSON elements.
        """
        self._held.append(data)
        self._size += len(data)
        if self._size < self._needs:
            return []
        held = self.close()
        frames: list[bytes] = []
        start = 0
        while len(held) - start >= _PRELUDE:
            size = _frame_size(held, start, self._limit)
            if len(held) - start < size:
                self._needs = size
                break
            frames.append(_check_frame(held[start : start + size]))
            start += size
        if start < len(held):
            self._held.append(held[start:])
            self._size = len(held) - start
        return frames

    def close(self) -> bytes:
        """Return the bytes of an unfinished frame."""
        rest = b"".join(self._held)
        self._held.clear()
        self._size, self._needs = 0, _PRELUDE
        return rest


def _frame_size(held: bytes, start: int, limit: int) -> int:
    size, headers, checksum = _LENGTHS.unpack_from(held, start)
    if zlib.crc32(held[start : start + 8]) != checksum:
        raise ChecksumError
    if size < _MIN_FRAME or headers > size - _MIN_FRAME:
        raise FramingError("the provider sent a frame whose lengths contradict one another")
    if size > limit:
        raise EventTooLarge
    return int(size)


def begins_stream(start: bytes) -> bool:
    """Return whether a body that begins with ``start`` is a stream of frames, whatever its content type."""
    return len(start) >= _LENGTHS.size and _LENGTHS.unpack_from(start)[2] == zlib.crc32(start[:8])


def _check_frame(raw: bytes) -> bytes:
    if zlib.crc32(memoryview(raw)[:-4]) != _CHECKSUM.unpack_from(raw, len(raw) - 4)[0]:
        raise ChecksumError
    if len(raw) > MAX_ELEMENTS and has_more_elements(read_payload(raw), MAX_ELEMENTS):
        raise EventTooComplex
    return raw


def read_headers(raw: bytes) -> dict[str, HeaderValue] | None:
    """Return the headers of a whole frame by name, or ``None`` if they are unreadable."""
    return _decode_headers(raw[_PRELUDE : _payload_start(raw)])


def _decode_headers(block: bytes) -> dict[str, HeaderValue] | None:
    at, end = 0, len(block)
    headers: dict[str, HeaderValue] = {}
    try:
        while at < end:
            name = block[at + 1 : at + 1 + block[at]].decode("utf-8", "replace")
            at += 1 + block[at]
            size, read = _TYPES[block[at]]
            at += 1
            if size is None:
                size = int.from_bytes(block[at : at + 2], "big")
                at += 2
            headers[name] = read(block[at : at + size])
            at += size
    except (KeyError, IndexError, ValueError):  # an unknown type, or a length beyond the frame
        return None
    return headers if at == end else None


@lru_cache(maxsize=64)
def _plain_event_name(block: bytes) -> str | None:
    """Return the name of an event that only has headers that clients read, ``None`` for any other frame."""
    headers = _decode_headers(block)
    if headers is None or headers.get(":message-type") != "event" or _without_remarks(headers) != headers:
        return None
    return _text_header(headers, ":event-type")


def _cached_event_name(raw: bytes, start: int) -> str | None:
    return _plain_event_name(raw[_PRELUDE:start]) if start <= _LONGEST_CACHED else None


def read_payload(raw: bytes) -> bytes:
    """Return the payload of a whole frame."""
    return raw[_payload_start(raw) : -4]


def _payload_start(raw: bytes) -> int:
    return _PRELUDE + int.from_bytes(raw[4:8], "big")


def parse(raw: bytes) -> tuple[str, bytes] | None:
    """Return the event name and the payload of a whole frame.

    For a failure, the name is ``EXCEPTION`` or ``ERROR`` and the data is a JSON object with ``type``, ``message`` and
    the payload's other members.
    """
    start = _payload_start(raw)
    if (name := _cached_event_name(raw, start)) is not None:  # nearly every frame
        return name, raw[start:-4]
    headers = read_headers(raw)
    if headers is None:
        return ERROR, _failure_payload("", {"message": "the provider sent a frame whose headers cannot be read"})
    match headers.get(":message-type", "event"):
        case "event":
            return _text_header(headers, ":event-type"), read_payload(raw)
        case "exception":
            return EXCEPTION, _failure_payload(
                _text_header(headers, ":exception-type"), _decode_object(read_payload(raw))
            )
        case _:
            return ERROR, _failure_payload(
                _text_header(headers, ":error-code"), {"message": _text_header(headers, ":error-message")}
            )


def _text_header(headers: Mapping[str, HeaderValue], name: str) -> str:
    value = headers.get(name)
    return value if isinstance(value, str) else ""


def _failure_payload(kind: str, members: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({"message": "", **members, "type": kind})


def _decode_object(data: bytes) -> dict[str, Any]:
    value = decode_or(any_json, data, None)
    return value if isinstance(value, dict) else {"message": data.decode("utf-8", "replace")}


_HEADERS: Final = frozenset(
    (":event-type", ":content-type", ":message-type", ":exception-type", ":error-code", ":error-message")
)
_WORD: Final = re.compile(r"[A-Za-z/_.-]{0,64}")


def without_remarks(raw: bytes, name: str, data: bytes) -> bytes:
    """Return a frame without headers that clients ignore, and without unusual values of the others.

    A frame of an error is unchanged, because ``parse`` returns all its texts."""
    if _cached_event_name(raw, _payload_start(raw)) is not None:
        return raw
    headers = read_headers(raw)
    if headers is None or headers.get(":message-type", "event") not in ("event", "exception"):
        return raw
    kept = _without_remarks(headers)
    return raw if kept == headers else build_frame(kept, read_payload(raw))


def _without_remarks(headers: Mapping[str, HeaderValue]) -> dict[str, str]:
    known = {name: one for name, one in headers.items() if name in _HEADERS and isinstance(one, str)}
    return {name: one for name, one in known.items() if _WORD.fullmatch(one) is not None}


# Writing


def build_frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return a frame with correct checksums.

    Header names may have up to 255 bytes, values up to 32,767.
    """
    return _add_checksums(b"".join(_encode_header(name, value) for name, value in headers.items()), payload)


def event_frame(name: str, payload: bytes) -> bytes:
    """Return the frame of an event with a JSON payload."""
    return build_frame({":event-type": name, ":content-type": _JSON, ":message-type": "event"}, payload)


def exception_frame(kind: str, payload: bytes) -> bytes:
    """Return the frame of a failure declared in the service's model, with a JSON payload; it ends the stream."""
    return build_frame({":exception-type": kind, ":content-type": _JSON, ":message-type": "exception"}, payload)


def change_payload(raw: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return the frame with ``change`` applied to its payload and its headers unchanged."""
    start = _payload_start(raw)
    return _add_checksums(raw[_PRELUDE:start], change(raw[start:-4]))


def _encode_header(name: str, value: str) -> bytes:
    label, text = name.encode(), value.encode()
    return bytes([len(label)]) + label + bytes([_STRING_TYPE]) + len(text).to_bytes(2, "big") + text


def _add_checksums(block: bytes, payload: bytes) -> bytes:
    lengths = (_MIN_FRAME + len(block) + len(payload)).to_bytes(4, "big") + len(block).to_bytes(4, "big")
    content = b"".join((lengths, _CHECKSUM.pack(zlib.crc32(lengths)), block, payload))
    return content + _CHECKSUM.pack(zlib.crc32(content))


class FrameWriter:
    """A writer of frames; an event that ``parse`` named a failure becomes a failure frame."""

    def event(self, name: str, data: bytes) -> bytes:
        if name not in (EXCEPTION, ERROR):
            return event_frame(name, data)
        members = _decode_object(data)
        kind = members.pop("type", "")
        return exception_frame(kind if isinstance(kind, str) else "", msgspec.json.encode(members))

    def close(self) -> bytes:
        return b""


EVENT_STREAM = Framing(
    media_type=MEDIA_TYPE,
    content_type=MEDIA_TYPE,
    splitter=FrameSplitter,
    parse=parse,
    complete=lambda rest: b"",  # the splitter's rest is never a whole frame
    writer=FrameWriter,
    comment=event_frame("ping", b"{}"),  # SDKs skip frames of events that are not in their service model
    begins=begins_stream,
    change_payload=change_payload,
    without_remarks=without_remarks,
)
