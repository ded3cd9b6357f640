"""Framings: how a stream of events is cut out of the bytes of a body. ``sse.SSE`` is one; binary frames are another.

A framing finds whole events without understanding them. What they say is for the readers of ``providers/``.
"""

from collections.abc import Callable
from typing import Protocol

import attrs

from streams.structure import UNFOLDS


class FramingError(Exception):
    """The bytes are no stream of this framing. Its text is fit for the client."""


class EventTooLarge(FramingError):
    """One event is larger than the limit: the stream cannot be forwarded in whole events."""

    def __init__(self) -> None:
        super().__init__("the provider sent an event larger than limits.event allows")


class EventUnfolds(FramingError):
    """One event is small enough, and would be large once it is decoded."""

    def __init__(self) -> None:
        super().__init__(f"the provider sent an event {UNFOLDS}")


class EventSplitter(Protocol):
    """Cuts a byte stream into whole events. The pieces put together are the input, byte for byte."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that ``data`` completes. Raises ``FramingError``."""
        ...

    def close(self) -> bytes:
        """Return what is left of an event that has not come to its end."""
        ...


class EventWriter(Protocol):
    """Puts the events of one stream into bytes of its framing."""

    def event(self, name: str, data: bytes) -> bytes:
        """Return an event with that name ("" if none) and data."""
        ...

    def close(self) -> bytes:
        """Return what stands behind the last event."""
        ...


@attrs.frozen
class Framing:
    """One way to put events into bytes. A stream of it is announced by ``media_type`` (lower case), and goes to clients
    as ``content_type``.

    ``splitter(limit)`` is a splitter that holds ``limit`` bytes at most. ``parse(raw)`` gives the name ("" if none) and
    the data of a whole event, ``None`` where there is nothing to read; it raises nothing. ``completed(rest)`` is what
    ``close`` has left as a whole event where it lacks nothing but its end, and nothing where it is only half there.

    ``writer()`` writes what another framing has said anew, for one stream.

    ``comment`` is a keep-alive that every client skips, ``b""`` where the framing has none. Events in which one of
    ``marks`` stands may be such that comments do harm from then on: ``is_plain(raw)`` says whether they are not.
    ``is_seen(raw)`` says whether a client takes the event for one at all. ``changed(raw, change)`` is the event with
    what it says changed.
    """

    media_type: str
    content_type: str
    splitter: Callable[[int], EventSplitter]
    parse: Callable[[bytes], tuple[str, bytes] | None]
    completed: Callable[[bytes], bytes]
    writer: "Callable[[], EventWriter] | None" = None
    comment: bytes = b""
    marks: tuple[bytes, ...] = ()
    is_plain: Callable[[bytes], bool] = lambda raw: True
    is_seen: Callable[[bytes], bool] = lambda raw: True
    changed: Callable[[bytes, Callable[[bytes], bytes]], bytes] = lambda raw, change: change(raw)

    def announced_by(self, content_type: str | None) -> bool:
        """Return whether a body with that ``content-type`` is a stream of this framing."""
        return (content_type or "").lower().startswith(self.media_type)
