"""A Gemini answer while it comes in: the block of ours that is open, and what waits for its end."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from providers.neutral.bounds import PLACE, PLACES, Budget
from providers.neutral.codec import new_id
from streams.events import BlockEnd, Event, ReasoningState

if TYPE_CHECKING:
    from providers.gemini.reading.partial_arguments import PartialArguments

Words: TypeAlias = Literal["text", "thought"]

CITED: Final = 2**20
"""Characters of a text that are held because citations say their places in bytes; longer ones are cited as a whole."""

MEASURED: Final = 16 * CITED
"""Characters in all that are gone through for places: citations come once or twice in an answer, not in each chunk."""


class UnfinishedAnswer:
    """The state that parts of all kinds share. At most one block is open, and it is of words or a call whose arguments
    come in pieces: all other parts come whole."""

    __slots__ = (
        "arguments", "call_ids", "cited", "held", "keeps", "measured", "number", "opened", "places",
        "signatures", "signed", "text", "text_size", "words",
    )  # fmt: skip

    def __init__(self, keeps: int) -> None:
        """``keeps``: bytes of what is said that may be held."""
        self.keeps = keeps > 0
        self.held = Budget(keeps)
        self.places = Budget(PLACES)
        self.opened = 0  # blocks of ours so far
        self.number = 0  # of the block that is open
        self.words: Words | None = None  # what the open block is of
        self.arguments: PartialArguments | None = None  # of the call that is open
        self.signed = False  # the open text has its signature
        self.signatures: list[Mapping[str, Any]] = []  # of the open text, which go behind it
        self.text: list[str] = []  # of the open text
        self.text_size = 0
        self.measured = 0
        self.cited: set[tuple[str, int | None, int | None]] = set()  # in the open text
        self.call_ids: set[str] = set()

    def new_block(self) -> int:
        """The number of a block that opens."""
        self.opened += 1
        return self.opened - 1

    def state_block(self, item: Mapping[str, Any]) -> list[Event]:
        """A block of reasoning that holds ``item`` alone."""
        number = self.new_block()
        return [ReasoningState(number, "gemini", item), BlockEnd(number)]

    def sign_block(self, item: Mapping[str, Any]) -> list[Event]:
        """The end of the block that is open, with ``item`` as the state of its thoughts: clients carry the signature of
        a thought that they have shown, and not all carry one without words. Anything else ends before ``item``."""
        if self.words == "thought":
            return [ReasoningState(self.number, "gemini", item), *self.end_block()]
        return [*self.end_block(), *self.state_block(item)]

    def hold_signature(self, item: Mapping[str, Any]) -> None:
        """Hold the signature of the text that is open until its end. Raises ``TooMuch`` for very many."""
        self.places.spend(PLACE + len(item["signature"]), "signatures")
        self.signatures.append(item)

    def call_id(self, given: object) -> str:
        """The id of a call: the one that was ``given``, or one of ours, which no other turn has (a counter that began
        anew with each answer gave results to the wrong call; praxis-proxy/ai#1000)."""
        id = given if isinstance(given, str) and given and given not in self.call_ids else new_id("call_")
        self.call_ids.add(id)
        return id

    def open_words(self, words: Words) -> list[Event]:
        """The end of what is open, unless that is of ``words`` already; after it a block of them is open."""
        if self.words == words:
            return []
        events = self.end_block()
        self.number, self.words = self.new_block(), words
        return events

    def end_block(self) -> list[Event]:
        """The end of the block that is open, and what had to wait for it."""
        if self.arguments is not None:
            events = self.arguments.events(self.number)
            self.arguments = None
            return [*events, BlockEnd(self.number)]
        if self.words is None:
            return []
        events = [BlockEnd(self.number)]
        self.words, self.signed, self.text, self.text_size = None, False, [], 0
        self.cited.clear()
        for item in self.signatures:
            events += self.state_block(item)
        self.signatures = []
        return events

    def keep_text(self, text: str) -> None:
        """Hold ``text`` for citations, as long as that is little."""
        if self.keeps and self.text_size <= CITED:
            self.text_size += len(text)
            self.text.append(text)
            if self.text_size > CITED:
                self.text = []
