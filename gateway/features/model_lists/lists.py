"""The lists of models of providers, fetched for entries that include all models of a provider.

A list is fetched when the first client requests ``/v1/models``, and again after an hour at the earliest; other requests
never wait for it. The first client waits a moment. If a provider's list is late or fails, the catalog's models are
listed instead. Without such a client the gateway sends no requests (BerriAI/litellm#7000).
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import attrs
import msgspec
import trio

from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.http.offload import offload
from gateway.routing.target import Identity
from gateway.upstream.client import Upstream
from gateway.upstream.request import CredentialSource, UpstreamRequest
from providers.apis import CODECS
from providers.auth.signer import Credential, Signer, UnsignedRequest
from providers.catalog.model_lists import list_url
from streams.errors import GatewayError
from streams.events import Api
from streams.surrogates import NOT_JSON

LONGEST_NAME: Final = 200  # characters

_NO_CHAT_TYPES: Final = frozenset(
    {"audio", "embedding", "embeddings", "image", "moderation", "rerank", "speech", "transcribe", "transcription",
     "video"}
)  # fmt: skip
"""Values of ``type`` in rows (of Together and LM Studio) for models that cannot chat."""


class _Capabilities(msgspec.Struct):
    completion_chat: bool = True


class _Row(msgspec.Struct):
    id: str = ""
    name: str = ""
    type: str = ""
    supportedGenerationMethods: list[str] = []
    capabilities: msgspec.Raw = msgspec.Raw()

    @property
    def can_chat(self) -> bool:
        """Whether nothing in the row excludes that the model can chat."""
        methods = self.supportedGenerationMethods
        if self.type in _NO_CHAT_TYPES or (methods and "generateContent" not in methods):
            return False
        try:
            return msgspec.json.decode(self.capabilities, type=_Capabilities).completion_chat  # Mistral's
        except NOT_JSON:
            return True


class _ListObject(msgspec.Struct):
    data: list[_Row] | None = None
    models: list[_Row] | None = None
    has_more: bool | None = None
    last_id: str | None = None
    nextPageToken: str | None = None


@attrs.frozen(eq=False, repr=False)
class ModelPage:
    """The model names on one page of a list, and the query parameter for the next page, ``None`` at the end."""

    names: tuple[str, ...]
    next: tuple[str, str] | None = None


def read_page(body: bytes) -> ModelPage:
    """Parse a provider's response. Raises ``ValueError`` if it is not a list of models."""
    found = msgspec.json.decode(body, type=_ListObject | list[_Row])
    if isinstance(found, list):
        return ModelPage(_names(found))
    rows = found.data if found.data is not None else found.models
    if rows is None:
        raise ValueError("it has neither `data` nor `models`")
    if found.has_more and found.last_id:
        return ModelPage(_names(rows), ("after_id", found.last_id))
    return ModelPage(_names(rows), ("pageToken", found.nextPageToken) if found.nextPageToken else None)


def _names(rows: list[_Row]) -> tuple[str, ...]:
    names = ((row.id or row.name).removeprefix("models/") for row in rows if row.can_chat)
    return tuple(name for name in names if 0 < len(name) <= LONGEST_NAME and name.isprintable() and "*" not in name)


MAX_MODELS: Final = 2000
"""Models of one provider that are stored."""
PAGES: Final = 20
PAGE_BYTES: Final = 8 * 2**20


class ListFailed(Exception):
    """The list of a provider's models could not be fetched. The message is the reason, for the end of a sentence."""


@attrs.frozen(eq=False, repr=False)
class ModelListEndpoint:
    """The endpoint with the models of a wildcard ``entry``. Its requests are signed as those of ``api``."""

    entry: ModelEntry
    url: str
    api: Api

    def request(self, more: tuple[str, str] | None, credential: Credential | None) -> UpstreamRequest:
        """Return the signed request for a page; ``more`` is the query parameter for it, ``None`` for the first page."""
        entry, wire = self.entry, CODECS[self.api].wire
        url = self.url
        if more is not None:
            url += ("&" if "?" in url else "?") + f"{more[0]}={quote(more[1], safe='')}"
        own = {} if entry.http_host is None else {"host": entry.http_host}
        own.update((name.lower(), value) for name, value in entry.headers)
        if wire.version_header is not None:
            own.setdefault(wire.version_header, wire.default_version or entry.provider.quirks.anthropic_version)
        headers = tuple({"accept-encoding": "identity", **own}.items())
        if credential:
            signed = self._signer.sign(UnsignedRequest("GET", url, headers, b""), credential, time.time())
            headers = (*headers, *(pair for pair in signed if pair[0] not in own))
        return UpstreamRequest("GET", url, headers, max_chunk=PAGE_BYTES)

    @property
    def _signer(self) -> Signer:
        sign_in = self.entry.sign_in
        return self.entry.provider.auth[self.api] if sign_in is None else sign_in.signer


async def fetch_names(
    endpoint: ModelListEndpoint, upstream: Upstream, credential: Credential | None
) -> tuple[str, ...]:
    """Fetch the names of a provider's models, in its order. Raises ``ListFailed``."""
    names: dict[str, None] = {}
    more: tuple[str, str] | None = None
    for _ in range(PAGES):
        body = await _fetch_page(endpoint.request(more, credential), upstream)
        try:
            page = await offload(len(body), read_page, body)
        except NOT_JSON:
            raise ListFailed("the response is not a list of models") from None
        names.update(dict.fromkeys(page.names))
        if page.next is None or page.next == more or len(names) >= MAX_MODELS:
            break
        more = page.next
    return tuple(names)[:MAX_MODELS]


async def _fetch_page(request: UpstreamRequest, upstream: Upstream) -> bytes:
    try:
        async with await upstream.send(request) as response:
            if response.status != 200:
                raise ListFailed(f"it returns status {response.status}")
            return await response.read(PAGE_BYTES)
    except GatewayError as error:
        raise ListFailed(error.info.message) from None


log = logging.getLogger("trigate.models")

FRESH: Final = 3600.0
"""Seconds before a list is fetched again."""
RETRY_AFTER: Final = 300.0
"""Seconds before a failed fetch is repeated."""
FIRST_WAIT: Final = 1.0
"""Seconds that a client waits for lists that were never fetched."""
FETCH_TIMEOUT: Final = 20.0
"""Seconds for all pages of a provider."""
CONCURRENT: Final = 4
"""Lists that are fetched at the same time."""


@attrs.frozen(eq=False, repr=False)
class StoredList:
    """The names of the last fetched list. It is fetched again when it is ``due``: immediately if it never was."""

    names: tuple[str, ...] = ()
    due: float = -math.inf


class ProviderLists:
    """The models of each wildcard entry as its provider lists them. Lists of unchanged entries survive a reload."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._endpoints: Mapping[str, ModelListEndpoint] = {}
        self._credentials: Mapping[str, CredentialSource] = {}
        self._lists: dict[str, StoredList] = {}
        self._wanted, self._done = trio.Event(), trio.Event()

    def follow(self, config: Config, credentials: Mapping[str, CredentialSource]) -> None:
        """Use the entries of ``config`` from now on. ``credentials`` are the fetched ones, by the names of entries."""
        self._endpoints = {
            _key(entry): endpoint for entry in config.entries if (endpoint := _endpoint_of(entry, credentials))
        }
        self._credentials = credentials
        self._lists = {key: self._lists.get(key, StoredList()) for key in self._endpoints}

    async def names(self) -> Mapping[str, tuple[str, ...]]:
        """Return the listed names by entry, and have outdated lists fetched. Waits only for the first fetch; never
        raises."""
        if due := self._due():
            self._wanted.set()
            if any(self._lists[key].due == -math.inf for key in due):
                with trio.move_on_after(FIRST_WAIT):
                    await self._done.wait()
        return {endpoint.entry.name: self._lists[key].names for key, endpoint in self._endpoints.items()}

    async def run(self, upstream: Upstream) -> None:
        """Fetch the lists that are due whenever a client needs them, until cancelled. Raises nothing else."""
        while True:
            await self._wanted.wait()
            limit = trio.CapacityLimiter(CONCURRENT)
            async with trio.open_nursery() as nursery:
                for key in self._due():
                    nursery.start_soon(self._fetch, key, self._endpoints[key], upstream, limit)
            self._wanted, done, self._done = trio.Event(), self._done, trio.Event()
            done.set()

    def _due(self) -> list[str]:
        now = self._clock()
        return [key for key in self._endpoints if self._lists[key].due <= now]

    async def _fetch(
        self, key: str, endpoint: ModelListEndpoint, upstream: Upstream, limit: trio.CapacityLimiter
    ) -> None:
        async with limit:
            names, seconds = self._lists[key].names, RETRY_AFTER
            try:
                with trio.fail_after(FETCH_TIMEOUT):
                    source = self._credentials.get(endpoint.entry.name)
                    credential = endpoint.entry.key if source is None else await source.credential()
                    names, seconds = await fetch_names(endpoint, upstream, credential), FRESH
            except (ListFailed, GatewayError, trio.TooSlowError) as error:
                why = error.info.loggable_message if isinstance(error, GatewayError) else str(error)
                log.info("%s: could not list its models: %s", endpoint.entry.name, why or "timeout")
        if key in self._lists:  # unless a reload removed it meanwhile
            self._lists[key] = StoredList(names, self._clock() + seconds)


def _key(entry: ModelEntry) -> str:
    return f"{entry.name} {Identity.of(entry, entry.model).place.hex()}"


def _endpoint_of(entry: ModelEntry, credentials: Mapping[str, CredentialSource]) -> ModelListEndpoint | None:
    """Return the endpoint with the models of ``entry``, ``None`` if it includes only some, or has no key of its own."""
    has_key = entry.key or entry.name in credentials or not entry.provider.key_required
    if not (entry.wildcard and entry.lists_all and has_key) or entry.passthrough_auth:
        return None
    url_and_api = list_url(entry.base_url, entry.provider)
    return None if url_and_api is None else ModelListEndpoint(entry, *url_and_api)
