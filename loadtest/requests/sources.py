"""The interface of request sources: each arrival begins a session of one or several turns."""

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
    """A request to send after ``think`` seconds.

    ``headers`` are added to those of its kind. ``path`` is its path, if it differs from that of its kind.
    ``asked_input`` and ``asked_output`` are the requested tokens, if known. ``characters`` is the length of a
    generated prompt, and ``learn`` receives the server's token count for it.
    """

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
class PlanPosition:
    """The position of an exchange in the plan: the ``number`` of its session, its ``turn`` in it (from 1), and the
    ``step`` of its planned begin. The other members are those of the request."""

    number: int
    turn: int = 1
    step: int = 0
    asked_input: int | None = None
    asked_output: int | None = None
    characters: int | None = None


class LoadSession(Protocol):
    """The session of one arrival. ``unbegun`` is the number of turns that have not begun."""

    unbegun: int

    def turn(self, before: bytes | None) -> PreparedRequest | None:
        """Return the next request, or ``None`` at the end.

        ``before`` is the body of the previous answer, which was whole, or ``None`` for the first turn.
        """
        ...


class RequestSource(Protocol):
    """A source of sessions by their numbers in the plan.

    Every process draws the same random values from ``rng``, whichever sessions it sends, so that all processes with
    one seed follow one plan.
    """

    def session(self, number: int, rng: random.Random) -> LoadSession: ...


class SingleRequest:
    """A session of one request."""

    def __init__(self, request: PreparedRequest) -> None:
        self._request: PreparedRequest | None = request
        self.unbegun = 1

    def turn(self, before: bytes | None) -> PreparedRequest | None:
        found, self._request, self.unbegun = self._request, None, 0
        return found


class LazySession:
    """A session that is created when it begins, so that other processes do not create it."""

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
    """The setting of a source.

    ``mark`` makes the texts of a run and a target unique, and ``seed`` determines random values. If ``learns`` is set,
    prompt lengths follow the server's token counts. A ``trace`` determines the lengths of prompts, and is played
    ``speed`` times as fast.
    """

    mark: str = ""
    seed: int = 1
    learns: bool = True
    trace: LoadTrace | None = None
    speed: float = 1.0


def new_mark() -> str:
    """Return a unique mark."""
    return secrets.token_hex(8)


def setting_of(scenario: "Scenario", target: str) -> SourceSetting:
    """Return the setting of a run on ``target``.

    With ``same_prompts``, the mark and the prompt lengths are the same everywhere.
    """
    trace = trace_of(scenario.trace) if scenario.trace else None
    if scenario.same_prompts:
        return SourceSetting(f"seed {scenario.seed}", scenario.seed, learns=False, trace=trace, speed=scenario.speed)
    return SourceSetting(f"{scenario.mark or new_mark()} {target}", scenario.seed, trace=trace, speed=scenario.speed)
