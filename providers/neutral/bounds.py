"""Bounds on what one answer may make a reader hold, whatever its provider sends: a stream's memory does not grow with
its length.

Two budgets. ``PLACES`` is for what is known of the answer's parts: an open block, an item, the id of a call. It is the
same for everybody and ends with the stream. What is said and has to be held until more has come (signed thoughts,
citations that wait for their text) may be as long as whoever reads allows, who holds as much of a whole answer.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from streams.errors import GatewayError

Array = TypeVar("Array", bound=Sequence[Any])

PLACES: Final = 2**20
"""Bytes, nearly, of places for all parts of an answer: some two thousand items or open calls. Real answers have tens,
those with a citation in each sentence hundreds."""

PLACE: Final = 600
"""Bytes of one place, beside those of its ids: an object with its members, in a table or two."""

ID: Final = 150
"""Bytes of one more id in a table, beside its characters."""

PARTS: Final = 4096
"""Elements of an array that are each worked on: calls, details or blocks in one event, blocks of a whole answer."""

ANSWER: Final = 64 * 2**20
"""Bytes that a reader holds of what is said, where nobody says otherwise."""

VALUE: Final = 100
"""Bytes of memory that an object or a list, a member or an element may take beyond those of its JSON."""

_STRUCTURE: Final = b"[{,"


class TooMuch(GatewayError):
    """A provider's answer is beyond a bound: ``what`` there is too much of."""

    def __init__(self, what: str) -> None:
        super().__init__("upstream", f"the provider sent too many {what} in one answer", reason=None)


class Budget:
    """A number of bytes to be spent."""

    __slots__ = ("_left",)

    def __init__(self, size: int) -> None:
        self._left = size

    def spend(self, size: int, what: str) -> None:
        """Raise ``TooMuch``, which names ``what`` is too much, if less than ``size`` is left."""
        self._left -= size
        if self._left < 0:
            raise TooMuch(what)

    def give_back(self, size: int) -> None:
        self._left += size


def bounded(array: Array, what: str) -> Array:
    """Return ``array``; raises ``TooMuch`` if it has more elements than may be worked on."""
    if len(array) > PARTS:
        raise TooMuch(what)
    return array


def memory_of(json: bytes) -> int:
    """Bytes that the values in ``json`` take at most."""
    return len(json) + VALUE * (len(json) - len(json.translate(None, _STRUCTURE)))


class AnswerBudgets:
    """The budgets of a reader, and the event that it reads."""

    __slots__ = ("arriving", "held", "keeps", "places")

    def __init__(self, keeps: int) -> None:
        """``keeps``: bytes of content that may be held."""
        self.keeps = keeps > 0
        self.held = Budget(keeps)
        self.places = Budget(PLACES)
        self.arriving = b""  # the event that is being read

    def hold(self, what: str) -> None:
        """Account for values out of the event that is being read, which are held until more has arrived."""
        self.held.spend(memory_of(self.arriving), what)

    def hold_piece(self, pieces: list[str], text: str) -> None:
        """Add ``text`` to ``pieces``, which are held until their block ends, if the caller wants them then."""
        if self.keeps and text:
            self.held.spend(len(text), "signed thoughts and arguments")
            pieces.append(text)
