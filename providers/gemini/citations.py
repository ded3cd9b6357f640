"""Reader of a Gemini text's citations: sources with a URL and positions in characters.

Gemini counts positions in bytes of UTF-8. Source: ``GroundingMetadata`` and ``CitationMetadata`` of the Gemini API.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from providers.gemini.reading import MAX_CITED, MAX_SCANNED, UnfinishedAnswer
from providers.neutral.bounds import ID, check_length
from streams.events import Citation, Event

_Source: TypeAlias = tuple[str, str, int | None, int | None]
"""The URL and title of a source, and the start and end of the cited text in bytes."""


def citation_events(answer: UnfinishedAnswer, candidate: Mapping[str, Any]) -> list[Event]:
    """Return the events for new citations in ``candidate`` of the open text."""
    if answer.text_kind != "text" or not answer.holds_content:
        return []
    if "groundingMetadata" not in candidate and "citationMetadata" not in candidate:
        return []
    sources = [
        *_grounding_sources(candidate.get("groundingMetadata")),
        *_recited_sources(candidate.get("citationMetadata")),
    ]
    if not sources:
        return []
    places = _character_positions(answer, sources)
    events: list[Event] = []
    for url, title, start, end in sources:
        if (url, start, end) in answer.seen_citations:
            continue
        answer.places.spend(ID + len(url), "citations")
        answer.seen_citations.add((url, start, end))
        item: dict[str, Any] = {"url": url, "title": title}
        if end in places:
            item |= {"start_index": places.get(start or 0, 0), "end_index": places[end]}
        events.append(Citation(answer.number, "gemini", item))
    return events


def _grounding_sources(metadata: Any) -> Iterator[_Source]:
    if not isinstance(metadata, dict):
        return
    sources = [_chunk_source(chunk) for chunk in _objects(metadata.get("groundingChunks"))]
    supports = _objects(metadata.get("groundingSupports"))
    for support in supports:
        segment, numbers = support.get("segment"), support.get("groundingChunkIndices")
        start, end = _byte_range(segment if isinstance(segment, dict) else {})
        for number in check_length(numbers, "citations") if isinstance(numbers, list) else ():
            if type(number) is int and 0 <= number < len(sources) and (source := sources[number]) is not None:
                yield (*source, start, end)
    if not supports:
        yield from ((*source, None, None) for source in sources if source is not None)


def _chunk_source(chunk: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the URL and title of a page, a document or a place on a map, or ``None``."""
    inner = next((value for value in chunk.values() if isinstance(value, dict)), {})
    uri, title = inner.get("uri"), inner.get("title")
    return (uri, title if isinstance(title, str) else "") if isinstance(uri, str) and uri else None


def _recited_sources(metadata: Any) -> Iterator[_Source]:
    """Yield the sources that the model has recited."""
    for one in _objects(metadata.get("citations")) if isinstance(metadata, dict) else ():
        uri, title = one.get("uri"), one.get("title")
        if isinstance(uri, str) and uri:
            yield (uri, title if isinstance(title, str) else "", *_byte_range(one))


def _byte_range(holder: Mapping[str, Any]) -> tuple[int | None, int | None]:
    start, end = holder.get("startIndex", 0), holder.get("endIndex")
    return (start, end) if type(start) is int and type(end) is int and 0 <= start < end else (None, None)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    items = check_length(value, "citations") if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict)]


def _character_positions(answer: UnfinishedAnswer, sources: Iterable[_Source]) -> dict[int | None, int]:
    """Return the character positions by the byte positions of ``sources`` in the open text."""
    answer.scanned += answer.text_size
    if answer.text_size > MAX_CITED or answer.scanned > MAX_SCANNED:
        return {}
    data = "".join(answer.text).encode("utf-8", "surrogatepass")
    found: dict[int | None, int] = {}
    before = count = 0
    for at in sorted({place for source in sources for place in (source[2] or 0, source[3]) if place is not None}):
        if at > len(data):
            break
        count += len(data[before:at].decode("utf-8", "ignore"))
        before, found[at] = at, count
    return found
