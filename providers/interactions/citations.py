"""Citations of Interactions answers. ``url_citation`` has byte positions, the events of an answer character positions.

Source: ``URLCitation`` of the google-genai package.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from providers.neutral.bounds import check_length
from providers.neutral.texts import MAX_CITED, CitedText, link_of
from providers.neutral.values import as_string, character_positions
from streams.events import Citation

URL: Final = "url_citation"


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
    start, end = (places.get(place) if type(place := note.get(name)) is int else None for name in _POSITIONS)
    if end is not None:
        found |= {"start_index": start or 0, "end_index": end}
    return found


def write_annotations(citations: Sequence[Citation], text: CitedText) -> list[dict[str, Any]]:
    """Return the annotations for citations of ``text`` from any API: those with a URL, and this API's own."""
    links = [(one, link_of(one)) for one in citations]
    places = text.byte_positions(
        place for _, link in links for name in ("start_index", "end_index") if type(place := link.get(name)) is int
    )
    return [found for one, link in links if (found := _annotation(one, link, places)) is not None]


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
