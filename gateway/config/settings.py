"""The configuration of the service: the root keys of its file, and the values for the rest of the gateway."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeAlias, TypeVar

import attrs

from configfile.document import Mistake
from configfile.expanded import Unresolved
from configfile.keys import Kind, ignored, parts, setting
from configfile.kinds import Duration, Secret, Url, Wait
from configfile.stored_secrets import StoredSecret
from configfile.wording import Wrong
from gateway.config.aliases import Alias, Route, RoutingPreference
from gateway.config.allowances import RateLimits, RatesOrHeaderLimits, RootLimit
from gateway.config.amounts import Budget, OpeningSpend
from gateway.config.attempts import CircuitSettings, Retries
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.kinds import (
    BY_NAME,
    OUTSIDE,
    AuditPlace,
    CodeName,
    FilePath,
    HostName,
    Name,
    Network,
    Origin,
    SealingKeys,
    Version,
    ZoneName,
    list_of,
)
from gateway.config.limits import Limits
from gateway.config.listening import Listener, Listeners
from gateway.config.model_entry import ModelEntry
from gateway.config.own_providers import ProviderSettings
from gateway.config.patterns import ALL_NAMES, ModelNames
from gateway.config.state_storage import CounterSettings, StateStorage
from gateway.http.external_url import ExternalUrl, read_external_url
from streams.timeouts import Timeouts

if TYPE_CHECKING:
    from gateway.config.unlisted import UnlistedClients

V = TypeVar("V")

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
Trust: TypeAlias = Literal["named", "found"]
"""Origin of the configuration file: set by the user, or found in the current directory."""

StoredClients: TypeAlias = Literal["off", "unread", "read"]
"""State of the clients in the state storage: unused, or not yet or already read into ``client_keys``."""

Remark: TypeAlias = Literal["warning", "note"]

Unpriced: TypeAlias = Literal["refuse", "allow"]
"""True if models without a price may be used under budgets of money."""

Reserve: TypeAlias = Literal["expected", "max"]
"""The response length for which a budget is reserved: the usual length, or the maximum."""


class KeyDigest(bytes):
    """The SHA-256 digest of a key; ``is_short`` means that the key is easily guessed."""

    is_short: bool = False


ENOUGH: Final = 16
"""Characters of a random key that can hardly be guessed."""


def _read_operator_key(text: str) -> KeyDigest:
    if not text:
        raise Wrong("the key is empty", "create a random one with `openssl rand -hex 32`")
    digest = KeyDigest(hashlib.sha256(text.encode()).digest())
    digest.is_short = len(text) < ENOUGH and not isinstance(text, Unresolved)
    return digest


OperatorKey: TypeAlias = Annotated[
    bytes,
    Kind("text or file", _read_operator_key, pick=lambda _: Secret, parts=(Secret,), takes_text=True),
]
"""The digest of an operator's key."""


ClientKeys: TypeAlias = Annotated[tuple[ClientKey, ...], list_of(ClientKey)]
ClientGroups: TypeAlias = Annotated[tuple[ClientGroup, ...], list_of(ClientGroup)]


@attrs.frozen
class Overrides:
    """The mapping ``overrides`` of Plano. Unknown keys are accepted, as in Plano."""

    accepts_unknown_keys: ClassVar[bool] = True

    upstream_connect_timeout: Wait | None = setting(
        "Plano's name for `connect` of [timeouts](#timeouts), which takes precedence.",
        None,
        shown="`5s`",
        compared=False,
        eq=False,
    )
    upstream_tls_ca_path: FilePath | None = setting(
        "The root certificates for verifying providers: a file or a directory.",
        None,
        shown="the system's",
        restart=True,
    )
    disable_signals: Any = ignored(OUTSIDE)
    prompt_target_intent_matching_threshold: Any = ignored(OUTSIDE)
    optimize_context_window: Any = ignored(OUTSIDE)
    use_agent_orchestrator: Any = ignored(OUTSIDE)
    agent_orchestration_model: Any = ignored(OUTSIDE)
    orchestrator_model_context_length: Any = ignored(OUTSIDE)
    llm_routing_model: Any = ignored(BY_NAME)


@attrs.frozen
class Config:
    """A whole configuration: the root keys, and the values built from them. ``parts`` are the root keys of features.

    ``entries``, ``aliases`` and ``routes`` are the models by all their names, built from ``model_providers`` and
    ``model_aliases``. ``more_entries`` are other servers, which features reach. ``stored_clients`` and
    ``rule_clients`` follow from keys of features; the latter have patterns as names (``okta:*``), and the clients that
    rules admit are made from them. ``only_served`` are keys with reasons why only ``trigate serve`` can serve them.
    ``kept_spending`` are the seconds for which a feature remembers spending after a restart.
    ``stored_secrets`` are those in stores,
    read or not. ``ineffective`` has settings without effect with their paths. ``warnings`` lists them and other doubts,
    ``notes`` surprising defaults, both as sentences. Durations are in seconds. Without ``retries``, names with
    one target are tried once. Without ``client_keys`` and ``stored_clients``, everyone may use the gateway. Without
    ``state_storage``, state ends with the process."""

    version: Version | None = setting(
        "The version of Plano's format, not of trigate: `v0.4.0`, `v0.3.0`, `0.2.0`, `v0.1.0`, `v0.1` or `0.1-beta`, "
        "all with the same keys.",
        None,
        shown="required",
        needed=True,
        compared=False,
    )
    listeners: Listeners = setting(
        "The addresses to listen on.",
        (Listener(),),
        shown="one on 127.0.0.1:12000",
        restart=True,
    )
    model_providers: tuple[ModelEntry | None, ...] | None = setting(
        "The models, and how to reach them.",
        None,
        shown="required",
        compared=False,
    )
    llm_providers: tuple[ModelEntry | None, ...] | None = setting(
        "The older name of `model_providers`.", None, compared=False
    )
    providers: dict[str, ProviderSettings] = setting(
        "Your own providers, and changes to known ones.",
        factory=dict,
        compared=False,
    )
    model_aliases: dict[Name, Alias] = setting(
        "Your own names for models, and routes.",
        factory=dict,
        compared=False,
    )
    model_names: ModelNames = setting(
        "The names that clients may request.",
        ALL_NAMES,
        shown="all names",
    )
    routing_preferences: tuple[RoutingPreference, ...] = setting("Routes in Plano's form.", (), compared=False)
    retries: Retries | None = setting(
        "The attempts for one request, and their deadline.",
        None,
        shown="only for names with several targets",
    )
    circuit: CircuitSettings = setting(
        "The failures that put a target into cooldown.",
        factory=CircuitSettings,
    )
    unpriced: Unpriced = setting(
        "While a budget in money applies, `refuse` requests to a [model without a "
        "price](costs.md#models-without-a-price), or `allow` them as if they were free.",
        "refuse",
    )
    client_keys: ClientKeys = setting(
        "The keys that clients must send, with each client's rights and limits.",
        (),
        shown="no key needed",
        shape={"minItems": 1},
        compared=False,
        admits=True,
    )
    written_ratelimits: RatesOrHeaderLimits | None = setting(
        "The rates that all clients share, such as `{requests: 600/m, concurrent: 20}`. A list [limits tokens by a "
        "header](#limits-by-a-header).",
        None,
        compared=False,
        name="ratelimits",
    )
    budgets: tuple[Budget, ...] = setting(
        "The amounts that all clients together may spend, such as `[5 usd/day]`.",
        (),
    )
    opening_spend: tuple[OpeningSpend, ...] = setting(
        "The amounts that clients and groups had spent elsewhere.",
        (),
    )
    client_groups: ClientGroups = setting("Settings that clients share.", (), compared=False)
    open: bool = setting(
        "Accept clients from other machines without a key. Otherwise `trigate serve` listens beyond loopback only "
        "with keys or `tls.client_ca`.",
        False,
        admits=True,
    )
    state_storage: StateStorage | None = setting(
        "The storage of conversations.",
        None,
        shown="in memory",
        restart=True,
    )
    signing_key: SealingKeys = setting(
        "32 bytes in base64 (`openssl rand -base64 32`) that sign the ids of [files](files.md) and other objects at "
        "providers. In a list, the first key signs and every key verifies.",
        (),
        shown="derived from the provider's key",
        secret=True,
    )
    public_url: Url | None = setting(
        "The URL at which clients reach the gateway, also [below a path](operating.md#below-a-path), for links, "
        "redirects and cookies.",
        None,
        shown="the request's `Host`",
    )
    counters: CounterSettings = setting(
        "The storage of rates, simultaneous requests and budgets.",
        factory=CounterSettings,
        shown="in memory, shared by all workers of this machine",
        restart=True,
    )
    timezone: ZoneName = setting(
        "The time zone of calendar budgets, such as `Europe/Berlin`.",
        "UTC",
    )
    reserve: Reserve = setting(
        "The cost that a request reserves: of a likely answer, or of the longest possible one.",
        "expected",
    )
    charge_undelivered: bool = setting(
        "Charge budgets for an answer even if the client received nothing of it. `false` is for resellers.",
        True,
    )
    cors: tuple[Origin, ...] = setting(
        "The origins of web pages that may call the gateway from a browser; `*` allows all.",
        (),
    )
    hosts: tuple[HostName, ...] = setting(
        "The host names of the gateway for clients, without a port. Others get 403, except addresses and, on loopback, "
        "`localhost`.",
        (),
        shown="on loopback without `client_keys` only local names; otherwise any",
    )
    audit: AuditPlace | None = setting(
        "The destination of the [audit](log.md#audit): `stderr`, or a file that only its owner can read.",
        None,
        shown="warnings in the log, for refused keys and pages only",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "The proxies whose `X-Forwarded-For` is trusted: addresses, networks such as `10.0.0.0/8`, or `unix`. The last "
        "untrusted address there is the client's.",
        (),
    )
    timeouts: Timeouts = setting("Limits on silence of providers.", factory=Timeouts)
    limits: Limits = setting("Limits on sizes and on simultaneous work.", factory=Limits)
    overrides: Overrides = setting("A few settings under Plano's names.", factory=Overrides)
    drain: Duration = setting(
        "The time for running responses after SIGTERM. Then they get an error event.",
        25.0,
        restart=True,
    )
    write_timeout: Wait = setting(
        "The longest time without acknowledgement of sent data. Then the gateway disconnects the client.",
        30.0,
        restart=True,
    )
    drain_delay: Duration = setting(
        "The time after SIGTERM with new requests while `/readyz` returns 503, for load balancers.",
        0.0,
        restart=True,
        shown="`0`",
    )
    keep_alive: Wait = setting(
        "The longest silence towards a client. Then the gateway sends a ping or a comment.", 15.0
    )
    websocket_idle: Wait = setting(
        "The gateway closes a WebSocket after this time without requests (code 1001).",
        600.0,
    )
    strict: bool = setting(
        "Refuse a request with 400 if it would lose a field other than a hint. `x-trigate-strict: 1` or `0` decides "
        "for one request.",
        False,
    )
    websocket: bool = setting(
        "Serve `/v1/responses` over WebSocket too. Otherwise an upgrade gets 426.",
        True,
    )
    ui_key: OperatorKey | None = setting(
        "The key that shows all clients' requests in the live view. With one of the `client_keys`, a client sees its "
        "own.",
        None,
        secret=True,
    )
    metrics_key: OperatorKey | None = setting(
        "The key for [`/metrics`](metrics.md#access) and `/readyz?verbose`. `ui_key` works there too.",
        None,
        secret=True,
    )
    log_level: LogLevel = setting(
        "The lowest logged level. Exchanges are `info`. `--log-level` takes precedence.",
        "info",
    )
    routing: Any = ignored(BY_NAME)
    model_metrics_sources: Any = ignored(BY_NAME)
    agents: Any = ignored(OUTSIDE)
    filters: Any = ignored(OUTSIDE)
    endpoints: Any = ignored(OUTSIDE)
    system_prompt: Any = ignored(OUTSIDE)
    prompt_targets: Any = ignored(OUTSIDE)
    prompt_guards: Any = ignored(OUTSIDE)
    mode: Any = ignored(OUTSIDE)

    features: tuple[CodeName, ...] = setting(
        "[Features](features.md) of other packages, as `module:NAME`.",
        (),
        restart=True,
    )
    parts: Mapping[type, Any] = parts()
    stored_secrets: tuple[StoredSecret, ...] = ()
    entries: tuple[ModelEntry, ...] = ()
    more_entries: tuple[ModelEntry, ...] = ()
    stored_clients: StoredClients = "off"
    rule_clients: tuple[ClientKey, ...] = ()
    only_served: tuple[tuple[str, str], ...] = ()
    kept_spending: float = 0.0
    aliases: Mapping[str, str] = attrs.field(factory=dict)
    routes: Mapping[str, Route] = attrs.field(factory=dict)
    ratelimits: RateLimits = attrs.field(factory=RateLimits)
    header_limits: tuple[RootLimit, ...] = ()
    ineffective: tuple[Mistake, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    path: Path | None = None
    trust: Trust = "named"
    unlisted: "UnlistedClients | None" = attrs.field(default=None, eq=False, repr=False)
    """The clients that rules admit, in a running gateway."""

    @property
    def ca_path(self) -> Path | None:
        """The CA certificates for provider connections."""
        return self.overrides.upstream_tls_ca_path

    @property
    def external(self) -> ExternalUrl:
        """The URL at which clients reach the gateway."""
        return read_external_url(self.public_url)

    @property
    def all_entries(self) -> tuple[ModelEntry, ...]:
        """The entries of models, and those of features."""
        return (*self.entries, *self.more_entries)

    @property
    def asks_for_key(self) -> bool:
        """Whether every client needs a key, even if none exists yet."""
        return bool(self.client_keys) or self.stored_clients != "off" or bool(self.rule_clients)

    @property
    def pages_ask_for_key(self) -> bool:
        """Whether the gateway's pages need a key or a sign-in. Otherwise only this machine can open them."""
        return self.asks_for_key or self.ui_key is not None

    @property
    def has_several_clients(self) -> bool:
        """Whether a client's share of a limit must leave something for others."""
        return len(self.client_keys) > 1 or bool(self.rule_clients)

    def by_client(self, make: Callable[[ClientKey], V | None], *, is_own: bool = False) -> Mapping[str, V]:
        """Return the values that ``make`` returns, unless they are ``None``, by client name.

        The values of clients that rules admit are made when they are read. With ``is_own``, they depend on the client's
        name."""
        values = {key.name: made for key in self.client_keys if (made := make(key)) is not None}
        return values if self.unlisted is None else self.unlisted.table(values, make, is_own=is_own)

    @property
    def rule_prefixes(self) -> tuple[str, ...]:
        """The beginnings of the names of clients that rules admit, such as ``okta:``."""
        return tuple(dict.fromkeys(client.name.removesuffix("*") for client in self.rule_clients))

    def is_rule_name(self, name: str) -> bool:
        """Return whether only a client that a rule admits can have ``name``."""
        return any(name.startswith(prefix) and name != prefix for prefix in self.rule_prefixes)

    @property
    def default(self) -> str | None:
        """The name of the default route or entry for conversations."""
        of_entries = (one for one in self.entries if one.default and one.type_of(one.model) == "chat")
        named: Iterator[Route | ModelEntry] = chain((one for one in self.routes.values() if one.default), of_entries)
        return next((one.name for one in named), None)
