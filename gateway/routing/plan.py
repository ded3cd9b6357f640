"""A plan for one request: its candidates, and the policy that chooses each attempt.

A policy performs no I/O: it receives the plan, the outcomes so far and the current conditions, and returns the next
step. ``gateway/exchange/walk.py`` performs the steps."""

import enum
import math
from collections.abc import Callable, Sequence
from operator import is_
from typing import Final, Protocol, Self, TypeAlias

import attrs

from gateway.config.aliases import Route
from gateway.config.attempts import Retries
from gateway.routing.target import NOTHING, Omissions, Target
from streams.errors import GatewayError
from streams.events import UNAVAILABLE, ErrorInfo, FailureReason

SINGLE_ATTEMPT: Final = Retries(attempts=1, deadline=math.inf)
"""The default for a name with one target, because clients retry automatically."""


class Stage(enum.Enum):
    """The stage at which an attempt failed."""

    PREPARING = "preparing"
    """The request could not be written for the target; nothing was sent."""
    WAITING = "waiting"
    """The target's limits had no capacity left, or the target stayed unavailable; nothing was sent."""
    SENDING = "sending"
    """No successful status had arrived."""
    ANSWERING = "answering"
    """The provider had started to respond, and the client had received nothing."""


@attrs.frozen(eq=False, repr=False)
class Outcome:
    """A failed attempt.

    ``error`` is safe to show to the client. ``omissions`` are those of its step. ``refused`` is the part of the
    request that the provider rejected and that may be omitted. ``requests`` is the number of requests sent."""

    target: Target
    error: ErrorInfo
    stage: Stage = Stage.SENDING
    omissions: Omissions = NOTHING
    refused: Omissions = NOTHING
    requests: int = 1


def requests_sent(outcomes: Sequence[Outcome]) -> int:
    """Return the number of requests sent to providers."""
    return sum([outcome.requests for outcome in outcomes if outcome.stage is not Stage.PREPARING])


REJECTED_UNREAD: Final[frozenset[FailureReason]] = frozenset(("gone", "credential"))
"""Reasons of failures that cost neither the client nor the provider anything: no model has run."""


def counts_as_retry(outcomes: Sequence[Outcome]) -> bool:
    """Return whether the next request counts against the retry budget, because an earlier one cost something.

    Otherwise a client could exhaust the budget with requests that are free."""
    costly = [one for one in outcomes if one.stage is not Stage.PREPARING and one.error.reason not in REJECTED_UNREAD]
    return requests_sent(costly) > 0


@attrs.frozen(repr=False)
class Outage:
    """The outage of a target.

    - ``until`` is its end, on the clock of ``Conditions``; ``reason`` is the reason of the target's last failure.
    - ``tried``: one request is testing the target, or is about to.
    - ``unsteady``: the target also succeeded in the last seconds, so it is better than none.
    - ``alone``: the outage is shortened because the request has no other target."""

    reason: FailureReason
    until: float
    tried: bool = False
    unsteady: bool = False
    alone: bool = False


@attrs.frozen(repr=False)
class Candidate:
    """A ``target`` in a plan, with its share within its ``group``, and the earlier failures and the ``kinds`` of
    requests that lead to it."""

    target: Target
    group: int = 0
    weight: float = 1.0
    when: frozenset[FailureReason] = UNAVAILABLE
    kinds: frozenset[str] = frozenset()


def select_by_kind(candidates: tuple[Candidate, ...], kinds: frozenset[str]) -> tuple[Candidate, ...]:
    """Return the ``candidates`` for a request of ``kinds``: first those for its kinds, in groups of their own.

    Candidates that are only for other kinds are left out, unless there are no others."""
    if not any(one.kinds for one in candidates):
        return candidates
    fitting = [one for one in candidates if not one.kinds or one.when or one.kinds & kinds] or candidates
    front = next((one.group for one in fitting if not one.kinds), None)
    ranks = [(_rank(one, kinds, front), one.group) for one in fitting]
    numbers = {rank: number for number, rank in enumerate(sorted(set(ranks)))}
    moved = [
        attrs.evolve(one, group=numbers[rank], when=one.when or UNAVAILABLE, kinds=frozenset())
        for one, rank in zip(fitting, ranks, strict=True)
    ]
    return tuple(sorted(moved, key=lambda one: one.group))


def _rank(one: Candidate, kinds: frozenset[str], front: int | None) -> int:
    """Return the position of a candidate: before or in the ``front`` group, whose members need no failure, or after
    it."""
    if one.kinds & kinds:
        return 0
    if front is None or (one.group == front and not one.kinds):
        return 1
    return 2 if one.group <= front else 3


@attrs.frozen(repr=False, slots=False)  # created for each request; cheaper to construct without slots
class Send:
    """The step that waits ``after`` seconds, then sends the request to ``target`` without ``omissions``."""

    target: Target
    omissions: Omissions = NOTHING
    after: float = 0.0


@attrs.frozen(repr=False)
class GiveUp:
    """The step that ends the plan with ``error`` as the client's response."""

    error: ErrorInfo


Step: TypeAlias = Send | GiveUp


class Conditions(Protocol):
    """The current conditions of the targets."""

    @property
    def now(self) -> float:
        """The current time of a monotonic clock in seconds."""

    def outage(self, target: Target, *, alone: bool) -> Outage | None:
        """Return the outage of ``target``, or ``None`` if it is available. ``alone``: the request has no other
        target."""

    def may_add(self, target: Target) -> bool:
        """Return whether ``target`` may receive a request beyond those that clients sent."""

    def is_warm(self, target: Target) -> bool:
        """Return whether the provider of ``target`` has the request's conversation in its cache."""

    def jitter(self) -> float:
        """Return a random number from 0 to 1."""


Policy: TypeAlias = Callable[["Plan", Sequence[Outcome], Conditions], Step]
"""Chooses every step of a plan: returns the step after the outcomes, which are in order and empty at the start.

The same arguments return the same step, and every plan reaches ``GiveUp``."""


def send_once(plan: "Plan", outcomes: Sequence[Outcome], conditions: Conditions) -> Step:
    """Send the request once, and give up with the failure of the provider's last response."""
    if not outcomes:
        return Send(plan.first)
    sent = [outcome for outcome in outcomes if outcome.stage is not Stage.PREPARING]
    return GiveUp((sent or outcomes[:1])[-1].error)


@attrs.frozen(repr=False)
class Plan:
    """The candidates of a request and the policy of its attempts.

    - ``candidates`` are in order of preference; there is at least one.
    - ``deadline`` is the time of the clock of ``Conditions`` at which an attempt has to commit.
    - ``route`` is the route that the client named, if any.
    - ``skips_unavailable``: unavailable targets are skipped; by default a single target is always used.
    - ``has_own_retries``: the configuration sets ``retries`` for the route or globally."""

    candidates: tuple[Candidate, ...]
    policy: Policy
    retries: Retries = SINGLE_ATTEMPT
    route: Route | None = None
    deadline: float = math.inf
    skips_unavailable: bool = False
    has_own_retries: bool = False

    @classmethod
    def once(cls, target: Target, deadline: float = math.inf) -> Self:
        """Return the plan that sends one request to ``target``, which has to commit by ``deadline``."""
        return cls((Candidate(target),), send_once, deadline=deadline)

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple([candidate.target for candidate in self.candidates])

    @property
    def first(self) -> Target:
        """The preferred target."""
        return self.candidates[0].target

    def with_candidates(self, candidates: tuple[Candidate, ...]) -> "Plan":
        """Return the plan with other ``candidates``."""
        return self if candidates is self.candidates else attrs.evolve(self, candidates=candidates)

    def with_each_target(self, change: Callable[[Target], Target]) -> "Plan":
        """Return the plan with each target replaced by ``change(target)``."""
        changed: list[Candidate] = []
        for one in self.candidates:
            target = change(one.target)
            changed.append(one if target is one.target else attrs.evolve(one, target=target))
        return self if all(map(is_, changed, self.candidates)) else attrs.evolve(self, candidates=tuple(changed))


Wall: TypeAlias = frozenset[str] | None
"""The names of the entries that may serve a client; ``None`` for all."""


def is_inside(target: Target, wall: Wall) -> bool:
    """Return whether ``target`` may serve a client with this ``wall``."""
    return wall is None or target.entry.name in wall


def candidates_inside(candidates: tuple[Candidate, ...], wall: Wall, client: str | None) -> tuple[Candidate, ...]:
    """Return the ``candidates`` that may serve ``client``, whatever fails and whatever it requests.

    Without this wall, a key for one model could reach another one by making the first fail (BerriAI/litellm#38572,
    #39998). Raises ``GatewayError`` (403) if there are none; it does not name the others."""
    if wall is None:
        return candidates
    inside = tuple(one for one in candidates if one.target.entry.name in wall)
    if not inside:
        raise outside_error(client, candidates[0].target.requested_name)
    return inside


def outside_error(client: str | None, requested_name: str) -> GatewayError:
    """Return the error for a model that no permitted entry can serve."""
    message = (
        f"the key {client!r} may not use any target of {requested_name!r}; GET /v1/models lists the models "
        "that it may use"
    )
    return GatewayError("permission", message, param="model", headers=(("x-should-retry", "false"),))
