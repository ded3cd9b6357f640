"""The health of all targets: which are out and until when, and how many answers each is giving."""

from collections.abc import Callable

import trio

from gateway.config.settings import Config
from gateway.routing.plan import Outage
from gateway.routing.target import Target
from streams.events import ErrorInfo


class OpenAttempt:
    """A request that has been sent to a target, until the last byte of its answer or its end. ``began`` and ``failed``
    are called as it happens, ``close`` once, whatever has happened; an answer that is closed without either says
    nothing about its target: the client has left, or the request was wrong."""

    def began(self) -> None:
        """The first content has come, of a whole answer all."""

    def failed(self, failed: ErrorInfo) -> None:
        """The provider has failed, before the first content or behind it. Only reasons of ``UNAVAILABLE`` count."""

    def close(self) -> None:
        """It is over."""


class Health:
    """The health of all targets, by ``clock`` (seconds). Used from the trio thread only."""

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        self.clock = clock

    def follow(self, config: Config) -> None:
        """Take over the settings of ``config``. What is known of targets that are the same in it stays."""

    def outage(self, target: Target, credential: str | None) -> Outage | None:
        """Why ``target`` should not be asked now, where the client's own ``credential`` is passed on to it."""
        return None

    def may_add(self, target: Target) -> bool:
        """Whether one request more than clients have brought may go there: a retry, a fallback or a hedge."""
        return True

    def begin(self, target: Target, credential: str | None, *, added: bool) -> OpenAttempt:
        """A request goes to ``target``, ``added`` to those that clients have brought."""
        return OpenAttempt()
