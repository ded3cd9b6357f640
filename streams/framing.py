"""The interface of framings, which split a body's bytes into whole events without interpreting them.

``sse.SSE`` is one, ``event_stream.EVENT_STREAM`` another. The readers in ``providers/`` interpret the events.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import attrs

from streams.structure import TOO_MANY_ELEMENTS


class FramingError(Exception):
    """Bytes that violate the framing. The message may be shown to the client."""


class EventTooLarge(FramingError):
    """An event larger than the limit, which the gateway cannot buffer."""

    def __init__(self) -> None:
        super().__init__("the provider sent an event larger than limits.event allows")


class EventTooComplex(FramingError):
    """An event that would take too much memory once decoded."""

    def __init__(self) -> None:
        super().__init__(f"the provider sent an event {TOO_MANY_ELEMENTS}")


class EventHasTooManyLines(FramingError):
    """An event with so many lines that reading them would delay other streams."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the provider sent an event of more than {most:,} lines")


class EventSplitter(Protocol):
    """A splitter of a byte stream into whole events; the pieces add up to the input, byte for byte."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that ``data`` completes. Raises ``FramingError``."""

    def close(self) -> bytes:
        """Return the bytes of an unfinished event."""

    def parse_lone(self, data: bytes) -> tuple[str, bytes] | None:
        """Return the name and the data of the only event in ``data`` if it has the most frequent form: no other lines,
        such as comments. The caller does not ``feed`` it then. After ``None``, the caller has to ``feed`` ``data``."""
        return None


class EventWriter(Protocol):
    """A writer of the events of one stream in its framing."""

    def event(self, name: str, data: bytes) -> bytes:
        """Return the bytes of an event with that name ("" for none) and data."""

    def close(self) -> bytes:
        """Return the bytes that follow the last event."""


@attrs.frozen(repr=False)
class Framing:
    """A framing: a way to encode events as bytes.

    - ``media_type`` (lower case) identifies a stream of this framing; clients receive ``content_type``.
    - ``splitter(limit)`` returns a splitter that buffers up to ``limit`` bytes.
    - ``parse(raw)`` returns the name ("" for none) and the data of a whole event, or ``None`` if it has no data. It
      never raises.
    - ``parse_usual(raw)`` returns the same for a frequent form of events for which ``is_plain`` is true; otherwise
      ``None``.
    - ``complete(rest)`` turns the result of the splitter's ``close`` into a whole event if only its end is missing,
      else returns ``b""``.
    - ``writer()`` returns a writer for one stream.
    - ``comment`` is a keep-alive that every client skips, or ``b""``.
    - ``is_plain(raw, name, data)`` returns whether comments remain safe after the event, parsed as ``name`` and
      ``data``. With ``b""``, it reads all lines.
    - ``is_seen(raw)`` returns whether clients recognize the event at all.
    - ``begins(start)`` returns whether a body that begins with ``start`` can only be a stream of this framing.
    - ``change_payload(raw, change)`` returns the event with ``change`` applied to its data.
    - ``without_remarks(raw, name, data)`` returns the event, parsed as ``name`` and ``data``, without text that its
      readers and clients ignore, such as comments, because no check sees that text. The result may be empty.
    - ``join(data, is_first)`` returns ``data``, events of one writer, as the client's first bytes or as those after
      events of another writer. ``None``: they are the same.
    - ``is_internal``: the bytes are the gateway's own and nothing to show or record.
    """

    media_type: str
    content_type: str
    splitter: Callable[[int], EventSplitter]
    parse: Callable[[bytes], tuple[str, bytes] | None]
    complete: Callable[[bytes], bytes]
    parse_usual: Callable[[bytes], tuple[str, bytes] | None] = lambda raw: None
    writer: "Callable[[], EventWriter] | None" = None
    comment: bytes = b""
    is_plain: Callable[[bytes, str, bytes], bool] = lambda raw, name, data: True
    is_seen: Callable[[bytes], bool] = lambda raw: True
    begins: Callable[[bytes], bool] = lambda start: False
    change_payload: Callable[[bytes, Callable[[bytes], bytes]], bytes] = lambda raw, change: change(raw)
    without_remarks: Callable[[bytes, str, bytes], bytes] = lambda raw, name, data: raw
    join: Callable[[bytes, bool], bytes] | None = None
    is_internal: bool = False

    def matches_type(self, content_type: str | None) -> bool:
        """Return whether a body with that ``content-type`` is a stream of this framing."""
        return (content_type or "").lower().startswith(self.media_type)

    def parse_all(self, body: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the data of each event of a whole stream, of any size. The last event may lack its end.

        Raises ``FramingError`` before the first event."""
        splitter = self.splitter(len(body) + 1)
        for raw in (*splitter.feed(body), self.complete(splitter.close())):
            if raw and (parsed := self.parse(raw)) is not None:
                yield parsed
