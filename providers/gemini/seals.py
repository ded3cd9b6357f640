"""Thought signatures of earlier turns, given back to the endpoint that made them: nobody else takes them
("Corrupted thought signature"; BerriAI/litellm#32140).

They stand on parts of every kind. A client of another API carries each in a seal, as an item ``{"part": KIND,
"signature": TEXT}``: with the ``id`` of its call, with ``empty`` where a part of its own held nothing else, and with
the ``native`` part itself where it is one of Google's own tools.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from providers.gemini.reading.parts import REPLAYED
from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops
from providers.neutral.request import ReasoningPart, Request
from streams.events import Api

SKIPPED: Final = "skip_thought_signature_validator"
"""What Google documents for a call that it has not signed (agentjido/req_llm#427)."""


@attrs.frozen
class SignedPart:
    """What is to be given back with one part: its ``kind`` and ``signature``, and what else the item says."""

    kind: str
    signature: str = ""
    id: str = ""
    empty: bool = False
    native: Mapping[str, Any] | None = None


def signed_parts(part: ReasoningPart, request: Request, to: Recipient, drops: Drops) -> list[SignedPart]:
    """What ``part`` gives back; what another has made is left out, and named. The text of thoughts alone is wanted by
    nobody: its block has a seal that holds nothing, or is a summary without one, and that is no loss."""
    if part.seal is None and _is_text_alone(request.api, part.native):
        return []
    if part.seal is None:
        items = part.native if request.api == "gemini" else None
    elif not to.issuer.made(part.seal):
        items = None
    elif part.seal.item is None:
        return []
    else:
        items = part.seal.item if part.seal.api == "gemini" else None
    found = list(_read(items))
    if not found:
        drops.add(*part.places)
    return found


def _is_text_alone(api: Api, item: Any) -> bool:
    """Return whether reasoning of ``api`` holds nothing but what its reader was shown."""
    if not isinstance(item, Mapping):
        return False
    if api == "converse":
        text = item.get("reasoningText")
        return isinstance(text, Mapping) and not text.get("signature")
    return api == "responses" and not item.get("encrypted_content") and not item.get("content")


def _read(items: Any) -> Iterator[SignedPart]:
    """``items`` may come out of a seal, which whoever likes can make: only what a reader could have put in is taken."""
    for item in items if isinstance(items, list) else [items]:
        if not isinstance(item, Mapping) or not isinstance(kind := item.get("part"), str):
            continue
        native, signature, id = item.get("native"), item.get("signature"), item.get("id")
        if isinstance(native, Mapping):
            if kind in REPLAYED and kind in native:
                yield SignedPart(kind, native=native)
        elif kind == "thought" or isinstance(signature, str):
            yield SignedPart(
                kind,
                signature if isinstance(signature, str) else "",
                id if isinstance(id, str) else "",
                item.get("empty") is True,
            )
