"""Applies a request's wishes to its candidates.

Wishes name candidates by entry or by provider, also by other routers' names of these (``anthropic``,
``amazon-bedrock``)."""

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from gateway.config.attempts import Retries
from gateway.config.model_entry import ModelEntry
from gateway.request.wishes import Wishes, Word
from gateway.routing.plan import SINGLE_ATTEMPT, Candidate, Plan
from gateway.routing.target import Target
from providers.catalog.providers import Provider, find
from streams.errors import invalid

_SLUGS: Final = {"google_ai_studio": "gemini", "z_ai": "zhipu", "alibaba": "qwen"}
"""Routers' names of providers that are not aliases in the catalogue."""


def join_plans(plans: Sequence[Plan], several: Retries) -> Plan:
    """Combine the ``plans`` of several model names to one plan: all candidates in order, each target once.

    Its retries are those of the first name with several targets, otherwise ``several``."""
    found: dict[tuple[str, str], Candidate] = {}
    start = 0
    for plan in plans:
        for one in plan.candidates:
            place = (one.target.entry.name, one.target.model)
            found.setdefault(place, attrs.evolve(one, group=start + one.group))
        start += plan.candidates[-1].group + 1
    like = next((plan for plan in plans if plan.route is not None and len(plan.candidates) > 1), None)
    if like is None:
        like = plans[0] if len(found) == 1 else attrs.evolve(plans[0], retries=several)
    return attrs.evolve(like, candidates=tuple(found.values()))


def narrow(plan: Plan, wishes: Wishes) -> Plan:
    """Return ``plan`` with the candidates that ``wishes`` permit. Raises ``GatewayError`` (400) as
    ``narrow_candidates`` does."""
    candidates = narrow_candidates(plan.candidates, wishes)
    retries = narrow_retries(plan.retries, wishes, candidates, given=plan.retries_given)
    route = plan.route
    if route is not None and wishes.balance is not None:
        route = attrs.evolve(route, balance=wishes.balance)
    return attrs.evolve(plan, candidates=candidates, retries=retries, route=route)


ONE_PLACE: Final = Wishes(fallback="off")
"""For a request that only one unknown provider can serve: only the first target is used."""


def narrow_candidates(candidates: tuple[Candidate, ...], wishes: Wishes) -> tuple[Candidate, ...]:
    """Return the ``candidates`` that ``wishes`` permit, in order.

    A router that knows the wishes receives them unchanged and applies them itself. Raises ``GatewayError`` (400) with
    the path of a wish that permits nothing or names neither a candidate nor a known provider; the client may not know
    other entries."""
    if not any(is_router(one.target, wishes) for one in candidates):
        for word in (*wishes.order, *(wishes.only or ()), *wishes.ignored):
            _check_known(word, candidates)
    if wishes.private is not None:
        candidates = tuple(one for one in candidates if is_router(one.target, wishes))
        if not candidates:
            raise invalid(f"{wishes.private}: this gateway cannot guarantee that for any provider", wishes.private)
    if wishes.only is not None:
        fit = [_is_one_of(one.target, wishes.only, wishes) for one in candidates]
        candidates = _keep_fitting(candidates, fit, _list_path(wishes.only))
    if wishes.ignored:
        fit = [not _is_named_in(one.target, wishes.ignored) for one in candidates]
        candidates = _keep_fitting(candidates, fit, _list_path(wishes.ignored))
    if wishes.most:
        fit = [is_router(one.target, wishes) or _costs_at_most(one.target, wishes.most) for one in candidates]
        candidates = _keep_fitting(candidates, fit, "provider.max_price")
    candidates = _put_preferred_first(candidates, wishes.order)
    if wishes.fallback == "off":
        candidates = tuple(one for one in candidates if one.group == candidates[0].group)
    return candidates


def narrow_retries(
    retries: Retries, wishes: Wishes, candidates: Sequence[Candidate], *, given: bool = False
) -> Retries:
    """Return ``retries`` within the limits of ``wishes``.

    Without fallback, a request goes to one target: once, unless that target is alone in its group and the configuration
    has ``given`` retries, or its entry has some."""
    attempts = retries.attempts
    if wishes.fallback == "off":
        own = candidates[0].target.entry.retries or SINGLE_ATTEMPT
        attempts = 1 if len(candidates) > 1 else attempts if given else min(attempts, own.attempts)
    if wishes.repeats is not None:
        attempts = min(attempts, len(candidates) + wishes.repeats)
    return attrs.evolve(retries, attempts=attempts, deadline=min(retries.deadline, wishes.deadline))


def is_router(target: Target, wishes: Wishes) -> bool:
    """Return whether ``target`` is a router that understands the wishes in the body."""
    return target.entry.provider.id in wishes.members


def _keep_fitting(candidates: tuple[Candidate, ...], fit: Sequence[bool], at: str) -> tuple[Candidate, ...]:
    left = tuple(one for one, fits in zip(candidates, fit, strict=True) if fits)
    if not left:
        raise invalid(f"{at} excludes all targets of {candidates[0].target.requested_name!r}", at)
    return left


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


def _is_one_of(target: Target, words: Iterable[Word], wishes: Wishes) -> bool:
    return is_router(target, wishes) or _is_named_in(target, words)


def _costs_at_most(target: Target, most: Iterable[tuple[str, int]]) -> bool:
    """Return whether ``target`` costs at most ``most``; false for an unknown price."""
    price = target.price
    return price is not None and all(getattr(price, kind) <= limit for kind, limit in most)


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
