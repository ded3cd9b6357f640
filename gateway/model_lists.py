"""The lists of models that providers have given, kept for entries that stand for all models of a provider.

A provider is asked when the first client wants a list of models, and again an hour later at the earliest: whoever asks
for a model never waits for it. The first client's list waits a moment for it; what is not there by then, or cannot be
had, is what the catalogue knows. Nothing is asked that no client has a use for (BerriAI/litellm#7000).
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
from gateway.routing.identity import Identity
from gateway.upstream.client import Upstream
from gateway.upstream.request import CredentialSource, UpstreamRequest
from providers.apis import CODECS
from providers.auth.credential import Credential
from providers.auth.signer import Signer, UnsignedRequest
from providers.catalog.model_lists import list_url
from streams.errors import GatewayError
from streams.events import Api

LONGEST_NAME: Final = 200  # characters

_SILENT: Final = frozenset(
    {"audio", "embedding", "embeddings", "image", "moderation", "rerank", "speech", "transcribe", "transcription",
     "video"}
)  # fmt: skip
"""Values of a row's ``type`` (Together's, LM Studio's) of what cannot be talked to."""


class _Chat(msgspec.Struct):
    completion_chat: bool = True


class _Row(msgspec.Struct):
    id: str = ""
    name: str = ""
    type: str = ""
    supportedGenerationMethods: list[str] = []
    capabilities: msgspec.Raw = msgspec.Raw()

    @property
    def talks(self) -> bool:
        """False if the row itself says that the model is for something else."""
        methods = self.supportedGenerationMethods
        if self.type in _SILENT or (methods and "generateContent" not in methods):
            return False
        try:
            return msgspec.json.decode(self.capabilities, type=_Chat).completion_chat  # Mistral's
        except msgspec.MsgspecError:
            return True


class _ListObject(msgspec.Struct):
    data: list[_Row] | None = None
    models: list[_Row] | None = None
    has_more: bool | None = None
    last_id: str | None = None
    nextPageToken: str | None = None


@attrs.frozen(eq=False, repr=False)
class ModelPage:
    """The names on a page, and the member of the query that gets the next; ``None`` at the end."""

    names: tuple[str, ...]
    next: tuple[str, str] | None = None


def read_page(body: bytes) -> ModelPage:
    """Raises ``ValueError`` for what is no list of models."""
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
    names = ((row.id or row.name).removeprefix("models/") for row in rows if row.talks)
    return tuple(name for name in names if 0 < len(name) <= LONGEST_NAME and name.isprintable() and "*" not in name)


MOST: Final = 2000
"""Models of a provider that are kept."""
PAGES: Final = 20
PAGE_BYTES: Final = 8 * 2**20


class NoList(Exception):
    """The provider has not listed its models; the message is why, as the end of a sentence."""


@attrs.frozen(eq=False, repr=False)
class ListedPlace:
    """The list of an ``entry`` for all models, at ``url``, signed as requests of ``api`` are."""

    entry: ModelEntry
    url: str
    api: Api

    def request(self, more: tuple[str, str] | None, credential: Credential | None) -> UpstreamRequest:
        entry, wire = self.entry, CODECS[self.api].wire
        url = self.url
        if more is not None:
            url += ("&" if "?" in url else "?") + f"{more[0]}={quote(more[1], safe='')}"
        own = {} if entry.http_host is None else {"host": entry.http_host}
        own.update((name.lower(), value) for name, value in entry.headers)
        if wire.version_header is not None:
            own.setdefault(wire.version_header, entry.provider.quirks.anthropic_version)
        headers = tuple({"accept-encoding": "identity", **own}.items())
        if credential:
            signed = self._signer.sign(UnsignedRequest("GET", url, headers, b""), credential, time.time())
            headers = (*headers, *(pair for pair in signed if pair[0] not in own))
        return UpstreamRequest("GET", url, headers, max_chunk=PAGE_BYTES)

    @property
    def _signer(self) -> Signer:
        sign_in = self.entry.sign_in
        return self.entry.provider.auth[self.api] if sign_in is None else sign_in.signer


async def names_of(place: ListedPlace, upstream: Upstream, credential: Credential | None) -> tuple[str, ...]:
    """The names of the provider's models, in its order. Raises ``NoList``."""
    names: dict[str, None] = {}
    more: tuple[str, str] | None = None
    for _ in range(PAGES):
        body = await _page(place.request(more, credential), upstream)
        try:
            page = await offload(len(body), read_page, body)
        except (ValueError, msgspec.MsgspecError, RecursionError):
            raise NoList("the response is not a list of models") from None
        names.update(dict.fromkeys(page.names))
        if page.next is None or page.next == more or len(names) >= MOST:
            break
        more = page.next
    return tuple(names)[:MOST]


async def _page(request: UpstreamRequest, upstream: Upstream) -> bytes:
    try:
        async with await upstream.send(request) as response:
            if response.status != 200:
                raise NoList(f"it returns status {response.status}")
            return await response.read(PAGE_BYTES)
    except GatewayError as error:
        raise NoList(error.info.message) from None


log = logging.getLogger("trigate.models")

FRESH: Final = 3600.0
"""Seconds for which a list is taken to be true."""
AGAIN: Final = 300.0
"""Seconds until a provider is asked again that has not answered with a list."""
PATIENCE: Final = 1.0
"""Seconds for which the first client's list waits for those of providers."""
LONGEST: Final = 20.0
"""Seconds for the whole list of a provider."""
AT_ONCE: Final = 4
"""Providers that are asked side by side."""


@attrs.frozen(eq=False, repr=False)
class Kept:
    """The names of a list, as they were last heard, until they are ``due``; never before the first time."""

    names: tuple[str, ...] = ()
    due: float = -math.inf


class ProviderLists:
    """The lists of the configuration that holds. Those of a place that stays are kept over a reload."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: Mapping[str, ListedPlace] = {}
        self._credentials: Mapping[str, CredentialSource] = {}
        self._kept: dict[str, Kept] = {}
        self._wanted, self._done = trio.Event(), trio.Event()

    def follow(self, config: Config, credentials: Mapping[str, CredentialSource]) -> None:
        """Keep the lists of ``config`` from now on; ``credentials`` are those that no configuration holds, by entry."""
        self._places = {_key(entry): place for entry in config.entries if (place := _place(entry, credentials))}
        self._credentials = credentials
        self._kept = {key: self._kept.get(key, Kept()) for key in self._places}

    async def names(self) -> Mapping[str, tuple[str, ...]]:
        """The names that providers have listed, by entry. Raises nothing."""
        if due := self._due():
            self._wanted.set()
            if any(self._kept[key].due == -math.inf for key in due):
                with trio.move_on_after(PATIENCE):
                    await self._done.wait()
        return {place.entry.name: self._kept[key].names for key, place in self._places.items()}

    async def run(self, upstream: Upstream) -> None:
        """Ask those that are due whenever a list is wanted, until cancelled. Raises nothing else."""
        while True:
            await self._wanted.wait()
            limit = trio.CapacityLimiter(AT_ONCE)
            async with trio.open_nursery() as nursery:
                for key in self._due():
                    nursery.start_soon(self._ask, key, self._places[key], upstream, limit)
            self._wanted, done, self._done = trio.Event(), self._done, trio.Event()
            done.set()

    def _due(self) -> list[str]:
        now = self._clock()
        return [key for key in self._places if self._kept[key].due <= now]

    async def _ask(self, key: str, place: ListedPlace, upstream: Upstream, limit: trio.CapacityLimiter) -> None:
        async with limit:
            names, seconds = self._kept[key].names, AGAIN
            try:
                with trio.fail_after(LONGEST):
                    source = self._credentials.get(place.entry.name)
                    credential = place.entry.key if source is None else await source.credential()
                    names, seconds = await names_of(place, upstream, credential), FRESH
            except (NoList, GatewayError, trio.TooSlowError) as error:
                why = error.info.loggable_message if isinstance(error, GatewayError) else str(error)
                log.info("%s: could not list its models: %s", place.entry.name, why or "timeout")
        if key in self._kept:  # no reload has taken it away meanwhile
            self._kept[key] = Kept(names, self._clock() + seconds)


def _key(entry: ModelEntry) -> str:
    return f"{entry.name} {Identity.of(entry, entry.model).place.hex()}"


def _place(entry: ModelEntry, credentials: Mapping[str, CredentialSource]) -> ListedPlace | None:
    """Where ``entry`` finds its list. There is none for one whose clients bring the key, or that has none at all."""
    keyed = entry.key or entry.name in credentials or not entry.provider.key_required
    if not (entry.wildcard and entry.lists_all and keyed) or entry.passthrough_auth:
        return None
    found = list_url(entry.base_url, entry.provider)
    return None if found is None else ListedPlace(entry, *found)
