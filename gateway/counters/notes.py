"""Notes that gateways share through the store of their counters: facts that expire, such as outages and pins.

The store only carries them. Each process keeps what it reads in its own bounded tables."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, TypeAlias

from gateway.shared.notes import NoteReader

PER_STEP: Final = 500
"""Notes written, and notes read, in one step."""
MOST_UNSENT: Final = 10_000
"""Notes that wait for a step. Without room, the oldest are dropped: others then learn these facts on their own."""

UnsentNote: TypeAlias = tuple[str, str, int]
"""A note's name (kind and key), its value, and its lifetime in milliseconds."""
ReadNote: TypeAlias = tuple[str, str, float]
"""The same as the store returns it."""


class SharedNotes:
    """The notes of one process: those to write, and the readers of those that others wrote.

    ``read_to`` is the store's number of the newest note read."""

    def __init__(self, wake: Callable[[], object]) -> None:
        """Make the notes of a process that calls ``wake`` if there is one to write."""
        self.read_to = 0
        self._wake = wake
        self._unsent: dict[str, UnsentNote] = {}
        self._readers: dict[str, NoteReader] = {}

    def __bool__(self) -> bool:
        return bool(self._unsent)

    @property
    def has_readers(self) -> bool:
        return bool(self._readers)

    def add_reader(self, kind: str, reader: NoteReader) -> None:
        """Call ``reader`` for each note of ``kind`` that another process writes."""
        self._readers[kind] = reader

    def write(self, kind: str, key: bytes, value: str, seconds: float) -> None:
        """Write the note of ``kind`` and ``key`` with the next step, for ``seconds`` from then."""
        name = f"{kind}:{key.hex()}"
        self._unsent.pop(name, None)
        self._unsent[name] = name, value, max(1, round(seconds * 1000))
        if len(self._unsent) > MOST_UNSENT:
            del self._unsent[next(iter(self._unsent))]
        self._wake()

    def take(self) -> list[UnsentNote]:
        """Remove and return the notes for the next step."""
        return [self._unsent.pop(name) for name in list(islice(self._unsent, PER_STEP))]

    def read_again(self, unwritten: Sequence[UnsentNote]) -> None:
        """Write ``unwritten`` with the next step and read all notes again, because the store has lost data."""
        self._unsent = {note[0]: note for note in unwritten} | self._unsent
        self.read_to = 0

    def receive(self, notes: Sequence[ReadNote], read_to: int) -> None:
        """Pass the notes of other processes to their readers. They replace those still to write here."""
        self.read_to = read_to
        for name, value, milliseconds in notes:
            self._unsent.pop(name, None)  # it was written without knowing the other one, as if the store refused it
            kind, _, key = name.partition(":")
            if (reader := self._readers.get(kind)) is not None:
                with suppress(ValueError):  # another version's, or damaged: it must not end this process
                    reader(bytes.fromhex(key), value, milliseconds / 1000)
