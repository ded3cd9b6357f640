"""Where the requests of a load come from: each arrival begins a session, of one request or of several turns."""

import random
from collections.abc import Callable
from typing import Protocol

import attrs

from loadtest.plan.load_request import LoadRequest


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
