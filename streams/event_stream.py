"""Amazon's event streams (``application/vnd.amazon.eventstream``): bytes to frames and back, split anywhere.

A frame is its length and that of its headers (4 bytes each), a checksum of these eight bytes, the headers, the payload,
and a checksum of all that stands before it; numbers are big-endian, both checksums CRC-32. Source: "Event stream
encoding" of the Smithy specification, and Amazon Transcribe's "Event stream encoding".
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from streams.framing import EventTooLarge, EventUnfolds, Framing, FramingError
from streams.structure import ELEMENTS, holds_more
from streams.surrogates import NOT_JSON, any_json

MEDIA_TYPE: Final = "application/vnd.amazon.eventstream"

EXCEPTION: Final = ":exception"
"""The name that ``parse`` gives to a failure which the service's model knows, in place of an event's."""
ERROR: Final = ":error"
"""The name that ``parse`` gives to any other failure, also to a frame whose headers cannot be read."""

HeaderValue: TypeAlias = bool | int | bytes | str | UUID
"""A timestamp is its milliseconds since 1970."""

_PRELUDE: Final = 12
_LEAST: Final = 16
_STRING: Final = 7
_LENGTHS = struct.Struct(">III")
_WHOLE = struct.Struct(">I")
_JSON: Final = "application/json"

# Types of headers: the number of bytes (None where two bytes in front of them say it), and how they are read.
_TYPES: Final[Mapping[int, tuple[int | None, Callable[[bytes], HeaderValue]]]] = {
    0: (0, lambda value: True),
    1: (0, lambda value: False),
    2: (1, lambda value: int.from_bytes(value, "big", signed=True)),
    3: (2, lambda value: int.from_bytes(value, "big", signed=True)),
    4: (4, lambda value: int.from_bytes(value, "big", signed=True)),
    5: (8, lambda value: int.from_bytes(value, "big", signed=True)),
    6: (None, bytes),
    _STRING: (None, lambda value: value.decode("utf-8", "replace")),
    8: (8, lambda value: int.from_bytes(value, "big", signed=True)),
    9: (16, lambda value: UUID(bytes=value)),
}


class ChecksumError(FramingError):
    """A frame is not as it was sent. Where the next one begins nobody can say either."""

    def __init__(self) -> None:
        super().__init__("the provider sent a frame with a wrong checksum")


# Reading


class FrameSplitter:
    """Cuts a byte stream into whole frames, both checksums of each verified.

    The pieces put together are the input, byte for byte. Work is linear in the input whatever the sizes of frames and
    reads: what is held is put together when a prelude is complete and when its frame is.
    """

    def __init__(self, limit: int = 16 * 2**20) -> None:
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0
        self._needs = _PRELUDE

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that ``data`` completes. Raises ``ChecksumError``; ``EventTooLarge`` as soon as a frame
        says that it is; ``EventUnfolds`` where decoding would make too much of one."""
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
            frames.append(_verified(held[start : start + size]))
            start += size
        if start < len(held):
            self._held.append(held[start:])
            self._size = len(held) - start
        return frames

    def close(self) -> bytes:
        """Return what is left of a frame that has not come to its end."""
        rest = b"".join(self._held)
        self._held.clear()
        self._size, self._needs = 0, _PRELUDE
        return rest


def _frame_size(held: bytes, start: int, limit: int) -> int:
    size, headers, checksum = _LENGTHS.unpack_from(held, start)
    if zlib.crc32(held[start : start + 8]) != checksum:
        raise ChecksumError
    if size < _LEAST or headers > size - _LEAST:
        raise FramingError("the provider sent a frame whose lengths contradict one another")
    if size > limit:
        raise EventTooLarge
    return int(size)


def _verified(raw: bytes) -> bytes:
    if zlib.crc32(memoryview(raw)[:-4]) != _WHOLE.unpack_from(raw, len(raw) - 4)[0]:
        raise ChecksumError
    if len(raw) > ELEMENTS and holds_more(payload(raw), ELEMENTS):
        raise EventUnfolds
    return raw


def headers(raw: bytes) -> dict[str, HeaderValue] | None:
    """Return the headers of a whole frame by name, ``None`` where they cannot be read."""
    at, end = _PRELUDE, _payload_start(raw)
    found: dict[str, HeaderValue] = {}
    try:
        while at < end:
            name = raw[at + 1 : at + 1 + raw[at]].decode("utf-8", "replace")
            at += 1 + raw[at]
            size, read = _TYPES[raw[at]]
            at += 1
            if size is None:
                size = int.from_bytes(raw[at : at + 2], "big")
                at += 2
            found[name] = read(raw[at : at + size])
            at += size
    except (KeyError, IndexError, ValueError):  # a type that is not known, or more than there is
        return None
    return found if at == end else None


def payload(raw: bytes) -> bytes:
    """Return the payload of a whole frame."""
    return raw[_payload_start(raw) : -4]


def _payload_start(raw: bytes) -> int:
    return _PRELUDE + int.from_bytes(raw[4:8], "big")


def parse(raw: bytes) -> tuple[str, bytes] | None:
    """Return the name of a whole frame's event and its payload.

    Failures in mid-stream come as events of their own kind, whatever else a frame calls itself: their name is
    ``EXCEPTION`` or ``ERROR``, their data a JSON object with ``type``, ``message`` and what else the payload has.
    """
    said = headers(raw)
    if said is None:
        return ERROR, _failure("", {"message": "the provider sent a frame whose headers cannot be read"})
    match said.get(":message-type", "event"):
        case "event":
            return _text(said, ":event-type"), payload(raw)
        case "exception":
            return EXCEPTION, _failure(_text(said, ":exception-type"), _object(payload(raw)))
        case _:
            return ERROR, _failure(_text(said, ":error-code"), {"message": _text(said, ":error-message")})


def _text(said: Mapping[str, HeaderValue], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _failure(kind: str, said: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({"message": "", **said, "type": kind})


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = any_json(data)
    except NOT_JSON:
        value = None
    return value if isinstance(value, dict) else {"message": data.decode("utf-8", "replace")}


# Writing


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return a frame with right checksums. Names of headers have 255 bytes at most, their values 32,767."""
    return _sealed(b"".join(_header(name, value) for name, value in headers.items()), payload)


def event(name: str, payload: bytes) -> bytes:
    """Return the frame of an event with JSON as its payload."""
    return frame({":event-type": name, ":content-type": _JSON, ":message-type": "event"}, payload)


def exception(kind: str, payload: bytes) -> bytes:
    """Return the frame of a failure that the service's model knows, with JSON as its payload. Nothing may follow it."""
    return frame({":exception-type": kind, ":content-type": _JSON, ":message-type": "exception"}, payload)


def changed(raw: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return the frame with its payload changed, its headers as they were."""
    start = _payload_start(raw)
    return _sealed(raw[_PRELUDE:start], change(raw[start:-4]))


def _header(name: str, value: str) -> bytes:
    label, text = name.encode(), value.encode()
    return bytes([len(label)]) + label + bytes([_STRING]) + len(text).to_bytes(2, "big") + text


def _sealed(block: bytes, payload: bytes) -> bytes:
    lengths = (_LEAST + len(block) + len(payload)).to_bytes(4, "big") + len(block).to_bytes(4, "big")
    content = b"".join((lengths, _WHOLE.pack(zlib.crc32(lengths)), block, payload))
    return content + _WHOLE.pack(zlib.crc32(content))


class FrameWriter:
    """Puts events into frames: what ``parse`` has named a failure becomes one."""

    def event(self, name: str, data: bytes) -> bytes:
        return _failed(data) if name in (EXCEPTION, ERROR) else event(name, data)

    def close(self) -> bytes:
        return b""


def _failed(data: bytes) -> bytes:
    said = _object(data)
    kind = said.pop("type", "")
    return exception(kind if isinstance(kind, str) else "", msgspec.json.encode(said))


EVENT_STREAM = Framing(
    media_type=MEDIA_TYPE,
    content_type=MEDIA_TYPE,
    splitter=FrameSplitter,
    parse=parse,
    completed=lambda rest: b"",  # what the splitter has left is never whole
    writer=FrameWriter,
    changed=changed,
)
