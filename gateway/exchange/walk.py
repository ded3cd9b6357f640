"""The walk of a plan: makes attempts until one commits or the policy gives up."""

import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import attrs
import trio

from gateway.allowances.reservation import CountedAs, Grant, QueuedAttempt
from gateway.exchange.attempt import Attempt, Resends
from gateway.exchange.attempt_account import AttemptAccount
from gateway.exchange.attempt_answer import A, begin_answer
from gateway.exchange.conditions import TargetConditions
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import Form, PlannedRequest
from gateway.exchange.target_request import AnswerSource, TargetRequest, write_request
from gateway.http.late_imports import load_module
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.ledger.bill import Cause
from gateway.request.public_errors import MISTAKE
from gateway.request.rejections import learned_paths, rejected_parts
from gateway.request.repeatable import may_run_twice
from gateway.routing.fallback import has_untried_target, seconds_until_due
from gateway.routing.plan import GiveUp, Outcome, Send, Stage, counts_as_retry, requests_sent
from gateway.routing.target import Omissions, Target
from gateway.seams.wrap_origin import RepeatedIds
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage
from streams.pipe import SHUTTING_DOWN, Watch

if TYPE_CHECKING:
    from gateway.exchange.hedged import Contender

Make: TypeAlias = Callable[[Attempt], A]
"""A function that returns the reader of an attempt's response."""

CachedContender: TypeAlias = Callable[[bool], Awaitable[A | None]]
"""A function that returns a cached response, or ``None`` after a failure. Called with true, it only closes it."""

FindCached: TypeAlias = Callable[[TargetRequest], Awaitable[CachedContender[Any] | None]]
"""A function that returns a contender with the cached response for a request, or ``None`` without one."""

_OWN_LIMITS: Final = ("timeout", "rate_limited")
"""Kinds of failures that a client's own limits cause if no provider is the reason."""


_TOO_LATE: Final = ErrorInfo("timeout", "the deadline of this request passed before it could be sent", reason=None)


class Walk:
    """Runner of a plan's attempts, until one commits or the policy gives up.

    ``start`` prepares an attempt, ``run`` returns the response for the client, ``fail`` reports a failure after the
    commit, and the walk is a context manager, which closes its accounts. It is for one task at a time."""

    desertion: trio.Event | None = None
    """Set when no client wants the response any more, if several may share it."""

    find_cached: "FindCached | None" = None
    """Set if a hedge first looks for a cached response."""

    def __init__(self, context: ExchangeContext, request: PlannedRequest, scope: RequestScope) -> None:
        self.context = context
        self.request = request
        self.scope = scope
        self._conditions = TargetConditions(context, request.plan, request.affinity)
        self._outcomes: tuple[Outcome, ...] = ()
        self._reservation = request.reservation
        self._ids: RepeatedIds | None = None
        self._written_request: TargetRequest | None = None  # written for the cache lookup; sent only after a miss
        self._current_account: AttemptAccount | None = None  # of the attempt that is next, is running, or has committed
        self._has_won = False
        self._trial: trio.Event | None = None  # set once it is known whether a hedge's cached response can be used

    async def write_next_request(self, is_paid: Callable[[TargetRequest], Awaitable[bool]] | None = None) -> None:
        """Write the request for the next target without reserving its allowances, for a lookup in the cache.

        The client reserves only a place if its response ``is_paid`` already. Raises ``GatewayError`` as ``start``
        does."""
        while True:
            step = self._next_step()
            target_request = await self._write_for(step, self._cause(step))
            if target_request is None:
                continue
            refusal = None
            if self._reservation is not None and target_request.size is not None:
                size = None if is_paid is not None and await is_paid(target_request) else target_request.size
                refusal = await self._reservation.reserve_client(target_request.target, size)
            if refusal is None:
                self._written_request, self._current_account = target_request, None
                return
            self._add_refused(target_request.step.target, refusal)

    async def start(self, ids: RepeatedIds | None = None) -> None:
        """Prepare the next attempt.

        Raises ``GatewayError`` if the policy gives up, or if the client has no allowance left. ``ids`` are for a
        response that others receive, too."""
        self._ids = ids
        self._current_account = await self._prepare_next()

    @property
    def target_request(self) -> TargetRequest:
        """The request that is sent next, or was sent last."""
        if self._current_account is not None:
            return self._current_account.target_request
        assert self._written_request is not None, "start or write_next_request was called"
        return self._written_request

    async def run(self, make: Make[A]) -> A:
        """Return the first response with content. Raises ``GatewayError`` when the policy gives up.

        Cancellation ends a wait, or a request and its connection."""
        while (answer := await self.step(make)) is None:
            await self.start(self._ids)
        return answer

    async def step(self, make: Make[A]) -> A | None:
        """Make the next attempt, and perhaps a hedge, and return the response that begins first.

        Returns ``None`` if they fail or can no longer be made. Raises ``GatewayError`` at the end of the drain."""
        account = self._account
        if self._is_overtaken(account):
            account.release_grant()
            return None
        if isinstance(account.grant, QueuedAttempt) and not await self._wait_in_queue(account, account.grant):
            return None
        if not self._start_attempt(account):
            return None
        delay = self._hedge_delay(account)
        answer = await (self._run_attempt(account, make) if delay is None else self._run_hedged(account, delay, make))
        account = self._account  # perhaps the hedge's
        if answer is not None and account.answer is answer:  # otherwise it is a hedge's cached response
            self._commit(account)
        return answer

    def shared_failure(self, target: Target) -> ErrorInfo | None:
        """Return the last failure of ``target`` if any identical request would meet it, otherwise ``None``.

        This client's own limits and deadline concern no other request."""
        outcome = next((one for one in reversed(self._outcomes) if one.target is target), None)
        if outcome is None or outcome.stage is not Stage.SENDING:
            return None
        concerns_client = outcome.error.reason is None and outcome.error.kind in _OWN_LIMITS
        return None if concerns_client else outcome.error

    def note_failure(self, error: ErrorInfo) -> None:
        """Note that an identical request to the next target failed, so that this one tries another target."""
        self._add_outcome(Outcome(self.target_request.step.target, error, omissions=self.target_request.step.omissions))

    @property
    def reported_usage(self) -> Usage | None:
        """The usage that a provider reported for the last attempt, whose response did not go to the client."""
        return None if self._current_account is None else self._current_account.reported_usage

    def note_hit_failure(self, target: Target, error: ErrorInfo) -> None:
        """Note that the cached response of ``target`` cannot be used."""
        self._add_outcome(Outcome(target, error, Stage.ANSWERING, requests=0))

    def fail(self, error: ErrorInfo) -> None:
        """Report that the response failed with ``error`` after its commit."""
        self._account.fail(error)

    def beside(self, context: ExchangeContext, request: PlannedRequest) -> "Walk":
        """Return another walk of the same exchange with its own ``context`` and ``request``."""
        return Walk(context, request, self.scope)

    def end_part(self, usage: Usage) -> None:
        """Report that the response, which has ended, is only a part of the client's. It has its own bill, with
        ``usage``. Nothing else of the walk follows."""
        self._account.end_part(usage)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._current_account is not None and self._current_account.committed:
            self._current_account.close()

    def note_disconnect(self) -> None:
        """Do nothing: no other client shares the response."""

    def release_places(self) -> None:
        """Release the places of a client that has disconnected, because its response continues without it."""
        self.scope.release_places()
        if self._reservation is not None:
            self._reservation.release_client_places()

    def release(self) -> None:
        """Release the request's text, which may have megabytes, while the response is read."""
        self.request = self.request.without_text()
        self._written_request = None
        if self._current_account is not None and self._current_account.attempt is not None:
            self._current_account.attempt.release()

    @property
    def _account(self) -> AttemptAccount:
        assert self._current_account is not None, "the walk has begun"
        return self._current_account

    def _add_outcome(self, outcome: Outcome) -> None:
        self._outcomes = (*self._outcomes, outcome)

    def _add_refused(self, target: Target, refusal: ErrorInfo) -> None:
        """Add the outcome of an attempt at ``target`` that limits prevent."""
        self._add_outcome(Outcome(target, refusal, Stage.WAITING, requests=0))

    def _next_step(self) -> Send:
        """Return the next step. Raises ``GatewayError`` if the policy gives up."""
        step = self.request.plan.policy(self.request.plan, self._outcomes, self._conditions)
        if isinstance(step, GiveUp):
            raise GatewayError.of(step.error)
        return step

    def may_be_followed(self, attempt: AnswerSource) -> bool:
        """Return whether another attempt might follow ``attempt``."""
        max_requests = self.request.plan.retries.attempts
        return max_requests > 1 and requests_sent(self._outcomes) + attempt.requests < max_requests

    def would_be_followed(self, attempt: AnswerSource, error: ErrorInfo) -> bool:
        """Return whether another attempt would follow if ``attempt`` failed with ``error``.

        Without another attempt, ``error`` goes to the client."""
        step = attempt.target_request.step
        failure = Outcome(step.target, error, attempt.stage, step.omissions, requests=attempt.requests)
        following = self.request.plan.policy(self.request.plan, (*self._outcomes, failure), self._conditions)
        if not isinstance(following, Send):
            return False
        alike = attrs.evolve(error, headers=())  # headers count requests, and always differ
        return all(attrs.evolve(outcome.error, headers=()) != alike for outcome in self._outcomes)

    def _is_overtaken(self, account: AttemptAccount) -> bool:
        """Return whether, since the step was decided, another request has begun to test the target or to wait for it.

        Without this check, all concurrent requests would test the same target."""
        step, plan = account.step, self.request.plan
        if len(plan.candidates) == 1:
            return False
        outage = self._conditions.outage(step.target, alone=False)
        if outage is None or outage.unsteady:
            return False
        return not step.after or (outage.tried and (outage.reason != "rate_limited" or not self._outcomes))

    # One attempt

    def _start_attempt(self, account: AttemptAccount) -> bool:
        """Start an attempt. Return false if another worker's request already tests the target."""
        is_added = bool(self._outcomes) and counts_as_retry(self._outcomes)
        if account.begin(added=is_added) or not self._is_overtaken(account):
            return True
        account.mark_unsent()
        return False

    async def _run_attempt(self, account: AttemptAccount, make: Make[A]) -> A | None:
        """Return the response of an attempt that has started, or ``None`` if it failed or lost."""
        try:
            answer = await self._await_answer(account, make)
        except GatewayError as error:
            await self._note_failed_attempt(account, error.info)
            return None
        has_lost = True
        try:
            if self._trial is not None:
                await self._trial.wait()
                if not self._has_won:
                    account.target_request.report(self.context.record)
            has_lost = self._has_won
        finally:
            if has_lost:  # to another one, at the same time
                await answer.aclose()
                account.mark_lost()
                account.close()
        if has_lost:
            return None
        self._current_account, self._has_won = account, True
        return answer

    async def _await_answer(self, account: AttemptAccount, make: Make[A]) -> A:
        """Return the response of an attempt once it may go to the client. Raises ``GatewayError``."""
        context, plan = self.context, self.request.plan
        if account.cause != "hedge" and plan.retries.attempts > 1:
            account.resends = Resends(self._allowed_requests(account) - 1)
        try:
            if account.step.after:
                await self._wait_until_due(account)
            if (content_limit := self._content_limit(account)) <= 0:
                raise GatewayError.of(_TOO_LATE)
            watch = Watch(account.target.entry.timeouts, content_limit)
            attempt = Attempt(account.target_request, watch, context.attempt_log, account.cause, account.resends)
            for observe in context.service.hooks.observe_attempts:
                if (observer := observe(attempt.target_request, self.scope.nursery)) is not None:
                    attempt.observers.append(observer)
            return await begin_answer(context, watch, account.attach(attempt, make))
        except BaseException as error:
            if self._has_won:
                account.mark_lost()
            elif isinstance(error, GatewayError):
                account.fail(self._without_client_timeout(error.info), error.info.reason)
            elif isinstance(error, Exception):  # an error of the gateway; the client has not disconnected
                account.fail(MISTAKE)
            elif context.checks is not None and (refusal := context.checks.refusal) is not None:
                account.fail(refusal.info)
            account.close()
            raise

    def _commit(self, account: AttemptAccount) -> None:
        """Report that the response of the attempt goes to the client, and that there are no other attempts."""
        turn = self.request.turn
        account.commit()
        if turn.records:
            assert account.answer is not None, "it has begun"
            turn.record_target(account.target, account.answer.writer)
        if (affinity := self.request.affinity) is not None:
            balancer, plan = self.context.service.balancer, self.request.plan
            self.context.record.landing = balancer.record_landing(plan, account.target, affinity, self._outcomes)
        # Token counting may accept fewer members than answers do.
        is_count = self.request.counted_as is CountedAs.REQUEST
        if self._outcomes and not is_count and (paths := learned_paths(self._outcomes, account.target)):
            self.context.service.rejections.remember(account.target, self.context.client_request, paths)

    # Two concurrent attempts

    def _hedge_delay(self, first: AttemptAccount) -> float | None:
        """Return the seconds after which a hedge starts if ``first`` has no content; ``None`` without a hedge."""
        plan, service = self.request.plan, self.context.service
        if plan.route is None or plan.route.hedge is None or self._outcomes or len(plan.candidates) == 1:
            return None
        service.balancer.hedge_shares.count_request(
            plan.route.name, plan.route.hedge, self.context.client_request.client
        )
        if self.request.turn.background is not None or not may_run_twice(self.request.incoming, plan.targets):
            return None
        after = plan.route.hedge.after
        if after != "p95":
            return after
        return service.balancer.loads.percentile(first.target, 0.95, self._conditions.now)

    async def _run_hedged(self, first: AttemptAccount, delay: float, make: Make[A]) -> A | None:
        """Return the response of ``first`` or of its hedge, or ``None`` if both failed."""
        run_hedged = (await load_module("gateway.exchange.hedged")).run_hedged  # few routes have hedges

        async def prepare_second() -> "Contender[A] | None":
            second = await self._prepare_hedge(first)
            if second is None:
                return None
            if not isinstance(second, AttemptAccount):
                return partial(self._run_cached, second)
            if self._has_won or any(outcome.target is first.target for outcome in self._outcomes):  # meanwhile
                second.release_grant()
                return None
            first.resends.withdraw()
            second.resends = Resends(self._allowed_requests(second, max(1, first.requests)) - 1)
            second.begin(added=True)
            return partial(self._run_attempt, second, make)

        try:
            found: A | None = await run_hedged(partial(self._run_attempt, first, make), delay, prepare_second)
            return found
        except BaseException:  # such as a disconnect at the time of a win
            if self._has_won and (answer := self._account.answer) is not None:
                await answer.aclose()
                self._account.close()
            raise

    async def _run_cached(self, cached: CachedContender[A]) -> A | None:
        """Return the cached response of a hedge, or ``None`` if it lost or cannot be used."""
        if self._has_won:
            return await cached(True)
        self._trial = trio.Event()
        try:
            answer = await cached(False)
            self._has_won = answer is not None
        finally:
            self._trial.set()
        return answer

    async def _prepare_hedge(self, first: AttemptAccount) -> AttemptAccount | CachedContender[Any] | None:
        """Return the hedge of ``first``: the attempt that would follow a timeout, or a contender with its cached
        response; ``None`` if the hedge would have to wait."""
        plan = self.request.plan
        assert plan.route is not None, "it hedges"
        slow = Outcome(first.target, ErrorInfo("timeout", "it is slow"), requests=max(1, first.requests))
        step = plan.policy(plan, (*self._outcomes, slow), self._conditions)
        if not isinstance(step, Send) or step.after or step.target is first.target:
            return None
        if self._conditions.outage(step.target, alone=False) is not None:
            return None
        if not self.context.service.balancer.hedge_shares.claim(plan.route.name, self.context.client_request.client):
            return None
        try:
            target_request = await self._write_request(step, "hedge")
            if self.find_cached is not None and (cached := await self.find_cached(target_request)) is not None:
                return cached
            grant = await self._reserve(target_request, is_hedge=True)
        except GatewayError:
            return None
        return None if isinstance(grant, ErrorInfo) else AttemptAccount(self.context, target_request, "hedge", grant)

    # Limits

    def _allowed_requests(self, account: AttemptAccount, others: int = 0) -> int:
        """Return how many requests an attempt may send while ``others`` are running.

        A second one is for a dead pooled connection, unless it would take the last request from an untried target."""
        remaining = self.request.plan.retries.attempts - requests_sent(self._outcomes) - others
        if remaining == 2 and has_untried_target(self.request.plan, self._outcomes, account.target):
            return 1
        return min(2, remaining)

    async def _wait_in_queue(self, account: AttemptAccount, queued: QueuedAttempt) -> bool:
        """Wait in the queue of a target, and return whether the attempt has its allowances. Raises ``GatewayError`` at
        the end of the drain."""
        remaining = self.request.plan.deadline - self._conditions.now
        with self._waiting():
            found = await queued.wait(trio.current_time() + remaining)
        if isinstance(found, Grant):
            account.grant = found
            return True
        self._add_refused(account.target, found)
        return False

    async def _wait_until_due(self, account: AttemptAccount) -> None:
        """Wait as long as the step requires, and until an unavailable target is due.

        Failures of other requests may postpone that. Raises ``GatewayError`` at the end of the drain, and if there is
        not enough time."""
        plan = self.request.plan
        seconds, waited = account.step.after, 0.0
        while seconds:
            with self._waiting():
                await trio.sleep(seconds)
            waited += seconds
            seconds = seconds_until_due(plan, account.target, self._conditions)
            if waited + seconds > plan.retries.wait or self._conditions.now + seconds >= plan.deadline:
                raise GatewayError.of(account.unavailable_error(seconds))

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """Add the time of the block to the record. Raises ``GatewayError`` at the end of the drain, which ends it."""
        record, lifecycle, began = self.context.record, self.context.service.lifecycle, trio.current_time()
        try:
            with trio.CancelScope() as scope, lifecycle.track_pump(scope):
                yield
        finally:
            record.waited += trio.current_time() - began
        if scope.cancelled_caught:
            record.shut_down = True
            raise GatewayError.of(SHUTTING_DOWN)

    def _content_limit(self, account: AttemptAccount) -> float:
        """Return the limit in seconds of the time to an attempt's first content."""
        plan = self.request.plan
        remaining = math.inf if plan.deadline == math.inf else max(0.0, plan.deadline - self._conditions.now)
        route = plan.route
        if route is None or route.first_content is None or not self.request.incoming.stream:
            return remaining
        has_other = has_untried_target(plan, self._outcomes, account.target)
        return min(remaining, route.first_content) if has_other else remaining

    def _without_client_timeout(self, error: ErrorInfo) -> ErrorInfo:
        """Return ``error`` for the target's health: without a reason if the client's deadline caused the timeout
        (BerriAI/litellm#41223)."""
        late = self._conditions.now >= self.request.plan.deadline
        return attrs.evolve(error, reason=None) if late and error.reason == "timeout" else error

    async def _note_failed_attempt(self, account: AttemptAccount, error: ErrorInfo) -> None:
        """Add a failed attempt to the outcomes, with the parts of the request that it rejected."""
        outcome = account.outcome(self._without_client_timeout(error))
        if outcome.stage is Stage.SENDING:
            refused = await offload(self.request.incoming.size, self._omittable_parts, account.target_request, error)
            outcome = attrs.evolve(outcome, refused=refused)
        self._add_outcome(outcome)

    # The next attempt

    async def _prepare_next(self) -> AttemptAccount:
        """Return the next attempt that can be prepared. Raises ``GatewayError`` if there is none."""
        while True:
            cause = self._cause(step := self._next_step())
            target_request = await self._write_for(step, cause)
            if target_request is None:
                continue
            grant = await self._reserve(target_request)
            if not isinstance(grant, ErrorInfo):
                return AttemptAccount(self.context, target_request, cause, grant)
            self._add_refused(step.target, grant)

    async def _reserve(
        self, target_request: TargetRequest, *, is_hedge: bool = False
    ) -> Grant | QueuedAttempt | ErrorInfo | None:
        """Reserve for ``target_request``, as ``Reservation.reserve`` does, if any limit applies. A hedge never waits in
        a queue."""
        if self._reservation is None or target_request.size is None:
            return None
        target, size = target_request.target, target_request.size
        return await self._reservation.reserve(target, size, queues=not is_hedge, is_hedge=is_hedge)

    async def _write_for(self, step: Send, cause: Cause) -> TargetRequest | None:
        """Return the request of ``step``, or ``None`` and add an outcome if the target cannot serve it.

        Raises ``GatewayError`` if the operator's steps refuse it, because no attempt follows a refusal."""
        try:
            return await self._write_request(step, cause)
        except GatewayError as error:
            if error.info.reason is None:
                raise
            self._add_outcome(Outcome(step.target, error.info, Stage.PREPARING, step.omissions))
            return None

    async def _write_request(self, step: Send, cause: Cause) -> TargetRequest:
        """Return the request of ``step``.

        Raises ``GatewayError`` (400) if the target cannot serve it or, in strict mode, would lose a part."""
        first, self._written_request = self._written_request, None
        if first is not None and first.step.target is step.target and first.step.omissions == step.omissions:
            written = first if step.after == first.step.after else attrs.evolve(first, step=step)
        else:
            written = await write_request(self.context, self.request, step, cause)
        return written if written.ids is self._ids else attrs.evolve(written, ids=self._ids)

    def _cause(self, step: Send) -> Cause:
        if not self._outcomes:
            return "first"
        return "retry" if any(outcome.target is step.target for outcome in self._outcomes) else "fallback"

    def _omittable_parts(self, target_request: TargetRequest, error: ErrorInfo) -> Omissions:
        """Return the parts of the request that ``error`` rejects and that can be omitted."""
        return rejected_parts(
            error, target_request.prepared, target_request.sent, target_request.target,
            partial(self.request.prepare, target_request.target),
            streams=self.request.incoming.stream and self.request.form is Form.TRANSLATED
            and target_request.choices == 1,
        )  # fmt: skip
