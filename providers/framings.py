"""Streams in any framing, detected from their bytes: where events end, and their text.

Stored and shown streams have no headers. Frames start with lengths and a checksum, a JSON array with a bracket;
everything else is server-sent events."""

import zlib
from typing import Final

from providers.apis import CODECS
from providers.neutral.invoked import INVOKED
from streams.event_stream import EVENT_STREAM
from streams.framing import Framing, FramingError
from streams.sse import SSE

ARRAY: Final = next(codec.wire.unless_asked[1] for codec in CODECS.values() if codec.wire.unless_asked)
"""The framing of the API whose streams are one JSON array unless a client requests events."""
_ELEMENTS: Final = (b"[", b",", b"{", b"]")


def framing_of(data: bytes) -> Framing:
    """Return the framing of a stream, or of a part that starts at an event."""
    if len(data) >= 12 and zlib.crc32(data[:8]) == int.from_bytes(data[8:12], "big"):
        return EVENT_STREAM
    return ARRAY if data.lstrip()[:1] in _ELEMENTS else SSE


def events_in(data: bytes) -> list[bytes]:
    """Return the events of ``data``, which starts at an event; an incomplete last one counts, too."""
    splitter = framing_of(data).splitter(len(data) + 1)
    try:
        found = splitter.feed(data)
    except FramingError:
        return [data]
    return [*found, *filter(None, (splitter.close(),))]


def text_of(data: bytes) -> bytes:
    """Return events as lines of ``event:`` and ``data:``, for framings without such lines.

    Applies to frames, including their base64 content, and to elements of an array. Other data is unchanged."""
    if framing_of(data) is EVENT_STREAM:
        return b"".join(map(_text_of_frame, events_in(data)))
    return b"".join(map(_text_of_element, events_in(data))) if data[:1] in _ELEMENTS[:2] else data


def _text_of_element(raw: bytes) -> bytes:
    found = ARRAY.parse(raw)
    return raw if found is None else b"data: %b\n\n" % found[1].replace(b"\n", b"\ndata: ")


def _text_of_frame(raw: bytes) -> bytes:
    if framing_of(raw) is not EVENT_STREAM or len(raw) != int.from_bytes(raw[:4], "big"):
        return b": half a frame\n\n"
    name, data = EVENT_STREAM.parse(raw) or ("", b"")
    if data.startswith(b'{"bytes":'):
        name, data = INVOKED.parse(raw) or ("", b"")
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data.replace(b"\n", b"\ndata: "))
