"""Web searches in the words of each API: the tool that a request offers, and the calls and results of an answer.

A provider that searches writes the calls and results as items of its own API. ``SearchForms`` writes them as items of
the client's API. A later request repeats them; ``with_searches_as_calls`` makes them readable for a model whose API has
no such items.

Sources: Anthropic's ``web_search_20250305`` with ``server_tool_use`` and ``web_search_tool_result``, OpenAI's
``web_search`` with ``web_search_call``, Google's ``googleSearch`` and ``google_search``, Amazon's ``nova_grounding``,
OpenRouter's ``openrouter:web_search``.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs
import msgspec

from providers.neutral.codec import Writer, new_id
from providers.neutral.fields import Drops, join_path
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    Message,
    NativePart,
    NativeTool,
    Part,
    Request,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from providers.neutral.seal import PREFIX
from providers.neutral.texts import is_unplaced, link_of
from providers.neutral.values import as_object, as_objects, as_string
from streams.events import AnswerEnd, Api, Citation, Event, NativeItem
from streams.fold import Answer, Block, NativeBlock, TextBlock

NAME: Final = "web_search"
"""The name of a search tool in every API that names it."""

# The tool

_KINDS: Final[Mapping[Api, tuple[str, ...]]] = {
    "chat": ("openrouter:web_search",), "messages": ("web_search_2",), "responses": (NAME,),
    "gemini": ("googleSearch", "google_search"), "interactions": ("google_search",),
}  # fmt: skip
"""How the types of search tools begin. Most end with a date."""

_PATHS: Final[Mapping[str, Mapping[str, str]]] = {
    "messages": {
        "max_uses": "max_uses", "allowed": "allowed_domains", "blocked": "blocked_domains", "place": "user_location",
    },
    "responses": {
        "allowed": "filters.allowed_domains", "blocked": "filters.blocked_domains", "place": "user_location",
        "size": "search_context_size",
    },
    "openrouter": {
        "max_uses": "parameters.max_uses",
        "allowed": "parameters.allowed_domains", "blocked": "parameters.excluded_domains",
        "place": "parameters.user_location", "size": "parameters.search_context_size",
    },
    "options": {"place": "user_location", "size": "search_context_size"},
}  # fmt: skip
"""The settings of a search by the form of its tool, with their paths."""

_FORMS: Final[Mapping[Api, str]] = {"messages": "messages", "responses": "responses", "chat": "openrouter"}

_EXCLUSIVE: Final = ("messages", "openrouter")
"""The forms that reject both lists of domains in one tool (https://platform.claude.com/docs/en/agents-and-tools/
tool-use/web-search-tool, https://openrouter.ai/docs/guides/features/server-tools/web-search)."""

_IDENTIFYING: Final = ("type", "name")
_PLACE: Final = ("city", "region", "country", "timezone")
"""The members of a user's location, which all APIs have."""


@attrs.frozen
class Search:
    """The search that a request offers: its place ``at``, and its ``settings`` with their paths.

    ``others`` are the places of settings that only its own API has. ``is_offline``: it must not reach live pages, as
    Codex can require, and other providers' searches do."""

    at: str
    settings: Mapping[str, tuple[Any, str]]
    others: tuple[str, ...] = ()
    is_offline: bool = False

    def domains(self, which: str) -> tuple[str, ...]:
        """Return the ``allowed`` or the ``blocked`` domains."""
        value, _ = self.settings.get(which, (None, ""))
        return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()

    @property
    def max_uses(self) -> int | None:
        """The most searches of an answer."""
        value, _ = self.settings.get("max_uses", (None, ""))
        return value if isinstance(value, int) and value >= 0 else None


def is_search(tool: object) -> bool:
    """Return whether ``tool`` is a web search that a provider runs."""
    if not isinstance(tool, NativeTool):
        return False
    if tool.api == "converse":
        return as_object(as_object(tool.item).get("systemTool")).get("name") == "nova_grounding"
    return tool.kind.startswith(_KINDS.get(tool.api, ()))


def becomes_another(tool: NativeTool) -> bool:
    """Return whether ``tool`` is a web search that another provider's can replace."""
    return is_search(tool) and not read_search(tool).is_offline


def settings_of(tool: NativeTool) -> tuple[str, ...]:
    """Return the paths of the settings of a search, which Google's has not."""
    found = ((name, value) for name, value in _settings(tool).items() if name not in _IDENTIFYING)
    return tuple(join_path(tool.at, name) for name, value in found if value is not None)


def is_own_search(item: Mapping[str, Any]) -> bool:
    """Return whether ``item`` is the web search of Messages."""
    return as_string(item.get("type")).startswith(_KINDS["messages"])


def without_search_options(request: Request) -> Request:
    """Return ``request`` without Chat's ``web_search_options``, which have become a tool."""
    rest = {name: value for name, value in request.parameters.items() if name != "web_search_options"}
    return attrs.evolve(request, parameters=rest)


def find_search(request: Request) -> Search | None:
    """Return the first web search that ``request`` offers, ``None`` without one."""
    if (options := request.parameters.get("web_search_options")) is not None:
        return _read_search("options", as_object(options.value), options.at)
    for tool in (*request.tools, *request.declared):
        if isinstance(tool, NativeTool) and is_search(tool):
            return read_search(tool)
    return None


def read_search(tool: NativeTool) -> Search:
    """Return the search that ``tool`` offers."""
    return _read_search(_FORMS.get(tool.api, ""), _settings(tool), tool.at)


def _settings(tool: NativeTool) -> Mapping[str, Any]:
    """Return the object with the settings. Google's and Amazon's is a member with the tool's name."""
    item = as_object(tool.item)
    return as_object(item.get(tool.kind, item))


def _read_search(form: str, item: Mapping[str, Any], at: str) -> Search:
    settings: dict[str, tuple[Any, str]] = {}
    known: dict[str, set[str]] = {}
    for name, path in _PATHS.get(form, {}).items():
        outer, _, inner = path.rpartition(".")
        found = as_object(item.get(outer)) if outer else item
        known.setdefault(outer, set()).add(inner)
        if (value := found.get(inner)) not in (None, []):
            settings[name] = (_flat_place(value) if name == "place" else value, join_path(at, path))
    read = (*_IDENTIFYING, *known.get("", ()), *known)
    unread = [name for name, value in item.items() if value is not None and name not in read]
    for outer in filter(None, known):
        unread += [f"{outer}.{name}" for name in as_object(item.get(outer)) if name not in known[outer]]
    places = tuple(join_path(at, name) for name in unread)
    return Search(at, settings, places, item.get("external_web_access") is False)


def _flat_place(value: Any) -> Any:
    """Return a user's location with Chat's inner object in place of the outer one."""
    place = as_object(value)
    inner = place.get("approximate")
    found = inner if isinstance(inner, dict) else place
    return {"type": "approximate", **{name: found[name] for name in _PLACE if found.get(name) is not None}}


def write_search(request: Request, quirks: Quirks, api: Api, drops: Drops) -> tuple[str, Mapping[str, Any]] | None:
    """Return the name of the form of a search at a provider with ``api``, and the tool or members in that form.

    ``None`` if the provider has no search, or the client's API is the provider's. Adds the lost settings to ``drops``.
    """
    form = search_form(quirks, api)
    if form is None or request.api == api or (search := find_search(request)) is None or search.is_offline:
        return None
    return form, write_form(form, search, drops)


def write_form(form: str, search: Search, drops: Drops) -> dict[str, Any]:
    """Return ``search`` as a tool, or as members of a Chat request, in ``form``. Adds lost settings to ``drops``."""
    settings, item = dict(search.settings), dict(_HEADS.get(form, {}))
    if "allowed" in settings and "blocked" in settings and form in _EXCLUSIVE:
        drops.add(settings.pop("blocked")[1])
    if form == "always":
        domains = [*search.domains("allowed"), *(f"-{one}" for one in search.domains("blocked"))]
        for name in ("allowed", "blocked"):
            settings.pop(name, None)
        if domains:
            item["search_domain_filter"] = domains
        return {**item, **_options(settings, drops, search.others)}
    if form == "options":
        return _options(settings, drops, search.others)
    for name, (value, at) in settings.items():
        if (path := _PATHS[form].get(name)) is None:
            drops.add(at)
            continue
        outer, _, inner = path.rpartition(".")
        (item.setdefault(outer, {}) if outer else item)[inner] = value
    drops.add(*search.others)
    return item


_HEADS: Final[Mapping[str, Mapping[str, Any]]] = {
    "messages": {"type": "web_search_20250305", "name": NAME}, "responses": {"type": NAME},
    "openrouter": {"type": "openrouter:web_search"},
}  # fmt: skip


def _options(settings: Mapping[str, tuple[Any, str]], drops: Drops, others: Iterable[str]) -> dict[str, Any]:
    """Return Chat's ``web_search_options``."""
    options: dict[str, Any] = {}
    for name, (value, at) in settings.items():
        if name == "size":
            options["search_context_size"] = value
        elif name == "place" and isinstance(value, dict):
            rest = {key: inner for key, inner in value.items() if key != "type"}
            options["user_location"] = {"type": "approximate", "approximate": rest}
        else:
            drops.add(at)
    drops.add(*others)
    return {"web_search_options": options}


def search_form(quirks: Quirks, api: Api, *, has_functions: bool = False) -> str | None:
    """Return the form of a provider's own search in ``api``, ``None`` without one. Some have none if a request also
    ``has_functions``."""
    if has_functions and api in ("gemini", "interactions") and not quirks.mixed_tools:
        return None
    match quirks.web_search:
        case "tool" if api != "chat":
            return api
        case "openrouter":
            return "openrouter" if api == "chat" else api
        case "options" | "always" if api == "chat":
            return quirks.web_search
        case "always":
            return api
        case _:
            return None


# Calls and results


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


def with_searches_as_calls(request: Request, api: Api, quirks: Quirks, name: str = NAME) -> Request:
    """Return ``request`` for a provider with ``api``, with earlier searches that it did not make as calls of the
    function ``name`` with their results: those of another API, of the gateway, and all if it has no search."""
    natives = (part for message in request.messages for part in message.parts if isinstance(part, NativePart))
    if not any(read_item(part.api, part.item) for part in natives):
        return request
    own_api = api if search_form(quirks, api) is not None else None
    messages = [made for message in request.messages for made in _split(message, own_api, name)]
    return attrs.evolve(request, messages=tuple(messages))


def _split(message: Message, own_api: Api | None, name: str) -> Iterator[Message]:
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
                    parts.append(ToolCallPart(found.id, name, arguments, at=part.at))
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
