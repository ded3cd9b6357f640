"""Parts of a Gemini answer, read by kind: texts, thoughts, calls, and parts that only this API has.

``thought`` alone marks reasoning: a signature makes no thought, and a thought need not have one
(BerriAI/litellm#17266, decolua/9router#1752). ``UnfinishedAnswer`` is the state that all kinds share.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from providers.gemini.partial_arguments import PartialArguments
from providers.neutral.bounds import PLACE, AnswerBudgets
from providers.neutral.codec import new_id
from streams.errors import GatewayError
from streams.events import (
    BlockEnd,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)

Words: TypeAlias = Literal["text", "thought"]

CITED: Final = 2**20
"""Characters of a text that are held because citations say their places in bytes; longer ones are cited as a whole."""

MEASURED: Final = 16 * CITED
"""Characters in all that are gone through for places: citations come once or twice in an answer, not in each chunk."""


class UnfinishedAnswer(AnswerBudgets):
    """The state that parts of all kinds share. At most one block is open, and it is of words or a call whose arguments
    come in pieces: all other parts come whole."""

    __slots__ = (
        "arguments", "call_ids", "cited", "measured", "number", "opened", "signatures", "signed", "text", "text_size",
        "words",
    )  # fmt: skip

    def __init__(self, keeps: int) -> None:
        super().__init__(keeps)
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
        """Return the number of a block that opens."""
        self.opened += 1
        return self.opened - 1

    def state_block(self, item: Mapping[str, Any]) -> list[Event]:
        """Return the events of a block of reasoning that holds ``item`` alone."""
        number = self.new_block()
        return [ReasoningState(number, "gemini", item), BlockEnd(number)]

    def sign_block(self, item: Mapping[str, Any]) -> list[Event]:
        """Return the events for the end of the block that is open, with ``item`` as the state of its thoughts: clients
        carry the signature of a thought that they have shown, and not all carry one without words. Anything else ends
        before ``item``."""
        if self.words == "thought":
            return [ReasoningState(self.number, "gemini", item), *self.end_block()]
        return [*self.end_block(), *self.state_block(item)]

    def hold_signature(self, item: Mapping[str, Any]) -> None:
        """Hold the signature of the text that is open until its end. Raises ``TooMuch`` for very many."""
        self.places.spend(PLACE + len(item["signature"]), "signatures")
        self.signatures.append(item)

    def call_id(self, given: object) -> str:
        """Return the id of a call: the one that was ``given``, or one of ours, which no other turn has (a counter that
        began anew with each answer gave results to the wrong call; praxis-proxy/ai#1000)."""
        id = given if isinstance(given, str) and given and given not in self.call_ids else new_id("call_")
        self.call_ids.add(id)
        return id

    def open_words(self, words: Words) -> list[Event]:
        """Return the events for the end of what is open, unless that is of ``words`` already; after it a block of them
        is open."""
        if self.words == words:
            return []
        events = self.end_block()
        self.number, self.words = self.new_block(), words
        return events

    def end_block(self) -> list[Event]:
        """Return the events for the end of the block that is open, and what had to wait for it."""
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


def call(answer: UnfinishedAnswer, part: Mapping[str, Any], signature: str) -> list[Event]:
    """Return the events of a ``functionCall`` part. Raises ``GatewayError`` for a piece of a call that has not begun:
    it is not an argument of the next one (BerriAI/litellm#23815)."""
    item = part["functionCall"]
    if not isinstance(item, dict):
        return []
    if not item.get("name"):
        return _go_on(answer, item)
    answer.places.spend(PLACE, "tool calls")
    id = answer.call_id(item.get("id"))
    state = {"part": "functionCall", "id": id, "signature": signature}
    events = answer.sign_block(state) if signature else answer.end_block()
    number = answer.new_block()
    events.append(ToolCallStart(number, id, str(item["name"])))
    if item.get("willContinue") or "partialArgs" in item:
        answer.number = number
        answer.arguments = PartialArguments(answer.held, answer.keeps)
        answer.arguments.begin(item.get("args"))
        answer.arguments.add(item.get("partialArgs"))
        return events if item.get("willContinue") else [*events, *answer.end_block()]
    args = item.get("args")
    text = msgspec.json.encode(args if isinstance(args, dict) else {}).decode()
    return [*events, ToolCallDelta(number, text), BlockEnd(number)]


def _go_on(answer: UnfinishedAnswer, item: Mapping[str, Any]) -> list[Event]:
    """Return the events of a further piece of the call that is open. One without any member only says that it was the
    last."""
    if answer.arguments is None:
        if not item:
            return []
        message = "the provider sent a piece of a call that has not begun"
        raise GatewayError("upstream", message, reason="bad_answer")
    answer.arguments.add(item.get("partialArgs"))
    return [] if item.get("willContinue") else answer.end_block()


REPLAYED: Final = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
"""Parts of Google's own tools that go back to it with the next turn. Clients of other APIs have no block for them, so
the part itself is sealed."""

_BESIDE: Final = frozenset(("thought", "thoughtSignature", "partMetadata", "videoMetadata", "mediaResolution"))
"""Members that say something of a part and not which kind it is of."""


def part_events(answer: UnfinishedAnswer, part: Mapping[str, Any]) -> list[Event]:
    """Return the events of one part."""
    signature = part.get("thoughtSignature")
    signature = signature if isinstance(signature, str) else ""
    text = part.get("text")
    if isinstance(text, str):
        words = _thought if part.get("thought") is True else _text
        return words(answer, text, signature)
    if "functionCall" in part:
        return call(answer, part, signature)
    kind = next((name for name in part if name not in _BESIDE), None)
    if kind is not None:
        return _native(answer, kind, part)
    return _text(answer, "", signature)


def _text(answer: UnfinishedAnswer, text: str, signature: str) -> list[Event]:
    """Visible text. The signature of a text that has begun already follows it, as does that of an empty part; else it
    stands in front. A text that has its signature is not gone on with by another that is signed."""
    if not text:
        return _empty_text(answer, signature) if signature else []
    signed = {"part": "text", "signature": signature}
    if not signature:
        events = answer.open_words("text")
    elif answer.words == "text" and not answer.signed:
        events = []
        answer.hold_signature(signed)
        answer.signed = True
    else:
        events = [*answer.end_block(), *answer.state_block(signed), *answer.open_words("text")]
        answer.signed = True
    answer.keep_text(text)
    return [*events, TextDelta(answer.number, text)]


def _empty_text(answer: UnfinishedAnswer, signature: str) -> list[Event]:
    """Return the events of a part that holds nothing but a signature. Citations may yet come for the text before it, so
    it waits."""
    item = {"part": "text", "empty": True, "signature": signature}
    if answer.words == "text":
        answer.hold_signature(item)
        return []
    return [*answer.end_block(), *answer.state_block(item)]


def _thought(answer: UnfinishedAnswer, text: str, signature: str) -> list[Event]:
    events = answer.open_words("thought") if text or signature else []
    if text:
        events.append(ReasoningDelta(answer.number, text))
    if signature:
        events.append(ReasoningState(answer.number, "gemini", {"part": "thought", "signature": signature}))
        events += answer.end_block()
    return events


def _native(answer: UnfinishedAnswer, kind: str, part: Mapping[str, Any]) -> list[Event]:
    """Return the events of a part that only this API can express, whole."""
    events = answer.end_block()
    if kind in REPLAYED:
        events += answer.state_block({"part": kind, "native": part})
    return [*events, NativeItem(answer.new_block(), "gemini", kind, part)]
