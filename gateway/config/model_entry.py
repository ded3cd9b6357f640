"""The entries of ``model_providers``: a model, or all models, of a provider."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import attrs

from configfile.keys import parts, setting
from configfile.kinds import HEADER, VARIABLE, LateSecret, Url, text_shape
from gateway.config.aliases import EntryPreference
from gateway.config.allowances import NO_QUEUE, QueueOrNone, RateLimits
from gateway.config.amounts import Budget
from gateway.config.attempts import CircuitSettings, Retries
from gateway.config.endpoints import EmbeddingChanges, ImageSettings, OwnEndpoints
from gateway.config.kinds import CONTROL, AddressPart, Name, ProbePath, Speaking
from gateway.config.own_providers import QuirkChanges, SetHeaders
from gateway.config.price_table import PriceOfModel
from gateway.config.sign_ins import SignIn, SigningIn
from providers.auth.signer import is_of_another, is_subscription_token
from providers.catalog import providers as catalog
from providers.catalog.model_facts import with_facts
from providers.catalog.models import quirks_of
from providers.catalog.prices import SUBSCRIPTION, Price, price_of
from providers.catalog.prompt_caching import caching_row
from providers.catalog.provider import Provider, Speaks, best_for
from providers.endpoints.embeddings.traits import EmbeddingTraits, has_openai_vocabulary
from providers.endpoints.endpoint import EndpointName, Place
from providers.endpoints.model_types import ModelType, model_type
from providers.neutral.quirks import Ability, Quirks
from providers.neutral.seal import Issuer
from streams.events import Api
from streams.timeouts import Timeouts

if TYPE_CHECKING:
    from providers.catalog.prompt_caching import CachingRow

Keeper: TypeAlias = Literal["ours", "upstream"]
"""The keeper of the responses that a client continues: trigate, or the provider."""

Counting: TypeAlias = Literal["counted", "as_asked"]
"""True if the gateway requests usage in Chat streams if the client does not."""

OnDisconnect: TypeAlias = Literal["cancel", "finish"]
"""The provider's response after the client leaves: closed immediately, or read to its end for the ledger."""

UNKNOWN_PROVIDER = catalog.generic("unknown", None)


@attrs.frozen(repr=False)
class ModelEntry:
    """One item of ``model_providers``: a model of a provider (``*`` for all), and how to reach it.

    Items are read without their provider's row, which ``entries.py`` adds with everything that follows. ``speaks`` and
    ``timeouts`` are the effective values, from the row or root and the item; ``quirks`` are the item's own. ``pinned``
    has the client APIs for which the item sets the provider's API. ``retries`` and ``circuit`` of ``None`` mean the
    configuration's. ``price``, ``sign_in`` and ``endpoints`` are built from ``written_price`` and so on. ``lists_all``
    means that lists include the provider's models. With a ``sign_in``, ``key`` is ``None``."""

    written: Name = setting(
        "`provider/model id`, or `provider/*` for all of its models. The provider receives everything after the first "
        "slash.",
        shape={"anyOf": [text_shape(rf"[^/{CONTROL}]+/[^{CONTROL}]+"), VARIABLE]},
        name="model",
    )
    name: Name = setting(
        "The unique name in `GET /v1/models`. One model may have several entries.",
        "",
        shown="the value of `model`",
        compared=False,
    )
    key: LateSecret | None = setting(
        "The provider's key.",
        None,
        secret=True,
        name="access_key",
    )
    written_sign_in: SigningIn | None = setting(
        "Credentials from a cloud instead of a key.",
        None,
        shown="the provider's cloud, at the cloud's own address without a key",
        compared=False,
        name="sign_in",
    )
    passthrough_auth: bool = setting(
        "Send the [client's own](subscriptions.md) credential to the provider: the token of `Authorization: Bearer`, "
        "else `x-api-key` or `x-goog-api-key`.",
        False,
    )
    default: bool = setting(
        "Use this entry for requests without a model, at the endpoints of its `type`. One for each type, no wildcard.",
        False,
        compared=False,
    )
    base_url: Url | None = setting(
        "The provider's address: `http(s)://host[:port][/prefix]`. A path replaces the provider's own, such as `/v1`, "
        "which the gateway adds to `…/anthropic`. A query is kept, and masked except versions.",
        None,
        shown="the provider's",
        absent="the provider's own",
    )
    region: AddressPart | None = setting(
        "Amazon Bedrock: the region, such as `us-east-1`. The region of an ARN takes precedence.",
        None,
        compared=False,
    )
    project: AddressPart | None = setting("Vertex AI: the project.", None, compared=False)
    location: AddressPart | None = setting(
        "Vertex AI: the location, such as `global` or `europe-west1`.", None, compared=False
    )
    http_host: str | None = setting(
        "The `Host` header. TLS still uses the URL's host name.", None, shown="the URL's host"
    )
    provider_interface: str | None = setting(
        "For an unknown provider: the known provider that it behaves like.",
        None,
        shown="`openai`'s Chat",
        compared=False,
    )
    headers: SetHeaders = setting(
        "Headers for every request to the provider, which replace others.",
        (),
        shape={"propertyNames": {"pattern": f"^{HEADER}$"}},
        secret=True,
    )
    pass_headers: tuple[str, ...] = setting(
        "More headers to pass in both directions, such as `[x-team, x-cost-*]`.",
        (),
    )
    speaks: Speaking = setting(
        "The APIs in which the gateway calls the provider: `chat`, `messages`, `responses`, `gemini`, `converse`, "
        "`interactions`.",
        factory=dict,
        shown="the provider's",
    )
    quirks: QuirkChanges = setting(
        "Differences of the provider or model from its API.",
        factory=dict,
        shown="the provider's",
    )
    timeouts: Timeouts = setting("For this entry only.", factory=Timeouts, shown="the root's")
    repair: bool = setting(
        "Repair tool calls in Chat answers that SDKs would misread (`repaired` in the [log](log.md)).",
        True,
    )
    on_disconnect: OnDisconnect = setting(
        "If the client leaves, `cancel` stops the generation. `finish` reads the response to its end to count all "
        "tokens, within `timeouts.total` (60 s if unset), `limits.answer` and the drain.",
        "cancel",
    )
    state: Keeper | None = setting(
        "The [storage](state.md#where-turns-are-stored) of responses and interactions that clients continue: `ours`, "
        "or `upstream` at the provider, without a translation.",
        None,
        shown="`upstream` if the provider keeps them and is called in Responses (`openai`), else `ours`",
    )
    usage: Counting = setting(
        "Streamed Chat: `counted` requests the usage if the client does not, and removes the extra chunk; unknown "
        "providers also need `quirks: {stream_usage: true}`. With `as_asked` the log may have an estimate.",
        "counted",
    )
    parts: Mapping[type, Any] = parts()
    type: ModelType | None = setting(
        "The purpose of the model, as in `GET /v1/models?type=`. It selects the entry for [requests without a "
        "model](endpoints.md#requests-without-a-model).",
        None,
        shown="depends on the model's name, else `chat`",
    )
    retries: Retries | None = setting("For requests to this entry's name.", None, shown="the root's")
    circuit: CircuitSettings | None = setting("For this entry only.", None, shown="the root's")
    routing_preferences: tuple[EntryPreference, ...] = setting(
        "Plano's older routes. Entries with the same `name` become targets of one route, in file order.",
        (),
        compared=False,
    )
    ratelimits: RateLimits = setting(
        "The rates of this target for all clients and all models of a wildcard. Routes skip a full target.",
        factory=RateLimits,
        shown="no limit",
    )
    queue: QueueOrNone = setting(
        "Requests wait here until `ratelimits` allow them, before they go to the next target.",
        default=NO_QUEUE,
        shown="`0`: none",
    )
    probe: ProbePath | None = setting(
        "A path of your own server, such as `/health`, checked every 5 seconds. While it fails, the target gets no "
        "requests.",
        None,
    )
    own_endpoints: OwnEndpoints = setting(
        "The endpoints besides conversations, if they differ from the [table](endpoints.md): `{embeddings: /embed, "
        "rerank: false}`.",
        factory=dict,
        shown="the provider's",
        compared=False,
        name="endpoints",
    )
    embeddings: EmbeddingChanges = setting(
        "Limits and defaults of embeddings requests.",
        factory=dict,
        shown="the provider's",
    )
    images: ImageSettings = setting(
        "`{inline: true}` replaces URLs of [images](endpoints.md#images) and [linked files](linked-files.md) by their "
        "contents.",
        ImageSettings(),
        shown="the provider's",
    )
    budgets: tuple[Budget, ...] = setting(
        "The amounts that may be spent on this target. When one is exhausted, requests go to the next target.",
        (),
    )
    written_price: PriceOfModel | None = setting(
        "Dollars per million tokens; `free` for your own server; `subscription` if a [plan](subscriptions.md) pays.",
        None,
        shown="from the [price list](costs.md#prices)",
        compared=False,
        name="price",
    )

    provider: Provider = UNKNOWN_PROVIDER
    model: str = ""
    pinned: frozenset[Api] = frozenset()
    price: Price | None = None
    sign_in: SignIn | None = None
    endpoints: Mapping[EndpointName, Place | None] = attrs.field(factory=dict)
    lists_all: bool = True

    @property
    def wildcard(self) -> bool:
        return self.model == "*"

    @property
    def written_provider(self) -> str:
        """The provider's name in the file."""
        return self.written.partition("/")[0]

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes under which its models can be requested."""
        own = (self.name.removesuffix("/*"),) if self.wildcard else ()
        return tuple(dict.fromkeys((*own, self.written_provider, self.provider.id)))

    def stores_turns(self, api: Api, model: str) -> bool:
        """Return whether trigate stores the turns of ``api``'s clients with ``model``; by default the provider does, if
        it can and that API is used."""
        if self.state is not None:
            return self.state == "ours"
        return not (api in self.provider.keeps_turns and self.speaks_of(model).get(api) == api)

    def model_with_turns(self, api: Api) -> str | None:
        """Return a model, or a pattern of models, whose turns in ``api`` the provider stores, ``None`` without any."""
        models = (self.model, *(pattern for pattern, _ in self.provider.by_model if self.wildcard))
        return next(
            (one for one in models if self.speaks_of(one).get(api) == api and not self.stores_turns(api, one)), None
        )

    def api_for(self, client: Api, model: str) -> Api | None:
        """Return the API in which requests for ``model`` from ``client``'s API are sent, ``None`` if none is supported
        yet."""
        speaks = self.speaks_of(model)
        usual = speaks.get(client) or (best_for(client, speaks.values()) if speaks else None)
        if not self.may_use_responses(client, model):
            return usual
        match self.quirks_of(model).asked_in_responses:
            case "always":
                return "responses"
            case "with_tools" if client != "chat" and usual == "chat":
                return "responses"
            case _:
                return usual

    def is_at_maker(self, model: str) -> bool:
        """Return whether ``model`` is used at its maker's own service, in any region, not at a compatible server."""
        is_unset = self.base_url is None or self.provider.base_url is None
        return self.provider.has(model) and (is_unset or self._is_at_makers_address)

    def place_of(self, endpoint: EndpointName, model: str) -> Place | None:
        """Return the endpoint for ``model``, ``None`` if it has none."""
        own = self.endpoints
        return own[endpoint] if endpoint in own else self.row(model).place_of(endpoint)

    def embeddings_of(self, model: str) -> EmbeddingTraits:
        """Return the embedding traits of ``model``: the row's, overridden by the item's.

        A server that only resembles its maker's may support more members, and has OpenAI's vocabulary if the model's
        name suggests so."""
        known = self.row(model).embeddings
        if known.token_arrays and not self._is_at_makers_address:
            known = attrs.evolve(known, token_arrays=False, takes_purpose="unknown")
        if not known.token_arrays and has_openai_vocabulary(model):
            known = attrs.evolve(known, token_arrays=True)
        return attrs.evolve(known, **self.embeddings) if self.embeddings else known

    def refuses(self, credential: str) -> bool:
        """Return whether ``credential``, a client's own, certainly belongs to another provider than this one."""
        return is_of_another(credential, self.provider.id) and self._is_at_makers_address

    @property
    def _is_at_makers_address(self) -> bool:
        """Return whether the address is the maker's own: other services may serve other makers' models."""
        maker = catalog.find(self.provider.id)
        return maker is not None and _has_domain_of(self.base_url or self.provider.base_url, maker.base_url)

    @property
    def listed_as(self) -> str:
        """The provider's name in the lists of prices and facts: the maker's, if the entry has another at its host."""
        return self.provider.id if catalog.find(self.provider.id) else self.provider.price_list

    def row(self, model: str) -> Provider:
        """Return the provider's row for ``model``."""
        return self.provider.for_model(model)

    def type_of(self, model: str) -> ModelType:
        """Return the type of ``model``, such as ``embedding``."""
        return self.type or model_type(model)

    def speaks_of(self, model: str) -> Speaks:
        """Return ``speaks`` for ``model``, if the provider's APIs differ by model."""
        if not self.provider.by_model:
            return self.speaks
        pinned = {client: self.speaks[client] for client in self.pinned if client in self.speaks}
        return {**self.row(model).speaks, **pinned}

    def may_use_responses(self, client: Api, model: str) -> bool:
        """Return whether requests of ``client`` can use Responses if ``model`` prefers that."""
        if client in self.pinned or (self.provider.all_in_chat and "asked_in_responses" not in self.quirks):
            return False
        return self.speaks_of(model).get("responses") == "responses"

    def quirks_of(self, model: str) -> Quirks:
        """Return the quirks of ``model`` (a provider's id): the row's, overridden by the model's, overridden by the
        item's."""
        known = with_facts(quirks_of(self.row(model).quirks, model), self.listed_as, model)
        found = attrs.evolve(known, **self.quirks)
        rule = found.asked_in_responses
        if rule == "to_keep_reasoning":
            rule = "with_tools" if self.is_at_maker(model) else "by_responses_clients"
        if self.provider.local and "asked_in_responses" not in self.quirks:
            rule = "by_responses_clients"  # on a self-hosted server, a model of that name is not OpenAI's
        return found if rule == found.asked_in_responses else attrs.evolve(found, asked_in_responses=rule)

    def missing_abilities(self, model: str) -> tuple[Ability, ...]:
        """Return the abilities that ``model`` certainly lacks, by the item, or by the model's facts at its maker's own
        service.

        Self-hosted servers and routers may add abilities."""
        if "cannot" in self.quirks:
            return tuple(self.quirks["cannot"])
        return self.quirks_of(model).cannot if self.is_at_maker(model) else ()

    def known_quirks_of(self, model: str) -> Quirks:
        """Return ``quirks_of`` without guesses about unknown providers."""
        meant = {"takes_max_tokens": False} if self.quirks.get("max_tokens_field") == "max_completion_tokens" else {}
        return attrs.evolve(quirks_of(self.row(model).known, model), **{**meant, **self.quirks})

    def caching_of(self, model: str, api: Api) -> "CachingRow | None":
        """Return the rules of the provider's prompt cache for ``model`` in ``api``, ``None`` if they are unknown."""
        known = caching_row(self.provider.id, model, api)
        if known is None and self.provider_interface is not None:
            return caching_row(self.provider_interface, model, api)
        return known

    @property
    def issuer(self) -> Issuer:
        """Return the account's name in seals. All entries of a provider account have the same one, so that seals stay
        readable after a change of model."""
        return Issuer.of(self.provider.id, self.key if self.sign_in is None else self.sign_in.account)


def _has_domain_of(url: str | None, makers: str | None) -> bool:
    """Return whether ``url`` has the domain of a maker's address; its regions have hosts of their own."""
    if url is None or makers is None:
        return True
    domain = ".".join((urlsplit(makers).hostname or "").rsplit(".", 2)[-2:])
    host = urlsplit(url).hostname or ""
    return host == domain or host.endswith(f".{domain}")


def entry_price(entry: ModelEntry, model: str) -> Price | None:
    """Return the price of ``model`` at ``entry``: the configured one, ``SUBSCRIPTION``, or that of the price list.

    Return ``None`` if it is unknown."""
    if entry.price is not None:
        return entry.price
    if entry.provider.is_subscription or is_subscription_token(entry.key):
        return SUBSCRIPTION
    return price_of(entry.listed_as, model)
