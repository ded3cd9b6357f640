"""Citations of Interactions answers. ``url_citation`` has byte positions, the events of an answer character positions.

Source: ``URLCitation`` of the google-genai package.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from providers.neutral.bounds import check_length
from providers.neutral.values import as_object, as_string, character_positions
from streams.events import Citation

MAX_CITED: Final = 2**20
"""Characters of a text that are kept to convert positions; longer texts are cited as a whole."""

URL: Final = "url_citation"


class CitedText:
    """The text of an open block, kept only from its first character outside ASCII on."""

    __slots__ = ("_ascii", "_pieces", "_size")

    def __init__(self) -> None:
        self._ascii = 0  # characters before the kept pieces
        self._pieces: list[str] = []
        self._size = 0

    def add(self, text: str) -> None:
        if not self._pieces and text.isascii():
            self._ascii += len(text)
        elif self._size <= MAX_CITED:
            self._pieces.append(text)
            self._size += len(text)

    def clear(self) -> None:
        """Forget the text, at the end of its block."""
        if self._ascii or self._pieces:
            self._ascii = self._size = 0
            self._pieces = []

    def byte_positions(self, places: Iterable[int]) -> dict[int, int]:
        """Return the byte positions by the character positions ``places``, without those outside the text."""
        if self._size > MAX_CITED:
            return {place: place for place in places if 0 <= place <= self._ascii}
        tail = "".join(self._pieces)
        found: dict[int, int] = {}
        before = count = 0
        for place in sorted({place for place in places if 0 <= place <= self._ascii + len(tail)}):
            at = max(place - self._ascii, 0)
            count += len(tail[before:at].encode("utf-8", "surrogatepass"))
            before, found[place] = at, min(place, self._ascii) + count
        return found


MAX_SCANNED: Final = 16 * MAX_CITED
"""Limit of characters scanned for positions in total; citations arrive once or twice in an answer."""


def read_annotations(annotations: Any, pieces: Sequence[str]) -> list[dict[str, Any]]:
    """Return the citations in ``annotations`` of the text ``pieces``, with character positions.

    Without the text, positions are left out. Other annotations than links are unchanged.
    """
    listed = check_length(annotations, "citations") if isinstance(annotations, list) else []
    notes = [one for one in listed if isinstance(one, dict)]
    wanted = {place for one in notes for name in _POSITIONS if type(place := one.get(name)) is int and place >= 0}
    places = character_positions(pieces, wanted)
    return [_with_characters(one, places) if one.get("type") in (URL, None) else one for one in notes]


_POSITIONS: Final = ("start_index", "end_index")


def _with_characters(note: Mapping[str, Any], places: Mapping[Any, int]) -> dict[str, Any]:
    found = {"type": URL, **{name: value for name, value in note.items() if name not in _POSITIONS}}
    start, end = note.get("start_index") or 0, note.get("end_index")
    if end in places:
        found |= {"start_index": places.get(start, 0), "end_index": places[end]}
    return found


def write_annotations(citations: Sequence[Citation], text: CitedText) -> list[dict[str, Any]]:
    """Return the annotations for citations of ``text`` from any API: those with a URL, and this API's own."""
    links = [(one, _link(one)) for one in citations]
    places = text.byte_positions(
        place for _, link in links for name in ("start_index", "end_index") if type(place := link.get(name)) is int
    )
    return [found for one, link in links if (found := _annotation(one, link, places)) is not None]


def _link(citation: Citation) -> Mapping[str, Any]:
    item = as_object(citation.item)
    return as_object(item.get(URL)) if citation.api == "chat" else item


def _annotation(citation: Citation, link: Mapping[str, Any], places: Mapping[int, int]) -> dict[str, Any] | None:
    own = citation.api == "interactions"
    if not as_string(link.get("url")) or (own and link.get("type") != URL):
        return dict(link) if own else None
    found: dict[str, Any] = {"type": URL, "url": link["url"]}
    if title := as_string(link.get("title")):
        found["title"] = title
    start, end = link.get("start_index"), link.get("end_index")
    if type(start) is int and type(end) is int and start in places and end in places:
        found |= {"start_index": places[start], "end_index": places[end]}
    return found
