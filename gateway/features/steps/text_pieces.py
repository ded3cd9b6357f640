"""The pieces of a request that are the text of a passage, and edits of their bytes."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, TypeAlias

import attrs

from gateway.features.steps import json_texts
from gateway.features.steps.attachments import Attachment
from gateway.features.steps.json_texts import Edit, JsonDocument, KeyMasked, Member, Route
from providers.responses.compaction import SUMMARY_INTRODUCTION, compaction_item, is_own, summary

Form: TypeAlias = Literal["string", "document", "quoted", "file", "key", "summary", "none"]
"""The way that a text is written: the content of a string, JSON text, JSON text in a string, a file in a string, the
name of a member, the gateway's own compaction, or not at all."""


@attrs.define(eq=False)  # created for each text; cheaper than a frozen value
class TextPiece:
    """The value at ``route`` of a document as a part of a passage's text."""

    route: Route
    form: Form
    text: str

    def span(self, document: JsonDocument) -> tuple[int, int]:
        """Return the start and end of its bytes. Strings are without their quotes."""
        if self.form == "key":
            start = document.elements(self.route[:-1])[self.route[-1]][1]
            return start + 1, json_texts.end_of_string(document.data, start) - 1
        start, end = document.span(self.route)
        return (start, end) if self.form == "document" else (start + 1, end - 1)


@attrs.frozen(eq=False)
class Removal:
    """A part of a request that is removed because a mask has made the signature of its reasoning invalid.

    This is the item at ``index`` of the array at ``route``, or ``names`` of the object at ``route``."""

    route: Route
    index: int = 0
    names: tuple[str, ...] = ()


def piece_changes(
    document: JsonDocument, pieces: Sequence[TextPiece], edits: Sequence[Edit]
) -> list[tuple[int, int, bytes]]:
    found: list[tuple[int, int, bytes]] = []
    offset = at = 0
    is_placed = False  # whether an earlier piece has the replacement
    for piece in pieces:
        end = offset + len(piece.text)
        local: list[Edit] = []
        while at < len(edits) and edits[at][0] < end:
            start, stop, text = edits[at]
            first, last = max(start, offset) - offset, min(stop, end) - offset
            if first < last or not is_placed:
                covers_all = last - first == len(piece.text)  # an empty text part is invalid
                local.append((first, last, "" if is_placed and not covers_all else text))
            is_placed = stop > end
            if is_placed:
                break
            at += 1
        if local:
            first, last = piece.span(document)
            found.append((first, last, _edit_piece(document.data[first:last], piece, local)))
        offset = end
    return found


def read_summary(sealed: str) -> str | None:
    """Return the text of a compaction by the gateway, ``None`` for another's, which only its provider can read."""
    item = {"type": "compaction", "encrypted_content": sealed}
    text = summary(item) if is_own(item) else None
    return None if text is None else text.removeprefix(SUMMARY_INTRODUCTION)


def _edit_piece(data: bytes, piece: TextPiece, edits: Sequence[Edit]) -> bytes:
    match piece.form:
        case "string":
            return json_texts.edit_string(data, edits)
        case "document":
            return json_texts.edit_document(data, edits)
        case "quoted":
            return json_texts.edit_quoted_document(data, edits)
        case "key":
            raise KeyMasked(edits[0][2])
        case "summary":
            return compaction_item(json_texts.splice(piece.text, edits))["encrypted_content"].encode()  # type: ignore[no-any-return]
    return Attachment.of(json_texts.string_text(data).encode()).with_edits(edits).encode()


def find_cuts(document: JsonDocument, removals: Iterable[Removal]) -> Iterable[tuple[int, int]]:
    """Yield the spans of the removed elements, each with one comma."""
    by_container: dict[Route, list[Removal]] = {}
    for removal in removals:
        by_container.setdefault(removal.route, []).append(removal)
    for route, found in by_container.items():
        elements: list[tuple[int, int]] = []
        gone: set[int] = set()
        names, indexes = {name for one in found for name in one.names}, {one.index for one in found}
        for i, one in enumerate(document.elements(route)):
            if isinstance(one, Member):
                elements.append((one.name_start, one.end))
                is_gone = one.name in names
            else:
                elements.append(one)
                is_gone = i in indexes
            if is_gone:
                gone.add(i)
        yield from _element_cuts(elements, gone)


def _element_cuts(elements: Sequence[tuple[int, int]], gone: Collection[int]) -> Iterable[tuple[int, int]]:
    kept = [i for i in range(len(elements)) if i not in gone]
    if not kept:
        yield elements[0][0], elements[-1][1]
        return
    if kept[0] > 0:
        yield elements[0][0], elements[kept[0]][0]
    for before, after in zip(kept, [*kept[1:], len(elements)], strict=True):
        if after > before + 1:
            yield elements[before][1], elements[after - 1][1]


def is_within(cuts: Sequence[tuple[int, int]], at: int) -> bool:
    before = bisect_right(cuts, (at, 1 << 62)) - 1
    return before >= 0 and at < cuts[before][1]
