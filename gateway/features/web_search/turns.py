"""One turn of the model: its events for the client, and the searches that it calls."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.streaming.released import frame_of
from providers.neutral.searches import FoundPage, FoundPages, citation_for, page_citation, search_items, shows_searches
from streams.events import (
    AnswerEnd,
    AnswerStart,
    Api,
    BlockEnd,
    ErrorInfo,
    Event,
    NativeItem,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
    change_event,
)
from streams.fold import Fold, ToolCallBlock
from streams.surrogates import any_json, decode_or

MAX_CITED: Final = 100
"""The most pages that the citations of an answer can list."""

_LINK: Final = re.compile(r"https?://[^\s<>\"'`\]]+")
_PUNCTUATION: Final = ")*_.,:;!?"


class ShownAnswer:
    """The part of an answer that a client of ``api`` has got: its number of blocks, and the found pages. ``name`` is
    that of the function."""

    def __init__(self, api: Api) -> None:
        self.api, self.name = api, ""
        self.block, self.has_begun = 0, False
        self.sources: dict[str, FoundPage] = {}  # by URL
        self._listed: dict[str, None] = {}  # cited URLs

    def end_turn(self, writer: "SearchTurnWriter") -> None:
        """Note that the turn of ``writer`` has ended."""
        self.block, self.has_begun = writer.next, True

    def search_events(self, found: FoundPages) -> list[Event]:
        """Return the client's events for a search that has begun, or has ended."""
        events: list[Event] = []
        for item in search_items(self.api, found):
            events.append(NativeItem(self.block, self.api, item["type"], item))
            self.block += 1
        for source in found.sources or ():
            if len(self.sources) < MAX_CITED:
                self.sources.setdefault(source.url, source)
        return events

    def citations(self, block: int, text: str) -> Iterator[Event]:
        """Yield the citations of ``text``: the pages that it links. A client that sees no searches gets the others
        once, as pages that no text cites."""
        linked: dict[str, None] = {}
        for link in _LINK.finditer(text):
            if (page := self._page_of(link[0])) is not None and page.url not in linked:
                linked[page.url] = None
                cited = page_citation(block, page, link.start(), link.start() + len(page.url))
                yield citation_for(self.api, cited)
        self._listed.update(linked)
        if not shows_searches(self.api):
            for page in [one for url, one in self.sources.items() if url not in self._listed]:
                self._listed[page.url] = None
                yield page_citation(block, page)

    def _page_of(self, link: str) -> FoundPage | None:
        """Return the page at the beginning of ``link``, which may also have punctuation of the text."""
        for length in range(len(link), max(len(link) - 5, 0), -1):
            if (page := self.sources.get(link[:length])) is not None:
                return page
            if link[length - 1] not in _PUNCTUATION:
                break
        return None


class SearchTurnWriter:
    """Writes one turn as frames of events for the client, without the calls of the search. It is a ``Writer``.

    ``fold`` is the whole turn, ``next`` the number of the block after its last one."""

    def __init__(self, shown: ShownAnswer) -> None:
        self.fold = Fold()
        self.next = shown.block
        self._shown = shown
        self._searches: set[int] = set()  # blocks
        self._numbers: dict[int, int] = {}
        self._texts: dict[int, list[str]] = {}

    def send(self, event: Event) -> bytes:
        self.fold.add(event)
        return frame_of(list(self._for_client(event)))

    def _for_client(self, event: Event) -> Iterator[Event]:
        match event:
            case AnswerStart():
                if not self._shown.has_begun:
                    yield event
            case Usage() | AnswerEnd() | ErrorInfo():  # the answer's follow its last turn
                pass
            case ToolCallStart(block=block, name=self._shown.name, kind="function"):
                self._searches.add(block)
            case ToolCallDelta(block=block) | BlockEnd(block=block) if block in self._searches:
                pass
            case _:
                if (block := self._numbers.setdefault(event.block, self.next)) == self.next:
                    self.next += 1
                if isinstance(event, TextDelta) and self._shown.sources:
                    self._texts.setdefault(block, []).append(event.text)
                if isinstance(event, BlockEnd) and (text := self._texts.pop(block, None)) is not None:
                    yield from self._shown.citations(block, "".join(text))
                yield change_event(event, block=block)

    @property
    def searches(self) -> list[ToolCallBlock]:
        """The calls of the search."""
        return [one for one in self.fold.blocks() if self._is_search(one)]  # type: ignore[misc]

    @property
    def has_other_calls(self) -> bool:
        """Whether the turn also calls tools of the client."""
        return any(isinstance(one, ToolCallBlock) and not self._is_search(one) for one in self.fold.blocks())

    def _is_search(self, block: object) -> bool:
        return isinstance(block, ToolCallBlock) and block.name == self._shown.name and block.kind == "function"


def query_of(call: ToolCallBlock) -> str | None:
    """Return the query of a call of the search, ``None`` if it has none."""
    arguments = decode_or(any_json, call.input.encode("utf-8", "replace"), None)
    query = arguments.get("query") if isinstance(arguments, Mapping) else None
    return query.strip() if isinstance(query, str) and query.strip() else None
