"""The walk of a plan: one attempt after the other, until one commits or the policy gives up."""

from typing import Self

from gateway.exchange.attempt import Attempt
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import PlannedRequest
from gateway.http.offload import offload
from gateway.request.prepare import refuse_losses
from gateway.request.refusal import learned_paths, refused_parts
from gateway.request.rejections import RejectionKey
from gateway.routing.omissions import NOTHING, Omissions
from gateway.routing.plan import GiveUp, Outcome, Send, Stage
from gateway.routing.target import Target
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.pipe import Watch


class Walk:
    """``attempt`` is the one under way. Used by one task at a time; made by ``begin``."""

    attempt: Attempt

    def __init__(self, context: ExchangeContext, request: PlannedRequest) -> None:
        self.request = request
        self._context = context
        self._outcomes: tuple[Outcome, ...] = ()

    @classmethod
    async def begin(cls, context: ExchangeContext, request: PlannedRequest) -> Self:
        """The walk with its first attempt prepared. Raises ``GatewayError`` where the policy gives up before anything
        is sent."""
        walk = cls(context, request)
        walk.attempt = await walk._next()
        return walk

    async def send(self) -> UpstreamResponse:
        """The response of the first attempt whose provider gives a good status. Raises ``GatewayError`` when the policy
        gives up."""
        while True:
            try:
                response = await self.attempt.send_once()
            except GatewayError as error:
                await self.fail(error.failed)
            else:
                self._learn()
                return response

    async def read_all(self) -> tuple[UpstreamResponse, bytes]:
        """The same with the whole body. Cancellation closes the connection, and so do the target's timeouts and the end
        of the drain, which are raised as ``GatewayError``."""
        watch = Watch(self.attempt.target.entry.timeouts)
        with self._context.service.lifecycle.pump(watch.scope), watch.scope:
            while True:
                response = await self.send()
                try:
                    return response, await self.attempt.read_all(response, watch)
                except GatewayError as error:
                    await self.fail(error.failed)
        self._context.record.shut_down = is_shut_down(watch)
        raise GatewayError.of(watch.failed())

    async def fail(self, failed: ErrorInfo) -> None:
        """The attempt has failed: go on to the next one. Raises ``GatewayError`` when the policy gives up."""
        attempt = self.attempt
        refused = NOTHING
        if attempt.stage is Stage.SENDING:
            refused = await offload(self.request.incoming.size, self._refused, failed)
        outcome = Outcome(attempt.target, failed, attempt.stage, attempt.step.omissions, refused)
        self._outcomes = (*self._outcomes, outcome)
        self.attempt = await self._next()

    def commit(self) -> None:
        """The attempt's answer goes to the client: there is no other attempt."""
        self.request = self.request.released()
        self.attempt.release_request()

    async def _next(self) -> Attempt:
        """The attempt of the next step that can be prepared."""
        plan = self.request.plan
        while True:
            step = plan.policy.next(plan, self._outcomes)
            if isinstance(step, GiveUp):
                raise GatewayError.of(step.failed)
            try:
                return await self._prepared(step)
            except GatewayError as error:
                outcome = Outcome(step.target, error.failed, Stage.PREPARING, step.omissions)
                self._outcomes = (*self._outcomes, outcome)

    async def _prepared(self, step: Send) -> Attempt:
        """Prepare the attempt of ``step``. Raises ``GatewayError`` (400) for what the target cannot honour or, in
        strict mode, cannot be given."""
        context, known = self._context, known_omissions(self._context, step.target)
        left = step.omissions.union(known) if known else step.omissions
        request = self.request
        prepared = await offload(request.incoming.size, request.prepare, step.target, left)
        attempt = Attempt(context, request, step, prepared)
        if not self._outcomes:  # also of a request that is refused here the client is told what it would lose
            attempt.report()
        if attempt.prepared.outgoing.dropped and context.strict:
            await offload(request.incoming.size, refuse_losses, prepared, step.target)
        if self._outcomes:
            attempt.report()
        return attempt

    def _refused(self, failed: ErrorInfo) -> Omissions:
        """The parts of the attempt's request that ``failed`` names, and that may go."""
        attempt = self.attempt
        without = self.request.prepare
        return refused_parts(failed, attempt.prepared, attempt.sent, lambda left: without(attempt.target, left))

    def _learn(self) -> None:
        """Remember what this provider takes no request of this client with."""
        if self._outcomes and (paths := learned_paths(self._outcomes, self.attempt.target)):
            key = RejectionKey.to(self.attempt.target, self._context.asked)
            self._context.service.learned.add(key, paths)


def known_omissions(context: ExchangeContext, target: Target) -> Omissions:
    """The parts of a request that the target's provider has refused before."""
    paths = context.service.learned.of(RejectionKey.to(target, context.asked))
    return Omissions(paths=paths) if paths else NOTHING


def is_shut_down(watch: Watch) -> bool:
    """True if it was the end of the drain that cut what ``watch`` is over, and not its own limits."""
    return watch.scope.cancelled_caught and watch.failed().kind == "overloaded"
