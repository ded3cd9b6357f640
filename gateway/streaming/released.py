"""Events as bytes between a transform and the lane: a framing and a reader of its own.

Both ends are in this process, and no bytes of a client or provider are read this way."""

import pickle
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

from providers.neutral.codec import Reader
from providers.neutral.wire_api import StreamWords
from streams.events import AnswerEnd, ErrorInfo, Event, TextDelta, Usage
from streams.framing import EventSplitter, Framing

UNFINISHED: Final = (ErrorInfo("upstream", "the provider's answer ended before it was complete", reason="connection"),)
"""The events at the end of a stream that is not complete."""

LENGTH: Final = 8
"""Bytes of the length before each frame."""

_TEXT: Final = b"t"
"""The first byte of a frame with text alone, which no pickle begins with."""


def frame_of_text(block: int, text: str) -> bytes:
    """Return ``text`` of ``block`` as one frame, several times as fast as ``frame_of`` does."""
    data = text.encode("utf-8", "surrogatepass")
    return b"%b%b%b%b" % ((len(data) + 5).to_bytes(LENGTH, "big"), _TEXT, block.to_bytes(4, "big"), data)


def frame_of(events: Sequence[Event]) -> bytes:
    """Return ``events`` of the only choice as one frame, nothing for no events."""
    return frame_of_choices({0: events})


def frame_of_choices(by_choice: Mapping[int, Sequence[Event]]) -> bytes:
    """Return the events of each choice as one frame, nothing for no events.

    It has tuples instead of text, because pickle writes these several times as fast."""
    rows = {
        choice: [(one.block, one.text, one.logprobs, one.phase) if type(one) is TextDelta else one for one in events]
        for choice, events in by_choice.items()
        if events
    }
    data = pickle.dumps(rows, pickle.HIGHEST_PROTOCOL) if rows else b""
    return len(data).to_bytes(LENGTH, "big") + data if rows else b""


def events_by_choice(data: bytes) -> dict[int, list[Event]]:
    """Return the events in a frame, given without its length."""
    rows: dict[int, list[Any]] = pickle.loads(data)  # written in this process
    return {choice: [TextDelta(*one) if type(one) is tuple else one for one in found] for choice, found in rows.items()}


class ReleasedFrameSplitter(EventSplitter):
    """Splits bytes into frames."""

    def __init__(self, limit: int) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        if not self._rest and len(data) == LENGTH + int.from_bytes(data[:LENGTH], "big"):
            return [data]  # nearly always
        self._rest += data
        frames, at = [], 0
        while len(self._rest) - at >= LENGTH:
            end = at + LENGTH + int.from_bytes(self._rest[at : at + LENGTH], "big")
            if end > len(self._rest):
                break
            frames.append(bytes(self._rest[at:end]))
            at = end
        del self._rest[:at]
        return frames

    def close(self) -> bytes:
        return b""


RELEASED: Final = Framing(
    "application/x-released-events", "application/x-released-events", ReleasedFrameSplitter,
    lambda raw: ("", raw[LENGTH:]),
    lambda rest: b"", is_internal=True,
)  # fmt: skip


class ReleasedReader:
    """Reads the events back."""

    def __init__(self) -> None:
        self._is_over = False

    def read_event(self, name: str, data: bytes) -> Sequence[Event]:
        if data.startswith(_TEXT):
            return (TextDelta(int.from_bytes(data[1:5], "big"), data[5:].decode("utf-8", "surrogatepass")),)
        (events,) = events_by_choice(data).values()
        self._is_over = self._is_over or any(isinstance(one, AnswerEnd | ErrorInfo) for one in events)
        return events

    def close(self) -> Sequence[Event]:
        return () if self._is_over else UNFINISHED

    def unsent_usage(self) -> Usage | None:
        return None

    def has_finished(self) -> bool:
        return False  # the transform knows


class ReleasedSource:
    """The source of a translation whose provider's events were already read and released."""

    wire = SimpleNamespace(framing=RELEASED, words=StreamWords())

    def reader(self, keeps: int = 0) -> Reader:
        return ReleasedReader()
