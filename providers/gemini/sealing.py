"""What Gemini's clients have to carry from turn to turn, as a ``thoughtSignature``: Gemini's own signatures as they
came, the reasoning of any other provider in a seal, which is base64 of bytes, because SDKs decode it."""

from typing import Any, Final

import attrs

from providers.neutral.seal import Issuer, seal_in_base64
from streams.events import ReasoningState

LONGEST: Final = 256 * 1024
"""Characters of reasoning that a seal repeats."""


@attrs.frozen
class Signature:
    """A signature for a part of that ``kind``, "" for the next part whatever it is. ``id``: of the call that it is
    for."""

    text: str
    kind: str = ""
    id: str = ""
    empty: bool = False

    def alone(self) -> dict[str, Any]:
        """A part of its own that bears it, where none fits that follows."""
        if self.kind == "text":
            return {"text": "", "thoughtSignature": self.text}
        return {"text": "", "thought": True, "thoughtSignature": self.text}


def signature_of(issuer: Issuer, state: ReasoningState, text: str) -> Signature | None:
    """The signature for the state of a block whose reasoning is ``text``; ``None`` where nothing has to be given
    back."""
    if state.api != "gemini":
        return Signature(seal_in_base64(issuer, state.api, sealed_item(state, text)))
    item = state.item if isinstance(state.item, dict) else {}
    signed = item.get("signature")
    if not isinstance(signed, str) or not signed or "native" in item:  # the part itself comes, and bears it
        return None
    return Signature(signed, str(item.get("part", "")), str(item.get("id", "")), item.get("empty") is True)


def sealed_item(state: ReasoningState, text: str) -> Any:
    """The item of a state; with the text where the item only says in which member that was, because Gemini CLI does not
    send thoughts back (DeepSeek refuses calls whose reasoning is missing)."""
    if state.api == "chat" and isinstance(state.item, dict) and "field" in state.item and 0 < len(text) <= LONGEST:
        return {**state.item, "text": text}
    return state.item
