"""A target: one model of one provider, its address and its credential.

Health is stored by its identity, which is independent of its name and API."""

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import attrs

from gateway.config.model_entry import ModelEntry, entry_price
from gateway.http.headers import Headers
from gateway.http.passing import HeaderNames, to_client, to_provider
from providers.apis import CODECS
from providers.auth.signer import (
    ACCESS_TOKENS,
    BEARER_TOKEN,
    X_API_KEY,
    X_GOOG_API_KEY,
    BearerToken,
    Credential,
    Signer,
    UnsignedRequest,
    is_subscription_token,
)
from providers.catalog.models import letters_per_token, plain_name
from providers.catalog.prices import SUBSCRIPTION, Price
from providers.catalog.provider import Provider, url_for
from providers.endpoints.endpoint import Place
from providers.errors.member_paths import OTHER_API, Path
from providers.neutral.codec import Recipient
from providers.neutral.wire_api import WITHOUT_MODEL, Hosting, Operation
from streams.events import Api
from streams.framing import Framing

if TYPE_CHECKING:
    from providers.catalog.prompt_caching import CachingRow


@attrs.frozen(repr=False)
class Identity:
    """Identifies a target.

    ``endpoint`` is the provider's server, ``account`` a digest of the server and the credential, and ``place`` a digest
    of these and the model. Both digests have 16 bytes. Gateways with one store of counters identify targets there by
    them; nothing else outside of the process has them."""

    endpoint: str
    account: bytes
    place: bytes

    @classmethod
    def of(cls, entry: ModelEntry, model: str) -> Self:
        """Return the identity of ``model`` at ``entry`` with the configured credential.

        Headers count as part of the credential, because some servers read the credential or the account from them."""
        endpoint = f"{entry.provider.id} {entry.base_url or entry.provider.base_url}"
        credential = entry.key if entry.sign_in is None else attrs.astuple(entry.sign_in)
        account = repr((endpoint, entry.http_host, credential, entry.headers)).encode()
        return cls(endpoint, digest(account), digest(account, model.encode()))

    def with_credential(self, credential: str | None) -> "Identity":
        """Return the identity for a client whose own ``credential`` is forwarded."""
        own = (credential or "").encode()
        return Identity(self.endpoint, digest(self.account, own), digest(self.place, own))


def digest(*parts: bytes) -> bytes:
    """Return a 16-byte digest of ``parts``."""
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(b"%d:" % len(part))
        made.update(part)
    return made.digest()


LaneName: TypeAlias = Literal["byte", "hub"]


@attrs.frozen(repr=False)
class Target:
    """The destination of one request.

    ``requested_name`` is the model name in the request (by default the entry's name), ``model`` the provider's name,
    and ``api`` the provider's API. ``url`` is its address without the suffix of the operation. ``betas`` are those that
    the name requires, in addition to the client's. For a request that is not a conversation, ``endpoint_place`` is the
    endpoint in the provider's row, ``url`` the complete address, and ``api`` the API whose credentials and headers it
    uses. ``on_subscription``: the client's subscription pays for the request. ``alias`` is the route that the requested
    name has."""

    entry: ModelEntry
    model: str
    api: Api
    lane: LaneName
    url: str
    requested_name: str
    recipient: Recipient
    betas: tuple[str, ...] = ()
    endpoint_place: Place | None = None
    on_subscription: bool = False
    alias: str | None = None

    @cached_property
    def name(self) -> str:
        """The provider's id and its model, as ``provider/model``."""
        return f"{self.entry.provider.id}/{self.model}"

    @cached_property
    def place(self) -> str:
        """The name that operators use: the entry's, or for a wildcard the model after the entry's or the provider's
        name."""
        if not self.entry.wildcard:
            return self.entry.name
        own = self.entry.prefixes[0]
        return self.name if own == self.entry.written_provider else f"{own}/{self.model}"

    @cached_property
    def row(self) -> Provider:
        """The provider's row for this model."""
        return self.entry.row(self.model)

    @cached_property
    def identity(self) -> Identity:
        """The identity of its address, configured credential and model."""
        return Identity.of(self.entry, self.model)

    @cached_property
    def price(self) -> Price | None:
        """The price of its tokens from the configuration, otherwise from the price list; ``None`` if unknown."""
        price = SUBSCRIPTION if self.on_subscription else entry_price(self.entry, self.model)
        if price is None or not CODECS[self.api].wire.charges_cache_writes:
            return price
        return price.with_cache_writes

    @cached_property
    def caching(self) -> "CachingRow | None":
        """The rules of the provider's prompt cache for this model, ``None`` if they are unknown."""
        return self.entry.caching_of(self.model, self.api)

    @property
    def fetches_links(self) -> bool:
        """Whether the provider downloads the files that a request links. Those of its own API are its own affair."""
        fetches = CODECS[self.api].wire.fetches_links
        if fetches is None:
            return self.recipient.quirks.fetches_links
        return fetches or self.lane == "byte"

    @property
    def letters_per_token(self) -> float:
        """English letters in a token of its model, for estimates."""
        return letters_per_token(plain_name(self.model))

    @cached_property
    def alternative_url(self) -> str | None:
        """Another URL where the provider may have the model, if ``url`` is wrong."""
        return self.row.alternative_url(self.url)

    @cached_property
    def hosting(self) -> Hosting | None:
        """The platform's rules for serving another maker's API, ``None`` without any."""
        return self.row.hosting.get(self.api)

    @cached_property
    def framing(self) -> Framing:
        """The framing of its streams."""
        own = None if self.hosting is None else self.hosting.framing
        return CODECS[self.api].wire.framing if own is None else own

    @cached_property
    def configured_headers(self) -> Headers:
        """The configured Host and headers with lower-case names. They replace any others of these names."""
        found = {} if self.entry.http_host is None else {"host": self.entry.http_host}
        found.update((name.lower(), value) for name, value in self.entry.headers)
        return tuple(found.items())

    @cached_property
    def replaced_headers(self) -> frozenset[str]:
        """The names of the headers that the gateway sets instead of the client."""
        return frozenset(("content-type", "accept", *self.signer.names, *(name for name, _ in self.configured_headers)))

    @cached_property
    def answer_addresses(self) -> tuple[str, str]:
        """The URLs of complete and of streamed responses."""
        return self.address(self.suffix_of("answer") or ""), self.address(self.suffix_of("answer", True) or "")

    def credential(self, client: str | None, *, as_bearer: bool = False) -> str | BearerToken | None:
        """Return the credential that signs requests.

        It is the entry's own key, or with ``passthrough_auth`` ``client``, the client's bare token, which the client
        sent ``as_bearer``. Credentials that have to be fetched first are not included."""
        if not self.entry.passthrough_auth:
            return self._own_credential
        if client and (is_subscription_token(client) or (as_bearer and self._keeps_bearer(client))):
            return BearerToken(client)
        return client

    @cached_property
    def _own_credential(self) -> str | BearerToken | None:
        """The entry's own key."""
        key = self.entry.key
        return BearerToken(key) if key and is_subscription_token(key) else key

    def _keeps_bearer(self, token: str) -> bool:
        """Return whether ``token``, which a client sent as a Bearer, stays one.

        A token stays a Bearer if it cannot be a key, and always for a client of the target's API whose SDKs send keys
        in another header."""
        return token.startswith(ACCESS_TOKENS) or (self.lane == "byte" and self.signer in (X_API_KEY, X_GOOG_API_KEY))

    @cached_property
    def passing_headers(self) -> HeaderNames:
        """The names of the client's headers that the provider of its API receives."""
        entry, own = self.entry, CODECS[self.api].wire.client_headers
        return to_provider(own, entry.provider.client_headers, entry.pass_headers, entry.passthrough_auth)

    @cached_property
    def returned_headers(self) -> HeaderNames:
        """The names of the provider's headers that a client of its API receives."""
        return to_client(self.entry.pass_headers, self.entry.passthrough_auth)

    @cached_property
    def signer(self) -> Signer:
        """The signer of the entry's sign-in, otherwise of the provider's row."""
        sign_in = self.entry.sign_in
        return self.row.auth[self.api] if sign_in is None else sign_in.signer

    def sign(self, request: UnsignedRequest, credential: Credential | None, at: float) -> Headers:
        """Return the headers that the signer adds to ``request``; none without a credential. ``at`` is the Unix
        time."""
        if not credential:
            return ()
        if isinstance(credential, BearerToken):
            added = BEARER_TOKEN.sign(request, credential.token, at)
        else:
            added = self.signer.sign(request, credential, at)
        if not self.configured_headers:
            return tuple(added)
        own = [name for name, _ in self.configured_headers]
        return tuple(pair for pair in added if pair[0] not in own)

    def headers(self, client: str | None) -> Headers:
        """Return the signer's headers for an empty request and the configured headers. ``client`` is the client's
        credential."""
        empty = UnsignedRequest("POST", self.url, self.configured_headers, b"")
        return (*self.sign(empty, self.credential(client), 0), *self.configured_headers)

    def suffix_of(self, operation: Operation, streamed: bool = False) -> str | None:
        """Return the path suffix of ``operation``, or ``None`` if the platform or the API does not have it."""
        if self.hosting is not None:
            return self.hosting.end(operation, streamed)
        wire = CODECS[self.api].wire
        return wire.suffix(operation, streamed) if operation in wire.operations else None

    def address(self, suffix: str) -> str:
        """Return the URL with ``suffix`` added to its path or replacing its last part. A query in ``suffix`` comes
        first."""
        path, _, query = self.url.partition("?")
        end, _, own = suffix.partition("?")
        if end.startswith(WITHOUT_MODEL):
            path, end = path.rpartition("/")[0], end.removeprefix(WITHOUT_MODEL)
        return path + end + ("?" if own or query else "") + "&".join(filter(None, (own, query)))


@attrs.frozen(repr=False)
class Omissions:
    """The parts of a request that an attempt omits because its provider rejected them: the reasoning of earlier turns,
    and members and betas by path (``providers/errors/rejected.py``)."""

    reasoning: bool = False
    paths: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return self.reasoning or bool(self.paths)

    def union(self, other: "Omissions") -> "Omissions":
        """Return the omissions of both, each path once."""
        paths = tuple(dict.fromkeys((*self.paths, *other.paths)))
        return Omissions(self.reasoning or other.reasoning, paths)


NOTHING = Omissions()


def with_required_api(target: Target, omissions: Omissions) -> Target:
    """Return ``target`` with the API that its provider requires for the model, if ``omissions`` contain its refusal."""
    api = next((path[1] for path in omissions.paths if path[0] == OTHER_API), None)
    known = next((one for one in target.row.other_apis if one == api), None)
    return target if known is None or known == target.api else with_api(known, target)


def with_api(api: Api, target: Target) -> Target:
    """Return ``target`` with requests translated to ``api``."""
    url = url_for(target.entry.base_url, target.row, api, target.model)
    return attrs.evolve(target, api=api, lane="hub", url=url)
