"""A provider asked for the models that it has, with the sign-in that its entry has for requests."""

import time
from typing import Final
from urllib.parse import quote

import attrs
import msgspec

from gateway.config.settings import ModelEntry
from gateway.http.offload import offload
from gateway.model_lists.pages import read_page
from gateway.upstream.client import Upstream
from gateway.upstream.request import UpstreamRequest
from providers.apis import CODECS
from providers.auth.credential import Credential
from providers.auth.signer import Signer, UnsignedRequest
from streams.errors import GatewayError
from streams.events import Api

MOST: Final = 2000
"""Models of a provider that are kept."""
PAGES: Final = 20
PAGE_BYTES: Final = 8 * 2**20


class NoList(Exception):
    """The provider has not listed its models; the message is why, as the end of a sentence."""


@attrs.frozen
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
            raise NoList("its answer is no list of models") from None
        names.update(dict.fromkeys(page.names))
        if page.next is None or page.next == more or len(names) >= MOST:
            break
        more = page.next
    return tuple(names)[:MOST]


async def _page(request: UpstreamRequest, upstream: Upstream) -> bytes:
    try:
        async with await upstream.send(request) as response:
            if response.status != 200:
                raise NoList(f"it answers with status {response.status}")
            return await response.read(PAGE_BYTES)
    except GatewayError as error:
        raise NoList(error.failed.message) from None
