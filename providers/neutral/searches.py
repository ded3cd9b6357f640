"""Web searches of answers in the words of each API: their calls and results, and those of earlier turns.

A provider that searches writes the calls and results as items of its own API. ``SearchForms`` writes them as items of
the client's API. A later request repeats them; ``with_searches_as_calls`` makes them readable for a model whose API has
no such items. ``search_tools`` has the tool that a request offers.

Sources: Anthropic's ``server_tool_use`` and ``web_search_tool_result``, OpenAI's ``web_search_call``, Google's
``groundingMetadata``, ``google_search_call`` and ``google_search_result``.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs
import msgspec

from providers.neutral.codec import Writer, new_id
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    Message,
    NativePart,
    Part,
    Request,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from providers.neutral.seal import PREFIX
from providers.neutral.search_tools import NAME, find_search, search_form
from providers.neutral.texts import is_unplaced, link_of
from providers.neutral.values import as_object, as_objects, as_string
from streams.events import AnswerEnd, Api, Citation, Event, NativeItem
from streams.fold import Answer, Block, NativeBlock, TextBlock


@attrs.frozen
class FoundPage:
    """A page that a search found, with the ``text`` that the model reads, and its ``age`` in words.

    ``is_ours``: the gateway has written it into an earlier answer."""

    url: str
    title: str = ""
    text: str = ""
    age: str | None = None
    is_ours: bool = False


@attrs.frozen
class FoundPages:
    """A search with its ``query``, and its ``sources`` once it has ended. ``error`` is Anthropic's word for why it
    failed. ``others`` are its other queries."""

    id: str
    query: str = ""
    sources: tuple[FoundPage, ...] | None = None
    error: str | None = None
    others: tuple[str, ...] = ()

    @property
    def queries(self) -> list[str]:
        """All its queries."""
        return [one for one in (self.query, *self.others) if one]

    @property
    def has_ended(self) -> bool:
        """Whether this is a result."""
        return self.sources is not None or self.error is not None

    @property
    def is_ours(self) -> bool:
        """Whether the gateway, and not a provider, has written this result."""
        return any(one.is_ours for one in self.sources or ())

    def without_texts(self) -> "FoundPages":
        """Return the search with the addresses of its pages alone."""
        return attrs.evolve(self, sources=self.sources and tuple(FoundPage(one.url) for one in self.sources))

    def as_text(self) -> str:
        """Return the call, or the result, as the model reads it."""
        if not self.has_ended:
            return f"Search: {'; '.join(self.queries)}"
        if self.error is not None:
            return f"The search failed: {self.error}."
        pages = [_page_text(number, one) for number, one in enumerate(self.sources or (), 1)]
        return "\n\n".join(pages) or "The search found nothing."


def _page_text(number: int, source: FoundPage) -> str:
    title = source.title or source.url
    dated = f"{title} ({source.age})" if source.age else title
    return "\n".join(filter(None, (f"[{number}] {dated}", source.url, source.text)))


def _sealed_text(text: str) -> str:
    """Return ``text`` for ``encrypted_content``, which clients send back and never read."""
    return PREFIX + base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode()


def _unsealed_text(value: Any) -> str:
    """Return the text in ``encrypted_content``, "" if a provider made it."""
    if not isinstance(value, str) or not value.startswith(PREFIX):
        return ""
    try:
        return base64.urlsafe_b64decode(value.removeprefix(PREFIX)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _messages_call(search: FoundPages) -> list[Any]:
    return [{"type": "server_tool_use", "id": search.id, "name": NAME, "input": {"query": "; ".join(search.queries)}}]


def _messages_result(search: FoundPages) -> list[Any]:
    content: Any = [
        {
            "type": "web_search_result", "url": one.url, "title": one.title,
            "encrypted_content": _sealed_text(one.text), "page_age": one.age,
        }
        for one in search.sources or ()
    ]  # fmt: skip
    if search.error is not None:
        content = {"type": "web_search_tool_result_error", "error_code": search.error}
    return [{"type": "web_search_tool_result", "tool_use_id": search.id, "content": content}]


def _responses_item(search: FoundPages) -> list[Any]:
    status = "completed" if search.has_ended else "in_progress"
    if search.error is not None:
        status = "failed"
    action: dict[str, Any] = {"type": "search", "query": search.query, "queries": [search.query, *search.others]}
    if search.sources:
        action["sources"] = [{"type": "url", "url": one.url} for one in search.sources]
    return [{"type": "web_search_call", "id": search.id, "status": status, "action": action}]


def _interactions_call(search: FoundPages) -> list[Any]:
    return [{"type": "google_search_call", "id": search.id, "arguments": {"queries": [search.query, *search.others]}}]


def _interactions_result(search: FoundPages) -> list[Any]:
    found = [{"url": one.url, "title": one.title} for one in search.sources or ()]
    return [{"type": "google_search_result", "call_id": search.id, "result": found}]


def _gemini_item(search: FoundPages) -> list[Any]:
    chunks = [{"web": {"uri": one.url, "title": one.title}} for one in search.sources or ()]
    return [{"type": GROUNDING, "webSearchQueries": search.queries, "groundingChunks": chunks}]


_Write = Callable[[FoundPages], list[Any]]
GROUNDING: Final = "groundingMetadata"
"""The type of Gemini's items. No part has them: they are members of an answer's ``groundingMetadata``."""

_WRITERS: Final[Mapping[Api, tuple[str, _Write, _Write]]] = {
    "messages": ("srvtoolu_", _messages_call, _messages_result),
    "responses": ("ws_", _responses_item, _responses_item),
    "interactions": ("search_", _interactions_call, _interactions_result),
    "gemini": ("search_", _gemini_item, _gemini_item),
}
"""By API the prefix of ids, and the writers of a call and of its result. The other APIs have no such items."""


def page_citation(block: int, page: FoundPage, start: int = 0, end: int = 0) -> Citation:
    """Return the citation of ``page`` in the characters from ``start`` to ``end`` of a text, by default in none."""
    item = {"url": page.url, "title": page.title, "start_index": start, "end_index": end}
    return Citation(block, "gemini", item)


def citation_for(api: Api, citation: Citation) -> Citation:
    """Return ``citation`` of a found page for a client of ``api`` that has requested a search.

    Citations of Messages belong to a whole text, and no other API reports the cited passage of the page. Other APIs
    read each other's."""
    link = link_of(citation)
    if api != "messages" or citation.api == api or not (url := as_string(link.get("url"))) or is_unplaced(link):
        return citation
    title = as_string(link.get("title")) or None
    item = {"type": "web_search_result_location", "url": url, "title": title, "cited_text": ""}
    return Citation(citation.block, api, {**item, "encrypted_index": PREFIX})


def new_search_id(api: Api) -> str:
    """Return a new id for a search that a client of ``api`` sees."""
    return new_id(_WRITERS[api][0] if api in _WRITERS else "call_")


def search_items(api: Api, search: FoundPages) -> list[Any]:
    """Return the items that report ``search`` in ``api``: its call, or its result once it has ended."""
    if api not in _WRITERS:
        return []
    _, call, result = _WRITERS[api]
    return result(search) if search.has_ended else call(search)


def shows_searches(api: Api) -> bool:
    """Return whether answers in ``api`` report searches."""
    return api in _WRITERS


def read_item(api: Api, item: Any) -> list[FoundPages]:
    """Return the call, the result or both in ``item`` of ``api``; nothing if it is about no web search."""
    value = as_object(item)
    match api, value.get("type"):
        case "messages", "server_tool_use" if value.get("name") == NAME:
            return [FoundPages(as_string(value.get("id")), as_string(as_object(value.get("input")).get("query")))]
        case "messages", "web_search_tool_result":
            return [_read_messages_result(value)]
        case "responses", "web_search_call":
            return _read_responses_item(value)
        case "interactions", "google_search_call":
            query, *others = _texts(as_object(value.get("arguments")).get("queries")) or [""]
            return [FoundPages(as_string(value.get("id")), query, others=tuple(others))]
        case "interactions", "google_search_result":
            found = [FoundPage(url, as_string(one.get("title"))) for one in as_objects(value.get("result"))
                     if (url := as_string(one.get("url")))]  # fmt: skip
            return [FoundPages(as_string(value.get("call_id")), "", tuple(found))]
        case "gemini", "groundingMetadata":
            return _read_gemini_item(value)
    return []


def _read_gemini_item(value: Mapping[str, Any]) -> list[FoundPages]:
    query, *others = _texts(value.get("webSearchQueries")) or [""]
    pages = [as_object(one.get("web")) for one in as_objects(value.get("groundingChunks"))]
    found = [FoundPage(url, as_string(one.get("title"))) for one in pages if (url := as_string(one.get("uri")))]
    call = FoundPages("", query, others=tuple(others))
    return [call, attrs.evolve(call, sources=tuple(found))]


def _read_messages_result(value: Mapping[str, Any]) -> FoundPages:
    id, content = as_string(value.get("tool_use_id")), value.get("content")
    if isinstance(content, dict):
        return FoundPages(id, error=as_string(content.get("error_code")) or "unavailable")
    found = [
        FoundPage(
            as_string(one.get("url")), as_string(one.get("title")), _unsealed_text(one.get("encrypted_content")),
            as_string(one.get("page_age")) or None, as_string(one.get("encrypted_content")).startswith(PREFIX),
        )
        for one in as_objects(content)
    ]  # fmt: skip
    return FoundPages(id, "", tuple(found))


def _read_responses_item(value: Mapping[str, Any]) -> list[FoundPages]:
    """Return both the call and the result: one item has them. OpenAI lists sources only if ``include`` requests it."""
    id, action = as_string(value.get("id")), as_object(value.get("action"))
    queries = _texts(action.get("queries"))
    query = as_string(action.get("query")) or next(iter(queries), "") or as_string(action.get("url"))
    sources = tuple(FoundPage(url) for one in as_objects(action.get("sources")) if (url := as_string(one.get("url"))))
    call = FoundPages(id, query, others=tuple(one for one in queries if one != query))
    if value.get("status") == "in_progress":
        return [call]
    if value.get("status") == "failed":
        return [call, attrs.evolve(call, error="unavailable")]
    return [call, attrs.evolve(call, sources=sources)]


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


# In answers


class SearchForms:
    """The calls and results of an answer's searches, as items of ``api``.

    Citations of an API without such items become one search, for a client of Messages: its programs read the pages
    there, and not in the citations."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._open: dict[str, FoundPages] = {}  # by the provider's id
        self._cited: dict[str, FoundPage] = {}  # by URL
        self.has_results = False

    def items(self, found: FoundPages) -> list[Any]:
        """Return the client's items for what an item of another API reports."""
        if not found.has_ended:
            self._open[found.id] = call = attrs.evolve(found, id=new_search_id(self._api))
            return search_items(self._api, call)
        self.has_results = True
        own = FoundPages(new_search_id(self._api), found.query, others=found.others)
        call = self._open.pop(found.id, own)
        return search_items(self._api, attrs.evolve(call, sources=found.sources, error=found.error))

    def cite(self, citation: Citation) -> None:
        """Note a citation of another API."""
        link = link_of(citation)
        if url := as_string(link.get("url")):
            page = FoundPage(url, as_string(link.get("title")), as_string(link.get("content")))
            self._cited.setdefault(url, page)

    def last_items(self) -> list[Any]:
        """Return the items for citations without any result, and end searches without one: each item of Responses
        must end."""
        if self._api == "responses":
            lost = [attrs.evolve(call, error="unavailable") for call in self._open.values()]
            return [item for call in lost for item in search_items(self._api, call)]
        if self._api != "messages" or self.has_results or not self._cited:
            return []
        call = FoundPages(new_search_id(self._api))
        return [*search_items(self._api, call),
                *search_items(self._api, attrs.evolve(call, sources=tuple(self._cited.values())))]  # fmt: skip


class _FormedSearches:
    """A writer that gets the searches of other APIs in the form of its own."""

    def __init__(self, writer: Writer, api: Api) -> None:
        self._writer, self._api, self._forms = writer, api, SearchForms(api)
        self._blocks = 0

    def send(self, event: Event) -> bytes:
        if isinstance(event, NativeItem) and (found := read_item(event.api, event.item)):
            if event.api == self._api:
                self._forms.has_results = True
                return self._writer.send(event)
            return b"".join(self._send_item(item) for one in found for item in self._forms.items(one))
        if isinstance(event, Citation) and event.api != self._api:
            self._forms.cite(event)
            event = citation_for(self._api, event)
        if isinstance(event, AnswerEnd):
            last = b"".join(map(self._send_item, self._forms.last_items()))
            return last + self._writer.send(event)
        return self._writer.send(event)

    def _send_item(self, item: Any) -> bytes:
        self._blocks -= 1  # the reader numbers its own from 0
        return self._writer.send(NativeItem(self._blocks, self._api, item["type"], item))


def with_own_searches(writer: Writer, api: Api, request: Request) -> Writer:
    """Return ``writer`` for a client of ``api``, with the searches of other APIs in its form if ``request`` has any."""
    return writer if find_search(request) is None else _FormedSearches(writer, api)


def answer_with_own_searches(answer: Answer, api: Api, request: Request) -> Answer:
    """Return ``answer`` with the searches of other APIs in the form of ``api`` if ``request`` has any."""
    if find_search(request) is None:
        return answer
    forms = SearchForms(api)
    blocks: list[Block] = []
    places: dict[str, int] = {}  # of items by id

    def add(items: Iterable[Any]) -> None:
        """Add ``items``, or put them in the place of an earlier one with the same id."""
        for item in items:
            place = places.setdefault(item["id"], len(blocks)) if "id" in item else len(blocks)
            blocks[place : place + 1] = [NativeBlock(api, item["type"], item)]

    for block in answer.blocks:
        found = read_item(block.api, block.item) if isinstance(block, NativeBlock) else []
        if found and isinstance(block, NativeBlock) and block.api == api:
            forms.has_results = True
        elif found:
            add(item for one in found for item in forms.items(one))
            continue
        if isinstance(block, TextBlock) and block.citations:
            for citation in block.citations:
                if citation.api != api:
                    forms.cite(citation)
            block = attrs.evolve(block, citations=tuple(citation_for(api, one) for one in block.citations))
        blocks.append(block)
    add(forms.last_items())
    return attrs.evolve(answer, blocks=tuple(blocks))


# In earlier turns


def with_searches_as_calls(request: Request, api: Api, quirks: Quirks) -> Request:
    """Return ``request`` for a provider with ``api``, with earlier searches that it did not make as calls of the
    function ``NAME`` with their results: those of another API, of the gateway, and all if it has no search."""
    natives = (part for message in request.messages for part in message.parts if isinstance(part, NativePart))
    if not any(read_item(part.api, part.item) for part in natives):
        return request
    own_api = api if search_form(quirks, api) is not None else None
    messages = [made for message in request.messages for made in _split(message, own_api)]
    return attrs.evolve(request, messages=tuple(messages))


def _split(message: Message, own_api: Api | None) -> Iterator[Message]:
    """Yield ``message`` with each run of searches as calls, then a message of the user with their results, then the
    rest. Other calls of the run stay with them, because their results follow the whole message.

    The provider understands the searches of ``own_api`` that it has made itself."""
    parts: list[Part] = []
    results: list[Part] = []
    searches = {id(part): read_item(part.api, part.item) for part in message.parts if isinstance(part, NativePart)}
    reports = [one for found in searches.values() for one in found]
    queries = {one.id: one.query for one in reports if not one.has_ended}
    foreign = {one.id for part in message.parts if isinstance(part, NativePart) and part.api != own_api
               for one in searches[id(part)]}  # fmt: skip
    ended = {one.id for one in reports if one.has_ended and (one.id in foreign or one.is_ours)}
    complete = ended & queries.keys()
    for part in message.parts:
        if any(one.id in complete for one in searches.get(id(part), ())):
            for found in searches[id(part)]:
                if found.has_ended:
                    arguments = msgspec.json.encode({"query": queries[found.id]}).decode()
                    parts.append(ToolCallPart(found.id, NAME, arguments, at=part.at))
                    text = TextPart(found.as_text(), part.at)
                    results.append(ToolResultPart(found.id, (text,), found.error is not None, at=part.at))
            continue
        if results and not isinstance(part, ToolCallPart):
            yield attrs.evolve(message, parts=tuple(parts), native=None)
            yield Message("user", tuple(results), message.at)
            parts, results = [], []
        parts.append(part)
    if parts:
        yield attrs.evolve(message, parts=tuple(parts), native=message.native if not results else None)
    if results:
        yield Message("user", tuple(results), message.at)
