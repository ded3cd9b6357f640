"""From a model's name and the client's API to a plan: provider, API, URL and credential of each target."""

from collections.abc import Callable, Hashable
from functools import lru_cache

import attrs

from gateway.config.aliases import Route, RouteTarget
from gateway.config.attempts import Retries
from gateway.config.model_entry import ModelEntry, entry_price
from gateway.config.names import Found, May, Meaning, Names
from gateway.config.settings import Config
from gateway.routing.fallback import fall_back
from gateway.routing.plan import SINGLE_ATTEMPT, Candidate, Plan
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.catalog.models import is_claude
from providers.catalog.provider import url_for
from providers.endpoints.endpoint import EndpointName
from providers.neutral.codec import Recipient
from streams.errors import GatewayError
from streams.events import Api

REMEMBERED, SHORT = 512, 256
"""Number of cached plans, and the longest name in characters whose plan is cached."""


class Router:
    """Resolves model names against one configuration; thread-safe.

    ``several`` are the default retries of a name with several targets."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.several = config.retries or Retries()
        self.names = Names.of(config)
        self.passes_credentials = any(entry.passthrough_auth for entry in config.entries)
        self._routes_anything = bool(config.routes) or config.retries is not None
        # A plan that raises nothing is the same for every client.
        self._cached_plan = lru_cache(REMEMBERED)(self._make_plan)
        self.remembered = lru_cache(REMEMBERED)(self._make)
        """Returns the plan that a function makes from this router and other arguments. Raises what it raises."""

    def hash_keys(self, check: Callable[[], object] = lambda: None) -> None:
        """Compute the hash of each key, some 20 ms each, so that no request has to. ``check()`` precedes each.

        The lists of prices and models are read, too: later, the process may have no descriptor left for their files.

        Call it in a thread: the computation releases the interpreter. The process must not exit meanwhile, because
        OpenSSL frees its memory then."""
        for entry in self.config.entries:
            check()
            entry.issuer.account  # noqa: B018  # it is remembered
            entry_price(entry, entry.model)
            entry.quirks_of(entry.model)

    def plan(self, model: str | None, api: Api, may: May | None = None) -> Plan:
        """Return the plan for a client that speaks ``api`` and requests ``model``.

        ``may`` returns whether an error may show a name. Raises ``GatewayError``: 400 for a missing or ambiguous model,
        404 for an unknown one, 501 for a provider whose API has no codec."""
        if model is None or len(model) <= SHORT:
            try:
                return self._cached_plan(model, api)
            except GatewayError:  # the code below raises it again for this client
                pass
        return self._make_plan(model, api, may)

    def resolve(self, model: str | None, api: Api, may: May | None = None) -> Target:
        """Return the first target of ``plan``. Raises the same errors."""
        return self.plan(model, api, may).first

    def _make_plan(self, model: str | None, api: Api, may: May | None = None) -> Plan:
        return self.plan_for(self.meaning(model, may), model, api)

    def meaning(self, model: str | None, may: May | None) -> Meaning:
        """Return the meaning of ``model`` in a request. Raises ``GatewayError``."""
        if model and "*" in model and self.names.is_wildcard_alias(model):
            raise GatewayError(
                "not_found", f"{model} stands for many models: write the name of one, without the *",
                code="model_not_found", param="model",
            )  # fmt: skip
        return self.names.meaning(model, may)

    def plan_for(self, meaning: Meaning, requested_name: str | None, api: Api) -> Plan:
        """Return the plan for ``requested_name``, which has this ``meaning``."""
        return self.plan_with(_candidates(meaning, requested_name, api), meaning.route)

    def plan_with(self, candidates: tuple[Candidate, ...], route: Route | None) -> Plan:
        """Return the plan of ``candidates`` for a name, which may have a ``route``."""
        entry = candidates[0].target.entry
        heeds = self._routes_anything or entry.retries is not None or entry.circuit is not None
        retries, given = self._retries(route, entry), self._sets_retries(route)
        return Plan(candidates, fall_back, retries, route, skips_unavailable=heeds, has_own_retries=given)

    def _make(self, make: Callable[..., Plan], *asked: Hashable) -> Plan:
        return make(self, *asked)

    def _retries(self, route: Route | None, entry: ModelEntry) -> Retries:
        """Return the retries of a route or an entry.

        A name with one target has none by default, because clients retry, too."""
        if route is None:
            return entry.retries or self.config.retries or SINGLE_ATTEMPT
        of_one = (entry.retries, SINGLE_ATTEMPT) if len(route.places) == 1 else (None, Retries())
        return route.retries or of_one[0] or self.config.retries or of_one[1]

    def _sets_retries(self, route: Route | None) -> bool:
        return self.config.retries is not None or (route is not None and route.retries is not None)

    def storing_targets(self, api: Api) -> tuple[Target, ...]:
        """Return a target for each entry whose provider stores the turns of ``api``."""
        return tuple(
            _target(Found(entry, model, ""), None, api)
            for entry in self.config.entries
            if (model := entry.model_with_turns(api)) is not None
        )

    def entries_with(self, endpoint: EndpointName) -> tuple[ModelEntry, ...]:
        """Return the entries that have ``endpoint``, in the configuration's order."""
        return tuple(one for one in self.config.entries if one.place_of(endpoint, one.model) is not None)


def _candidates(meaning: Meaning, requested_name: str | None, api: Api) -> tuple[Candidate, ...]:
    """Return the candidates in the file's order.

    Skips targets of a route whose API has no codec if there are others. Raises ``GatewayError`` (501)."""
    if meaning.route is None:
        return (Candidate(_target(meaning.found[0], requested_name, api)),)
    wanted = requested_name or meaning.route.name
    candidates = [
        candidate_of(attrs.evolve(_target(found, wanted, api), alias=meaning.alias), group, one)
        for found, (group, one) in zip(meaning.found, meaning.places, strict=True)
        if found.entry.api_for(api, found.model) is not None
    ]
    return tuple(candidates) or (Candidate(_target(meaning.found[0], wanted, api)),)


def candidate_of(target: Target, group: int, one: RouteTarget | None) -> Candidate:
    """Return the candidate of ``target`` in a ``group`` of a route, which has it as ``one``."""
    return Candidate(target) if one is None else Candidate(target, group, one.weight, one.failures, one.kinds)


def _target(found: Found, requested_name: str | None, api: Api) -> Target:
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
        requested_name=requested_name or entry.name,
        recipient=recipient_of(entry, found.model),
        betas=(beta,) if beta is not None and found.long_context and is_claude(found.model) else (),
    )


def recipient_of(entry: ModelEntry, model: str) -> Recipient:
    """Return ``model`` of ``entry`` as codecs write for it."""
    known = entry.known_quirks_of(model)
    counts = entry.usage == "counted" and known.stream_usage
    return Recipient(model, entry.issuer, entry.quirks_of(model), known, counts)
