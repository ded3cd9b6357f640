"""Notes, which gateways with one store of counters share: facts that expire, such as outages (``gateway/counters``)."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

NoteReader: TypeAlias = Callable[[bytes, str, float], None]
"""A function that receives the key and the value of another gateway's note, and the seconds until it expires."""


class Notes(Protocol):
    """The notes of one process. Used from the event loop, and never waits."""

    def write(self, kind: str, key: bytes, value: str, seconds: float) -> None:
        """Write the note of ``kind`` and ``key`` soon, for ``seconds`` from then.

        It replaces the earlier note, unless another gateway has written that meanwhile: then its reader is called."""

    def add_reader(self, kind: str, reader: NoteReader) -> None:
        """Call ``reader`` for each note of ``kind`` that another process writes."""
