"""The origin of an exchange's response: the walk of its plan, or what a feature wraps around it."""

from collections.abc import Awaitable, Callable
from typing import Protocol, Self, TypeAlias

import trio

from gateway.exchange.attempt_answer import A
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.target_request import AnswerSource, TargetRequest
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage

Make: TypeAlias = Callable[[AnswerSource], A]
"""A function that returns the reader of a source's response."""


class AnswerOrigin(Protocol):
    """The origin of a response. ``Walk`` describes the methods."""

    @property
    def request(self) -> PlannedRequest: ...

    @property
    def target_request(self) -> TargetRequest: ...

    @property
    def reported_usage(self) -> Usage | None: ...

    @property
    def desertion(self) -> trio.Event | None: ...

    async def start(self) -> None: ...

    async def run(self, make: Make[A]) -> A: ...

    def note_disconnect(self) -> None: ...

    def may_be_followed(self, attempt: AnswerSource) -> bool: ...

    def would_be_followed(self, attempt: AnswerSource, error: ErrorInfo) -> bool: ...

    def fail(self, error: ErrorInfo) -> None: ...

    def release(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: object) -> None: ...


async def start_origin(context: ExchangeContext, origin: AnswerOrigin) -> None:
    """Prepare the first attempt of ``origin``, unless a step refuses the request meanwhile. Raises ``GatewayError``."""
    checks = context.checks
    await (origin.start() if checks is None else checks.until_refused(origin, origin.start))


def run_origin(context: ExchangeContext, origin: AnswerOrigin, make: Make[A]) -> Awaitable[A]:
    """Return the response of ``origin``, unless a step refuses the request meanwhile. Raises ``GatewayError``.

    A provider's failure waits for the verdict of the steps, so that no client repeats a refused request."""
    if (checks := context.checks) is None:
        return origin.run(make)

    async def run() -> A:
        try:
            return await origin.run(make)
        except GatewayError as error:
            failure = error
        if failure.info.reason is not None:
            await checks.await_verdict()
        raise failure

    return checks.until_refused(origin, run)
