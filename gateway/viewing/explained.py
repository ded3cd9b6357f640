"""The plan for a model's name with its reasons, for people."""

import attrs

from gateway.config.names import Meaning
from gateway.http.headers import Headers
from gateway.http.urls import MASK, mask_url
from gateway.routing.plan import Candidate, Plan, Wall, candidates_inside, select_by_kind
from gateway.routing.router import Router
from gateway.routing.target import LaneName, Target
from providers.errors.member_paths import BETA
from streams.events import Api


@attrs.frozen(eq=False, repr=False)
class Explanation:
    """A plan and the reasons for its order, safe to show: secrets in headers and URLs are masked.

    ``special`` are the candidates for some kinds of requests, which go to them first."""

    plan: Plan
    why: str
    url: str
    headers: Headers
    special: tuple[Candidate, ...] = ()

    @property
    def target(self) -> Target:
        return self.plan.first

    @property
    def lane(self) -> LaneName:
        return self.target.lane


def explain_plan(
    router: Router, model: str | None, api: Api, wall: Wall = None, client: str | None = None
) -> Explanation:
    """Return the plan of ``router`` with its reasons for ``client``, which has this ``wall``.

    Raises the errors of ``Router.plan``, and one if no target may serve the client."""
    meaning = router.names.meaning(model)
    plan = router.plan_for(meaning, model, api)
    inside = candidates_inside(plan.candidates, wall, client)
    plan, special = plan.with_candidates(select_by_kind(inside, frozenset())), [one for one in inside if one.kinds]
    target = plan.first
    betas = ((BETA, ",".join(target.betas)),) if target.betas else ()
    url = target.address(target.suffix_of("answer") or "")
    headers = (*betas, *_masked_headers(target))
    return Explanation(plan, _reason_for(meaning, target), mask_url(url), headers, tuple(special))


def _masked_headers(target: Target) -> Headers:
    entry = target.entry
    if entry.sign_in is not None:
        return ((entry.sign_in.signer.names[0], MASK), *((name, MASK) for name, _ in entry.headers))
    shown = attrs.evolve(entry, key=entry.key and MASK, headers=tuple((name, MASK) for name, _ in entry.headers))
    return attrs.evolve(target, entry=shown).headers(MASK)


def _reason_for(meaning: Meaning, target: Target) -> str:
    return next(one.why for one in meaning.found if (one.entry, one.model) == (target.entry, target.model))
