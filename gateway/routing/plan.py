"""A plan for one request: the targets that may answer it, and the policy that decides on each next attempt.

All of it is pure: a policy sees a plan and the outcomes of the attempts so far, and says what is done next. Who walks
the plan sends, waits and commits (``gateway/exchange/walk.py``).
"""

import enum
from collections.abc import Callable, Sequence
from operator import is_
from typing import Protocol, TypeAlias

import attrs

from gateway.routing.omissions import NOTHING, Omissions
from gateway.routing.target import Target
from streams.events import UNAVAILABLE, ErrorInfo, FailureReason


class Stage(enum.Enum):
    """The furthest point that a failed attempt had come to."""

    PREPARING = "preparing"
    """No request was sent: it could not be written for the target."""
    SENDING = "sending"
    """No good status had come."""
    ANSWERING = "answering"
    """The provider had begun to answer, and nothing of that had gone to the client."""


@attrs.frozen
class Outcome:
    """A failed attempt. ``failed`` is fit for the client. ``omissions`` are those of its step, ``refused`` is what the
    provider has named as its reason, where it stood in the request and may be left out."""

    target: Target
    failed: ErrorInfo
    stage: Stage = Stage.SENDING
    omissions: Omissions = NOTHING
    refused: Omissions = NOTHING


@attrs.frozen
class Outage:
    """A target that is out: ``until`` a moment of the clock of ``Conditions``, for the ``reason`` why it last failed.
    ``failed`` is that failure, for the gateway's eyes, where it is known. ``tried``: its time is over, and one request
    is finding out."""

    reason: FailureReason
    until: float
    failed: ErrorInfo | None = None
    tried: bool = False


@attrs.frozen
class Candidate:
    """A place in a plan: the ``target``, with its share within its ``group`` and the failures before it that lead
    here."""

    target: Target
    group: int = 0
    weight: float = 1.0
    when: frozenset[FailureReason] = UNAVAILABLE


@attrs.frozen
class Send:
    """The step that sends the request to ``target``, without ``omissions``, ``after`` so many seconds."""

    target: Target
    omissions: Omissions = NOTHING
    after: float = 0.0


@attrs.frozen
class GiveUp:
    """The step that ends the plan: ``failed`` is the client's answer."""

    failed: ErrorInfo


Step: TypeAlias = Send | GiveUp


class Policy(Protocol):
    """Decides on every step of a plan."""

    def next(self, plan: "Plan", outcomes: Sequence[Outcome]) -> Step:
        """The step after ``outcomes``, which are in order and empty at the beginning. The same arguments give the same
        step; sooner or later it is ``GiveUp``."""
        ...


class PolicyRule(Protocol):
    """Decides on those steps of a plan that it has to do with."""

    def next(self, plan: "Plan", outcomes: Sequence[Outcome]) -> Step | None:
        """As a policy's, or ``None`` where the rule has nothing to say."""
        ...


@attrs.frozen
class Plan:
    """``targets`` in the order of preference, at least one. ``deadline`` is the moment of trio's clock by which an
    attempt has to commit, for policies that ask again; ``None`` is no limit."""

    targets: tuple[Target, ...]
    policy: Policy
    deadline: float | None = None

    def with_each(self, change: Callable[[Target], Target]) -> "Plan":
        """The plan with ``change(target)`` in place of each target."""
        targets = tuple(map(change, self.targets))
        return self if all(map(is_, targets, self.targets)) else attrs.evolve(self, targets=targets)
