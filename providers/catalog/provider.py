"""The type of provider rows, and the URLs that they produce.

The rows are in ``providers/catalog/rows``. ``Quirks`` list what a server rejects, with the public thread that shows it.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

import attrs

from providers.auth.signer import BEARER_TOKEN, X_API_KEY, X_GOOG_API_KEY, HeaderKey, Signer
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.endpoints.endpoint import EndpointName, Place
from providers.neutral.patterns import fits
from providers.neutral.quirks import Quirks
from providers.neutral.wire_api import Hosting
from streams.events import APIS, Api

Speaks: TypeAlias = Mapping[Api, Api]

_MAX_NAME = 200  # characters of a model's id; a client may send megabytes

STANDARD_PATHS: Mapping[Api, str] = MappingProxyType(
    {
        "chat": "/chat/completions", "messages": "/messages", "responses": "/responses", "gemini": "/models/{model}",
        "converse": "/model/{model}", "interactions": "/interactions",
    }
)  # fmt: skip
STANDARD_AUTH: Mapping[Api, HeaderKey] = MappingProxyType(
    {
        "chat": BEARER_TOKEN, "messages": X_API_KEY, "responses": BEARER_TOKEN, "gemini": X_GOOG_API_KEY,
        "converse": BEARER_TOKEN, "interactions": X_GOOG_API_KEY,
    }
)  # fmt: skip
BEARER: Mapping[Api, Signer] = MappingProxyType(dict.fromkeys(STANDARD_AUTH, BEARER_TOKEN))

ORDER: tuple[Api, ...] = ("messages", "responses", "chat", "gemini", "converse", "interactions")
"""The APIs by how well they preserve other APIs' requests, the best first."""

# The client's API -> the API of the request to the provider.
ONLY_CHAT: Speaks = MappingProxyType({"chat": "chat", "messages": "chat", "responses": "chat"})
CHAT_AND_RESPONSES: Speaks = MappingProxyType({"chat": "chat", "messages": "chat", "responses": "responses"})
CHAT_AND_MESSAGES: Speaks = MappingProxyType({"chat": "chat", "messages": "messages", "responses": "chat"})
ONLY_RESPONSES: Speaks = MappingProxyType(dict.fromkeys(APIS, "responses"))
ALL_THREE: Speaks = MappingProxyType({api: api for api in ("chat", "messages", "responses")})
ONLY_MESSAGES: Speaks = MappingProxyType(dict.fromkeys(APIS, "messages"))

NOTHING_ELSE: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
NOWHERE_ELSE: Mapping[Api, str] = MappingProxyType({})
NO_ENDPOINTS: Mapping[EndpointName, Place | None] = MappingProxyType({})

COMPATIBLE = Quirks(
    max_tokens_field="max_tokens", developer_role=False, text_lists=False, short_call_ids=False, billing_line=False,
    deferred_tools="found", moderation=False, original_images=False,
)  # fmt: skip
"""The quirks of nearly every compatible server.

They know ``max_tokens`` and the role ``system`` (editor-code-assistant/eca#231, earendil-works/pi#1048), may reject
lists of texts and images in their original size, have no tool search, and ignore ``moderation``.
"""

OPENAI = Quirks(counts_cached=True, web_search="tool")
"""The quirks of OpenAI, where cached tokens count towards rate limits
(https://platform.openai.com/docs/guides/prompt-caching, What about rate limits)."""

ANTHROPIC = Quirks(web_search="tool")
"""The quirks of Anthropic."""

ROUTER = Quirks(short_call_ids=False, billing_line=False)
"""The quirks of a service that forwards requests to model makers."""


@attrs.frozen(repr=False)
class Source:
    """The documentation of a provider's API, and the day on which it was read."""

    url: str
    read: str


def sources(read: str, **urls: str) -> Mapping[Api, Source]:
    """Return the sources of a row by API, all read on the same day."""
    return MappingProxyType({api: Source(url, read) for api, url in urls.items()})


@attrs.frozen
class CopiedAddress:
    """An address that people copy from a provider's pages, where a prefix of requests is needed.

    ``end`` is a pattern of the end of its path, in which a group ``model`` is a model or deployment. ``prefix`` takes
    its place. ``keeps_query`` is false if the query belongs to the replaced path."""

    end: str
    prefix: str
    keeps_query: bool = True


@attrs.frozen
class Provider:
    """One provider. A ``base_url`` of None means that the configuration must set one.

    - ``paths``: URL paths after the prefix; ``{model}`` is the model id.
    - ``speaks``: the client's API -> the API of the request to the provider. ``auth``: the signer for each of the
      latter.
    - ``models``: well-known ids for ``GET /v1/models``, the most capable first, not complete. ``families``: shell
      patterns of its model ids, future ones too (see ``has``).
    - ``note``: a note that ``check`` shows if the configuration does not set ``speaks``. ``about``: text for the page
      of providers.
    - ``is_subscription``: the client's plan pays for requests.
    - ``keeps_turns``: the APIs that store answers, so that a client can continue from one. ``keeps_threads``: Messages
      does.
    - ``all_in_chat``: its Chat supports every feature of every model, including features that the maker only has in
      Responses.
    - ``places``: for APIs at another location than ``base_url`` and ``prefix``, a prefix or a whole address.
    - ``settings``: values for ``{region}``, ``{project}`` and the like in addresses, from the entry's keys. ``hosts``:
      for each value of a setting its host (``{location_host}``), under "" for all others.
    - ``routes``: parts of addresses and alternatives; a model that is missing at one is requested at the other.
    - ``other_apis``: APIs that alone serve some models, which the provider's rejection reports.
    - ``versionless``: base URLs have no version, as in Anthropic's SDKs.
    - ``address``: an example of a base URL, if every customer has a different one.
    - ``by_path``: changes to the row by the end of the base URL's path, the longest end first. ``by_model``: changes by
      a shell pattern of model ids; the first match applies.
    - ``copied``: the addresses that its pages show for one model.
    - ``hosting``: how it serves another maker's API, if it differs from the maker.
    - ``client_headers``: client headers that only it understands.
    - ``price_list``: its name in the price list.
    - ``bills_filtered_prompts``: whether it bills the prompt of a request that its content filter rejects.
    - ``sources``: by API, the documentation of this row's facts.
    - ``endpoints``: other endpoints than conversations and their locations; missing or ``None``: not available.
      ``endpoint_source``: their documentation.
    """

    id: str
    display_name: str
    base_url: str | None = None
    prefix: str = "/v1"
    paths: Mapping[Api, str] = STANDARD_PATHS
    speaks: Speaks = ONLY_CHAT
    auth: Mapping[Api, Signer] = STANDARD_AUTH
    quirks: Quirks = COMPATIBLE
    models: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    key_env: str | None = None
    key_required: bool = True
    note: str = ""
    is_subscription: bool = False
    keeps_turns: tuple[Api, ...] = ()
    keeps_threads: bool = False
    all_in_chat: bool = False
    other_apis: tuple[Api, ...] = ()
    versionless: bool = False
    known: Quirks = attrs.field(default=attrs.Factory(lambda self: self.quirks, takes_self=True))
    """The quirks that are known rather than guessed; they decide how requests of its own API are edited."""

    address: str = ""
    by_path: Mapping[str, Mapping[str, Any]] = NOTHING_ELSE
    copied: tuple[CopiedAddress, ...] = ()
    about: str = ""
    client_headers: tuple[str, ...] = ()
    hosting: Mapping[Api, Hosting] = MappingProxyType({})
    price_list: str = attrs.field(default=attrs.Factory(lambda self: self.id, takes_self=True))
    bills_filtered_prompts: bool = False
    places: Mapping[Api, str] = NOWHERE_ELSE
    by_model: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    settings: Mapping[str, str] = attrs.field(factory=dict)
    hosts: Mapping[str, Mapping[str, str]] = NOTHING_ELSE
    routes: tuple[tuple[str, str], ...] = ()
    sign_in: tuple[str, ...] = ("api_key",)
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    sources: Mapping[Api, Source] = attrs.field(factory=dict, repr=False)
    endpoints: Mapping[EndpointName, Place | None] = attrs.field(default=NO_ENDPOINTS, repr=False)
    embeddings: EmbeddingTraits = attrs.field(factory=EmbeddingTraits, repr=False)
    endpoint_source: Source | None = attrs.field(default=None, repr=False)

    def place_of(self, endpoint: EndpointName) -> Place | None:
        """Return the location of ``endpoint``, or ``None``.

        An endpoint that uses an API's credentials only exists if the provider speaks that API.
        """
        place = self.endpoints.get(endpoint)
        return place if place is not None and place.api in self.speaks.values() else None

    @property
    def local(self) -> bool:
        """True for a server that users run themselves, by default on this machine."""
        return urlsplit(self.base_url or "").hostname == "localhost"

    def alternative_url(self, url: str) -> str | None:
        """Return an alternative address for ``url``, or ``None``."""
        return next((url.replace(part, other, 1) for part, other in self.routes if part in url), None)

    def missing_settings(self, base_url: str | None) -> tuple[str, ...]:
        """Return the settings that its addresses need but lack. A path in ``base_url`` replaces them."""
        if base_url is not None and urlsplit(base_url).path.rstrip("/"):
            return ()
        fill_addresses = (place for _, changes in self.by_model for place in changes.get("places", {}).values())
        places = (self.prefix, *self.places.values(), *fill_addresses)
        own = (place for place in places if base_url is None or "://" not in place)
        found = _SETTING.findall(" ".join((base_url or self.base_url or "", *own)))
        return tuple(dict.fromkeys(name.removesuffix(_HOST) for name in found))

    def at_base_url(self, base_url: str | None) -> "Provider":
        """Return the row for a provider at ``base_url``, whose path determines the APIs available there."""
        if base_url is None:
            return self
        path = urlsplit(base_url).path.rstrip("/")
        changes = next((changes for end, changes in self.by_path.items() if path.endswith(end)), None)
        if changes is not None:
            return attrs.evolve(self, **{**_NO_VARIANTS, **changes})
        available = self._apis_at(path)
        families = tuple(
            (
                pattern,
                {**changes, **({"speaks": _limit_speaks(changes["speaks"], available)} if "speaks" in changes else {})},
            )
            for pattern, changes in self.by_model
        )
        others = tuple(api for api in self.other_apis if api in available)
        return attrs.evolve(self, speaks=_limit_speaks(self.speaks, available), other_apis=others, by_model=families)

    def complete_base_url(self, base_url: str, speaks: Iterable[Api] = ()) -> str:
        """Return ``base_url`` as a prefix of requests.

        Removes the path of an API at its end, replaces the end of a copied address, and adds the ``/v1`` that addresses
        for Anthropic's SDKs lack (https://github.com/anthropics/anthropic-sdk-python adds it). ``speaks`` are the APIs
        of its requests if they differ from the provider's.
        """
        parts = urlsplit(base_url)
        path, query = parts.path.rstrip("/"), parts.query
        end = api_path(base_url)
        if end and end in self.at_base_url(path.removesuffix(end)).paths.values():
            path = path.removesuffix(end)
        if (copy := self._match_copy(path)) is not None:
            copied, found = copy
            path, query = path[: found.start()] + copied.prefix, query if copied.keeps_query else ""
        if path and not _VERSION.fullmatch(path.rpartition("/")[2]) and self._lacks_version(path, frozenset(speaks)):
            path += "/v1"
        whole = urlunsplit((parts.scheme, parts.netloc, path, query, parts.fragment))
        return base_url if path == parts.path.rstrip("/") else whole

    def model_in(self, base_url: str) -> str | None:
        """Return the model or deployment in ``base_url``, ``None`` if it is not a copied address of one."""
        copy = self._match_copy(urlsplit(base_url).path.rstrip("/"))
        name = None if copy is None else copy[1].groupdict().get("model")
        return None if name is None else unquote(name)

    def _match_copy(self, path: str) -> tuple[CopiedAddress, re.Match[str]] | None:
        matches = ((copied, re.search(rf"(?:{copied.end})$", path)) for copied in self.copied)
        return next(((copied, found) for copied, found in matches if found is not None), None)

    def _lacks_version(self, path: str, speaks: frozenset[Api]) -> bool:
        """Return whether the Messages API is at ``/v1`` below ``path``."""
        if self.paths.get("messages") != STANDARD_PATHS["messages"]:
            return False
        spoken = speaks or frozenset(self.speaks.values())
        if spoken == {"messages"} or self.versionless:
            return True
        stems = {end.removesuffix("/v1") for end in self.by_path if end.endswith(_ANTHROPIC + "/v1")}
        if "messages" in spoken or "messages" in self.places:
            stems |= {_ANTHROPIC, _path_end(self.places.get("messages", self.prefix)).removesuffix("/v1")}
        return path.endswith(tuple(stem for stem in stems if stem))

    def _apis_at(self, path: str) -> frozenset[Api]:
        """Return the APIs available at a base URL with ``path``.

        Without a path: all APIs at no other host. Otherwise the APIs whose own prefix ends ``path``, or else those
        without an own prefix.
        """
        if not path:
            return frozenset(api for api in self.paths if "://" not in self.places.get(api, ""))
        ends = {api: _path_end(place) for api, place in self.places.items()}
        longest = max(
            (end for end in ends.values() if end not in _COMMON_ENDS and path.endswith(end)), key=len, default=""
        )
        if longest and not (path.endswith(_path_end(self.prefix)) and len(_path_end(self.prefix)) > len(longest)):
            return frozenset(api for api, end in ends.items() if end == longest)
        return frozenset(api for api in self.paths if api not in self.places)

    def for_model(self, model: str) -> "Provider":
        if not self.by_model:
            return self
        name = model[:_MAX_NAME].lower()
        changes = next((changes for pattern, changes in self.by_model if fits(name, pattern)), {})
        return attrs.evolve(self, by_model=(), **changes)

    def with_settings(self, settings: Mapping[str, str]) -> "Provider":
        """Return the row with ``settings`` filled into its addresses."""
        if not settings:
            return self

        hosts = {name + _HOST: _host(table, settings[name]) for name, table in self.hosts.items() if name in settings}
        values = {**settings, **hosts}

        def fill(text: str) -> str:
            return _SETTING.sub(lambda found: values.get(found[1], found[0]), text)

        def fill_addresses(changes: Mapping[str, Any]) -> Mapping[str, Any]:
            return {
                name: _fill_in(value, fill) if name in _ADDRESS_FIELDS else value for name, value in changes.items()
            }

        return attrs.evolve(
            self, settings=settings, routes=tuple((fill(part), fill(other)) for part, other in self.routes),
            by_model=tuple((pattern, fill_addresses(changes)) for pattern, changes in self.by_model),
            **fill_addresses({name: getattr(self, name) for name in _ADDRESS_FIELDS}),
        )  # fmt: skip

    def has(self, model: str) -> bool:
        """Return whether ``model``, in upper or lower case, belongs to one of the provider's families.

        Ids with a slash belong to routers, ids with a colon to local servers (``deepseek-r1:70b``). They only match a
        family whose pattern contains that character.
        """
        if len(model) > _MAX_NAME:
            return False
        name = model.lower()
        return any(
            fits(name, family) and all(mark in family or mark not in name for mark in "/:") for family in self.families
        )


_ARN = re.compile(r"arn:aws[a-z-]{0,20}:[a-z-]{1,30}:([a-z]{2}(?:-[a-z]{1,20}){1,3}-[0-9]{1,2}):")
_VERSION = re.compile(r"v[0-9]+[a-z0-9]*")
_ANTHROPIC = "/anthropic"  # a frequent end of addresses for Messages
_SETTING = re.compile(r"\{(?!model\})([a-z_]+)\}")
_HOST = "_host"
_COMMON_ENDS = ("", "/v1")  # frequent ends of paths that do not identify an API
_ADDRESS_FIELDS = ("base_url", "prefix", "places")
_NO_VARIANTS: Mapping[str, Any] = {"by_path": NOTHING_ELSE, "by_model": (), "places": NOWHERE_ELSE, "other_apis": ()}


def _host(table: Mapping[str, str], value: str) -> str:
    """Return the host for a setting's ``value``."""
    return table.get(value) or table[""].format(value)


def _path_end(place: str) -> str:
    """Return the part of a path after its last setting."""
    return (urlsplit(place).path if "://" in place else place).rpartition("}")[2]


def _fill_in(value: Any, fill: Any) -> Any:
    if isinstance(value, Mapping):
        return {api: fill(place) for api, place in value.items()}
    return None if value is None else fill(value)


def _limit_speaks(speaks: Speaks, available: Iterable[Api]) -> Speaks:
    """Return ``speaks`` limited to the APIs ``available``; clients of other APIs get the best remaining one."""
    remaining = [api for api in ORDER if api in speaks.values() and api in available]
    if not remaining:
        return speaks
    return {client: api if api in remaining else best_for(client, remaining) for client, api in speaks.items()}


def best_for(client: Api, apis: Iterable[Api]) -> Api:
    """Return the default API of ``apis`` for a client of ``client``.

    Its own if possible. Otherwise Chat for clients of the three older APIs, as ever, and the API that loses least for
    the others.
    """
    spoken = tuple(apis)
    order = ("chat", *ORDER) if client in ("chat", "messages", "responses") else ORDER
    return next((api for api in (client, *order) if api in spoken), spoken[0])


def region_of(model: str) -> str | None:
    """Return the region in an Amazon model id, which an ARN contains.

    Matches strictly, because clients write ids and the region becomes part of the host that receives the credential.
    """
    found = _ARN.match(model)
    return None if found is None else found[1]


def api_path(base_url: str) -> str:
    """Return the path of an API at the end of ``base_url``, or ""."""
    path = urlsplit(base_url).path.rstrip("/")
    return next((end for end in STANDARD_PATHS.values() if path.endswith(end)), "")


def is_messages_url(base_url: str) -> bool:
    """Return whether ``base_url`` looks like the address of a Messages API."""
    path = urlsplit(base_url).path.rstrip("/")
    return path.endswith((_ANTHROPIC, _ANTHROPIC + "/v1", STANDARD_PATHS["messages"]))


def _split_base(base_url: str | None, provider: Provider, api: Api) -> tuple[SplitResult, str]:
    """Return the parts of the base URL, and the prefix if its path is empty."""
    place = provider.places.get(api, provider.prefix)
    elsewhere = "://" in place
    base = base_url or (place if elsewhere else provider.base_url)
    if base is None:
        raise LookupError(f"{provider.id} has no base URL of its own")
    return urlsplit(base), urlsplit(place).path if elsewhere else place


def url_for(base_url: str | None, provider: Provider, api: Api, model: str) -> str:
    """Return the URL of ``provider`` for requests of ``api`` for ``model``.

    A path in ``base_url`` replaces the provider's prefix, a query in it (Azure's ``api-version``) the path's query;
    scheme, host and port always come from ``base_url``. The colon of a model id stays, its slash becomes ``%2F``
    (envoyproxy/ai-gateway#1332, crmne/ruby_llm#803). Raises ``LookupError`` if the provider has no path for ``api``, or
    if there is no base URL.
    """
    parts, usual = _split_base(base_url, provider, api)
    path, _, query = provider.paths[api].partition("?")
    prefix = parts.path.rstrip("/") or usual
    path = path.replace("{model}", quote(model, safe=":@"))
    host, own = parts.netloc, provider.settings.get("region")
    if base_url is None and own is not None and (region := region_of(model)) is not None:
        host = host.replace(own, region)
    return urlunsplit((parts.scheme, host, prefix + path, parts.query or query, ""))


def endpoint_url(base_url: str | None, provider: Provider, place: Place, model: str, rest: str = "") -> str:
    """Return the URL of the endpoint at ``place`` for ``model``; ``rest`` is appended, already encoded
    (``/file-1/content``).

    A path in ``base_url`` replaces the provider's prefix, as in ``url_for``; the prefix of ``place`` replaces the
    provider's prefix at the end of that path (Cohere's ``/v2`` after ``…/compatibility/v1``). A query in ``base_url``
    replaces the path's query. Raises ``LookupError`` without a base URL.
    """
    path, _, query = place.path.partition("?")
    path = path.replace("{model}", quote(model, safe=":@")) + rest
    if "://" in path:
        return path + (f"?{query}" if query else "")
    parts, usual = _split_base(base_url, provider, place.api)
    own = parts.path.rstrip("/")
    prefix = (own or usual) if place.prefix is None else own.removesuffix(usual) + place.prefix
    return urlunsplit((parts.scheme, parts.netloc, prefix + path, parts.query or query, ""))
