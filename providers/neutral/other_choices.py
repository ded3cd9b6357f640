"""The choices of a stream besides the first one, whose events only pass through the gateway."""

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from providers.neutral.complete_choices import CompleteChoices
from streams.events import ErrorInfo, Event

R = TypeVar("R")

_MOST: Final = 128
"""The most choices that are read, which is OpenAI's limit."""


class OtherChoices(Generic[R]):
    """The other choices of one stream, each with a reader that ``make_reader`` returns. If one of them fails or breaks
    off, the stream has failed."""

    __slots__ = ("_complete", "_make_reader", "_readers")

    def __init__(self, make_reader: Callable[[], R]) -> None:
        self._make_reader = make_reader
        self._readers: dict[int, R] = {}
        self._complete: CompleteChoices | None = None  # most streams have one choice

    def read(self, index: object, read: Callable[[R], Sequence[Event]]) -> ErrorInfo | None:
        """Let the reader of the choice ``index`` ``read`` a part of it, and return its failure."""
        if type(index) is not int:
            return None
        if index not in self._readers:
            if len(self._readers) >= _MOST:
                return None
            self._readers[index] = self._make_reader()
        return self._failure(index, read(self._readers[index]))

    def end(self, end: Callable[[R], Sequence[Event]]) -> ErrorInfo | None:
        """Let each reader ``end`` its choice, and return the first failure."""
        failures = (self._failure(index, end(reader)) for index, reader in self._readers.items())
        return next((failure for failure in failures if failure is not None), None)

    def have_finished(self, has_finished: Callable[[R], bool]) -> bool:
        """Return whether each choice ``has_finished``."""
        return all(map(has_finished, self._readers.values()))

    def _failure(self, index: int, events: Sequence[Event]) -> ErrorInfo | None:
        if self._complete is None:
            self._complete = CompleteChoices()
        checked = self._complete.check(index, events)
        return checked[-1] if checked and isinstance(checked[-1], ErrorInfo) else None
