"""The walk of a plan: one attempt after the other, until one commits or the policy gives up."""

import math
from collections.abc import Awaitable, Callable
from typing import Self, TypeAlias, TypeVar

import attrs
import trio

from gateway.allowances.reservation import Grant, Queued, Reservation
from gateway.exchange.attempt import Attempt
from gateway.exchange.cached import CachedAsk
from gateway.exchange.conditions import PlaceConditions
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.race import Race
from gateway.http.offload import offload
from gateway.ledger.record import Cause
from gateway.request.prepare import refuse_losses
from gateway.request.public_errors import MISTAKE
from gateway.request.refusal import learned_paths, refused_parts
from gateway.request.rejections import RejectionKey
from gateway.request.repeatable import may_be_doubled
from gateway.routing.fallback import may_go_on
from gateway.routing.omissions import NOTHING, Omissions
from gateway.routing.plan import GiveUp, Outcome, Send, Stage, requests_sent
from gateway.routing.target import Target
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.pipe import SHUTTING_DOWN, Watch

T = TypeVar("T")

Ask: TypeAlias = Callable[[Attempt], Awaitable[T]]
"""Sends an attempt's request and reads its answer: up to its first content and on, or all of it. Raises
``GatewayError`` where the attempt has failed before anything of it went to the client."""


class Walk:
    """``attempt`` is the one under way, or has committed; ``cached`` is there where answers are. Used by one task at a
    time; made by ``begin``."""

    attempt: Attempt
    cached: CachedAsk | None

    def __init__(
        self, context: ExchangeContext, request: PlannedRequest, reservation: Reservation | None = None
    ) -> None:
        self.request = request
        self.cached = None
        self._context = context
        self._conditions = PlaceConditions(context, request.plan, request.affinity)
        self._outcomes: tuple[Outcome, ...] = ()
        self._race: Race | None = None
        self._reservation = reservation

    @classmethod
    async def begin(
        cls, context: ExchangeContext, request: PlannedRequest, reservation: Reservation | None = None
    ) -> Self:
        """The walk with its first attempt prepared. Raises ``GatewayError`` where the policy gives up before anything
        is sent, or the client may use no more."""
        walk = cls(context, request, reservation)
        walk.attempt = await walk._next()
        return walk

    async def run(self, ask: Ask[T]) -> T:
        """What ``ask`` gives for the first attempt that does not fail. Raises ``GatewayError`` when the policy gives
        up. Cancellation ends whatever is under way: a wait, or a request, whose connection is closed."""
        while True:
            if self._is_overtaken():
                self.attempt.drop()
                self.attempt = await self._next()
            attempt = self.attempt
            if isinstance(attempt.grant, Queued) and not await self._queued(attempt, attempt.grant):
                self.attempt = await self._next()
                continue
            if self._begin(attempt):
                try:
                    if (after := self._hedge(attempt)) is None:
                        return await self._asked(attempt, ask)
                    if (found := await self._raced(attempt, after, ask)) is not None:
                        return found[0]
                except GatewayError as error:
                    await self._fail(attempt, error.failed)
            self.attempt = await self._next()

    async def read_all(self) -> tuple[UpstreamResponse, bytes]:
        """The first good answer with its whole body. Cancellation closes the connection, and so do the target's
        timeouts and the end of the drain, which are raised as ``GatewayError``."""
        return await self.run(self._read_and_commit)

    async def _read_and_commit(self, attempt: Attempt) -> tuple[UpstreamResponse, bytes]:
        found = await self.read_body(attempt)
        await attempt.leave_if_lost()
        self.commit(attempt)
        return found

    async def read_body(self, attempt: Attempt) -> tuple[UpstreamResponse, bytes]:
        """The answer of ``attempt`` with its whole body: an ``Ask``."""
        watch = attempt.watch
        with self._context.service.lifecycle.pump(watch.scope), watch.scope:
            response = await attempt.send_once()
            return response, await attempt.read_all(response, watch)
        self._context.record.shut_down = is_shut_down(watch)
        raise GatewayError.of(watch.failed())

    def commit(self, attempt: Attempt) -> None:
        """The answer of ``attempt`` goes to the client: there is no other attempt."""
        self.attempt = attempt
        if self._race is not None:
            self._race.won_by(attempt)
            attempt.report()
        attempt.commit()
        if self.request.turn.records:
            self.request.turn.answered_by(attempt.target, attempt.writer)
        if (affinity := self.request.affinity) is not None and attempt.source == "provider":
            balancer = self._context.service.balancer
            balancer.landed(self.request.plan, attempt.target, affinity, self._outcomes)
        self._learn()

    def release(self) -> None:
        """Let go of the request's text, which may be megabytes, for as long as the answer takes."""
        self.request = self.request.released()
        self.attempt.release_request()

    def may_go_on(self, attempt: Attempt) -> bool:
        """Whether another attempt might follow."""
        return requests_sent(self._outcomes) + attempt.requests < self.request.plan.retries.attempts

    def goes_on_after(self, attempt: Attempt, failed: ErrorInfo) -> bool:
        """Whether another attempt would follow if ``attempt`` had ``failed``: what it has been given is an answer, too,
        where there is no better."""
        outcomes = (*self._outcomes, self._outcome(attempt, failed))
        step = self.request.plan.policy.next(self.request.plan, outcomes, self._conditions)
        if not isinstance(step, Send):
            return False
        alike = attrs.evolve(failed, headers=())  # headers count requests, and differ each time
        return all(attrs.evolve(outcome.failed, headers=()) != alike for outcome in self._outcomes)

    def _is_overtaken(self) -> bool:
        """Whether another request has begun to try the place of the attempt, or to wait for it, since its step was
        decided: requests that come together would all go there."""
        step, plan = self.attempt.step, self.request.plan
        if len(plan.candidates) == 1:
            return False
        outage = self._conditions.outage(step.target, alone=False)
        if outage is None or outage.unsteady:
            return False
        return not step.after or (outage.tried and (outage.reason != "rate_limited" or not self._outcomes))

    # One attempt

    def _begin(self, attempt: Attempt) -> bool:
        """Begin ``attempt``; false if another worker's request was faster to try the same place."""
        attempt.begin(added=requests_sent(self._outcomes) > 0)
        if not attempt.overtaken or not self._is_overtaken():
            return True
        attempt.take_back()
        attempt.drop()
        return False

    def _hedge(self, attempt: Attempt) -> float | None:
        """Seconds after which one more attempt is sent beside ``attempt``, if it has no content by then."""
        plan, service = self.request.plan, self._context.service
        if plan.route is None or plan.route.hedge is None or self._outcomes or len(plan.candidates) == 1:
            return None
        service.hedges.came(plan.route.name, plan.route.hedge)
        if self.request.turn.background is not None or not may_be_doubled(self.request.incoming, plan.targets):
            return None
        after = plan.route.hedge.after
        if after != "p95":
            return after
        return service.balancer.loads.percentile(attempt.target, 0.95, self._conditions.now)

    async def _raced(self, first: Attempt, after: float, ask: Ask[T]) -> tuple[T] | None:
        """What ``ask`` gives for ``first`` or for the hedge beside it; ``None`` where both have failed."""
        race = self._race = Race()
        found: list[T] = []

        async def compete(attempt: Attempt) -> None:
            with race.entered_by(attempt):
                try:
                    found.append(await self._asked(attempt, ask))
                except GatewayError as error:
                    await self._fail(attempt, error.failed)

        async with trio.open_nursery() as nursery:
            first.raced = True
            nursery.start_soon(compete, first)
            with trio.move_on_after(after):
                await race.decided.wait()
            second = None if race.decided.is_set() else await self._second(first)
            if second is not None and not race.decided.is_set():
                first.allowed = max(1, first.requests)
                second.allowed = self._allowed(second, first.allowed)
                second.begin(added=True)
                nursery.start_soon(compete, second)
            elif second is not None:
                second.drop()
        self._race = None
        return (found[0],) if found else None

    async def _second(self, first: Attempt) -> Attempt | None:
        """The attempt that would follow if ``first`` took too long; none where that would be a wait."""
        plan = self.request.plan
        assert plan.route is not None, "it hedges"
        slow = Outcome(first.target, ErrorInfo("timeout", "it takes long"), requests=max(1, first.requests))
        step = plan.policy.next(plan, (*self._outcomes, slow), self._conditions)
        if not isinstance(step, Send) or step.after or step.target is first.target:
            return None
        if self._conditions.outage(step.target, alone=False) is not None:
            return None
        if not self._context.service.hedges.take(plan.route.name):
            return None
        taken = None if self._reservation is None else await self._reservation.take(step.target, queues=False)
        if isinstance(taken, ErrorInfo):
            return None
        try:
            return await self._prepared(step, "hedge", taken)
        except GatewayError:
            return None

    async def _asked(self, attempt: Attempt, ask: Ask[T]) -> T:
        if attempt.cause != "hedge" and self.request.plan.retries.attempts > 1:
            attempt.allowed = self._allowed(attempt)
        try:
            if attempt.step.after:
                await self._wait(attempt)
            attempt.watch = Watch(attempt.target.entry.timeouts, self._patience(attempt))
            return await (ask(attempt) if self.cached is None else self.cached.ask(ask, attempt))
        except GatewayError as error:
            attempt.fail(self._as_counted(error.failed), error.failed.reason)
            raise
        except Exception:  # our own mistake, on its way to the border: the client has not left
            attempt.fail(MISTAKE)
            raise
        finally:
            attempt.close()

    def _allowed(self, attempt: Attempt, others: int = 0) -> int:
        """Return how many requests ``attempt`` may send, with so many ``others`` under way: a second one if a kept
        connection was dead, unless that would take the last request from a target that has not been tried."""
        left = self.request.plan.retries.attempts - requests_sent(self._outcomes) - others
        if left == 2 and may_go_on(self.request.plan, self._outcomes, attempt.target):
            return 1
        return min(2, left)

    async def _queued(self, attempt: Attempt, place: Queued) -> bool:
        """Wait in the queue before the attempt's target: whether it has what it needs of that now. Raises
        ``GatewayError`` at the end of the drain."""
        left = self.request.plan.deadline - self._conditions.now
        began = trio.current_time()
        with trio.CancelScope() as scope, self._context.service.lifecycle.pump(scope):
            found = await place.wait(began + left)
        self._context.record.waited += trio.current_time() - began
        if scope.cancelled_caught:
            self._context.record.shut_down = True
            raise GatewayError.of(SHUTTING_DOWN)
        if isinstance(found, Grant):
            attempt.grant = found
            return True
        self._outcomes = (*self._outcomes, Outcome(attempt.target, found, Stage.WAITING, requests=0))
        return False

    async def _wait(self, attempt: Attempt) -> None:
        """Wait as long as the attempt's step says, and for a target that is out until it is due: another failure may
        have put that off. Raises ``GatewayError`` at the end of the drain, and where there is no time for more."""
        plan, lifecycle = self.request.plan, self._context.service.lifecycle
        seconds, waited = attempt.step.after, 0.0
        while seconds:
            with trio.CancelScope() as scope, lifecycle.pump(scope):
                await trio.sleep(seconds)
            if scope.cancelled_caught:
                self._context.record.shut_down = True
                raise GatewayError.of(SHUTTING_DOWN)
            waited += seconds
            self._context.record.waited += seconds
            seconds = attempt.seconds_out()
            if waited + seconds > plan.retries.wait or self._conditions.now + seconds >= plan.deadline:
                raise GatewayError.of(attempt.still_out(seconds))

    def _patience(self, attempt: Attempt) -> float:
        """The seconds that the attempt's first content may take."""
        plan = self.request.plan
        left = math.inf if plan.deadline == math.inf else max(0.0, plan.deadline - self._conditions.now)
        route = plan.route
        if route is None or route.first_content is None or not self.request.incoming.stream:
            return left
        return min(left, route.first_content) if may_go_on(plan, self._outcomes, attempt.target) else left

    def _as_counted(self, failed: ErrorInfo) -> ErrorInfo:
        """``failed`` as it counts for the target: that a client has no more time says nothing of that
        (BerriAI/litellm#41223)."""
        late = self._conditions.now >= self.request.plan.deadline
        return attrs.evolve(failed, reason=None) if late and failed.reason == "timeout" else failed

    async def _fail(self, attempt: Attempt, failed: ErrorInfo) -> None:
        """Put on record that the attempt has failed."""
        outcome = self._outcome(attempt, self._as_counted(failed))
        if attempt.stage is Stage.SENDING:
            refused = await offload(self.request.incoming.size, self._refused, attempt, failed)
            outcome = attrs.evolve(outcome, refused=refused)
        self._outcomes = (*self._outcomes, outcome)

    def _outcome(self, attempt: Attempt, failed: ErrorInfo) -> Outcome:
        omissions = attempt.step.omissions
        return Outcome(attempt.target, failed, attempt.stage, omissions, requests=attempt.requests)

    # The next one

    async def _next(self) -> Attempt:
        """The attempt of the next step that can be prepared."""
        plan = self.request.plan
        while True:
            step = plan.policy.next(plan, self._outcomes, self._conditions)
            if isinstance(step, GiveUp):
                raise GatewayError.of(step.failed)
            taken = None if self._reservation is None else await self._reservation.take(step.target)
            if isinstance(taken, ErrorInfo):
                self._outcomes = (*self._outcomes, Outcome(step.target, taken, Stage.WAITING, requests=0))
                continue
            try:
                return await self._prepared(step, grant=taken)
            except GatewayError as error:
                outcome = Outcome(step.target, error.failed, Stage.PREPARING, step.omissions)
                self._outcomes = (*self._outcomes, outcome)

    async def _prepared(self, step: Send, cause: Cause | None = None, grant: Grant | Queued | None = None) -> Attempt:
        """Prepare the attempt of ``step``, which has taken ``grant``. Raises ``GatewayError`` (400) for what the target
        cannot honour or, in strict mode, cannot be given; nothing stays taken then."""
        try:
            return await self._written(step, cause, grant)
        except BaseException:
            if isinstance(grant, Grant):
                grant.end(None)
            raise

    async def _written(self, step: Send, cause: Cause | None, grant: Grant | Queued | None) -> Attempt:
        """The attempt of ``step`` with its request."""
        context, known = self._context, known_omissions(self._context, step.target)
        left = step.omissions.union(known) if known else step.omissions
        request = self.request
        prepared = await offload(request.incoming.size, request.prepare, step.target, left)
        attempt = Attempt(context, request, step, prepared, cause or self._cause(step), grant)
        if not self._outcomes and cause is None:  # a client that is refused here is told what it would lose, too
            attempt.report()
        if attempt.prepared.outgoing.dropped and context.strict:
            await offload(request.incoming.size, refuse_losses, prepared, step.target)
        if self._outcomes:
            attempt.report()
        attempt.raced = self._race is not None
        return attempt

    def _cause(self, step: Send) -> Cause:
        if not self._outcomes:
            return "first"
        return "retry" if any(outcome.target is step.target for outcome in self._outcomes) else "fallback"

    def _refused(self, attempt: Attempt, failed: ErrorInfo) -> Omissions:
        """The parts of the attempt's request that ``failed`` names, and that may go."""
        without = self.request.prepare
        return refused_parts(
            failed, attempt.prepared, attempt.sent, lambda left: without(attempt.target, left),
            has_another_route=attempt.target.elsewhere is not None,
        )  # fmt: skip

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
    return watch.scope.cancelled_caught and watch.failed() is SHUTTING_DOWN
