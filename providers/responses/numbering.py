"""Events of a Responses stream on their way out: numbered, in the order in which they are asked for."""

from collections.abc import Mapping
from typing import Any

from providers.responses.output import Object
from streams import sse


class EventSequence:
    """The events that are going out: numbers them, and keeps the finished items by their index."""

    def __init__(self) -> None:
        self._next = 0
        self._indices = 0
        self.done: dict[int, Any] = {}

    def number(self) -> int:
        self._next += 1
        return self._next - 1

    def event(self, name: str, members: Object) -> bytes:
        return sse.event(name, {"type": name, "sequence_number": self.number(), **members})

    def index(self) -> int:
        """Return the index of the next item."""
        self._indices += 1
        return self._indices - 1

    def is_last(self, index: int) -> bool:
        return index == self._indices - 1

    def added(self, index: int, item: Any) -> bytes:
        return self.event("response.output_item.added", {"output_index": index, "item": item})

    def finished(self, index: int, item: Any) -> bytes:
        self.done[index] = item
        return self.event("response.output_item.done", {"output_index": index, "item": item})

    def output(self) -> list[Any]:
        return in_order(self.done)

    def begin(self, response: Object) -> bytes:
        """Return the first events, before anything is said."""
        members = {"response": response}
        return self.event("response.created", members) + self.event("response.in_progress", members)

    def end(self, response: Object) -> bytes:
        """Return the terminal event that the response's status asks for."""
        return self.event(f"response.{response['status']}", {"response": response})


def in_order(items: Mapping[int, Any]) -> list[Any]:
    """Items by the order of their indices, which may have gaps."""
    return [items[index] for index in sorted(items)]


class Deltas:
    """The deltas of one text. Everything around the number and the text is encoded once: this is the hot path."""

    __slots__ = ("_head", "_out", "_tail", "pieces")

    def __init__(self, out: EventSequence, name: str, where: Object, tail: bytes = b"}") -> None:
        members = sse.dump({"type": name, **where})[:-1]
        self._head = b'event: %b\ndata: %b,"sequence_number":' % (name.encode("ascii"), members)
        self._tail = tail + b"\n\n"
        self._out = out
        self.pieces: list[str] = []

    def write(self, text: str, tail: bytes | None = None) -> bytes:
        """``tail``: the last members of this delta, where they are not the usual ones."""
        self.pieces.append(text)
        return b'%b%d,"delta":%b%b' % (self._head, self._out.number(), sse.dump(text), tail or self._tail)

    def text(self) -> str:
        return "".join(self.pieces)
