"""The configuration of the service: the keys at the root of its file, and the values that the rest of the gateway
reads."""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import attrs

from configfile.document import Mistake
from configfile.expanded import Unresolved
from configfile.keys import Kind, ignored, setting
from configfile.kinds import Duration, Secret, Url, Wait
from configfile.wording import Wrong
from gateway.config.aliases import Route, RoutingPreference
from gateway.config.allowances import RateLimits, RatesOrHeaderLimits, RootLimit
from gateway.config.amounts import Budget
from gateway.config.attempts import CircuitSettings, Retries
from gateway.config.cached_answers import AnswerCacheSettings
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.collector import MetricsAccess, TracingSettings
from gateway.config.counters import CounterSettings
from gateway.config.kinds import (
    BY_NAME,
    OUTSIDE,
    AuditPlace,
    FilePath,
    HostName,
    Network,
    Origin,
    SealingKeys,
    Version,
    ZoneName,
    later,
)
from gateway.config.limits import Limits
from gateway.config.listening import Listener, Listeners, is_local
from gateway.config.model_entry import ModelEntry
from gateway.config.own_providers import ProviderSettings
from gateway.config.state_storage import StateStorage
from streams.timeouts import Timeouts

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
Trust: TypeAlias = Literal["named", "found"]
"""Whether somebody has named the file of a configuration, or it was only found in the current directory."""

StoredKeys: TypeAlias = Literal["off", "unread", "read"]
"""Whether the keys in the state storage let clients in, and whether they are among the ``client_keys`` yet."""

StoredKeysSwitch: TypeAlias = Annotated[
    StoredKeys,
    Kind("true or false", lambda on: "unread" if on else "off", pick=lambda _: bool, parts=(bool,)),
]

Remark: TypeAlias = Literal["warning", "note"]

Unpriced: TypeAlias = Literal["refuse", "allow"]
"""Whether requests may go to a model without a price where money is limited."""

Reserve: TypeAlias = Literal["expected", "max"]
"""The length of an answer for which a budget is reserved: the length of such answers, or the longest one."""

ClientRouting: TypeAlias = Literal["openrouter", "vercel", "litellm"]
"""A form in which clients may say in a body where their request goes."""


class KeyDigest(bytes):
    """The SHA-256 digest of a key. ``is_short``: the key is easily guessed."""

    is_short: bool = False


ENOUGH: Final = 16
"""Characters of a key that can hardly be guessed, if nobody has made it up."""


def _operator_key(text: str) -> KeyDigest:
    if not text:
        raise Wrong("an empty key", "give one that nobody can guess: `openssl rand -hex 32`")
    digest = KeyDigest(hashlib.sha256(text.encode()).digest())
    digest.is_short = len(text) < ENOUGH and not isinstance(text, Unresolved)
    return digest


OperatorKey: TypeAlias = Annotated[
    bytes,
    Kind("text or file", _operator_key, pick=lambda _: Secret, parts=(Secret,), takes_text=True),
]
"""The digest of a key for operators."""


ClientKeys: TypeAlias = Annotated[
    tuple[ClientKey, ...], Kind("list", pick=lambda _: tuple[ClientKey | None, ...], parts=(tuple[ClientKey, ...],))
]
ClientGroups: TypeAlias = Annotated[
    tuple[ClientGroup, ...],
    Kind("list", pick=lambda _: tuple[ClientGroup | None, ...], parts=(tuple[ClientGroup, ...],)),
]
"""Lists in which ``None`` takes the place of an item with a mistake until all mistakes are reported, so that the others
keep their numbers."""


@attrs.frozen
class Overrides:
    """Plano's place for a few settings. Keys that are not here are accepted, too, as Plano does."""

    accepts_unknown_keys: ClassVar[bool] = True

    upstream_connect_timeout: Wait | None = setting(
        "Plano's name for `connect` in [timeouts](#timeouts), which takes precedence.",
        None,
        shown="`5s`",
        compared=False,
        eq=False,
    )
    upstream_tls_ca_path: FilePath | None = setting(
        "The certificates that providers are checked against: a file or a directory.",
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
    """A whole configuration: the keys of the root, and what was made of them. ``entries``, ``aliases`` and ``routes``
    are the models by all of their names, made of ``model_providers`` and ``model_aliases``. ``ineffective`` are the
    settings that are accepted and change nothing, with their places; ``warnings`` list them and what else is probably
    not meant, ``notes`` good defaults that may surprise: both are sentences for people. Durations are seconds. Without
    ``retries`` names with one target are tried once. Without ``client_keys`` and ``stored_keys`` everybody may use the
    gateway; without ``state_storage`` state ends with the process."""

    version: Version | None = setting(
        "`v0.3.0` or `v0.4.0`; the older `v0.1`, `v0.1.0`, `0.1-beta` and `0.2.0` too. It selects nothing: all of them"
        " have the same keys.",
        None,
        shown="required",
        needed=True,
        compared=False,
    )
    listeners: Listeners = setting(
        "Where to listen; see [below](#listeners).", (Listener(),), shown="one on 127.0.0.1:12000", restart=True
    )
    model_providers: tuple[ModelEntry | None, ...] | None = setting(
        "The models and how to reach them; see [below](#model_providers).", None, shown="required", compared=False
    )
    llm_providers: tuple[ModelEntry | None, ...] | None = setting(
        "The older name of `model_providers`. Only one of the two may be given.", None, compared=False
    )
    providers: dict[str, ProviderSettings] = setting(
        "Providers that trigate does not know, and changes to those that it does; see [below](#providers).",
        factory=dict,
        shown="none",
        compared=False,
    )
    model_aliases: dict[str, Route] = setting(
        "Names of your own for models, and for several that stand in for one another; see [below](#model_aliases).",
        factory=dict,
        shown="none",
        compared=False,
    )
    routing_preferences: tuple[RoutingPreference, ...] = setting(
        "Plano's way to write routes; see [below](#routing_preferences).", (), shown="none", compared=False
    )
    retries: Retries | None = setting(
        "How often and how long providers are asked for one request; see [below](#retries).",
        None,
        shown="for names with several targets alone",
    )
    circuit: CircuitSettings = setting("When a target is left alone; see [below](#circuit).", factory=CircuitSettings)
    client_routing: tuple[ClientRouting, ...] = setting(
        "The forms in which clients may say in a body where their request goes: `openrouter`, `vercel`, `litellm`.",
        (),
        shown="none",
    )
    unpriced: Unpriced = setting(
        "Whether a model without a price is asked where a budget limits money: `refuse`, or `allow` as if it cost "
        "nothing; see [costs](costs.md#models-without-a-price).",
        "refuse",
    )
    client_keys: ClientKeys = setting(
        "Who may come in, and what for; see [below](#client_keys).",
        (),
        shown="everybody may come in",
        shape={"minItems": 1},
        compared=False,
    )
    stored_keys: StoredKeysSwitch = setting(
        "Let in who shows a key that `trigate keys` has made, too, which keeps them in the state storage. Then "
        "everybody needs a key, also before there is one; see [below](#stored_keys).",
        "off",
        compared=False,
        shown="`false`",
    )
    written_ratelimits: RatesOrHeaderLimits | None = setting(
        "The [rates](#ratelimits) that all clients share, with a key or without, such as `{requests: 600/m, "
        "concurrent: 20}`. A list is Plano's way to limit tokens by a header; see [below](#limits-by-a-header).",
        None,
        shown="none",
        compared=False,
        name="ratelimits",
    )
    budgets: tuple[Budget, ...] = setting(
        "What all clients together may spend, with a key or without, such as `[5 usd/day]`; see [below](#budgets).",
        (),
        shown="none",
    )
    client_groups: ClientGroups = setting(
        "What holds for several clients; see [below](#client_groups).", (), shown="none", compared=False
    )
    open: bool = setting(
        "Let everybody in who can connect, from other machines too. Without it `trigate serve` refuses to listen "
        "beyond this machine where there are neither `client_keys` nor `stored_keys` nor a listener's `tls.client_ca`.",
        False,
    )
    state_storage: StateStorage | None = setting(
        "Where responses, conversations and threads are kept; see [below](#state_storage).",
        None,
        shown="in memory",
        restart=True,
    )
    signing_key: SealingKeys = setting(
        "32 bytes in base64 (`openssl rand -base64 32`) that sign the ids of [files](files.md) and of whatever else "
        "providers keep for clients. Of a list the first key signs, and all of them are believed. Without it ids are "
        "signed with a secret made from the provider's key, and end when that changes.",
        (),
        shown="made from the provider's key",
        secret=True,
    )
    public_url: Url | None = setting(
        "Where clients reach the gateway, such as `https://llm.example`: the beginning of the addresses in answers "
        "that clients go on with, such as those of uploads.",
        None,
        shown="what the client dialled (`Host`)",
    )
    counters: CounterSettings = setting(
        "Where rates, requests at once and budgets are counted; see [below](#counters).",
        factory=CounterSettings,
        shown="in memory, for all workers of this machine",
        restart=True,
    )
    cache: AnswerCacheSettings = setting(
        "Where the answers are kept that are given again, and how many; see [below](#cache).",
        factory=AnswerCacheSettings,
        shown="in memory, and of those names and clients alone that say `cache`",
        restart=True,
    )
    timezone: ZoneName = setting(
        "Where the hours, days, weeks and months of [budgets](#budgets) begin: a name such as `Europe/Berlin`.", "UTC"
    )
    reserve: Reserve = setting(
        "How much of a budget a request has to find there before it is sent. `expected`: what an answer like it is "
        "likely to cost; `max`: what the longest answer would.",
        "expected",
    )
    charge_undelivered: bool = setting(
        "Whether budgets pay for answers that no client got a word of, as providers do. `false` is for those who "
        "resell.",
        True,
    )
    metrics: MetricsAccess = setting(
        "Whether there is `/metrics`, and for whom; see [below](#metrics).", "keyed", restart=True, shown="`true`"
    )
    tracing: TracingSettings | None = setting(
        "Where traces go; see [below](#tracing).", None, shown="as the environment says", restart=True
    )
    cors: tuple[Origin, ...] = setting(
        "The web pages that may call from a browser: origins such as `https://app.example`, or `*` for all; see "
        "[below](#browsers).",
        (),
        shown="none",
    )
    hosts: tuple[HostName, ...] = setting(
        "The names by which clients call the gateway, as `Host` has them without a port. Where it is given every other"
        " name is a 403 (addresses and, on loopback, `localhost` stay good); see [below](#browsers).",
        (),
        shown="none: on loopback without `client_keys` local names only, else any",
    )
    audit: AuditPlace | None = setting(
        "Where the [audit](log.md#audit) goes: `stderr`, or the path of a file, which is made so that its owner alone "
        "may read it, and made anew where it was moved away.",
        None,
        shown="refused keys and pages alone, as warnings in the log",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "The proxies whose `X-Forwarded-For` is believed: addresses, networks such as `10.0.0.0/8`, and `unix` for "
        "peers on a Unix socket. The last address in it that is none of theirs is the client's, in the [log](log.md) "
        "and wherever something is counted by address.",
        (),
        shown="none",
    )
    timeouts: Timeouts = setting("Limits on the silence of providers; see [below](#timeouts).", factory=Timeouts)
    limits: Limits = setting("Sizes, and how much at once; see [below](#limits).", factory=Limits)
    overrides: Overrides = setting("Plano's place for a few settings; see [below](#overrides).", factory=Overrides)
    drain: Duration = setting(
        "How long answers under way may go on after SIGTERM; then their clients get an error event.", 25.0, restart=True
    )
    write_timeout: Wait = setting(
        "How long a client may leave what it was sent unacknowledged before it is cut. One that reads slowly, but "
        "reads, is not cut.",
        30.0,
        restart=True,
    )
    drain_delay: Duration = setting(
        "How long to go on accepting requests after SIGTERM, while `/readyz` says 503: the time that a load balancer "
        "needs to notice.",
        0.0,
        restart=True,
        shown="`0`",
    )
    keep_alive: Wait = setting("The longest silence towards a client; a ping, or a comment, is sent then.", 15.0)
    websocket_idle: Wait = setting(
        "How long a websocket stays open while nothing is asked on it; then it is closed (1001), and its client "
        "connects again.",
        600.0,
    )
    strict: bool = setting(
        "Refuse (400) a request of which something cannot be carried to the provider that may change the answer, and "
        "name it. Hints, such as cache marks and user ids, are dropped all the same and named in `x-trigate-dropped`. "
        "The header `x-trigate-strict: 1` or `0` decides for one request.",
        False,
    )
    websocket: bool = setting(
        "Serve `/v1/responses` over a WebSocket too, as Codex asks for it. Where it is off an upgrade is a 426, upon "
        "which Codex goes on over HTTP.",
        True,
    )
    ui: bool = setting(
        "Serve the [live view](ui.md) at `/ui`: without a key on this machine alone, elsewhere with one.", True
    )
    ui_key: OperatorKey | None = setting(
        "The key that shows everything in the live view. Holders of `client_keys` see their own exchanges there.",
        None,
        shown="none",
        secret=True,
    )
    metrics_key: OperatorKey | None = setting(
        "The key that reads [`/metrics`](metrics.md#who-may-read-it) and `/readyz?verbose`, which show what all "
        "clients do and spend. The holder of `ui_key` may read them too. With neither of the two keys every client key"
        " without `models` may, and `trigate check` warns of it.",
        None,
        shown="none",
        secret=True,
    )
    ui_keep: bool = setting(
        "Keep in memory what passed in the last streams, 16 MiB at most, so that the live view can open those that "
        "have ended. Prompts are kept with `ui_prompts` alone.",
        True,
    )
    ui_prompts: bool = setting(
        "Keep the bodies of the last requests in memory, too, 8 MiB at most, so that the live view shows them where a "
        "request is opened: to the operator those of all clients, to a client its own.",
        False,
    )
    log_level: LogLevel = setting(
        "The least that is logged: `debug`, `info`, `warning` or `error`. Exchanges are `info`. `--log-level` outranks"
        " it.",
        "info",
    )
    routing: Any = ignored(BY_NAME)
    prompt_caching: Any = ignored(later("only clients mark what is to be cached"))
    model_metrics_sources: Any = ignored(BY_NAME)
    agents: Any = ignored(OUTSIDE)
    filters: Any = ignored(OUTSIDE)
    endpoints: Any = ignored(OUTSIDE)
    system_prompt: Any = ignored(OUTSIDE)
    prompt_targets: Any = ignored(OUTSIDE)
    prompt_guards: Any = ignored(OUTSIDE)
    mode: Any = ignored(OUTSIDE)

    entries: tuple[ModelEntry, ...] = ()
    aliases: Mapping[str, str] = attrs.field(factory=dict)
    routes: Mapping[str, Route] = attrs.field(factory=dict)
    ratelimits: RateLimits = attrs.field(factory=RateLimits)
    header_limits: tuple[RootLimit, ...] = ()
    ineffective: tuple[Mistake, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    path: Path | None = None
    trust: Trust = "named"

    @property
    def ca_path(self) -> Path | None:
        """The certificates that providers are checked against."""
        return self.overrides.upstream_tls_ca_path

    @property
    def asks_for_key(self) -> bool:
        """True if nobody may come in without a key, whether or not there is one yet."""
        return bool(self.client_keys) or self.stored_keys != "off"

    @property
    def exposed(self) -> tuple[Listener, ...]:
        """The listeners that are meant for other machines and ask nobody for anything, though the file does not say
        that this is meant."""
        if self.asks_for_key or self.open:
            return ()
        return tuple(one for one in self.listeners if one.is_unguarded and not is_local(one))

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
