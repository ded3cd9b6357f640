"""The keys of a configuration file: which there are and what each may hold, as classes that the converter fills.

The keys are those of Plano's model gateway (v0.1 to v0.4) and a few of ours. What we accept without effect is marked
``later`` or ``OUTSIDE``; a key that is not here is a mistake.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import attrs

from configfile.document import Path
from gateway.config.cached_answers import CachePace, CacheScope, CacheWhen
from gateway.config.kinds import (
    AddressPart,
    AuditPlace,
    BodyShape,
    Budget,
    CertificateName,
    Count,
    Digest,
    Dollars,
    Duration,
    EndpointPath,
    EndpointWord,
    HeaderName,
    HostName,
    KeyHeader,
    Mode,
    Natural,
    Network,
    Origin,
    Percent,
    Port,
    ProbePath,
    PromptLength,
    QuirkChanges,
    RateAmount,
    Reason,
    SealingKeys,
    Secret,
    Share,
    Size,
    Speaking,
    SpokenApi,
    Timestamp,
    UnitWord,
    Url,
    UrlPath,
    Version,
    Wait,
    Weight,
    ZoneName,
)
from gateway.config.settings import Balance, ClientRouting, Counting, Reserve, Scraping, Unpriced
from providers.endpoints.model_types import ModelType

ACCEPTED = "accepted"
EXAMPLE = "example"  # a key that stands for all that a mapping may have, though it is not required
OUTSIDE = {ACCEPTED: "no part of the model gateway, ignored"}


def later(consequence: str) -> dict[str, str]:
    """Mark a key that is to work one day. ``consequence`` is what holds until then."""
    return {ACCEPTED: f"accepted, not enforced yet: {consequence}"}


_BY_NAME = "requests go to the model that they name"


@attrs.frozen
class RawTimeouts:
    connect: Wait | None = None
    first_byte: Duration | None = None
    idle: Duration | None = None
    total: Duration | None = None


@attrs.frozen
class RawListenerTls:
    certificate: str
    key: str | None = None
    client_ca: str | None = None


@attrs.frozen
class RawListener:
    type: Literal["model", "prompt", "agent"] = "model"
    name: str | None = None
    port: Port | None = None
    address: str | None = None
    socket: str | None = None
    mode: Mode | None = None
    tls: RawListenerTls | None = None
    proxy_protocol: bool = False
    timeout: Duration | None = None
    max_retries: Count | None = None
    http2: bool | None = None
    serves: Literal["all", "health"] | None = None
    router: Any = attrs.field(default=None, metadata=OUTSIDE)
    agents: Any = attrs.field(default=None, metadata=OUTSIDE)
    filter_chain: Any = attrs.field(default=None, metadata=OUTSIDE)
    input_filters: Any = attrs.field(default=None, metadata=OUTSIDE)
    output_filters: Any = attrs.field(default=None, metadata=OUTSIDE)


@attrs.frozen
class RawTraffic:
    """A listener of the legacy form."""

    address: str | None = None
    port: Port | None = None
    message_format: Literal["openai"] | None = None
    timeout: Duration | None = None


@attrs.frozen
class RawLegacyListeners:
    ingress_traffic: RawTraffic | None = attrs.field(default=None, metadata=OUTSIDE)
    egress_traffic: RawTraffic | None = None


@attrs.frozen
class RawRetries:
    attempts: Natural | None = None
    deadline: Wait | None = None
    wait: Duration | None = None
    budget: Share | None = None


@attrs.frozen
class RawCircuit:
    failures: Natural | None = None
    error_rate: Share | None = None
    cooldown: Wait | None = None
    longest: Wait | None = None


@attrs.frozen
class RawHedge:
    after: Wait | Literal["p95"]
    at_most: Share | None = None


@attrs.frozen
class RawRateLimits:
    requests: RateAmount | None = None
    tokens: RateAmount | None = None
    input_tokens: RateAmount | None = None
    output_tokens: RateAmount | None = None
    concurrent: Natural | None = None
    count_cached: bool | None = None


@attrs.frozen
class RawQueue:
    size: Natural
    wait: Wait | None = None


@attrs.frozen
class RawEmbeddings:
    """How a place takes embeddings."""

    inputs: Natural | None = None
    tokens: Natural | None = None
    split: bool | None = None
    token_arrays: bool | None = None
    base64: bool | None = None
    input_type: Literal["query", "document", "classification", "clustering", "similarity"] | None = None
    dimensions: Natural | None = None


@attrs.frozen
class RawImages:
    """How a place answers with pictures."""

    inline: bool = False


@attrs.frozen
class RawEntryPreference:
    """A use that the model of an entry is preferred for."""

    name: str
    description: Any = attrs.field(default=None, metadata=later(_BY_NAME))


@attrs.frozen
class RawSelectionPolicy:
    prefer: Literal["cheapest", "fastest", "none"] = "none"


@attrs.frozen
class RawPreference:
    """A use, and the models that are preferred for it."""

    name: str
    models: tuple[str, ...]
    description: Any = attrs.field(default=None, metadata=later(_BY_NAME))
    selection_policy: RawSelectionPolicy | None = None


@attrs.frozen
class RawTokenPrice:
    """The price of longer prompts."""

    input: Dollars | None = None
    cached: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    output: Dollars | None = None


@attrs.frozen
class RawTierPrice(RawTokenPrice):
    """The price of a service tier."""

    above: dict[PromptLength, RawTokenPrice] = attrs.field(factory=dict)


PriceName: TypeAlias = Literal["free", "subscription"]
"""A price that is a word: ``providers.catalog.prices.NAMED_PRICES``."""


@attrs.frozen
class RawPrice:
    """The price of a model: of tokens, of units, or of both."""

    input: Dollars | None = None
    output: Dollars | None = None
    cached: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    above: dict[PromptLength, RawTokenPrice] = attrs.field(factory=dict)
    tiers: dict[str, RawTierPrice] = attrs.field(factory=dict)
    tools: dict[str, Dollars] = attrs.field(factory=dict)
    per: dict[UnitWord, Dollars] = attrs.field(factory=dict)


@attrs.frozen
class RawAwsSignIn:
    type: Literal["aws"]
    region: str | None = None
    service: str | None = None
    profile: str | None = None
    role_arn: str | None = None
    external_id: Secret | None = None
    session_name: str | None = None
    access_key_id: Secret | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None


@attrs.frozen
class RawGoogleSignIn:
    type: Literal["google"]
    credentials_file: str | None = None
    scopes: tuple[str, ...] | None = None


@attrs.frozen
class RawAzureSignIn:
    type: Literal["azure"]
    identity: Literal["default", "managed", "workload"] | None = None
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    scope: str | None = None
    authority: Url | None = None


SigningIn: TypeAlias = Literal["aws", "google", "azure", "none"] | RawAwsSignIn | RawGoogleSignIn | RawAzureSignIn
"""A sign-in by its name alone, or with what it needs to know."""


@attrs.frozen
class RawEndpoint:
    """Where an endpoint is, and in whose form."""

    path: EndpointPath | None = None
    shape: BodyShape | None = None


@attrs.frozen
class RawRealtime:
    """The limits of realtime sessions."""

    idle: Wait | None = None
    max_session: Wait | None = None


@attrs.frozen
class RawEntry:
    model: str
    name: str | None = None
    access_key: Secret | None = None
    sign_in: SigningIn | None = None
    default: bool = False
    base_url: Url | None = None
    region: AddressPart | None = None
    project: AddressPart | None = None
    location: AddressPart | None = None
    passthrough_auth: bool = False
    passthrough: bool = False
    http_host: str | None = None
    provider_interface: str | None = None
    headers: dict[str, Secret] = attrs.field(factory=dict)
    pass_headers: tuple[str, ...] = ()
    speaks: Speaking | None = None
    quirks: QuirkChanges | None = None
    timeouts: RawTimeouts | None = None
    on_disconnect: Literal["cancel", "finish"] = "cancel"
    state: Literal["ours", "upstream"] | None = None
    usage: Counting = "counted"
    retries: RawRetries | None = None
    circuit: RawCircuit | None = None
    probe: ProbePath | None = None
    endpoints: dict[EndpointWord, bool | EndpointPath | RawEndpoint] = attrs.field(factory=dict)
    embeddings: RawEmbeddings | None = None
    realtime: RawRealtime | None = None
    images: RawImages = RawImages()
    ratelimits: RawRateLimits | None = None
    queue: Literal[0] | RawQueue | None = None
    budgets: tuple[Budget, ...] = ()
    price: RawPrice | PriceName | None = None
    routing_preferences: tuple[RawEntryPreference, ...] | None = None
    type: ModelType | None = None


@attrs.frozen
class RawProvider:
    """A row of the catalogue: what is new in it, or all of it."""

    base_url: Url | None = None
    provider_interface: str | None = None
    speaks: Speaking | None = None
    paths: dict[SpokenApi, UrlPath] = attrs.field(factory=dict)
    auth: KeyHeader | dict[SpokenApi, KeyHeader] | None = None
    sign_in: SigningIn | None = None
    headers: dict[str, Secret] = attrs.field(factory=dict)
    quirks: QuirkChanges | None = None
    endpoints: dict[EndpointWord, bool | EndpointPath | RawEndpoint] = attrs.field(factory=dict)
    families: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    display_name: str | None = None


@attrs.frozen
class RawRouteTarget:
    """An item of ``targets``, also of a name alone."""

    target: str
    weight: Weight | None = None
    when: tuple[Reason, ...] | None = None


@attrs.frozen
class RawCacheUse:
    """The use of the cache of answers for a name or a client."""

    ttl: Wait
    scope: CacheScope = "key"
    strict: bool = False
    when: CacheWhen = "always"
    pace: CachePace = "none"


@attrs.frozen
class RawAnswerCache:
    type: Literal["memory", "sqlite", "redis"] = "memory"
    path: str | None = None
    url: Secret | None = None
    max_bytes: Size | None = None
    max_request: Size | None = None
    max_answer: Size | None = None
    max_ttl: Wait | None = None


@attrs.frozen
class RawAlias:
    target: str | None = attrs.field(default=None, metadata={EXAMPLE: True})
    targets: tuple[RawRouteTarget | tuple[RawRouteTarget, ...], ...] | None = None
    default: bool = False
    balance: Balance | None = None
    sticky: Literal[False] | HeaderName | None = None
    first_content: Wait | None = None
    hedge: RawHedge | None = None
    retries: RawRetries | None = None
    cache: RawCacheUse | None = None


@attrs.frozen
class RawClientLimits:
    in_flight: Count | None = None
    connections: Count | None = None
    websockets: Count | None = None
    viewers: Count | None = None
    upstream_connections: Count | None = None
    bodies: Size | None = None
    stored: Size | None = None


@attrs.frozen
class RawCounters:
    type: Literal["memory", "redis", "postgres"] = "memory"
    url: Secret | None = None
    when_down: Literal["share", "refuse"] = "share"


@attrs.frozen
class RawLimits:
    request_body: Size | None = None
    elements: Count | None = None
    bodies: Size | None = None
    spool: Size | None = None
    event: Size | None = None
    answer: Size | None = None
    in_flight: Count | None = None
    connections: Count | None = None
    connections_per_address: Count | None = None
    upstream_connections: Count | None = None
    per_client: RawClientLimits | None = None


@attrs.frozen
class RawKeptLedger:
    keep: Duration | None = None
    max_bytes: Size | None = None


@attrs.frozen
class RawStateStorage:
    type: Literal["memory", "sqlite", "postgres", "none"]
    path: str | None = None
    connection_string: Secret | None = None
    ttl: Wait | None = None
    max_bytes: Size | None = None
    encryption_key: SealingKeys | None = None
    ledger: RawKeptLedger | None = None


@attrs.frozen
class RawMetrics:
    open: bool = False


@attrs.frozen
class RawTracing:
    random_sampling: Percent | None = None
    endpoint: Url | None = None
    opentracing_grpc_endpoint: Url | None = None
    trace_arch_internal: Any = attrs.field(default=None, metadata=OUTSIDE)
    span_attributes: Any = attrs.field(default=None, metadata=later("no header becomes an attribute"))
    exporters: Any = attrs.field(default=None, metadata=later("traces go to `endpoint` alone"))


SCRAPING: Mapping[bool | RawMetrics, Scraping] = {
    False: "off", True: "keyed", RawMetrics(): "keyed", RawMetrics(open=True): "open",
}  # fmt: skip
"""Who may read them, by what stands there."""


@attrs.frozen
class RawAcceptedKey:
    key: Secret | None = None
    sha256: Digest | None = None
    until: Timestamp | None = None


@attrs.frozen
class RawRealtimeGrant:
    """What a client may have of realtime sessions that go past the gateway."""

    client_secrets: bool = False
    calls: bool = False


@attrs.frozen
class RawClientKey:
    name: str
    certificate: CertificateName | None = None
    key: Secret | None = None
    sha256: Digest | None = None
    keys: tuple[RawAcceptedKey, ...] | None = None
    until: Timestamp | None = None
    models: tuple[str, ...] | None = None
    group: str | None = None
    only: tuple[str, ...] | None = None
    limits: RawClientLimits | None = None
    ratelimits: RawRateLimits | None = None
    budgets: tuple[Budget, ...] = ()
    passthrough: tuple[str, ...] | None = None
    foreign_ids: bool = False
    realtime: RawRealtimeGrant | None = None
    cache: Literal[False] | RawCacheUse | None = None


@attrs.frozen
class RawClientGroup:
    name: str
    models: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None
    ratelimits: RawRateLimits | None = None
    budgets: tuple[Budget, ...] = ()


@attrs.frozen
class RawSelector:
    key: HeaderName
    value: str | None = None


@attrs.frozen
class RawTokenLimit:
    tokens: int
    unit: Literal["second", "minute", "hour", "day"]


@attrs.frozen
class RawRootLimit:
    """A limit as Plano writes it."""

    model: str
    selector: RawSelector
    limit: RawTokenLimit


@attrs.frozen
class RawOverrides:
    """Keys that are not here are accepted too, as Plano does, and come in ``unknown``."""

    upstream_connect_timeout: Wait | None = None
    upstream_tls_ca_path: str | None = None
    disable_signals: Any = attrs.field(default=None, metadata=OUTSIDE)
    prompt_target_intent_matching_threshold: Any = attrs.field(default=None, metadata=OUTSIDE)
    optimize_context_window: Any = attrs.field(default=None, metadata=OUTSIDE)
    use_agent_orchestrator: Any = attrs.field(default=None, metadata=OUTSIDE)
    agent_orchestration_model: Any = attrs.field(default=None, metadata=OUTSIDE)
    orchestrator_model_context_length: Any = attrs.field(default=None, metadata=OUTSIDE)
    llm_routing_model: Any = attrs.field(default=None, metadata=later(_BY_NAME))
    unknown: tuple[str, ...] = ()


@attrs.frozen
class RawConfig:
    version: Version | None = None
    listeners: tuple[RawListener, ...] | RawLegacyListeners | None = None
    model_providers: tuple[RawEntry | None, ...] | None = None
    llm_providers: tuple[RawEntry | None, ...] | None = None
    providers: dict[str, RawProvider] = attrs.field(factory=dict)
    model_aliases: dict[str, RawAlias] = attrs.field(factory=dict)
    retries: RawRetries | None = None
    circuit: RawCircuit | None = None
    client_routing: tuple[ClientRouting, ...] = ()
    overrides: RawOverrides = attrs.field(factory=RawOverrides)
    limits: RawLimits = attrs.field(factory=RawLimits)
    timeouts: RawTimeouts | None = None
    drain: Duration | None = None
    drain_delay: Duration | None = None
    write_timeout: Wait | None = None
    keep_alive: Wait | None = None
    websocket_idle: Wait | None = None
    strict: bool = False
    websocket: bool = True
    client_keys: tuple[RawClientKey | None, ...] | None = None
    client_groups: tuple[RawClientGroup | None, ...] | None = None
    stored_keys: bool = False
    signing_key: SealingKeys | None = None
    public_url: Url | None = None
    open: bool = False
    ui: bool = True
    ui_key: Secret | None = None
    metrics_key: Secret | None = None
    ui_keep: bool = True
    ui_prompts: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    cors: tuple[Origin, ...] = ()
    hosts: tuple[HostName, ...] = ()
    audit: AuditPlace | None = None
    trusted_proxies: tuple[Network, ...] = ()
    state_storage: RawStateStorage | None = None
    metrics: bool | RawMetrics = True
    routing: Any = attrs.field(default=None, metadata=later(_BY_NAME))
    routing_preferences: tuple[RawPreference, ...] | None = None
    ratelimits: tuple[RawRootLimit, ...] | RawRateLimits | None = None
    budgets: tuple[Budget, ...] = ()
    counters: RawCounters | None = None
    cache: RawAnswerCache | None = None
    timezone: ZoneName | None = None
    reserve: Reserve = "expected"
    charge_undelivered: bool = True
    unpriced: Unpriced = "refuse"
    tracing: RawTracing | None = None
    prompt_caching: Any = attrs.field(default=None, metadata=later("only clients mark what is to be cached"))
    model_metrics_sources: Any = attrs.field(default=None, metadata=later(_BY_NAME))
    agents: Any = attrs.field(default=None, metadata=OUTSIDE)
    filters: Any = attrs.field(default=None, metadata=OUTSIDE)
    endpoints: Any = attrs.field(default=None, metadata=OUTSIDE)
    system_prompt: Any = attrs.field(default=None, metadata=OUTSIDE)
    prompt_targets: Any = attrs.field(default=None, metadata=OUTSIDE)
    prompt_guards: Any = attrs.field(default=None, metadata=OUTSIDE)
    mode: Any = attrs.field(default=None, metadata=OUTSIDE)


WITHOUT_EFFECT = frozenset(field.name for field in attrs.fields(RawConfig) if ACCEPTED in field.metadata)
"""Root keys that nothing here reads: no variable in them is looked up."""


def given(raw: Any) -> dict[str, Any]:
    """The members of a filled class (or of none) that the file gives."""
    return {} if raw is None else attrs.asdict(raw, recurse=False, filter=lambda _, value: value is not None)


def without_effect(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every key in a filled class that is accepted without effect, and why."""
    if attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            member, here = getattr(value, field.name), (*path, field.name)
            if member is not None and ACCEPTED in field.metadata:
                yield here, field.metadata[ACCEPTED]
            elif member is not None:
                yield from without_effect(member, here)
    elif isinstance(value, tuple):
        for i, member in enumerate(value):
            yield from without_effect(member, (*path, i))
