"""The search services as rows of data, and one search at a service.

A service gets the query and the domains, and nothing else of a request. Only its configured address is requested: the
addresses in its results are text."""

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import attrs
import msgspec
import trio

from gateway.features.web_search.feature import WebSearchSettings
from gateway.http.offload import offload
from gateway.ledger.bill import AttemptOutcome
from gateway.serving.lifecycle import Lifecycle
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import UpstreamRequest
from providers.neutral.searches import FoundPage
from streams.errors import GatewayError
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import any_json, decode_or

MAX_QUERY: Final = 400
"""Characters of a query: Brave's limit (https://api-dashboard.search.brave.com/app/documentation/web-search/query)."""
MAX_REPLY: Final = 2**20
MAX_TEXT: Final = 2000
"""Characters of a page that the model reads."""
MAX_TITLE: Final = 300
MAX_URL: Final = 2000
MAX_AGE: Final = 40
MAX_DOMAINS: Final = 100
"""Domains of a list that the service gets: the most that OpenAI accepts."""


@attrs.frozen
class ServiceRow:
    """A search service: how to send a query, and how to read the pages.

    ``url`` is the usual address. ``key`` is the header of the key, after ``prefix``. ``query``, ``count``, ``allowed``
    and ``blocked`` are members of its JSON, or parameters of a ``GET``; without ``allowed``, the domains are operators
    of the query. ``pages`` is the path of the results, each with a URL, a title, and ``text`` and ``age``."""

    url: str | None
    key: str = ""
    prefix: str = ""
    is_get: bool = False
    query: str = "query"
    count: str | None = None
    allowed: str | None = None
    blocked: str | None = None
    more: Mapping[str, Any] = attrs.field(factory=dict)
    pages: tuple[str, ...] = ("results",)
    text: str = "content"
    age: str = ""


ROWS: Final[Mapping[str, ServiceRow]] = {
    # https://api-dashboard.search.brave.com/api-reference/web/search/get
    "brave": ServiceRow(
        "https://api.search.brave.com/res/v1/web/search", "x-subscription-token", is_get=True, query="q", count="count",
        more={"text_decorations": "false"}, pages=("web", "results"), text="description", age="age",
    ),
    # https://docs.tavily.com/documentation/api-reference/endpoint/search
    "tavily": ServiceRow(
        "https://api.tavily.com/search", "authorization", "Bearer ", count="max_results", allowed="include_domains",
        blocked="exclude_domains", age="published_date",
    ),
    # https://docs.exa.ai/reference/search
    "exa": ServiceRow(
        "https://api.exa.ai/search", "x-api-key", count="numResults", allowed="includeDomains",
        blocked="excludeDomains", more={"contents": {"text": {"maxCharacters": MAX_TEXT}}}, text="text",
        age="publishedDate",
    ),
    # https://docs.searxng.org/dev/search_api.html
    "searxng": ServiceRow(
        None, "authorization", "Bearer ", is_get=True, query="q", more={"format": "json"}, age="publishedDate",
    ),
}  # fmt: skip


def service_name(settings: WebSearchSettings) -> str:
    """Return the name of the service: the configured one, or that of the address."""
    if settings.type is not None:
        return settings.type
    host = urlsplit(settings.url or "").hostname
    return next((name for name, row in ROWS.items() if host and urlsplit(row.url or "").hostname == host), "searxng")


def row_of(settings: WebSearchSettings) -> ServiceRow:
    """Return the row of the service."""
    return ROWS[service_name(settings)]


@attrs.frozen
class Domains:
    """The domains of results, with their subdomains: one of each list in ``allowed``, none of ``blocked``."""

    allowed: tuple[Mapping[str, None], ...] = ()
    blocked: Mapping[str, None] = attrs.field(factory=dict)

    @classmethod
    def of(cls, allowed: Iterable[Sequence[str]], blocked: Iterable[Sequence[str]]) -> "Domains":
        """Return the domains of several lists. A path after a domain does not count."""
        lists = tuple(dict.fromkeys(map(_host, one)) for one in allowed if one)
        return cls(lists, dict.fromkeys(_host(one) for several in blocked for one in several))

    def permit(self, url: str) -> bool:
        """Return whether a result may have ``url``."""
        host = (urlsplit(url).hostname or "").rstrip(".")
        return all(_is_within(host, one) for one in self.allowed) and not _is_within(host, self.blocked)

    def sent_lists(self) -> tuple[list[str], list[str]]:
        """Return the allowed and the blocked domains for the service: as many as it accepts.
        ``permit`` applies the others."""
        lists = (self.allowed[-1] if self.allowed else {}, self.blocked)
        allowed, blocked = [[one for one in several if one][:MAX_DOMAINS] for several in lists]
        return allowed, blocked


_DOMAIN: Final = re.compile(r"(?:[a-z]+://)?(?:\*\.)?([a-z0-9][a-z0-9.-]{0,252})(?:[:/].*)?", re.I | re.S)


def _host(domain: str) -> str:
    """Return the host of a client's ``domain``, "" without one: then no result is in it."""
    found = _DOMAIN.fullmatch(domain)
    return "" if found is None else found[1].lower()


def _is_within(host: str, domains: Container[str]) -> bool:
    labels = host.split(".")
    return any(".".join(labels[at:]) in domains for at in range(len(labels)))


def _with_operators(query: str, allowed: Iterable[str], blocked: Iterable[str]) -> str:
    """Return ``query`` with the domains as operators, as far as they fit into ``MAX_QUERY``."""
    kept, room = [], MAX_QUERY - len(query)
    for operator in (*(f"site:{one}" for one in allowed), *(f"-site:{one}" for one in blocked)):
        if (size := len(operator) + len(" OR ")) <= room:
            kept.append(operator)
            room -= size
    sites = " OR ".join(one for one in kept if not one.startswith("-"))
    return " ".join(filter(None, [query, sites, *(one for one in kept if one.startswith("-"))]))


class SearchFailed(Exception):
    """A search without a result: ``code`` is Anthropic's word for the cause, ``reason`` the log's. ``is_refused``: the
    service has not searched."""

    def __init__(self, code: str, reason: AttemptOutcome, *, is_refused: bool = False) -> None:
        super().__init__(code)
        self.code, self.reason, self.is_refused = code, reason, is_refused


class SearchService:
    """The configured service, over the gateway's connections."""

    def __init__(self, settings: WebSearchSettings, upstream: Upstream, lifecycle: Lifecycle) -> None:
        self.name = service_name(settings)
        self.settings = settings
        self._row = row_of(settings)
        self._upstream, self._lifecycle = upstream, lifecycle
        key = ((self._row.key, f"{self._row.prefix}{settings.key}"),) if settings.key else ()
        self._headers = (("accept", "application/json"), ("accept-encoding", "identity"), *key)

    async def search(self, query: str, domains: Domains, before_end: Callable[[], object]) -> tuple[FoundPage, ...]:
        """Return the pages that the service finds. Raises ``SearchFailed``, at the latest after the timeout.

        Calls ``before_end`` right before the service has the whole query."""
        with trio.CancelScope() as scope, self._lifecycle.track_pump(scope):
            scope.deadline = trio.current_time() + self.settings.timeout
            reply = await self._send(attrs.evolve(self._request(query, domains), before_end=before_end))
            return await offload(len(reply), self._read, reply, domains)
        raise SearchFailed("unavailable", "timeout")

    def _request(self, query: str, domains: Domains) -> UpstreamRequest:
        row, (wanted, unwanted) = self._row, domains.sent_lists()
        members: dict[str, Any] = {row.query: query, **row.more}
        if row.count is not None:
            members[row.count] = min(self.settings.results, 20)
        if row.allowed is None or row.blocked is None:
            members[row.query] = _with_operators(query, wanted, unwanted)
        else:
            members |= {row.allowed: wanted} if wanted else {}
            members |= {row.blocked: unwanted} if unwanted else {}
        url = self.settings.url or row.url or ""
        if row.is_get:
            joint = "&" if urlsplit(url).query else "?"
            return UpstreamRequest("GET", f"{url}{joint}{urlencode(members)}", self._headers, max_chunk=MAX_REPLY)
        headers = (*self._headers, ("content-type", "application/json"))
        return UpstreamRequest("POST", url, headers, msgspec.json.encode(members), max_chunk=MAX_REPLY)

    async def _send(self, request: UpstreamRequest) -> bytes:
        try:
            async with await self._upstream.send(request) as response:
                if (status := response.status) == 429:
                    raise SearchFailed("too_many_requests", "rate_limited", is_refused=True)
                if not 200 <= status < 300:
                    reason: AttemptOutcome = "credential" if status in (401, 403) else "server_error"
                    raise SearchFailed("unavailable", reason, is_refused=True)
                return await response.read(MAX_REPLY)
        except UpstreamError as error:
            raise SearchFailed("unavailable", "bad_answer" if error.cause == "too_large" else "connection") from None
        except GatewayError:
            raise SearchFailed("unavailable", "connection") from None

    def _read(self, reply: bytes, domains: Domains) -> tuple[FoundPage, ...]:
        text = reply.decode("utf-8", "replace").encode()  # one page must not spoil the others
        value = None if has_more_elements(text, MAX_ELEMENTS) else decode_or(any_json, text, None)
        if not isinstance(value, dict):
            raise SearchFailed("unavailable", "bad_answer")
        for name in self._row.pages:
            value = value.get(name) if isinstance(value, dict) else None
        found: dict[str, FoundPage] = {}
        for page in value if isinstance(value, list) else ():
            source = self._source(page) if isinstance(page, dict) else None
            if source is not None and domains.permit(source.url):
                found.setdefault(source.url, source)
        return tuple(found.values())[: self.settings.results]

    def _source(self, page: Mapping[str, Any]) -> FoundPage | None:
        url = page.get("url")
        if not isinstance(url, str) or len(url) > MAX_URL or not url.isprintable() or " " in url:
            return None
        try:
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                return None
        except ValueError:  # an unclosed bracket
            return None
        texts = [_text(page.get(name), most) for name, most in
                 (("title", MAX_TITLE), (self._row.text, MAX_TEXT), (self._row.age, MAX_AGE))]  # fmt: skip
        return FoundPage(url, texts[0], texts[1], texts[2] or None)


def _text(value: Any, most: int) -> str:
    """Return a text without control characters, of at most ``most`` characters."""
    if not isinstance(value, str):
        return ""
    return "".join(one if one.isprintable() or one == "\n" else " " for one in value[:most]).strip()
