"""Writer of a model's turn as the parts of one content, with thought signatures on their original parts.

Only the endpoint that made a signature accepts it ("Corrupted thought signature"; BerriAI/litellm#32140). Parts of
every kind may have one. For clients of other APIs a seal carries it as an item ``{"part": KIND, "signature": TEXT}``:
with the ``id`` of its call or the mark of its image, with ``empty`` for a part that only held the signature, and with
the whole part as ``native`` for Google's own tools.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from providers.gemini.media import GeminiPart, media_part
from providers.gemini.reading import REPLAYED
from providers.neutral.arguments import call_input
from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops, join_path
from providers.neutral.made_images import SIGNED, image_mark
from providers.neutral.request import ImagePart, Part, ReasoningPart, Request, ToolCallPart
from providers.neutral.tool_names import match_ids
from streams.events import Api

PLACEHOLDER: Final = "skip_thought_signature_validator"
"""Google's documented placeholder for a missing signature (agentjido/req_llm#427)."""


@attrs.frozen
class SignedPart:
    """The signature to send back with one part, or the whole ``native`` part."""

    kind: str
    signature: str = ""
    id: str = ""
    empty: bool = False
    native: Mapping[str, Any] | None = None


def signed_parts(part: ReasoningPart, request: Request, to: Recipient, drops: Drops) -> list[SignedPart]:
    """Return the signatures that ``part`` carries; those of other providers are dropped and reported.

    The text of a thought alone is not required back, so dropping it is not reported.
    """
    if part.seal is None and _is_text_only(request.api, part.native):
        return []
    if part.seal is None:
        items = part.native if request.api == "gemini" else None
    elif not to.issuer.is_maker_of(part.seal):
        items = None
    elif part.seal.item is None:
        return []
    else:
        items = part.seal.item if part.seal.api == "gemini" else None
    found = list(_read_signatures(items))
    if not found:
        drops.add(*part.places)
    return found


def _is_text_only(api: Api, item: Any) -> bool:
    """Return whether reasoning of ``api`` only contains text that the client has already shown."""
    if not isinstance(item, Mapping):
        return False
    if api == "converse":
        text = item.get("reasoningText")
        return isinstance(text, Mapping) and not text.get("signature")
    return api == "responses" and not item.get("encrypted_content") and not item.get("content")


def _read_signatures(items: Any) -> Iterator[SignedPart]:
    """Yield the signatures in ``items``.

    Anyone can make a seal, so only items that a reader could have sealed are accepted.
    """
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


_OWN_ID: Final = re.compile(r"call_[0-9a-f]{24}")
"""Matches ids that the gateway made for calls without one."""


class ModelTurn:
    """The parts of a model's turn so far; ``ids`` are the call ids that the provider assigned.

    Most clients keep a signature next to its part. Clients of Chat send all of them before the message: then calls are
    matched by id, and a text's signature goes to the next text.
    """

    def __init__(self, parts: Sequence[Part], request: Request, to: Recipient, drops: Drops) -> None:
        self.ids: dict[str, str] = {}
        self._parts: list[GeminiPart] = []
        self._drops = drops
        self._quirks = to.quirks
        self._waiting: list[tuple[int, SignedPart]] = []  # signatures of texts, with their positions
        self._items = {
            id(part): signed_parts(part, request, to, drops) for part in parts if isinstance(part, ReasoningPart)
        }
        signed = [one for items in self._items.values() for one in items if one.kind == "functionCall"]
        originals = {one.id: one for one in signed}  # the client's ids for calls may replace the provider's
        matched = match_ids([part.id for part in parts if isinstance(part, ToolCallPart)], originals)
        self._signatures_by_call = {id: originals[original] for id, original in matched.items()}
        self._signatures_by_image = {
            one.id: one.signature for items in self._items.values() for one in items if one.kind == SIGNED
        }
        self._sends_ids = request.api == "gemini" or any(not _OWN_ID.fullmatch(one.id) for one in signed)
        self._unsigned_call: ToolCallPart | None = None  # the turn's first call, if unsigned
        self._first_call: GeminiPart | None = None

    def add(self, parts: Sequence[GeminiPart]) -> None:
        """Add parts without signatures."""
        self._parts.extend(parts)

    def image(self, part: ImagePart) -> None:
        """Add an image that a model made. Gemini 3 refuses it without a signature (langchain-ai/langchain-google#1431).

        Images of other models, and changed ones, have none.
        """
        written = media_part(part, native=False)
        if signature := self._signatures_by_image.get(image_mark(part.source.value)):
            written["thoughtSignature"] = signature
        elif self._quirks.signed_calls:
            written["thoughtSignature"] = PLACEHOLDER
            self._drops.add(join_path(part.at, "thoughtSignature"))
        self._parts.append(written)

    def reasoning(self, part: ReasoningPart) -> None:
        """Add the parts and signatures that an earlier answer's reasoning carries."""
        for one in self._items[id(part)]:
            if one.native is not None:
                self._parts.append(dict(one.native))
            elif one.kind == "thought" and one.signature:
                self._parts.append({"text": part.text, "thought": True, "thoughtSignature": one.signature})
            elif one.kind == "text":
                self._waiting.append((len(self._parts), one))

    def call(self, part: ToolCallPart) -> None:
        """Add a call. Of several parallel calls only the first is signed."""
        self._drops.add(*(join_path(part.at, mark) for mark in part.marks))
        function: GeminiPart = {"name": part.name, "args": call_input(part.input, part.kind)}
        signed = self._signatures_by_call.get(part.id)
        if self._sends_ids and not _OWN_ID.fullmatch(part.id):
            self.ids[part.id] = part.id if signed is None else signed.id
            function = {"id": self.ids[part.id], **function}
        written: GeminiPart = {"functionCall": function}
        if signature := "" if signed is None else signed.signature:
            written["thoughtSignature"] = signature
        if self._first_call is None:
            self._first_call, self._unsigned_call = written, None if signature else part
        self._parts.append(written)

    def all_parts(self) -> list[GeminiPart]:
        """Return all parts, with a placeholder if the first call is unsigned.

        Otherwise the provider rejects the whole history (anomalyco/opencode#4832).
        """
        if self._unsigned_call is not None and self._first_call is not None and self._quirks.signed_calls:
            self._first_call["thoughtSignature"] = PLACEHOLDER
            self._drops.add(join_path(self._unsigned_call.at, "thoughtSignature"))
        return _place_signatures(self._parts, self._waiting) if self._waiting else self._parts


def _place_signatures(parts: list[GeminiPart], waiting: Sequence[tuple[int, SignedPart]]) -> list[GeminiPart]:
    """Return ``parts`` with the signatures of texts.

    Each signature goes to the nearest text, to an empty part at its position, or to the end. Each part is examined a
    few times at most.
    """
    own: dict[int, list[GeminiPart]] = {}
    ahead, back = 0, len(parts) - 1
    for place, one in waiting:
        written = {"text": "", "thoughtSignature": one.signature}
        if one.empty:
            own.setdefault(place or len(parts), []).append(written)
            continue
        ahead = max(ahead, place)
        if (
            place
            and _may_carry_signature(parts[place - 1])
            and not (place < len(parts) and _may_carry_signature(parts[place]))
        ):
            parts[place - 1]["thoughtSignature"] = one.signature
            continue
        while ahead < len(parts) and not _may_carry_signature(parts[ahead]):
            ahead += 1
        while ahead == len(parts) and back >= 0 and not _may_carry_signature(parts[back]):
            back -= 1
        if (found := ahead if ahead < len(parts) else back) >= 0:
            parts[found]["thoughtSignature"] = one.signature
        else:
            own.setdefault(place, []).append(written)
    if not own:
        return parts
    return [part for place in range(len(parts) + 1) for part in (*own.get(place, ()), *parts[place : place + 1])]


def _may_carry_signature(part: GeminiPart) -> bool:
    return bool(part.get("text")) and not part.get("thought") and "thoughtSignature" not in part
