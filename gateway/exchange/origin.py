"""Where the answer of an exchange comes from: the walk of its plan, and the cache of answers around that."""

from collections.abc import Callable
from typing import Protocol, Self, TypeAlias

import trio

from gateway.exchange.attempt_answer import C
from gateway.exchange.disconnect import Audience
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.target_request import AnswerSource, TargetRequest
from gateway.routing.target import Target
from streams.events import ErrorInfo

Make: TypeAlias = Callable[[AnswerSource], C]
"""Makes what reads the answer of a source."""


class Followers(Protocol):
    """Others who may be given the same answer."""

    @property
    def deserted(self) -> trio.Event:
        """Is set once nobody is there for whom the answer should go on without its client."""
        ...

    def leave(self) -> None:
        """The client has left: the answer goes on while others follow it."""
        ...


def going_on(followers: Followers | None, audience: Audience, target: Target) -> Followers | None:
    """Return ``followers`` where they decide how long an answer of ``target`` goes on without its client: one that is
    read to its end anyhow does not depend on others."""
    return None if audience.survives(target) else followers


class AnswerOrigin(Protocol):
    """The place that an exchange has its answer from: ``run`` returns the answer that goes to the client, ``fail`` says
    that it breaks off behind that, and the origin is a context manager around both. Used by one task at a time."""

    @property
    def request(self) -> PlannedRequest:
        """The client's request, without its text once that was released."""
        ...

    @property
    def made(self) -> TargetRequest:
        """The request as it goes, or would go, to the first target; later the one that was answered."""
        ...

    @property
    def followers(self) -> Followers | None:
        """Those who may follow the answer, where answers are cached."""
        ...

    def might_go_on(self, attempt: AnswerSource) -> bool:
        """Return whether another attempt might follow ``attempt``."""
        ...

    def goes_on_after(self, attempt: AnswerSource, failed: ErrorInfo) -> bool:
        """Return whether another attempt would follow if ``attempt`` had ``failed``."""
        ...

    async def run(self, make: Make[C]) -> C:
        """Return the first answer that begins. Raises ``GatewayError`` where there is none."""
        ...

    def fail(self, failed: ErrorInfo) -> None:
        """Book that the answer which goes to the client has ``failed``."""
        ...

    def release(self) -> None:
        """Let go of the request's text, for as long as the answer takes."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
