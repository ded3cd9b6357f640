"""The configuration of the service: the values that the rest of the gateway reads. How they are read from a file is
``gateway/config/loading.py``'s business."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import attrs

from configfile.document import Mistake
from gateway.config.allowances import CounterSettings, QueueSettings, RateLimits, RootLimit, SpendingBudget
from gateway.config.cached_answers import AnswerCacheSettings, CacheUse
from providers.auth.credential import AwsKeys, SignInName, secrets_of_credential
from providers.auth.google import GOOGLE_TOKEN
from providers.auth.keys import BEARER_TOKEN
from providers.auth.signer import Signer
from providers.auth.sigv4 import SigV4
from providers.catalog import providers as catalog
from providers.catalog.model_facts import with_facts
from providers.catalog.models import quirks_of
from providers.catalog.prices import Price
from providers.catalog.provider import Provider, Speaks, best_for
from providers.endpoints.embeddings.traits import EmbeddingTraits, has_openais_vocabulary
from providers.endpoints.endpoint import EndpointName, Place
from providers.endpoints.model_types import ModelType, model_type
from providers.neutral.quirks import Ability, Quirks
from providers.neutral.seal import Issuer
from streams.events import UNAVAILABLE, Api, FailureReason
from streams.pipe import Timeouts

Scraping: TypeAlias = Literal["off", "keyed", "open"]
"""Who may read ``/metrics``: nobody, clients with a key for everything, all."""

StorageType: TypeAlias = Literal["memory", "sqlite", "postgres", "none"]
Keeper: TypeAlias = Literal["ours", "upstream"]
"""Who keeps the responses that a client goes on from: trigate, or the provider."""

Serving: TypeAlias = Literal["all", "health"]
"""The requests that a listener takes: all, or health checks alone."""

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
Trust: TypeAlias = Literal["named", "found"]
"""Whether somebody has named the file of a configuration, or it was only found in the current directory."""

StoredKeys: TypeAlias = Literal["off", "unread", "read"]
"""Whether the keys in the state storage let clients in, and whether they are among the ``client_keys`` yet."""

KeySource: TypeAlias = Literal["file", "state storage"]

Remark: TypeAlias = Literal["warning", "note"]

Counting: TypeAlias = Literal["counted", "as_asked"]
"""Whether the token counts of a streamed Chat answer are asked for though the client does not, or the request is left
alone."""

Unpriced: TypeAlias = Literal["refuse", "allow"]
"""Whether a model without a price may be asked where money is limited."""

Reserve: TypeAlias = Literal["expected", "max"]
"""How long an answer a budget is asked for in advance: as long as such answers are, or as one can be."""

OnDisconnect: TypeAlias = Literal["cancel", "finish"]
"""What becomes of the provider's answer when the client leaves: closed at once, or read to its end for the ledger."""


@attrs.frozen
class TlsSettings:
    """The files of a listener's TLS, in PEM. Without ``key`` it is in the certificate's file; with ``client_ca``
    clients must show a certificate that comes from one of its roots."""

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None


@attrs.frozen
class Listener:
    """An address that requests come in on, or the Unix ``socket`` in its place, a file with the permissions ``mode``.
    ``proxy_protocol``: a proxy says first whose connection it is. ``http2``: also in cleartext HTTP/2; ``serves`` says
    which requests."""

    name: str = "models"
    address: str = "127.0.0.1"
    port: int = 12000
    socket: Path | None = None
    mode: int = 0o600
    tls: TlsSettings | None = None
    proxy_protocol: bool = False
    http2: bool = True
    serves: Serving = "all"

    @property
    def place(self) -> str:
        return f"{self.address}:{self.port}" if self.socket is None else str(self.socket)

    @property
    def is_unguarded(self) -> bool:
        """True if it takes requests of clients and asks for no certificate."""
        return self.serves == "all" and (self.tls is None or self.tls.client_ca is None)


@attrs.frozen
class ClientLimits:
    """The shares of one client, beyond which it is refused: simultaneous requests, connections and websockets, viewers
    of the live view, connections to providers, bytes of memory for bodies; and the bytes that it may keep. 0 is no
    limit, ``None`` the limit of all clients."""

    in_flight: int | None = None
    connections: int | None = None
    websockets: int | None = None
    viewers: int | None = None
    upstream_connections: int | None = None
    bodies: int | None = None
    stored: int | None = None


_REQUEST_BODY: Final = 64 * 2**20
_ELEMENTS: Final = 200_000


@attrs.frozen
class Limits:
    """Bytes, ``bodies`` those of memory for all that are under way, ``spool`` those of files for uploads; for
    ``elements`` the values in a request's JSON, for ``in_flight`` requests at once, for ``connections`` clients'
    connections, for ``upstream_connections`` those to providers in use (0 of the last two: no limit)."""

    request_body: int = _REQUEST_BODY
    elements: int = _ELEMENTS
    bodies: int = 256 * 2**20
    spool: int = 2 * 2**30
    event: int = 16 * 2**20
    answer: int = 64 * 2**20
    in_flight: int = 1024
    connections: int | None = None
    connections_per_address: int | None = None
    upstream_connections: int = 0
    per_client: ClientLimits = ClientLimits()

    def body_on(self, own: int | None) -> int:
        """Bytes of a request on a path that takes ``own`` where the configuration says nothing."""
        return self.request_body if own is None or self.request_body != _REQUEST_BODY else own

    def with_elements(self, own: int | None) -> "Limits":
        """The limits on a path whose requests may have ``own`` elements where the configuration says nothing."""
        return self if own is None or self.elements != _ELEMENTS else attrs.evolve(self, elements=own)


@attrs.frozen
class KeptLedgerSettings:
    """How much of the ledger is kept in a database: the lines of the last ``keep`` seconds (0: none), ``max_bytes`` of
    them at most."""

    keep: float = 400 * 86400.0
    max_bytes: int = 2**30


@attrs.frozen
class StateStorage:
    """The storage of responses, conversations and threads. ``ttl`` is seconds since the last turn of a conversation;
    ``max_bytes`` None is no limit. ``path`` is there for sqlite and ``connection_string`` for postgres.
    ``encryption_key`` are keys of 32 bytes, of which the first writes and all read; without any nothing is
    encrypted. The ``ledger`` is kept where there is a database."""

    type: StorageType = "memory"
    ttl: float = 24 * 3600.0
    max_bytes: int | None = 16 * 2**20
    path: Path | None = None
    connection_string: str | None = attrs.field(default=None, repr=False)
    encryption_key: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    ledger: KeptLedgerSettings = KeptLedgerSettings()


STORAGE: Mapping[StorageType, StateStorage] = {
    "memory": StateStorage(),
    "sqlite": StateStorage("sqlite", ttl=30 * 86400.0, max_bytes=2**30),
    "postgres": StateStorage("postgres", ttl=30 * 86400.0, max_bytes=None),
    "none": StateStorage("none"),
}
"""What holds of each type where the file does not say."""

KEEPING_KEYS: tuple[StorageType, ...] = ("sqlite", "postgres")
"""The types that have room for keys of clients, which all processes and the command line see."""


@attrs.frozen
class TracingSettings:
    """Tracing of exchanges: the share, 0 to 1, of those whose clients do not say. ``endpoint`` is where a
    collector takes OTLP over HTTP. ``None``: as OpenTelemetry's variables in the environment say."""

    sampling: float | None = None
    endpoint: str | None = None

    def __str__(self) -> str:
        return self.endpoint or "on"


@attrs.frozen
class AcceptedKey:
    """A key of a client, by its SHA-256 digest; refused from ``until`` on, ``None`` for never. ``key`` is the key
    itself where the file has it, for the log to leave it out."""

    digest: bytes = attrs.field(repr=False)
    until: datetime | None = None
    key: str | None = attrs.field(default=None, repr=False, eq=False)


@attrs.frozen
class ClientGroup:
    """Several clients to which the same holds: ``models`` and ``only`` as a client's own; ``ratelimits`` and
    ``budgets`` are for all of them together."""

    name: str
    models: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None
    ratelimits: RateLimits = attrs.field(factory=RateLimits)
    budgets: tuple[SpendingBudget, ...] = ()


@attrs.frozen
class RealtimeGrant:
    """What a client may have of realtime sessions that go past the gateway: credentials of the provider that live for
    minutes (``client_secrets``), and ``calls`` over WebRTC and SIP."""

    client_secrets: bool = False
    calls: bool = False


@attrs.frozen
class RealtimeLimits:
    """How long a realtime session may be silent (``None``: as any websocket) and open, in seconds."""

    idle: float | None = None
    max_session: float = math.inf


@attrs.frozen
class ClientKey:
    """A client that may come in: a name for the log, on which its state hangs too, and its keys, several of them while
    one takes another's place, or a name in its ``certificate``. ``models`` are the names of models that it may use,
    ``None`` for all. Where the client itself has an end, ``until``, none of its keys goes on beyond it. ``limits`` are
    its own where they are not those of all. ``only`` are shell patterns over the names of entries that may ever serve
    it, ``None`` for all of them. ``cache`` is how it uses the cache of answers, ``False`` for not at all, ``None`` for
    as the names say that it asks for. What its ``group`` says holds besides. ``source`` is where it is
    written. ``foreign_ids``: it shares what the provider keeps with everybody who has the provider's key.
    ``passthrough`` are patterns of those entries to which it may pass any request."""

    name: str
    keys: tuple[AcceptedKey, ...]
    models: tuple[str, ...] | None = None
    until: datetime | None = None
    limits: ClientLimits = ClientLimits()
    certificate: str | None = None
    only: tuple[str, ...] | None = None
    group: ClientGroup | None = None
    ratelimits: RateLimits = attrs.field(factory=RateLimits)
    budgets: tuple[SpendingBudget, ...] = ()
    source: KeySource = "file"
    foreign_ids: bool = False
    realtime: RealtimeGrant = RealtimeGrant()
    cache: CacheUse | Literal[False] | None = None
    passthrough: tuple[str, ...] = ()

    @property
    def lists_of_models(self) -> tuple[tuple[str, ...], ...]:
        """Its own and its group's: it may use what is in each of them."""
        both = (self.models, None if self.group is None else self.group.models)
        return tuple(models for models in both if models is not None)

    @property
    def walls(self) -> tuple[tuple[str, ...], ...]:
        """The patterns of its own and of its group's: what serves it matches one in each of them."""
        both = (self.only, None if self.group is None else self.group.only)
        return tuple(patterns for patterns in both if patterns is not None)


@attrs.frozen
class Retries:
    """How often and how long providers are asked for one request of a client: ``attempts`` requests to them in all,
    until the ``deadline`` (seconds from its arrival), with no ``wait`` between two of them longer than that. Beyond the
    share ``budget`` of what a provider is asked anyway, it is not asked again."""

    attempts: int = 4
    deadline: float = 300.0
    wait: float = 20.0
    budget: float = 0.2


@attrs.frozen
class CircuitSettings:
    """When a target is out: after so many ``failures`` in a row or such a share of them, for ``cooldown`` seconds at
    first and the ``longest`` time at most."""

    failures: int = 5
    error_rate: float = 0.5
    cooldown: float = 5.0
    longest: float = 20.0


ClientRouting: TypeAlias = Literal["openrouter", "vercel", "litellm"]
"""A form in which clients may say in a body where their request goes."""

Balance: TypeAlias = Literal["least_busy", "weighted", "lowest_latency", "cheapest"]


@attrs.frozen
class Hedge:
    """A second attempt beside a slow first one: ``after`` so many seconds without content, or the time that 95 of 100
    answers have begun in; for the share ``at_most`` of a route's requests."""

    after: float | Literal["p95"]
    at_most: float = 0.05


@attrs.frozen
class RouteTarget:
    """A place in a route: the ``target``, an entry's name or a model that a wildcard takes, its share within its group,
    and the failures of those before it that lead here."""

    target: str
    weight: float = 1.0
    when: frozenset[FailureReason] = UNAVAILABLE


@attrs.frozen
class Route:
    """A name with several targets: ``groups`` are asked in order, in each group the one that ``balance`` says.

    ``sticky``: turns of a conversation stay with their target, by what clients send anyway (``auto``) or by the header
    of that name (lower case), ``None`` for not at all. ``first_content`` is the patience with each target but the last,
    in seconds; ``retries`` ``None`` those of the configuration.
    ``default``: requests that name no model are for it; ``cache``: its answers are kept, to be given again."""

    name: str
    groups: tuple[tuple[RouteTarget, ...], ...]
    balance: Balance = "least_busy"
    sticky: str | None = "auto"
    first_content: float | None = None
    hedge: Hedge | None = None
    retries: Retries | None = None
    default: bool = False
    cache: CacheUse | None = None

    @property
    def places(self) -> tuple[tuple[int, RouteTarget], ...]:
        """Each target with the number of its group."""
        return tuple((number, one) for number, group in enumerate(self.groups) for one in group)


@attrs.frozen
class AwsSignIn:
    """A sign-in at AWS: by ``keys``, else as the vendor's chain of credentials finds them, from ``profile`` if there is
    one; then as the role ``role_arn``. ``region`` is where requests go that say nothing of it themselves, ``service``
    what they are signed for whatever their address is."""

    region: str | None = None
    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = attrs.field(default=None, repr=False)
    session_name: str | None = None
    keys: AwsKeys | None = attrs.field(default=None, repr=False)
    service: str | None = None

    type: ClassVar[SignInName] = "aws"

    @property
    def signer(self) -> Signer:
        return SigV4(self.region, self.service)

    @property
    def account(self) -> str:
        """The account by which seals tell it from others: no secret, and the same wherever it is configured so."""
        return f"aws {self.role_arn or self.profile or (self.keys.id if self.keys else '')}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (*secrets_of_credential(self.keys), self.external_id)))

    def __str__(self) -> str:
        return self.type


@attrs.frozen
class GoogleSignIn:
    """A sign-in at Google: by ``credentials_file``, else by application-default credentials."""

    credentials_file: str | None = None
    scopes: tuple[str, ...] = ("https://www.googleapis.com/auth/cloud-platform",)

    type: ClassVar[SignInName] = "google"
    signer: ClassVar[Signer] = GOOGLE_TOKEN
    secrets: ClassVar[tuple[str, ...]] = ()

    @property
    def account(self) -> str:
        return f"google {self.credentials_file or ''}"

    def __str__(self) -> str:
        return self.type


@attrs.frozen
class AzureSignIn:
    """A sign-in at Azure, as one ``identity``: ``default`` is the vendor's chain of them. ``client_id`` is that of the
    application, or of a managed identity that a user has assigned."""

    identity: Literal["default", "managed", "workload", "secret"] = "default"
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = attrs.field(default=None, repr=False)
    scope: str = "https://cognitiveservices.azure.com/.default"
    authority: str | None = None

    type: ClassVar[SignInName] = "azure"
    signer: ClassVar[Signer] = BEARER_TOKEN

    @property
    def account(self) -> str:
        return f"azure {self.tenant_id or ''} {self.client_id or ''}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.client_secret,) if self.client_secret else ()

    def __str__(self) -> str:
        return self.type


SignIn: TypeAlias = AwsSignIn | GoogleSignIn | AzureSignIn
"""Who the requests of an entry are from, where no key says so: what its credentials are fetched by. ``signer`` signs
with them; ``secrets`` are what it holds itself that nobody may see."""


def _is_of(url: str | None, makers: str | None) -> bool:
    """Whether ``url`` is of the same domain as a maker's own address: its regions have hosts of their own."""
    if url is None or makers is None:
        return True
    domain = ".".join((urlsplit(makers).hostname or "").rsplit(".", 2)[-2:])
    host = urlsplit(url).hostname or ""
    return host == domain or host.endswith(f".{domain}")


@attrs.frozen
class ModelEntry:
    """One item of ``model_providers``: a model of a provider (``*`` for all of them) and how to reach it.

    ``written`` is the item's ``model`` as it stands in the file. ``speaks`` and ``timeouts`` are what holds in the end:
    the provider's row or the root's setting with the item's own laid over it; ``quirks`` are the item's own alone, and
    ``pinned`` the APIs of clients for which the item itself says what is spoken. ``pass_headers`` are in lower case.
    ``retries`` and ``circuit`` are ``None`` where those of the configuration hold; ``probe`` is a path of the server
    that says for nothing whether it is well. ``endpoints`` and ``embeddings`` are what the item itself says of them.
    ``inlines_images``: pictures at addresses come in the answer instead.
    ``price`` outranks the catalogue's; ``ratelimits`` and ``budgets`` are what this place bears, for a ``queue`` of
    requests. ``lists_all``: what the provider lists stands in lists of models. With a ``sign_in`` there is no ``key``.
    ``type`` is what it is for, where its name does not say it.
    """

    name: str
    provider: Provider
    model: str
    key: str | None = attrs.field(default=None, repr=False)
    base_url: str | None = None
    default: bool = False
    passthrough_auth: bool = False
    passthrough: bool = False
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    http_host: str | None = None
    pass_headers: tuple[str, ...] = ()
    speaks: Speaks = attrs.field(default=attrs.Factory(lambda self: self.provider.speaks, takes_self=True))
    pinned: frozenset[Api] = frozenset()
    quirks: Mapping[str, Any] = attrs.field(factory=dict)
    timeouts: Timeouts = attrs.field(factory=Timeouts)
    on_disconnect: OnDisconnect = "cancel"
    state: Keeper | None = None
    usage: Counting = "counted"
    retries: Retries | None = None
    circuit: CircuitSettings | None = None
    probe: str | None = None
    price: Price | None = None
    ratelimits: RateLimits = attrs.field(factory=RateLimits)
    queue: QueueSettings = attrs.field(factory=QueueSettings)
    budgets: tuple[SpendingBudget, ...] = ()
    written: str = attrs.field(default=attrs.Factory(lambda self: f"{self.provider.id}/{self.model}", takes_self=True))
    lists_all: bool = True
    sign_in: SignIn | None = None
    endpoints: Mapping[EndpointName, Place | None] = attrs.field(factory=dict)
    embeddings: Mapping[str, Any] = attrs.field(factory=dict)
    realtime: RealtimeLimits = RealtimeLimits()
    inlines_images: bool = False
    type: ModelType | None = None

    @property
    def wildcard(self) -> bool:
        return self.model == "*"

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The words before the slash under which its models can be asked for."""
        own = (self.name.removesuffix("/*"),) if self.wildcard else ()
        return tuple(dict.fromkeys((*own, self.written.partition("/")[0], self.provider.id)))

    @property
    def keeps_own(self) -> bool:
        """True if trigate keeps the state of its responses. By default the provider does, where it can and is asked in
        Responses."""
        if self.state is not None:
            return self.state == "ours"
        return not (self.provider.keeps_responses and self.speaks.get("responses") == "responses")

    def api_for(self, client: Api, model: str) -> Api | None:
        """The API in which ``model`` is asked for a client of ``client``; None where none is spoken yet."""
        speaks = self.speaks_of(model)
        spoken = speaks.get(client) or (best_for(client, speaks.values()) if speaks else None)
        if not self.may_ask_in_responses(client, model):
            return spoken
        match self.quirks_of(model).asked_in_responses:
            case "always":
                return "responses"
            case "with_tools" if client != "chat" and spoken == "chat":
                return "responses"
            case _:
                return spoken

    def is_at_home(self, model: str) -> bool:
        """True if ``model`` is asked at its maker's own service, and not at a server that is only like it."""
        return self.provider.has(model) and (self.base_url is None or self.provider.base_url is None)

    def place_of(self, endpoint: EndpointName, model: str) -> Place | None:
        """Where ``model`` has ``endpoint``; ``None`` where it has not."""
        own = self.endpoints
        return own[endpoint] if endpoint in own else self.row(model).place_of(endpoint)

    def embeddings_of(self, model: str) -> EmbeddingTraits:
        """How ``model`` takes embeddings: the provider's row, and the item's own over it. A server that is only like
        its maker's may know more members, and has OpenAI's vocabulary where the name of the model says so."""
        known = self.row(model).embeddings
        if known.token_arrays and not self._is_at_makers_address:
            known = attrs.evolve(known, token_arrays=False, takes_purpose="unknown")
        if not known.token_arrays and has_openais_vocabulary(model):
            known = attrs.evolve(known, token_arrays=True)
        return attrs.evolve(known, **self.embeddings) if self.embeddings else known

    @property
    def _is_at_makers_address(self) -> bool:
        """True for the service of the maker itself: another one may speak alike, and serve models of others."""
        maker = catalog.find(self.provider.id)
        return maker is not None and _is_of(self.base_url or self.provider.base_url, maker.base_url)

    def row(self, model: str) -> Provider:
        """The provider's row for ``model``."""
        return self.provider.of_model(model)

    def type_of(self, model: str) -> ModelType:
        """What ``model`` is for."""
        return self.type or model_type(model)

    def speaks_of(self, model: str) -> Speaks:
        """``speaks`` for ``model``, where the provider has not the same APIs for all."""
        if not self.provider.by_model:
            return self.speaks
        pinned = {client: self.speaks[client] for client in self.pinned if client in self.speaks}
        return {**self.row(model).speaks, **pinned}

    def may_ask_in_responses(self, client: Api, model: str) -> bool:
        """True if requests of ``client`` can go to Responses where ``model`` wants that."""
        if client in self.pinned or (self.provider.all_in_chat and "asked_in_responses" not in self.quirks):
            return False
        return self.speaks_of(model).get("responses") == "responses"

    def quirks_of(self, model: str) -> Quirks:
        """The quirks of ``model`` (an id of the provider): the provider's row, what is known of the model laid
        over it, and the item's own over both."""
        known = with_facts(quirks_of(self.row(model).quirks, model), self.provider.id, model)
        found = attrs.evolve(known, **self.quirks)
        rule = found.asked_in_responses
        if rule == "to_keep_reasoning":
            rule = "with_tools" if self.is_at_home(model) else "by_responses_clients"
        if self.provider.local and "asked_in_responses" not in self.quirks:
            rule = "by_responses_clients"  # whatever is called so on a server of one's own is no model of OpenAI's
        return found if rule == found.asked_in_responses else attrs.evolve(found, asked_in_responses=rule)

    def never_takes(self, model: str) -> tuple[Ability, ...]:
        """What ``model`` certainly cannot do: by the word of the item itself, or, of a model at its maker's own
        service, by all that is known of it. Servers of one's own and routers may add what a model lacks."""
        if "cannot" in self.quirks:
            return tuple(self.quirks["cannot"])
        return self.quirks_of(model).cannot if self.is_at_home(model) else ()

    def known_of(self, model: str) -> Quirks:
        """``quirks_of`` without what is only guessed of a provider that the catalogue does not know."""
        meant = {"takes_max_tokens": False} if self.quirks.get("max_tokens_field") == "max_completion_tokens" else {}
        return attrs.evolve(quirks_of(self.row(model).known, model), **{**meant, **self.quirks})

    @property
    def issuer(self) -> Issuer:
        """The issuer that seals name: all entries of one provider account are one issuer, so that a change of model
        keeps what the account itself can read again."""
        return Issuer.of(self.provider.id, self.key if self.sign_in is None else self.sign_in.account)


@attrs.frozen
class Config:
    """A whole configuration. ``ineffective`` are the settings that are accepted and change nothing, with their places;
    ``warnings`` name them and what else is probably not meant, ``notes`` good defaults that may surprise: both are
    sentences for people. Durations are seconds. ``aliases`` stand for one name each, ``routes`` for several; without
    ``retries`` names with one target are asked once. Without ``client_keys`` and ``stored_keys`` everybody may come in;
    without ``state_storage`` state ends with the process. The first ``signing_key`` signs the ids of files and their
    like, and all are believed; ``public_url`` is where clients reach the gateway, if their requests do not say."""

    version: str
    listeners: tuple[Listener, ...]
    entries: tuple[ModelEntry, ...]
    aliases: Mapping[str, str] = attrs.field(factory=dict)
    routes: Mapping[str, Route] = attrs.field(factory=dict)
    retries: Retries | None = None
    circuit: CircuitSettings = attrs.field(factory=CircuitSettings)
    client_routing: tuple[ClientRouting, ...] = ()
    limits: Limits = attrs.field(factory=Limits)
    timeouts: Timeouts = attrs.field(factory=Timeouts)
    drain: float = 25.0
    drain_delay: float = 0.0
    write_timeout: float = 30.0
    keep_alive: float = 15.0
    websocket_idle: float = 600.0
    strict: bool = False
    websocket: bool = True
    client_keys: tuple[ClientKey, ...] = ()
    client_groups: tuple[ClientGroup, ...] = ()
    stored_keys: StoredKeys = "off"
    signing_key: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    public_url: str | None = None
    open: bool = False
    ui: bool = True
    ui_key: bytes | None = attrs.field(default=None, repr=False)  # the SHA-256 digest
    metrics_key: bytes | None = attrs.field(default=None, repr=False)  # the SHA-256 digest
    ui_keep: bool = True
    ui_prompts: bool = False
    log_level: LogLevel = "info"
    cors: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    audit: str | None = None  # ``stderr``, or the path of a file
    trusted_proxies: tuple[str, ...] = ()  # networks in CIDR notation, and ``unix``
    ca_path: Path | None = None
    state_storage: StateStorage | None = None
    counters: CounterSettings = attrs.field(factory=CounterSettings)
    cache: AnswerCacheSettings = attrs.field(factory=AnswerCacheSettings)
    ratelimits: RateLimits = attrs.field(factory=RateLimits)
    header_limits: tuple[RootLimit, ...] = ()
    budgets: tuple[SpendingBudget, ...] = ()
    timezone: str = "UTC"
    unpriced: Unpriced = "refuse"
    reserve: Reserve = "expected"
    charge_undelivered: bool = True
    metrics: Scraping = "keyed"
    tracing: TracingSettings | None = None
    ineffective: tuple[Mistake, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    path: Path | None = None
    trust: Trust = "named"

    @property
    def asks_for_key(self) -> bool:
        """True if nobody may come in without a key, whether or not there is one yet."""
        return bool(self.client_keys) or self.stored_keys != "off"

    @property
    def default(self) -> str | None:
        """The name of the route or the entry that conversations without a model are for."""
        of_entries = (one for one in self.entries if one.default and one.type_of(one.model) == "chat")
        named: Iterator[Route | ModelEntry] = chain((one for one in self.routes.values() if one.default), of_entries)
        return next((one.name for one in named), None)

    @property
    def remarks(self) -> tuple[tuple[Remark, str], ...]:
        """Findings that are no mistakes."""
        return (*(("warning", text) for text in self.warnings), *(("note", text) for text in self.notes))
