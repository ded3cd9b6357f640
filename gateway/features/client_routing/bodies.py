"""Routing members of other routers' requests, read as options over this gateway's names.

OpenRouter: https://openrouter.ai/docs/features/provider-routing and model-routing. Vercel:
https://vercel.com/docs/ai-gateway/models-and-providers/provider-filtering-and-ordering and model-fallbacks. LiteLLM:
https://docs.litellm.ai/docs/proxy/client_side_fallbacks and reliability."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import reduce
from typing import Final

import attrs
import msgspec

from gateway.config.aliases import Balance
from gateway.features.client_routing.feature import ClientRouting
from gateway.features.client_routing.labels import is_litellms, texts_in
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.request.routing_options import MOST_WORDS, NO_OPTIONS, RoutingOptions, Word, check_names, read_headers
from providers.catalog.prices import NANOS
from providers.neutral.fields import Fields, expect, join_path
from streams.errors import invalid

_SORTS: Final[Mapping[str, Balance]] = {
    "price": "cheapest", "cost": "cheapest", "latency": "lowest_latency", "ttft": "lowest_latency",
}  # fmt: skip
"""The ``balance`` of each sort order."""

_PRICE_FIELDS: Final = {"prompt": "input", "completion": "output", "request": "request"}
"""The field of a ``Price`` for each maximum price, per million tokens or per request."""

_PRIVACY_MEMBERS: Final = ("zdr", "zeroDataRetention", "disallowPromptTraining", "hipaaCompliant")
"""Members that restrict the use of the data if they are true."""


GUARDRAILS: Final = "guardrails"
"""The member of LiteLLM's clients with the names of steps."""

PROXY_MEMBERS: Final = frozenset(
    ("cache", "caching", "no-log", "drop_params", "additional_drop_params", "allowed_openai_params")
)
"""Members of LiteLLM's clients that its proxy reads and no provider accepts."""


def read_options(client_request: ClientRequest, incoming: Incoming, forms: Sequence[ClientRouting]) -> RoutingOptions:
    """Return the routing options in a request's headers, and in its body in the permitted ``forms``.

    Raises ``GatewayError`` (400) with the path of an invalid one."""
    headers = read_headers(client_request)
    if not forms:
        return headers
    given = [form for form in forms if not _MEMBERS[form].isdisjoint(incoming.members)]
    if not given:
        return headers
    return reduce(lambda options, form: _READERS[form](incoming, options), given, NO_OPTIONS).limited_by(headers)


def _routing_members(incoming: Incoming, form: ClientRouting) -> dict[str, msgspec.Raw]:
    members = _MEMBERS[form]
    if form == "litellm" and incoming.api == "messages":
        members -= {"fallbacks"}  # Anthropic's own member there (BerriAI/litellm#33294)
    if form == "litellm" and "metadata" in incoming.members and not is_litellms(incoming.json.value("metadata")):
        members -= {"metadata"}
    return {name: raw for name, raw in incoming.members.items() if name in members}


def _read_openrouter(incoming: Incoming, options: RoutingOptions) -> RoutingOptions:
    members = _routing_members(incoming, "openrouter")
    body = Fields({name: incoming.json.value(name) for name in members})
    provider = body.object("provider") or Fields({}, "provider")
    options = _with_provider_members(provider, options)
    off = provider.boolean("allow_fallbacks") is False
    max_prices, unlimited = _read_max_prices(provider)
    return attrs.evolve(
        options,
        names=_read_models(incoming, body, "models", options),
        fallback="off" if off else options.fallback,
        strict=provider.boolean("require_parameters") or options.strict,
        private=_read_data_restriction(provider) or options.private,
        members={**options.members, "openrouter": members},
        dropped=(*options.dropped, *_unsupported_route(body), *provider.unread(), *unlimited),
        max_prices=max_prices or options.max_prices,
    )


def _read_max_prices(provider: Fields) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    """Return the maximum prices, and the paths of unsupported ones."""
    fields = provider.object("max_price")
    if fields is None:
        return (), ()
    max_prices = tuple(
        (kind, _read_nanos(fields, name)) for name, kind in _PRICE_FIELDS.items() if fields.data.get(name) is not None
    )
    return max_prices, tuple(fields.path(name) for name in fields.data if name not in _PRICE_FIELDS)


def _read_nanos(fields: Fields, name: str) -> int:
    """Return nano-dollars for a number of dollars, which OpenRouter also accepts as text."""
    value, at = fields.value(name), fields.path(name)
    try:
        dollars = Decimal(str(value))
    except InvalidOperation:
        dollars = Decimal("NaN")
    if not dollars.is_finite() or not 0 <= dollars <= 10**6:
        raise invalid(f"{at} must be a number of dollars, 0 or more", at)
    return int(dollars * NANOS)


def _read_data_restriction(provider: Fields) -> str | None:
    """Return the path of an option that no provider may store or use the data, or ``None``."""
    collection = provider.string("data_collection")
    if collection not in (None, "allow", "deny"):
        at = provider.path("data_collection")
        raise invalid(f"{at} must be allow or deny", at)
    return provider.path("data_collection") if collection == "deny" else _read_privacy_option(provider)


def _read_privacy_option(fields: Fields) -> str | None:
    found = [name for name in _PRIVACY_MEMBERS if fields.boolean(name)]
    return fields.path(found[0]) if found else None


def _unsupported_route(body: Fields) -> tuple[str, ...]:
    return () if body.string("route") in (None, "fallback") else ("route",)


def _with_provider_members(fields: Fields, options: RoutingOptions) -> RoutingOptions:
    """Return ``options`` with the provider members that OpenRouter and Vercel share."""
    only = _read_names(fields, "only")
    balance, dropped = _read_sort(fields)
    return attrs.evolve(
        options,
        order=options.order + (_read_names(fields, "order") or ()),
        only=options.only if only is None else only,
        ignored=options.ignored + (_read_names(fields, "ignore") or ()),
        balance=balance or options.balance,
        dropped=(*options.dropped, *dropped),
    )


def _read_sort(fields: Fields) -> tuple[Balance | None, tuple[str, ...]]:
    value, at = fields.value("sort"), fields.path("sort")
    if isinstance(value, dict):
        value = Fields(value, at).string("by")
    if value is None:
        return None, ()
    balance = _SORTS.get(expect(value, str, at))
    return balance, () if balance is not None else (at,)


def _read_names(fields: Fields, name: str) -> tuple[Word, ...] | None:
    """Return the names in a list with their paths, or ``None`` if the list is missing or empty."""
    at, listed = fields.path(name), fields.array(name) or ()
    if len(listed) > MOST_WORDS:
        raise invalid(f"{at} has {len(listed)} names, but may have at most {MOST_WORDS}", at)
    return tuple((join_path(at, i), expect(word, str, join_path(at, i))) for i, word in enumerate(listed)) or None


def _read_models(incoming: Incoming, body: Fields, name: str, options: RoutingOptions) -> tuple[Word, ...]:
    """Return the model of the request and its listed fallbacks."""
    listed = _read_names(body, name)
    if listed is None:
        return options.names
    own = [("model", incoming.model)] if incoming.model and not options.names else []
    return check_names([*own, *options.names, *listed])


def _read_vercel(incoming: Incoming, options: RoutingOptions) -> RoutingOptions:
    members = _routing_members(incoming, "vercel")
    body = Fields({name: incoming.json.value(name) for name in members})
    provider_options = body.object("providerOptions") or Fields({}, "providerOptions")
    gateway = provider_options.object("gateway")
    if gateway is None:
        return options
    options = _with_provider_members(gateway, options)
    private = _read_privacy_option(gateway)
    others = {name: value for name, value in provider_options.data.items() if name != "gateway"}
    return attrs.evolve(
        options,
        names=_read_models(incoming, gateway, "models", options),
        private=private or options.private,
        members={**options.members, "vercel": members},
        rest={**options.rest, "providerOptions": msgspec.Raw(msgspec.json.encode(others))} if others else options.rest,
        dropped=(*options.dropped, *gateway.unread()),
    )


def _read_litellm(incoming: Incoming, options: RoutingOptions) -> RoutingOptions:
    members = _routing_members(incoming, "litellm")
    if not members:
        return options
    body = Fields({name: incoming.json.value(name) for name in members})
    rest = dict(options.rest)
    if kept := dict(texts_in(body.value("metadata") or {})):
        rest["metadata"] = msgspec.Raw(msgspec.json.encode(kept))
    for label in _LABELS:
        body.value(label)
    off, max_repeats, timeout = body.boolean("disable_fallbacks"), body.integer("num_retries"), body.number("timeout")
    if max_repeats is not None and max_repeats < 0:
        raise invalid("num_retries must be 0 or more", "num_retries")
    if timeout is not None and timeout <= 0:
        raise invalid("timeout must be a number of seconds above 0", "timeout")
    return attrs.evolve(
        options,
        names=_read_models(incoming, body, "fallbacks", options),
        fallback="off" if off else options.fallback,
        max_repeats=max_repeats if options.max_repeats is None else options.max_repeats,
        deadline=options.deadline if timeout is None else min(timeout, options.deadline),
        members={**options.members, "litellm": members},
        rest=rest,
        steps=(*options.steps, *_guardrails_in(body)),
        dropped=(*options.dropped, *body.unread()),
    )


def read_guardrails(incoming: Incoming) -> tuple[Word, ...]:
    """Return the steps in the member ``guardrails`` of a request, each with its path. Raises ``GatewayError`` (400)."""
    return _guardrails_in(Fields({GUARDRAILS: incoming.json.value(GUARDRAILS)}))


def _guardrails_in(body: Fields) -> tuple[Word, ...]:
    """Return the names of the client's guardrails, each a text or a mapping from it to parameters.

    Raises ``GatewayError`` (400) for other values, and for parameters, which a step does not take."""
    guardrails = body.value(GUARDRAILS)
    if guardrails is None:
        return ()
    if not isinstance(guardrails, list):
        raise invalid("guardrails must be a list of names", "guardrails")
    names: list[Word] = []
    for i, item in enumerate(guardrails):
        path = f"guardrails[{i}]"
        name = next(iter(item)) if isinstance(item, dict) and len(item) == 1 and not any(item.values()) else item
        if not isinstance(name, str):
            raise invalid(f"{path} must be a name; clients cannot set parameters of a step", path)
        names.append((path, name))
    return check_names(names)


_LABELS: Final = ("tags", "litellm_metadata", "litellm_session_id", "litellm_trace_id")
"""Members for the log of the gateway."""

_MEMBERS: Final[Mapping[ClientRouting, frozenset[str]]] = {
    "openrouter": frozenset(("models", "route", "provider")),
    "vercel": frozenset(("providerOptions",)),
    "litellm": frozenset(
        ("fallbacks", "num_retries", "timeout", "disable_fallbacks", "context_window_fallbacks",
         "content_policy_fallbacks", GUARDRAILS, "metadata", "tags", "litellm_metadata", "litellm_session_id",
         "litellm_trace_id", *PROXY_MEMBERS)
    ),
}  # fmt: skip
"""The members of each form that only its router reads."""

_READERS: Final[Mapping[ClientRouting, Callable[[Incoming, RoutingOptions], RoutingOptions]]] = {
    "openrouter": _read_openrouter,
    "vercel": _read_vercel,
    "litellm": _read_litellm,
}
