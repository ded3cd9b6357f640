"""Applies a request's routing options to its candidates.

The options name candidates by entry or by provider, also by other routers' names of these (``anthropic``,
``amazon-bedrock``)."""

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from gateway.config.attempts import Retries
from gateway.config.model_entry import ModelEntry
from gateway.request.routing_options import RoutingOptions, Word
from gateway.routing.plan import SINGLE_ATTEMPT, Candidate, Plan
from gateway.routing.target import Target
from providers.catalog.provider import Provider
from providers.catalog.providers import find
from streams.errors import invalid

_SLUGS: Final = {"google_ai_studio": "gemini", "z_ai": "zhipu", "alibaba": "qwen"}
"""Routers' names of providers that are not aliases in the catalogue."""


def join_plans(plans: Sequence[Plan], default_retries: Retries) -> Plan:
    """Combine the ``plans`` of several model names to one plan: all candidates in order, each target once.

    Its retries are those of the first name with several targets, otherwise ``default_retries``."""
    found: dict[tuple[str, str], Candidate] = {}
    start = 0
    for plan in plans:
        for one in plan.candidates:
            place = (one.target.entry.name, one.target.model)
            found.setdefault(place, attrs.evolve(one, group=start + one.group))
        start += plan.candidates[-1].group + 1
    first_route = next((plan for plan in plans if plan.route is not None and len(plan.candidates) > 1), None)
    if first_route is None:
        first_route = plans[0] if len(found) == 1 else attrs.evolve(plans[0], retries=default_retries)
    return attrs.evolve(first_route, candidates=tuple(found.values()))


def narrow(plan: Plan, options: RoutingOptions) -> Plan:
    """Return ``plan`` with the candidates that ``options`` permit. Raises ``GatewayError`` (400) as
    ``narrow_candidates`` does."""
    candidates = narrow_candidates(plan.candidates, options)
    retries = narrow_retries(plan.retries, options, candidates, has_own_retries=plan.has_own_retries)
    route = plan.route
    if route is not None and options.balance is not None:
        route = attrs.evolve(route, balance=options.balance)
    return attrs.evolve(plan, candidates=candidates, retries=retries, route=route)


FIRST_TARGET_ONLY: Final = RoutingOptions(fallback="off")
"""For a request that only one unknown provider can serve: only the first target is used."""


def narrow_candidates(candidates: tuple[Candidate, ...], options: RoutingOptions) -> tuple[Candidate, ...]:
    """Return the ``candidates`` that ``options`` permit, in order.

    A router that knows the options receives them unchanged and applies them itself. Raises ``GatewayError`` (400) with
    the path of an option that permits nothing, or names neither a candidate nor a known provider."""
    if not any(is_router(one.target, options) for one in candidates):
        for word in (*options.order, *(options.only or ()), *options.ignored):
            _check_known(word, candidates)
    if options.private is not None:
        candidates = tuple(one for one in candidates if is_router(one.target, options))
        if not candidates:
            raise invalid(
                f"{options.private}: the gateway cannot guarantee this for any provider, so remove it", options.private
            )
    if options.only is not None:
        fits = [is_router(one.target, options) or _is_named_in(one.target, options.only) for one in candidates]
        candidates = _keep_fitting(candidates, fits, _list_path(options.only))
    if options.ignored:
        fits = [not _is_named_in(one.target, options.ignored) for one in candidates]
        candidates = _keep_fitting(candidates, fits, _list_path(options.ignored))
    if options.max_prices:
        fits = [is_router(one.target, options) or _costs_at_most(one.target, options.max_prices) for one in candidates]
        candidates = _keep_fitting(candidates, fits, "provider.max_price")
    candidates = _put_preferred_first(candidates, options.order)
    if options.fallback == "off":
        candidates = tuple(one for one in candidates if one.group == candidates[0].group or one.kinds)
    return candidates


def narrow_retries(
    retries: Retries, options: RoutingOptions, candidates: Sequence[Candidate], *, has_own_retries: bool = False
) -> Retries:
    """Return ``retries`` within the limits of ``options``.

    Without fallback, a request goes to one target: once, unless that target is alone in its group and the configuration
    sets retries for the route (``has_own_retries``), or its entry has some."""
    attempts = retries.attempts
    if options.fallback == "off":
        own = candidates[0].target.entry.retries or SINGLE_ATTEMPT
        attempts = 1 if len(candidates) > 1 else attempts if has_own_retries else min(attempts, own.attempts)
    if options.max_repeats is not None:
        attempts = min(attempts, len(candidates) + options.max_repeats)
    return attrs.evolve(retries, attempts=attempts, deadline=min(retries.deadline, options.deadline))


def is_router(target: Target, options: RoutingOptions) -> bool:
    """Return whether ``target`` is a router that understands the options in the body."""
    return target.entry.provider.id in options.members


def _keep_fitting(candidates: tuple[Candidate, ...], fit: Sequence[bool], at: str) -> tuple[Candidate, ...]:
    fitting = tuple(one for one, fits in zip(candidates, fit, strict=True) if fits)
    if not fitting:
        raise invalid(f"{at} excludes all targets of {candidates[0].target.requested_name!r}", at)
    return fitting


def _list_path(words: Sequence[Word]) -> str:
    """Return the path of the request's list that contains ``words``."""
    return words[0][0].rpartition("[")[0]


def _put_preferred_first(candidates: tuple[Candidate, ...], order: Sequence[Word]) -> tuple[Candidate, ...]:
    """Return ``candidates`` with those in ``order`` first, in groups of their own."""
    if not order:
        return candidates
    groups = [(_rank(one.target, order), one.group) for one in candidates]
    numbers = {group: number for number, group in enumerate(sorted(set(groups)))}
    moved = [attrs.evolve(one, group=numbers[group]) for one, group in zip(candidates, groups, strict=True)]
    return tuple(sorted(moved, key=lambda one: one.group))


def _rank(target: Target, order: Sequence[Word]) -> int:
    return next((at for at, word in enumerate(order) if _is_named_in(target, (word,))), len(order))


def _costs_at_most(target: Target, max_prices: Iterable[tuple[str, int]]) -> bool:
    """Return whether ``target`` costs at most ``max_prices``; false for an unknown price."""
    price = target.price
    return price is not None and all(getattr(price, kind) <= limit for kind, limit in max_prices)


def _is_named_in(target: Target, words: Iterable[Word]) -> bool:
    return any(_is_name_of(word, target.entry) for _, word in words)


def _is_name_of(word: str, entry: ModelEntry) -> bool:
    """Return whether ``word`` is the name of the configured ``entry`` or of its provider."""
    plain, row = word.lower(), _provider_row(word)
    names = (entry.name.lower(), *(prefix.lower() for prefix in entry.prefixes))
    return plain in names or _slug(plain) in names or (row is not None and row.id == entry.provider.id)


def _provider_row(word: str) -> Provider | None:
    slug = _slug(word.lower())
    return find(_SLUGS.get(slug, slug)) or find(word.lower())


def _slug(word: str) -> str:
    return word.replace("-", "_")


def _check_known(word: Word, candidates: Sequence[Candidate]) -> None:
    at, name = word
    if _provider_row(name) is None and not any(_is_name_of(name, one.target.entry) for one in candidates):
        asked = candidates[0].target.requested_name
        raise invalid(f"{at} has {name[:100]!r}, which is neither a provider nor a target of {asked!r}", at)
