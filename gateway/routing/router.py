"""From a model name and the client's API to a plan: which provider, in which API, where, and with what credential."""

import contextlib
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import attrs

from gateway.config.aliases import Route
from gateway.config.attempts import Retries
from gateway.config.model_entry import ModelEntry
from gateway.config.names import Found, May, Meaning, Names, listed_names
from gateway.config.settings import Config
from gateway.config.urls import MASK, masked
from gateway.http.headers import Headers
from gateway.routing.described import Description, described
from gateway.routing.endpoint_defaults import default_for, marked_default
from gateway.routing.fallback import FALLBACK
from gateway.routing.in_order import InOrder
from gateway.routing.plan import ASKED_ONCE, Candidate, Plan, Policy
from gateway.routing.retry_without import RetryWithout
from gateway.routing.target import LaneName, Target
from gateway.routing.walls import Wall, walled
from providers.apis import CODECS
from providers.catalog.models import is_claude
from providers.catalog.provider import ORDER, endpoint_url, url_for
from providers.endpoints.endpoint import ENDPOINTS, EndpointName, Place
from providers.errors.rejected import BETA
from providers.neutral.codec import Recipient
from streams.errors import GatewayError, invalid
from streams.events import Api
from streams.timeouts import Timeouts

REMEMBERED, SHORT = 512, 256
"""Of how many names that clients have asked for, and of up to how many characters, the plans are at hand."""

NOTHING_LISTED: Mapping[str, tuple[str, ...]] = MappingProxyType({})

DESCRIBED = 4096
"""Of how many names the description is at hand: of all that a list of models has."""

_OFFERED = 20
"""Of how many entries that have an endpoint an error tells."""

POLICY: Policy = InOrder((RetryWithout(),), FALLBACK)
"""How the attempts of every plan follow one another."""


@attrs.frozen(repr=False)
class Model:
    """One line of ``GET /v1/models``."""

    id: str
    owned_by: str


@attrs.frozen(eq=False, repr=False)
class Explanation:
    """A plan, and why it begins where it does; fit to be shown: what may be secret in headers and URL is masked."""

    plan: Plan
    why: str
    url: str
    headers: Headers

    @property
    def target(self) -> Target:
        return self.plan.first

    @property
    def lane(self) -> LaneName:
        return self.target.lane


class Router:
    """Resolves model names against one configuration; safe to share. ``several`` are the retries of what stands for
    several places where nothing else is said; ``client_routing`` are the forms in which clients may route."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.client_routing = config.client_routing
        self.several = config.retries or Retries()
        self._names = Names(config.entries, config.aliases, config.routes)
        self.passes_credentials = any(entry.passthrough_auth for entry in config.entries)
        self._routes_anything = bool(config.routes) or config.retries is not None
        self._known = lru_cache(REMEMBERED)(self._planned)  # what does not raise is the same for every client
        self._known_endpoint = lru_cache(REMEMBERED)(self._endpoint_planned)
        self._described = lru_cache(DESCRIBED)(self._description)

    def hash_keys(self) -> None:
        """Compute what seals show of each key, some 20 ms for a new one, so that no request has to. The interpreter is
        free meanwhile: call it in a thread."""
        for entry in self._config.entries:
            entry.issuer.account  # noqa: B018  # it is remembered

    def plan(self, model: str | None, api: Api, may: May | None = None) -> Plan:
        """The plan for a client that speaks ``api`` and asks for ``model``. ``may`` says which names an error may
        tell the client.

        Raises ``GatewayError``: 400 for no model or an ambiguous one, 404 for an unknown one, 501 for a provider whose
        API no codec speaks yet."""
        if model is None or len(model) <= SHORT:
            with contextlib.suppress(GatewayError):  # it is raised below, in words for this client
                return self._known(model, api)
        return self._planned(model, api, may)

    def resolve(self, model: str | None, api: Api, may: May | None = None) -> Target:
        """The first target of ``plan``. Raises the same errors."""
        return self.plan(model, api, may).first

    def _planned(self, model: str | None, api: Api, may: May | None = None) -> Plan:
        return self._plan(self._names.meaning(model, may), model, api)

    def _plan(self, meaning: Meaning, asked: str | None, api: Api) -> Plan:
        candidates = _candidates(meaning, asked, api)
        entry = candidates[0].target.entry
        heeds = self._routes_anything or entry.retries is not None or entry.circuit is not None
        retries, given = self._retries(meaning.route, entry), self._gives_retries(meaning.route)
        return Plan(candidates, POLICY, retries, meaning.route, heeds_outages=heeds, retries_given=given)

    def endpoint_plan(
        self, model: str | None, endpoint: EndpointName, shapes: frozenset[str], may: May | None = None
    ) -> Plan:
        """The plan for a client that asks ``endpoint`` for ``model``, in the byte lane where that is in one of
        ``shapes``. Of a route those places are passed over that do not have it.

        Raises ``GatewayError``: 400 for no model, an ambiguous one, or one whose provider has no such endpoint, 404 for
        an unknown one."""
        if model is None or len(model) <= SHORT:
            with contextlib.suppress(GatewayError):  # as in ``plan``
                return self._known_endpoint(model, endpoint, shapes)
        return self._endpoint_planned(model, endpoint, shapes, may)

    def entry_target(self, entry: ModelEntry, endpoint: EndpointName, shapes: frozenset[str]) -> Target | None:
        """``endpoint`` at ``entry``, for what belongs to no model; ``None`` where it is not there in one of
        ``shapes``."""
        place = entry.place_of(endpoint, entry.model)
        if place is None or place.shape not in shapes:
            return None
        return _endpoint_target(Found(entry, entry.model, ""), entry.name, endpoint, place, shapes)

    def _endpoint_planned(
        self, model: str | None, endpoint: EndpointName, shapes: frozenset[str], may: May | None = None
    ) -> Plan:
        if not model:
            raise invalid(f"model is required: the configuration has no default for {endpoint}", "model")
        meaning = self._names.meaning(model, may)
        places = ((0, None),) if meaning.route is None else meaning.route.places
        candidates = []
        for found, (group, one) in zip(meaning.found, places, strict=True):
            if (place := found.entry.place_of(endpoint, found.model)) is not None:
                target = _endpoint_target(found, model, endpoint, place, shapes)
                candidates.append(Candidate(target) if one is None else Candidate(target, group, one.weight, one.when))
        if not candidates:
            raise self._no_endpoint(model, endpoint, may)
        entry = candidates[0].target.entry
        heeds = self._routes_anything or entry.retries is not None or entry.circuit is not None
        retries, given = self._retries(meaning.route, entry), self._gives_retries(meaning.route)
        return Plan(tuple(candidates), POLICY, retries, meaning.route, heeds_outages=heeds, retries_given=given)

    def endpoint_default(self, endpoint: EndpointName, may: May | None = None) -> str:
        """The name that a request to ``endpoint`` means which names none. Raises ``GatewayError`` (400)."""
        return marked_default(self._names, endpoint, may) or default_for(self._config.entries, endpoint, may)

    def marked_default(self, endpoint: EndpointName, may: May | None = None) -> str | None:
        """Return the name with ``default: true`` that a request to ``endpoint`` without a model means."""
        return marked_default(self._names, endpoint, may)

    def _no_endpoint(self, model: str, endpoint: EndpointName, may: May | None) -> GatewayError:
        """The error for a model whose provider does not have ``endpoint``: it names who has it."""
        having = [
            entry.name for entry in self._config.entries
            if (may is None or may(entry.name)) and entry.place_of(endpoint, entry.model) is not None
        ]  # fmt: skip
        others = f"{', '.join(having[:_OFFERED])} support it" if having else "no configured provider supports it"
        return invalid(
            f"the provider of the model {model[:SHORT]!r} does not support {endpoint}; {others}",
            "model",
            code="unsupported_endpoint",
        )

    def _retries(self, route: Route | None, entry: ModelEntry) -> Retries:
        """A name with one target is asked once where nothing else is said: every client asks again by itself, and both
        together multiply."""
        if route is None:
            return entry.retries or self._config.retries or ASKED_ONCE
        of_one = (entry.retries, ASKED_ONCE) if len(route.places) == 1 else (None, Retries())
        return route.retries or of_one[0] or self._config.retries or of_one[1]

    def _gives_retries(self, route: Route | None) -> bool:
        return self._config.retries is not None or (route is not None and route.retries is not None)

    def explain(self, model: str | None, api: Api, wall: Wall = None) -> Explanation:
        """``plan`` with its reasons, for a client with this ``wall``. Raises the same errors, and where nobody may
        answer it."""
        meaning = self._names.meaning(model)
        plan = self._plan(meaning, model, api)
        plan = plan.among(walled(plan.candidates, wall, None))
        target = plan.first
        betas = ((BETA, ",".join(target.betas)),) if target.betas else ()
        url = target.address(target.end("answer") or "")
        return Explanation(plan, _why(meaning, target), masked(url), (*betas, *_masked(target)))

    def keepers(self) -> tuple[Target, ...]:
        """The places of responses that providers keep themselves: a target for each such entry."""
        return tuple(
            _target(Found(entry, entry.model, ""), None, "responses")
            for entry in self._config.entries
            if entry.speaks.get("responses") == "responses" and not entry.keeps_own
        )

    def entries_with(self, endpoint: EndpointName) -> tuple[ModelEntry, ...]:
        """The entries that have ``endpoint``, in the order of the configuration."""
        return tuple(one for one in self._config.entries if one.place_of(endpoint, one.model) is not None)

    def passing(self) -> Mapping[str, ModelEntry]:
        """The entries to which any request passes, by the beginnings of paths at which: their names, and providers'
        where one entry passes through; the longest first."""
        entries = [entry for entry in self._config.entries if entry.passthrough]
        named = {entry.name.removesuffix("/*"): entry for entry in entries}
        providers = [entry.provider.id for entry in entries]
        of_one = {entry.provider.id: entry for entry in entries if providers.count(entry.provider.id) == 1}
        return dict(sorted({**of_one, **named}.items(), key=lambda pair: -len(pair[0])))

    def models(self, listed: Mapping[str, tuple[str, ...]] = NOTHING_LISTED) -> tuple[Model, ...]:
        """The models that can be asked for by name, in the order of the configuration: entries, of wildcards what their
        provider has ``listed``, else what the catalogue lists, then aliases and routes."""
        owners: dict[str, str] = {}
        for entry in self._config.entries:
            for name in listed_names(entry, listed.get(entry.name, ())):
                owners.setdefault(name, entry.provider.display_name)
        for alias in (*self._config.aliases, *self._config.routes):
            owners[alias] = self._names.find(alias).entry.provider.display_name
        return tuple(Model(name, owner) for name, owner in owners.items())

    def description(self, name: str) -> Description | None:
        """What is known of ``name``; ``None`` where it means nothing, or several entries."""
        try:
            return self._described(name) if len(name) <= SHORT else self._description(name)
        except GatewayError:
            return None

    def _description(self, name: str) -> Description:
        return described(self._names.meaning(name).found)


def _masked(target: Target) -> Headers:
    entry = target.entry
    if entry.sign_in is not None:
        return ((entry.sign_in.signer.names[0], MASK), *((name, MASK) for name, _ in entry.headers))
    shown = attrs.evolve(entry, key=entry.key and MASK, headers=tuple((name, MASK) for name, _ in entry.headers))
    return attrs.evolve(target, entry=shown).headers(MASK)


def _candidates(meaning: Meaning, asked: str | None, api: Api) -> tuple[Candidate, ...]:
    """The places where a request can go, in the file's order. Those of a route whose API no codec speaks are passed
    over while there is another. Raises ``GatewayError`` (501)."""
    if meaning.route is None:
        return (Candidate(_target(meaning.found[0], asked, api)),)
    wanted = asked or meaning.route.name
    spoken = [
        Candidate(_target(found, wanted, api), group, one.weight, one.when)
        for found, (group, one) in zip(meaning.found, meaning.route.places, strict=True)
        if found.entry.api_for(api, found.model) is not None
    ]
    return tuple(spoken) or (Candidate(_target(meaning.found[0], wanted, api)),)


def _why(meaning: Meaning, target: Target) -> str:
    return next(one.why for one in meaning.found if (one.entry, one.model) == (target.entry, target.model))


def _target(found: Found, asked: str | None, api: Api) -> Target:
    entry = found.entry
    upstream = entry.api_for(api, found.model)
    if upstream is None:
        raise GatewayError(
            "unsupported",
            f"trigate does not support the API of {entry.provider.display_name} yet: use another provider's model "
            f"instead of {entry.name}",
            param="model",
        )
    beta = CODECS[upstream].wire.long_context_beta
    return Target(
        entry=entry,
        model=found.model,
        api=upstream,
        lane="byte" if upstream == api else "hub",
        url=url_for(entry.base_url, entry.row(found.model), upstream, found.model),
        asked=asked or entry.name,
        recipient=_recipient(entry, found.model),
        betas=(beta,) if beta is not None and found.long_context and is_claude(found.model) else (),
    )


def _recipient(entry: ModelEntry, model: str) -> Recipient:
    known = entry.known_of(model)
    counts = entry.usage == "counted" and known.stream_usage
    return Recipient(model, entry.issuer, entry.quirks_of(model), known, counts)


def _endpoint_target(found: Found, asked: str, endpoint: EndpointName, place: Place, shapes: frozenset[str]) -> Target:
    entry = found.entry
    row = ENDPOINTS[endpoint]
    if row.first_byte is not None and entry.timeouts.first_byte == Timeouts().first_byte:
        entry = attrs.evolve(entry, timeouts=attrs.evolve(entry.timeouts, first_byte=row.first_byte))
    return Target(
        entry=entry,
        model=found.model,
        api=place.api,
        lane="byte" if place.shape in shapes else "hub",
        url=endpoint_url(entry.base_url, entry.row(found.model), place, found.model),
        asked=asked,
        recipient=_recipient(entry, found.model),
        endpoint_place=place,
    )


def passing_target(entry: ModelEntry, api: Api, model: str, url: str) -> Target:
    """The target of a request that passes to ``entry`` as it is, at ``url``. ``api`` is the client's, as far as the
    path says it, whose credential goes along where the provider speaks it."""
    spoken = tuple(entry.provider.speaks.values())
    asked_in = api if api in spoken else next((one for one in ORDER if one in spoken), api)
    return Target(entry, model, asked_in, "byte", url, entry.name, _recipient(entry, model))
