"""Text blocks, with the citations in them."""

from collections.abc import Mapping, Sequence
from typing import Any

from providers.messages.answer import text_of
from providers.messages.reading.answer import BlockKind, OpenAnswer, OpenBlock
from providers.neutral.bounds import bounded
from streams.events import BlockEnd, Citation, Event, TextDelta


def begin(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """The text and the citations that are in the start already."""
    events = [*take_text(answer, block, text_of(block.item.get("text")))]
    citations = block.item.get("citations")
    for citation in bounded(citations, "citations") if isinstance(citations, list) else ():
        events += _cite(answer, block, citation)
    return events


def take_text(answer: OpenAnswer, block: OpenBlock, text: str) -> Sequence[Event]:
    """A piece of the text, with the citations that wait for it."""
    if not text:
        return ()
    number = answer.number(block)
    if not block.citations:
        return (TextDelta(number, text),)
    cited = [Citation(number, "messages", item) for item in block.citations]
    block.citations.clear()
    return (TextDelta(number, text), *cited)


def take_citation(answer: OpenAnswer, block: OpenBlock, delta: Mapping[str, Any]) -> Sequence[Event]:
    """A citation."""
    return _cite(answer, block, delta.get("citation"))


def _cite(answer: OpenAnswer, block: OpenBlock, citation: Any) -> Sequence[Event]:
    """A citation comes before the text that it is for; ours follow the text, which opens the block."""
    if block.number is None:
        if answer.keeps:
            answer.hold("citations")
            block.citations.append(citation)
        return ()
    return (Citation(block.number, "messages", citation),)


def finish(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """The end of a text that was said."""
    return [] if block.number is None else [BlockEnd(block.number)]


KIND = BlockKind(begin, finish, {"text_delta": ("text", take_text)}, {"citations_delta": take_citation})
