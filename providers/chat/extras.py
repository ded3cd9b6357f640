"""Members of a Chat message beside its text, in streams and whole answers alike: citations, and the reasoning that its
provider wants back.

A stream sends each of the two once, at its end. OpenAI's own Python client fails on a second list without numbers in
its elements, and it merges numbered elements by their place (``openai/lib/streaming/_deltas.py``).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from providers.chat.parts.reasoning import USUAL_FIELD
from providers.neutral.seal import Issuer, seal
from streams.events import Api, Citation, ReasoningState
from streams.fold import TextBlock


class Seals:
    """``reasoning_details``: as they are where the provider spoke Chat and gave some, else sealed, one item for all."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._native: list[Any] = []
        self._foreign: dict[Api, list[Any]] = {}
        # Names of members: each once for all blocks, and not the one under which the text itself goes back.
        self._fields: set[Any] = {USUAL_FIELD}

    def add(self, state: ReasoningState) -> None:
        details = state.item.get("reasoning_details") if state.api == "chat" else None
        if isinstance(details, list):
            self._native.extend(details)
        elif state.api != "chat":
            self._foreign.setdefault(state.api, []).append(state.item)
        elif (field := state.item.get("field")) not in self._fields:
            self._fields.add(field)
            self._foreign.setdefault(state.api, []).append(state.item)

    def details(self) -> list[Any]:
        sealed = [
            {"type": "reasoning.encrypted", "data": seal(self._issuer, api, items)}
            for api, items in self._foreign.items()
        ]
        return _numbered(self._native + sealed)


def _numbered(details: list[Any]) -> list[Any]:
    """``details`` with their places as ``index`` if any has one at all, so that no two are merged into one."""
    if not any(isinstance(detail, dict) and "index" in detail for detail in details):
        return details
    return [{**detail, "index": i} if isinstance(detail, dict) else detail for i, detail in enumerate(details)]


class Citations:
    """``annotations``: citations with a URL, their places counted in the whole content.

    A stream tells of a citation before the length of its text is known, so they wait for the end of their block."""

    def __init__(self) -> None:
        self._waiting: list[Citation] = []
        self._start = 0  # of the open text in the content
        self.annotations: list[Any] = []

    def add(self, cited: Citation) -> None:
        self._waiting.append(cited)

    def close(self, end: int) -> None:
        """A block that is not a tool call is over; the content has ``end`` characters now."""
        for cited in self._waiting:
            if (annotation := _annotation(cited, self._start, end - self._start)) is not None:
                self.annotations.append(annotation)
        self._waiting.clear()
        self._start = end


def annotations_of(texts: Iterable[TextBlock]) -> list[Any]:
    """The annotations of a whole answer."""
    citations, end = Citations(), 0
    for block in texts:
        for cited in block.citations:
            citations.add(cited)
        end += len(block.text)
        citations.close(end)
    return citations.annotations


def _annotation(cited: Citation, start: int, length: int) -> Any:
    """A citation in Chat's words, None where it has no URL: Chat knows no other (a passage of a document)."""
    link = cited.item.get("url_citation") if cited.api == "chat" else cited.item
    if not isinstance(link, dict) or not isinstance(link.get("url"), str):
        return None
    place = {"url": link["url"], **_place(link, start, length)}
    if cited.api == "chat":  # its places are those in the whole content already, and it may say more
        place |= {name: value for name, value in link.items() if value is not None}
    return {"type": "url_citation", "url_citation": place}


def _place(item: Mapping[str, Any], start: int, length: int) -> dict[str, Any]:
    """The place of a citation in the content. Responses says it; Messages means the whole block. Clients need all three
    members."""
    first, last = item.get("start_index"), item.get("end_index")
    return {
        "start_index": start + (first if isinstance(first, int) else 0),
        "end_index": start + (last if isinstance(last, int) else length),
        "title": item.get("title") or "",
    }
