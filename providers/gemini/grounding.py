"""The grounding of an answer for Gemini's clients: the pages that its text cites, and where.

Google's examples insert links into ``response.text`` at ``groundingSupports[].segment.endIndex``, so positions count
the bytes of the whole text. Source: https://ai.google.dev/gemini-api/docs/google-search
"""

from collections.abc import Mapping
from typing import Any

from providers.neutral.cited_text import CitedText, link_of
from providers.neutral.values import as_string
from streams.events import Citation


class Grounding:
    """The citations of an answer so far."""

    __slots__ = ("_begin", "_cited", "_end", "_pages", "_segments", "_text")

    def __init__(self) -> None:
        self._text = CitedText()  # of the open block
        self._begin = self._end = 0  # of the open block, in bytes of the whole text
        self._cited: list[Citation] = []  # in the open block
        self._pages: dict[str, tuple[int, str]] = {}  # number and title by URL
        # The numbers of pages, as keys, by the start and end of cited text
        self._segments: dict[tuple[int, int], dict[int, None]] = {}

    def add_text(self, text: str) -> None:
        """Add a piece of the open block."""
        self._text.add(text)
        self._end += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

    def cite(self, citation: Citation) -> None:
        """Add a citation of the open block."""
        self._cited.append(citation)

    def end_block(self) -> None:
        """End the open block, and find the positions of its citations."""
        links = [link for one in self._cited if as_string((link := link_of(one)).get("url"))]
        positions = [_positions_of(link) for link in links]
        wanted = {place for pair in positions if pair is not None for place in pair}
        places = self._text.byte_positions(wanted) if wanted else {}
        for link, pair in zip(links, positions, strict=True):
            number, _ = self._pages.setdefault(link["url"], (len(self._pages), as_string(link.get("title"))))
            start, end = (None, None) if pair is None else map(places.get, pair)
            if start is None or end is None or start >= end:  # the whole block is cited
                start, end = 0, self._end - self._begin
            if end > 0:
                self._segments.setdefault((self._begin + start, self._begin + end), {})[number] = None
        self._text.clear()
        self._cited.clear()
        self._begin = self._end

    def metadata(self) -> dict[str, Any]:
        """Return ``groundingMetadata``, empty without citations. Ends the open block."""
        self.end_block()
        if not self._pages:
            return {}
        chunks = [{"web": {"uri": url, "title": title}} for url, (_, title) in self._pages.items()]
        supports = [
            {"segment": {"startIndex": start, "endIndex": end}, "groundingChunkIndices": [*numbers]}
            for (start, end), numbers in self._segments.items()
        ]
        return {"groundingChunks": chunks, "groundingSupports": supports} if supports else {"groundingChunks": chunks}


def _positions_of(link: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the start and end of the cited text in characters, ``None`` if they are no numbers."""
    start, end = link.get("start_index"), link.get("end_index")
    return (start, end) if type(start) is int and type(end) is int else None
