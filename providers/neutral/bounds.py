"""Bounds on the memory of a reader, so that it does not grow with the length of a stream.

There are two budgets. ``PLACES`` is for records of the answer's parts, such as open blocks and ids of calls; it is the
same for every reader. The other is for content that waits for more, such as signed thoughts and citations before their
text; the caller chooses it.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from streams.errors import GatewayError

Array = TypeVar("Array", bound=Sequence[Any])

PLACES: Final = 2**20
"""The bytes of places for all parts of an answer, enough for some two thousand items or open calls. Real answers have
tens, with citations hundreds."""

PLACE: Final = 600
"""The bytes of one place without its ids: an object with its members, in a table or two."""

ID: Final = 150
"""The bytes of one more id in a table, without its characters."""

BLOCKS: Final = 8192
"""The most blocks of an answer whose writer may list all of them at the end, in one turn of the event loop."""

CITATIONS: Final = 8192
"""The most citations of a streamed answer, for the same reason."""

PARTS: Final = 4096
"""The most elements of an array that a reader processes: calls, details or blocks."""

ANSWER: Final = 64 * 2**20
"""The default bytes of content that a reader holds."""

VALUE: Final = 100
"""The memory of an object, list, member or element in bytes, beyond its JSON."""

_STRUCTURE: Final = b"[{,"


class AnswerTooLarge(GatewayError):
    """The error for an answer with too many ``what``, such as "calls", to hold in memory."""

    def __init__(self, what: str) -> None:
        super().__init__("upstream", f"the provider sent too many {what} in one answer", reason=None)


class Budget:
    """A number of bytes to spend."""

    __slots__ = ("_left",)

    def __init__(self, size: int) -> None:
        self._left = size

    def spend(self, size: int, what: str) -> None:
        """Spend ``size`` bytes. Raises ``AnswerTooLarge`` with ``what`` if less is left."""
        self._left -= size
        if self._left < 0:
            raise AnswerTooLarge(what)

    def release(self, size: int) -> None:
        """Return ``size`` bytes that were spent."""
        self._left += size


def check_length(array: Array, what: str) -> Array:
    """Return ``array``. Raises ``AnswerTooLarge`` if it has too many elements."""
    if len(array) > PARTS:
        raise AnswerTooLarge(what)
    return array


def memory_of(json: bytes) -> int:
    """Return the most bytes of memory that the values in ``json`` take."""
    return len(json) + VALUE * (len(json) - len(json.translate(None, _STRUCTURE)))


class AnswerBudgets:
    """The budgets of a reader, and its current event."""

    __slots__ = ("arriving", "held", "holds_content", "places")

    def __init__(self, content_limit: int, places: Budget | None = None) -> None:
        """Allow ``content_limit`` bytes of content. ``places`` is a budget that another reader shares."""
        self.holds_content = content_limit > 0
        self.held = Budget(content_limit)
        self.places = places or Budget(PLACES)
        self.arriving = b""  # the current event

    def charge_event(self, what: str) -> None:
        """Account for held values of the current event."""
        self.held.spend(memory_of(self.arriving), what)

    def keep_piece(self, pieces: list[str], text: str) -> None:
        """Add ``text`` to the held ``pieces`` of a block, if the caller needs them later."""
        if self.holds_content and text:
            self.held.spend(len(text), "signed thoughts and arguments")
            pieces.append(text)
