"""What a row of the catalogue says of a model provider, and the addresses that come of it.

The rows themselves are in ``providers/catalog/rows``, by the kind of place; what a server refuses is in its ``Quirks``,
with the public thread that showed it.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

import attrs

from providers.auth.keys import BEARER_TOKEN, X_API_KEY, X_GOOG_API_KEY, HeaderKey
from providers.auth.signer import Signer
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.endpoints.endpoint import EndpointName, Place
from providers.neutral.hosting import Hosting
from providers.neutral.patterns import fits
from providers.neutral.quirks import Quirks
from streams.events import APIS, Api

Speaks: TypeAlias = Mapping[Api, Api]

_LONGEST = 200  # characters of a model's id; what a client asks for may be megabytes

STANDARD_PATHS: Mapping[Api, str] = MappingProxyType(
    {
        "chat": "/chat/completions", "messages": "/messages", "responses": "/responses", "gemini": "/models/{model}",
        "converse": "/model/{model}",
    }
)  # fmt: skip
STANDARD_AUTH: Mapping[Api, HeaderKey] = MappingProxyType(
    {
        "chat": BEARER_TOKEN, "messages": X_API_KEY, "responses": BEARER_TOKEN, "gemini": X_GOOG_API_KEY,
        "converse": BEARER_TOKEN,
    }
)  # fmt: skip
BEARER: Mapping[Api, Signer] = MappingProxyType(dict.fromkeys(STANDARD_AUTH, BEARER_TOKEN))

ORDER: tuple[Api, ...] = ("messages", "responses", "chat", "gemini", "converse")
"""The APIs by how much of another API's requests survives in them, the best first."""

# The API of the client -> the API that the provider is asked in.
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
    max_tokens_field="max_tokens", developer_role=False, short_call_ids=False, billing_line=False,
    deferred_tools="found",
)  # fmt: skip
"""What nearly every compatible server takes: it knows ``max_tokens`` and the role ``system``
(editor-code-assistant/eca#231, earendil-works/pi#1048), and searches no tools."""

OPENAI = Quirks(counts_cached=True)
"""OpenAI itself: caching changes nothing about its rates
(https://platform.openai.com/docs/guides/prompt-caching, What about rate limits)."""

ROUTER = Quirks(short_call_ids=False, billing_line=False)
"""A service that passes requests on to the makers of models."""


@attrs.frozen
class Source:
    """Where it is written that a provider speaks an API, and the day on which it was read there."""

    url: str
    read: str


def sources(read: str, **urls: str) -> Mapping[Api, Source]:
    """Return the sources of a row by API, all read on the same day."""
    return MappingProxyType({api: Source(url, read) for api, url in urls.items()})


@attrs.frozen
class Provider:
    """One provider. ``base_url`` None means that the config must give one.

    ``paths`` are suffixes to the prefix (``{model}`` stands for the model id); ``speaks`` maps a client's API to the
    API that the provider is asked in; ``auth`` says for each of the latter who signs its requests. ``models`` are
    well-known ids for ``GET /v1/models``, the most able first, not a claim of completeness; ``families`` are shell
    patterns of the ids that its models have, those of next year too (``has`` says what they match). ``note`` is shown
    by ``check`` where the config leaves ``speaks`` at its default. ``is_subscription``: a plan of the client's pays for
    its requests. ``keeps_responses``: whether its Responses API
    stores answers, so that a client can go on from one; ``keeps_threads``: the same of Messages.
    ``all_in_chat``: whether its Chat takes everything of every model, also of those whose maker takes some of it in
    Responses alone.

    ``places`` are the APIs that are not at ``base_url`` and ``prefix``: each a prefix of its own, or a whole address.
    ``{region}``, ``{project}`` and the like in an address stand for what an entry says under that key: ``settings`` are
    those that have been said. ``hosts``: for the values of a setting the host (``{location_host}``), under the empty
    name for all others.

    ``routes`` are parts of its addresses with others that may stand in their place: where a model is not at one, it is
    asked for at the other.

    ``versionless``: its base URLs have no version, as Anthropic's SDKs take them.

    ``address`` is what a base URL of one's own looks like, where there is none for all. ``by_path`` is what is
    different where the path of the base URL ends so, as changes to the row; the longest end comes first. ``by_model``
    is the same for models whose id a shell pattern matches, the first that does. ``about`` goes into the page of
    providers. ``hosting``: how it serves an API of another maker, where that is not as its maker does.
    ``client_headers`` are headers of clients that mean something to it alone. ``price_list`` is its name in the list
    of prices. ``sources`` say of each API where that was read.

    ``endpoints`` are what it has beside conversations, and where; what is not among them, or is ``None``, it has not.
    ``endpoint_source`` says where that was read.
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
    keeps_responses: bool = False
    keeps_threads: bool = False
    all_in_chat: bool = False
    versionless: bool = False
    known: Quirks = attrs.field(default=attrs.Factory(lambda self: self.quirks, takes_self=True))
    """Those of its quirks that are known and not guessed, by which a request of its own API is edited."""

    address: str = ""
    by_path: Mapping[str, Mapping[str, Any]] = NOTHING_ELSE
    about: str = ""
    client_headers: tuple[str, ...] = ()
    hosting: Mapping[Api, Hosting] = MappingProxyType({})
    price_list: str = attrs.field(default=attrs.Factory(lambda self: self.id, takes_self=True))
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
        """Return where it has ``endpoint``, ``None`` where it has not: what takes the credentials of an API is there
        only where that API is spoken."""
        place = self.endpoints.get(endpoint)
        return place if place is not None and place.api in self.speaks.values() else None

    @property
    def local(self) -> bool:
        """True if it is a server that people run themselves, here unless the config says where."""
        return urlsplit(self.base_url or "").hostname == "localhost"

    def elsewhere(self, url: str) -> str | None:
        """Another address for what is asked at ``url``, if there is one."""
        return next((url.replace(part, other, 1) for part, other in self.routes if part in url), None)

    def lacking(self, base_url: str | None) -> tuple[str, ...]:
        """Return the settings that its addresses lack where it is asked at ``base_url``, whose path takes their
        place."""
        if base_url is not None and urlsplit(base_url).path.rstrip("/"):
            return ()
        changed = (place for _, changes in self.by_model for place in changes.get("places", {}).values())
        places = (self.prefix, *self.places.values(), *changed)
        own = (place for place in places if base_url is None or "://" not in place)
        found = _SETTING.findall(" ".join((base_url or self.base_url or "", *own)))
        return tuple(dict.fromkeys(name.removesuffix(_HOST) for name in found))

    def at(self, base_url: str | None) -> "Provider":
        """Return the row for a provider that is asked at ``base_url``: the path there says which of its APIs are
        meant."""
        if base_url is None:
            return self
        path = urlsplit(base_url).path.rstrip("/")
        changes = next((changes for end, changes in self.by_path.items() if path.endswith(end)), None)
        if changes is not None:
            return attrs.evolve(self, **{**_AT_ONE_PATH, **changes})
        there = self._there(path)
        families = tuple(
            (pattern, {**changes, **({"speaks": _within(changes["speaks"], there)} if "speaks" in changes else {})})
            for pattern, changes in self.by_model
        )
        return attrs.evolve(self, speaks=_within(self.speaks, there), by_model=families)

    def completed(self, base_url: str, speaks: Iterable[Api] = ()) -> str:
        """Return ``base_url`` as the prefix of requests: without the path of an API at its end, and with the ``/v1``
        that an address for Anthropic's SDKs lacks (https://github.com/anthropics/anthropic-sdk-python adds it).
        ``speaks`` are the APIs of its requests if they are not the provider's usual ones."""
        parts = urlsplit(base_url)
        path = parts.path.rstrip("/")
        end = api_path(base_url)
        if end in self.paths.values():
            path = path.removesuffix(end)
        if path and not _VERSION.fullmatch(path.rpartition("/")[2]) and self._lacks_version(path, frozenset(speaks)):
            path += "/v1"
        whole = urlunsplit((parts.scheme, parts.netloc, path, parts.query, parts.fragment))
        return base_url if path == parts.path.rstrip("/") else whole

    def _lacks_version(self, path: str, speaks: frozenset[Api]) -> bool:
        """Return True if the Messages API is at ``/v1`` below ``path``."""
        if self.paths.get("messages") != STANDARD_PATHS["messages"]:
            return False
        spoken = speaks or frozenset(self.speaks.values())
        if spoken == {"messages"} or self.versionless:
            return True
        stems = {end.removesuffix("/v1") for end in self.by_path if end.endswith(_ANTHROPIC + "/v1")}
        if "messages" in spoken or "messages" in self.places:
            stems |= {_ANTHROPIC, _end(self.places.get("messages", self.prefix)).removesuffix("/v1")}
        return path.endswith(tuple(stem for stem in stems if stem))

    def _there(self, path: str) -> frozenset[Api]:
        """Return the APIs that are found at a base URL with ``path``: without one all that are at no other host; else
        those whose own prefix it ends with, or those that have none."""
        if not path:
            return frozenset(api for api in self.paths if "://" not in self.places.get(api, ""))
        ends = {api: _end(place) for api, place in self.places.items()}
        longest = max(
            (end for end in ends.values() if end not in _ANYBODYS and path.endswith(end)), key=len, default=""
        )
        if longest and not (path.endswith(_end(self.prefix)) and len(_end(self.prefix)) > len(longest)):
            return frozenset(api for api, end in ends.items() if end == longest)
        return frozenset(api for api in self.paths if api not in self.places)

    def of_model(self, model: str) -> "Provider":
        """Return the row for ``model``, an id of the provider's."""
        if not self.by_model:
            return self
        name = model[:_LONGEST].lower()
        changes = next((changes for pattern, changes in self.by_model if fits(name, pattern)), {})
        return attrs.evolve(self, by_model=(), **changes)

    def settled(self, settings: Mapping[str, str]) -> "Provider":
        """Return the row with ``settings`` in its addresses."""
        if not settings:
            return self

        hosts = {name + _HOST: _host(table, settings[name]) for name, table in self.hosts.items() if name in settings}
        said = {**settings, **hosts}

        def filled(text: str) -> str:
            return _SETTING.sub(lambda found: said.get(found[1], found[0]), text)

        def changed(changes: Mapping[str, Any]) -> Mapping[str, Any]:
            return {name: _filled(value, filled) if name in _PLACED else value for name, value in changes.items()}

        return attrs.evolve(
            self, settings=settings, routes=tuple((filled(part), filled(other)) for part, other in self.routes),
            by_model=tuple((pattern, changed(changes)) for pattern, changes in self.by_model),
            **changed({name: getattr(self, name) for name in _PLACED}),
        )  # fmt: skip

    def has(self, model: str) -> bool:
        """Return whether ``model``, in upper or lower case, is an id of one of the provider's families.

        An id with a slash is a router's, and one with a colon a tag of a local server (``deepseek-r1:70b``): they
        belong to a family only where its pattern has that character too."""
        if len(model) > _LONGEST:
            return False
        name = model.lower()
        return any(
            fits(name, family) and all(mark in family or mark not in name for mark in "/:") for family in self.families
        )


_ARN = re.compile(r"arn:aws[a-z-]{0,20}:[a-z-]{1,30}:([a-z]{2}(?:-[a-z]{1,20}){1,3}-[0-9]{1,2}):")
_VERSION = re.compile(r"v[0-9]+[a-z0-9]*")
_ANTHROPIC = "/anthropic"  # the end of many an address for Messages
_SETTING = re.compile(r"\{(?!model\})([a-z_]+)\}")
_HOST = "_host"
_ANYBODYS = ("", "/v1")  # the end of many a path, which says of no API that it is meant
_PLACED = ("base_url", "prefix", "places")
_AT_ONE_PATH: Mapping[str, Any] = {"by_path": NOTHING_ELSE, "by_model": (), "places": NOWHERE_ELSE}


def _host(table: Mapping[str, str], value: str) -> str:
    """Return the host for a setting's ``value``."""
    return table.get(value) or table[""].format(value)


def _end(place: str) -> str:
    """Return what follows the last setting in a path."""
    return (urlsplit(place).path if "://" in place else place).rpartition("}")[2]


def _filled(value: Any, filled: Any) -> Any:
    if isinstance(value, Mapping):
        return {api: filled(place) for api, place in value.items()}
    return None if value is None else filled(value)


def _within(speaks: Speaks, there: Iterable[Api]) -> Speaks:
    """Return ``speaks`` without the APIs that are not ``there``: whoever was to be asked in them is asked in the best
    of the others."""
    left = [api for api in ORDER if api in speaks.values() and api in there]
    if not left:
        return speaks
    return {client: api if api in left else best_for(client, left) for client, api in speaks.items()}


def best_for(client: Api, apis: Iterable[Api]) -> Api:
    """Return the API, one of ``apis``, in which a client of ``client`` is served where nobody says it: its own, else
    for the three older APIs Chat first, which they have always been given, and for the others the one that loses
    least."""
    spoken = tuple(apis)
    order = ("chat", *ORDER) if client in ("chat", "messages", "responses") else ORDER
    return next((api for api in (client, *order) if api in spoken), spoken[0])


def region_of(model: str) -> str | None:
    """Return the region that an id of Amazon's names: an ARN does. Nothing but the name of one is taken, since clients
    write ids and the region becomes part of the host to which the credential goes."""
    found = _ARN.match(model)
    return None if found is None else found[1]


def api_path(base_url: str) -> str:
    """Return the path of an API with which ``base_url`` ends, empty without one."""
    path = urlsplit(base_url).path.rstrip("/")
    return next((end for end in STANDARD_PATHS.values() if path.endswith(end)), "")


def is_of_messages(base_url: str) -> bool:
    """Return True if ``base_url`` looks like the address of a Messages API."""
    path = urlsplit(base_url).path.rstrip("/")
    return path.endswith((_ANTHROPIC, _ANTHROPIC + "/v1", STANDARD_PATHS["messages"]))


def url_for(base_url: str | None, provider: Provider, api: Api, model: str) -> str:
    """Return the URL at which ``provider`` takes requests of ``api`` for ``model``.

    A path in ``base_url`` replaces the provider's prefix, a query in it (Azure's ``api-version``) the path's own;
    scheme, host and port are always those of ``base_url``. In a path the colon of an id stays and its slash becomes
    ``%2F`` (envoyproxy/ai-gateway#1332, crmne/ruby_llm#803). Raises ``LookupError`` if the provider has no path for
    ``api`` or neither it nor the caller has a base URL.
    """
    place = provider.places.get(api, provider.prefix)
    elsewhere = "://" in place
    base = base_url or (place if elsewhere else provider.base_url)
    if base is None:
        raise LookupError(f"{provider.id} has no base URL of its own")
    parts = urlsplit(base)
    path, _, query = provider.paths[api].partition("?")
    prefix = parts.path.rstrip("/") or (urlsplit(place).path if elsewhere else place)
    path = path.replace("{model}", quote(model, safe=":@"))
    host, own = parts.netloc, provider.settings.get("region")
    if base_url is None and own is not None and (region := region_of(model)) is not None:
        host = host.replace(own, region)
    return urlunsplit((parts.scheme, host, prefix + path, parts.query or query, ""))


def endpoint_url(base_url: str | None, provider: Provider, place: Place, model: str, rest: str = "") -> str:
    """Return the URL at which ``provider`` has the endpoint at ``place``, for ``model``; ``rest`` is what follows its
    path (``/file-1/content``), encoded already.

    A path in ``base_url`` stands for the provider's prefix, as in ``url_for``; where the place has a prefix of its own,
    that takes the place of the provider's at its end (Cohere's ``/v2`` behind ``…/compatibility/v1``). A query in
    ``base_url`` takes the place of the path's own. Raises ``LookupError`` without any base URL.
    """
    path, _, query = place.path.partition("?")
    path = path.replace("{model}", quote(model, safe=":@")) + rest
    if "://" in path:
        return path + (f"?{query}" if query else "")
    standing = provider.places.get(place.api, provider.prefix)
    elsewhere = "://" in standing
    base = base_url or (standing if elsewhere else provider.base_url)
    if base is None:
        raise LookupError(f"{provider.id} has no base URL of its own")
    parts = urlsplit(base)
    usual = urlsplit(standing).path if elsewhere else standing
    own = parts.path.rstrip("/")
    prefix = (own or usual) if place.prefix is None else own.removesuffix(usual) + place.prefix
    return urlunsplit((parts.scheme, parts.netloc, prefix + path, parts.query or query, ""))
