"""Numbering of the events of a Responses stream, in the order in which they are written."""

import re
from collections.abc import Mapping
from typing import Any, Final

from providers.responses.output import Object, end_events
from streams import sse

_NUMBER: Final = re.compile(rb'"sequence_number": ?(\d+)')  # a string cannot contain it: its quotes are escaped


def keep_alive_after(events: bytes) -> bytes:
    """Return OpenAI's own keep-alive, with the number of the last of ``events``, 0 without one.

    Later events keep their numbers, and a client that resumes the stream after the keep-alive misses none."""
    numbers = _NUMBER.findall(events)
    return sse.event("keepalive", {"type": "keepalive", "sequence_number": int(numbers[-1]) if numbers else 0})


class EventSequence:
    """A writer of numbered events, which stores finished items by index."""

    def __init__(self) -> None:
        self._next = 0
        self._indices = 0
        self.finished_items: dict[int, Any] = {}

    def new_number(self) -> int:
        self._next += 1
        return self._next - 1

    def event(self, name: str, members: Object) -> bytes:
        return sse.event(name, {"type": name, "sequence_number": self.new_number(), **members})

    def new_index(self) -> int:
        self._indices += 1
        return self._indices - 1

    def is_last(self, index: int) -> bool:
        return index == self._indices - 1

    def item_added(self, index: int, item: Any) -> bytes:
        return self.event("response.output_item.added", {"output_index": index, "item": item})

    def item_done(self, index: int, item: Any) -> bytes:
        self.finished_items[index] = item
        return self.event("response.output_item.done", {"output_index": index, "item": item})

    def output(self) -> list[Any]:
        return in_order(self.finished_items)

    def start_events(self, response: Object) -> bytes:
        """Return the first events, which precede all items."""
        members = {"response": response}
        return self.event("response.created", members) + self.event("response.in_progress", members)

    def end_event(self, response: Object) -> bytes:
        """Return the terminal event for the response's status, after the ``error`` of a failure."""
        return end_events(self.new_number(), response)


def in_order(items: Mapping[int, Any]) -> list[Any]:
    """Return the items in the order of their indices, which may have gaps."""
    return [items[index] for index in sorted(items)]


class Deltas:
    """A writer of the deltas of one text. Everything but number and text is encoded once, because this is
    the hot path."""

    __slots__ = ("_head", "_out", "_tail", "pieces")

    def __init__(self, out: EventSequence, name: str, where: Object, tail: bytes = b"}") -> None:
        members = sse.dump({"type": name, **where})[:-1]
        self._head = b'event: %b\ndata: %b,"sequence_number":' % (name.encode("ascii"), members)
        self._tail = tail + b"\n\n"
        self._out = out
        self.pieces: list[str] = []

    def write(self, text: str, tail: bytes | None = None) -> bytes:
        """Return the delta for ``text``; ``tail`` replaces its usual last members."""
        self.pieces.append(text)
        return b'%b%d,"delta":%b%b' % (self._head, self._out.new_number(), sse.dump(text), tail or self._tail)

    def text(self) -> str:
        return "".join(self.pieces)
