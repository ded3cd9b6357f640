"""Thinking blocks: their text as it comes, and the signed block that the provider wants back at the end."""

from collections.abc import Sequence

from providers.messages.answer import reasoning_events, text_of
from providers.messages.reading import native
from providers.messages.reading.answer import BlockKind, OpenAnswer, OpenBlock
from streams.events import Event, ReasoningDelta


def begin(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """The thinking and the signature that are in the start already."""
    answer.hold_piece(block.signature, text_of(block.item.get("signature")))
    return [*take_thinking(answer, block, text_of(block.item.get("thinking")))]


def take_thinking(answer: OpenAnswer, block: OpenBlock, text: str) -> Sequence[Event]:
    """A piece of the thinking."""
    if not text:
        return ()
    answer.hold_piece(block.pieces, text)
    return (ReasoningDelta(answer.number(block), text),)


def take_signature(answer: OpenAnswer, block: OpenBlock, text: str) -> Sequence[Event]:
    """A piece of the signature."""
    answer.hold_piece(block.signature, text)
    return ()


def finish(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """The block itself, whole, if it is signed, and its end."""
    text, signature = "".join(block.pieces), "".join(block.signature)
    if block.number is None and not signature:
        return []
    item = block.item | {"thinking": text, "signature": signature}
    events = reasoning_events(answer.number(block), text, item)
    return events[1:] if text else events  # the text went out as it came


KIND = BlockKind(
    begin,
    finish,
    {
        **native.KIND.pieces,
        "thinking_delta": ("thinking", take_thinking),
        "signature_delta": ("signature", take_signature),
    },
)
