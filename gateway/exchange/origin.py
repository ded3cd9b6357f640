"""The source of an exchange's response: the walk of its plan, and the cache around it."""

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
"""A function that returns the reader of a source's response."""


class Followers(Protocol):
    """Other requests that may share the response."""

    @property
    def desertion(self) -> trio.Event:
        """Set once no other request needs the response."""
        ...

    def note_disconnect(self) -> None:
        """Note that the client disconnected: the response continues only for other requests."""
        ...


def followers_to_serve(followers: Followers | None, audience: Audience, target: Target) -> Followers | None:
    """Return ``followers`` if a response of ``target`` continues only for them once its client disconnects.

    Return ``None`` if it continues in any case, because of ``on_disconnect``."""
    return None if audience.survives(target) else followers


class AnswerOrigin(Protocol):
    """The source of an exchange's response.

    ``start`` prepares it, ``run`` returns the response for the client, ``fail`` reports its failure after that, and the
    origin is a context manager around both. For one task at a time."""

    @property
    def request(self) -> PlannedRequest:
        """The client's request, without its text after ``release``."""
        ...

    @property
    def target_request(self) -> TargetRequest:
        """The request for the first target; later the one whose response is used."""
        ...

    @property
    def followers(self) -> Followers | None:
        """The requests that may share the response, if it is cacheable."""
        ...

    def may_be_followed(self, attempt: AnswerSource) -> bool:
        """Return whether another attempt might follow ``attempt``."""
        ...

    def would_be_followed(self, attempt: AnswerSource, error: ErrorInfo) -> bool:
        """Return whether another attempt would follow if ``attempt`` failed with ``error``."""
        ...

    async def start(self) -> None:
        """Prepare the first attempt, or its lookup in the cache. Raises ``GatewayError`` if there can be none."""
        ...

    async def run(self, make: Make[C]) -> C:
        """Return the first response with content. Raises ``GatewayError`` if there is none."""
        ...

    def fail(self, error: ErrorInfo) -> None:
        """Report that the response failed with ``error`` after it had begun."""
        ...

    def release(self) -> None:
        """Release the request's text while the response is read."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
