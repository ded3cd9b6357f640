"""The sources of requests, and what those of one run share: an arrival begins a session, of one or several turns."""

import random
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs

from loadtest.plan.load_request import LoadRequest
from loadtest.plan.recorded_load import trace_of
from loadtest.plan.traces import LoadTrace

if TYPE_CHECKING:
    from loadtest.plan.scenario import Scenario


@attrs.frozen
class PreparedRequest:
    """A request as it is to be sent, with more ``headers`` than its kind has, after ``think`` seconds. ``asked_input``
    and ``asked_output`` are tokens, as far as they were asked for. ``path``: where, if not where its kind goes.
    ``characters`` are those of a prompt that was made here; ``learn`` is told how many tokens the server counted for
    it."""

    request: LoadRequest
    body: bytes
    path: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    asked_input: int | None = None
    asked_output: int | None = None
    think: float = 0.0
    characters: int | None = None
    learn: Callable[[int], None] | None = None


@attrs.frozen
class PlaceInPlan:
    """Where an exchange stands in the plan: the ``number`` of its session, its ``turn`` in that (from 1), the ``step``
    in which it was to begin, and what was asked for, in so many ``characters``."""

    number: int
    turn: int = 1
    step: int = 0
    asked_input: int | None = None
    asked_output: int | None = None
    characters: int | None = None


class LoadSession(Protocol):
    """What one arrival begins. ``unbegun``: turns that are left, if it ended here."""

    unbegun: int

    def turn(self, before: bytes | None) -> PreparedRequest | None:
        """The next request; ``None`` at the end. ``before`` is the body of the answer to the one before, which was
        whole; ``None`` at the first."""
        ...


class RequestSource(Protocol):
    """Gives sessions by their numbers in the plan. All that is drawn is drawn from ``chance``, and as much of it
    whoever sends them: several processes with one seed go through one plan."""

    def session(self, number: int, chance: random.Random) -> LoadSession: ...


class SingleRequest:
    """A session of one request."""

    def __init__(self, request: PreparedRequest) -> None:
        self._request: PreparedRequest | None = request
        self.unbegun = 1

    def turn(self, before: bytes | None) -> PreparedRequest | None:
        found, self._request, self.unbegun = self._request, None, 0
        return found


class LazySession:
    """A session that is made when it begins: not in every process that goes through the plan."""

    def __init__(self, make: Callable[[], LoadSession]) -> None:
        self._make = make
        self._session: LoadSession | None = None
        self.unbegun = 1

    def turn(self, before: bytes | None) -> PreparedRequest | None:
        if self._session is None:
            self._session = self._make()
        found = self._session.turn(before)
        self.unbegun = self._session.unbegun
        return found


@attrs.frozen
class SourceSetting:
    """``mark`` stands for the run and the target in the texts of prompts; ``seed`` fixes what is drawn. ``learns``:
    lengths follow what the server counts. A ``trace`` says how long the prompts are, and is sent ``speed`` times as
    fast."""

    mark: str = ""
    seed: int = 1
    learns: bool = True
    trace: LoadTrace | None = None
    speed: float = 1.0


def new_mark() -> str:
    """A mark that no other run has."""
    return secrets.token_hex(8)


def setting_of(scenario: "Scenario", target: str) -> SourceSetting:
    """The setting of a run on ``target``. The same prompts have one mark everywhere, and one length in characters."""
    trace = trace_of(scenario.trace) if scenario.trace else None
    if scenario.same_prompts:
        return SourceSetting(f"seed {scenario.seed}", scenario.seed, learns=False, trace=trace, speed=scenario.speed)
    return SourceSetting(f"{scenario.mark or new_mark()} {target}", scenario.seed, trace=trace, speed=scenario.speed)
