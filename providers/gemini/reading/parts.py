"""Parts of a Gemini answer by kind: words, calls, and what only this API knows.

What is reasoning is said by ``thought`` and by nothing else: a signature makes no thought, and a thought need not have
one (BerriAI/litellm#17266, decolua/9router#1752).
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.gemini.reading.calls import call
from providers.gemini.reading.unfinished import UnfinishedAnswer
from streams.events import Event, NativeItem, ReasoningDelta, ReasoningState, TextDelta

REPLAYED: Final = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
"""Parts of Google's own tools that go back to it with the next turn. Clients of other APIs have no block for them, so
the part itself is sealed."""

_BESIDE: Final = frozenset(("thought", "thoughtSignature", "partMetadata", "videoMetadata", "mediaResolution"))
"""Members that say something of a part and not which kind it is of."""


def part_events(answer: UnfinishedAnswer, part: Mapping[str, Any]) -> list[Event]:
    """The events of one part."""
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
    """A part that holds nothing but a signature. Citations may yet come for the text before it, so it waits."""
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
    """A part that only this API can express, whole."""
    events = answer.end_block()
    if kind in REPLAYED:
        events += answer.state_block({"part": kind, "native": part})
    return [*events, NativeItem(answer.new_block(), "gemini", kind, part)]
