"""Rules for Amazon's binary frames, checked on their bytes: lengths and checksum, headers, payload, total checksum.

Source: Smithy, "Event stream encoding".
"""

import struct
import zlib
from collections.abc import Iterator

from providers.grammar.rules import Finding, FrameFormat, ReadEvent, Rule
from providers.grammar.shapes import parse_object, show
from streams.event_stream import read_headers, read_payload

SPEC = "Smithy, Amazon Event Stream specification"

EVENT_FRAME_RULES: tuple[Rule, ...] = (
    Rule("frame.whole", "the stream ends with a whole frame, whose lengths fit one another", SPEC),
    Rule("frame.prelude", "the first checksum is that of the lengths", SPEC),
    Rule("frame.checksum", "the last checksum is that of the frame", SPEC),
    Rule("frame.headers", "headers are a name, a type and a value each, and fill their place", SPEC),
    Rule("frame.message", ":message-type is event or exception, and :event-type or :exception-type names it", SPEC),
    Rule("frame.content", ":content-type is application/json", "AWS restJson1, event streams"),
    Rule("frame.json", "the payload is a JSON object in UTF-8", "AWS restJson1, event streams"),
)

_MIN_FRAME = 16
_LENGTHS = struct.Struct(">III")
_NAMED_BY = {"event": ":event-type", "exception": ":exception-type"}


def _split_frames(body: bytes) -> list[bytes]:
    """Return the frames of a stream by their lengths; an invalid rest is the last piece."""
    frames = []
    start = 0
    while start < len(body):
        size = int.from_bytes(body[start : start + 4], "big") if len(body) - start >= _MIN_FRAME else 0
        if not _MIN_FRAME <= size <= len(body) - start:
            size = len(body) - start
        frames.append(body[start : start + size])
        start += size
    return frames


def _read_frame(raw: bytes) -> ReadEvent:
    """Return a frame as ``{NAME: payload}``, the form that SDKs show."""
    findings = list(_check_frame(raw))
    if findings:
        return ReadEvent(None, None, tuple(findings))
    if (headers := read_headers(raw)) is None:
        return ReadEvent(None, None, (("frame.headers", f"headers that begin {show(raw[12:40].hex())}"),))
    message = headers.get(":message-type")
    name = headers.get(_NAMED_BY.get(str(message), ""))
    if not isinstance(name, str):
        return ReadEvent(None, None, (("frame.message", f"headers {show(headers)}"),))
    if headers.get(":content-type") != "application/json":
        findings.append(("frame.content", f":content-type {show(headers.get(':content-type'))}"))
    payload = read_payload(raw)
    value = parse_object(payload)
    if value is None:
        findings.append(("frame.json", f"a payload that begins {show(payload[:20].hex())}"))
        return ReadEvent(name, None, tuple(findings))
    return ReadEvent(name, {name: value}, tuple(findings))


def _check_frame(raw: bytes) -> Iterator[Finding]:
    if len(raw) < _MIN_FRAME:
        yield "frame.whole", f"{len(raw)} bytes that are no frame"
        return
    size, headers, checksum = _LENGTHS.unpack_from(raw)
    if zlib.crc32(raw[:8]) != checksum:
        yield "frame.prelude", f"checksum {checksum:08x} over the lengths {size} and {headers}"
    elif size != len(raw) or headers > size - _MIN_FRAME:
        yield "frame.whole", f"lengths {size} and {headers} of a frame with {len(raw)} bytes"
    elif zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "big"):
        yield "frame.checksum", f"checksum {raw[-4:].hex()}"


EVENT_FRAMES = FrameFormat(_split_frames, _read_frame)
