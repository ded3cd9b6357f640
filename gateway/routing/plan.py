"""A plan for one request: the places that may answer it, and the policy that decides on each next attempt.

All of it is pure: a policy sees a plan, the outcomes of the attempts so far and the conditions of the moment, and says
what is done next. Who walks the plan sends, waits and commits (``gateway/exchange/walk.py``).
"""

import enum
import math
from collections.abc import Callable, Sequence
from operator import is_
from typing import Final, Protocol, Self, TypeAlias

import attrs

from gateway.config.aliases import Route
from gateway.config.attempts import Retries
from gateway.routing.omissions import NOTHING, Omissions
from gateway.routing.target import Target
from streams.events import UNAVAILABLE, ErrorInfo, FailureReason

ASKED_ONCE: Final = Retries(attempts=1, deadline=math.inf)
"""What holds for a name with one target where nothing is configured: clients ask again by themselves."""


class Stage(enum.Enum):
    """The furthest point that a failed attempt had come to."""

    PREPARING = "preparing"
    """No request was sent: it could not be written for the target."""
    WAITING = "waiting"
    """No request was sent: what its place may be given is used up for now."""
    SENDING = "sending"
    """No good status had come."""
    ANSWERING = "answering"
    """The provider had begun to answer, and nothing of that had gone to the client."""


@attrs.frozen(eq=False, repr=False)
class Outcome:
    """A failed attempt. ``failed`` is fit for the client. ``omissions`` are those of its step, ``refused`` is what the
    provider has named as its reason, where it stood in the request and may be left out; ``requests`` were sent for
    it."""

    target: Target
    failed: ErrorInfo
    stage: Stage = Stage.SENDING
    omissions: Omissions = NOTHING
    refused: Omissions = NOTHING
    requests: int = 1


def requests_sent(outcomes: Sequence[Outcome]) -> int:
    """How many requests have gone to providers."""
    return sum([outcome.requests for outcome in outcomes if outcome.stage is not Stage.PREPARING])


@attrs.frozen(repr=False)
class Outage:
    """A target that is out: ``until`` a moment of the clock of ``Conditions``, for the ``reason`` why it last failed.
    ``tried``: one request finds out how it is, or waits to do so. ``unsteady``: it has also answered well in the last
    seconds, so that it is better than no target at all."""

    reason: FailureReason
    until: float
    tried: bool = False
    unsteady: bool = False


@attrs.frozen(repr=False)
class Candidate:
    """A place in a plan: the ``target``, with its share within its ``group`` and the failures before it that lead
    here."""

    target: Target
    group: int = 0
    weight: float = 1.0
    when: frozenset[FailureReason] = UNAVAILABLE


@attrs.frozen(repr=False, slots=False)  # one for each request, and made with fewer calls
class Send:
    """The step that sends the request to ``target``, without ``omissions``, ``after`` so many seconds."""

    target: Target
    omissions: Omissions = NOTHING
    after: float = 0.0


@attrs.frozen(repr=False)
class GiveUp:
    """The step that ends the plan: ``failed`` is the client's answer."""

    failed: ErrorInfo


Step: TypeAlias = Send | GiveUp


class Conditions(Protocol):
    """What is known of the places at one moment."""

    @property
    def now(self) -> float:
        """Seconds of some clock."""
        ...

    def outage(self, target: Target, *, alone: bool) -> Outage | None:
        """Why ``target`` should not be asked now; ``alone``: there is no other for the request."""
        ...

    def may_add(self, target: Target) -> bool:
        """Whether ``target`` may get one request more than clients have brought."""
        ...

    def is_warm(self, target: Target) -> bool:
        """Whether the provider of ``target`` has the request's conversation in its cache."""
        ...

    def jitter(self) -> float:
        """A random number from 0 to 1."""
        ...


class Policy(Protocol):
    """Decides on every step of a plan."""

    def next(self, plan: "Plan", outcomes: Sequence[Outcome], conditions: Conditions) -> Step:
        """The step after ``outcomes``, which are in order and empty at the beginning. The same arguments give the same
        step; sooner or later it is ``GiveUp``."""
        ...


class PolicyRule(Protocol):
    """Decides on those steps of a plan that it has to do with."""

    def next(self, plan: "Plan", outcomes: Sequence[Outcome], conditions: Conditions) -> Step | None:
        """As a policy's, or ``None`` where the rule has nothing to say."""
        ...


@attrs.frozen(repr=False)
class Plan:
    """``candidates`` in the order of preference, at least one. ``deadline`` is the moment, of the clock of
    ``Conditions``, by which an attempt has to commit. ``route`` is there where the client's name is one.
    ``heeds_outages``: a place that is out is not asked; where nothing is said of that in the configuration a lone one
    always is. ``retries_given``: the route or the root of the configuration sets ``retries``."""

    candidates: tuple[Candidate, ...]
    policy: Policy
    retries: Retries = ASKED_ONCE
    route: Route | None = None
    deadline: float = math.inf
    heeds_outages: bool = False
    retries_given: bool = False

    @classmethod
    def to(cls, target: Target, policy: Policy) -> Self:
        """The plan that asks ``target`` alone."""
        return cls((Candidate(target),), policy)

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple([candidate.target for candidate in self.candidates])

    @property
    def first(self) -> Target:
        """The target that is preferred to all others."""
        return self.candidates[0].target

    def among(self, candidates: tuple[Candidate, ...]) -> "Plan":
        """The plan with other ``candidates``."""
        return self if candidates is self.candidates else attrs.evolve(self, candidates=candidates)

    def with_each(self, change: Callable[[Target], Target]) -> "Plan":
        """The plan with ``change(target)`` in place of each target."""
        changed: list[Candidate] = []
        for one in self.candidates:
            target = change(one.target)
            changed.append(one if target is one.target else attrs.evolve(one, target=target))
        return self if all(map(is_, changed, self.candidates)) else attrs.evolve(self, candidates=tuple(changed))
