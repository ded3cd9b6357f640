"""The accounts of one attempt: its target's health and load, its allowances, and its record."""

import time
from collections.abc import Callable

import attrs

from gateway.allowances.reservation import Grant, QueuedAttempt
from gateway.exchange.attempt import Attempt, Resends
from gateway.exchange.attempt_answer import A, AttemptAnswer
from gateway.exchange.context import ExchangeContext
from gateway.exchange.target_request import TargetRequest
from gateway.health.health import OpenAttempt
from gateway.health.witnesses import fingerprint
from gateway.ledger.bill import AttemptOutcome, AttemptRecord, Cause
from gateway.routing.most_useful import all_unavailable_error
from gateway.routing.plan import Outage, Outcome, Stage
from gateway.routing.target import LaneName
from streams.events import ErrorInfo, FailureReason, Usage


class AttemptAccount:
    """Reporter of one attempt: to its target's health and load, to the allowances and to the record.

    Call ``begin`` before the attempt is sent, ``commit`` when its response goes to the client, ``fail`` when it fails
    before or after that, and ``close`` once at the end. ``grant`` is its share of the target's allowances, if any, or
    its place in the queue for them."""

    _open: OpenAttempt | None

    def __init__(
        self,
        context: ExchangeContext,
        target_request: TargetRequest,
        cause: Cause,
        grant: Grant | QueuedAttempt | None = None,
    ) -> None:
        self.step = target_request.step
        self.target = target_request.step.target  # of the plan, which compares it
        self.cause = cause
        self.grant = grant
        self.resends = Resends(1)
        self.attempt: Attempt | None = None
        self.answer: AttemptAnswer | None = None
        self.committed = False
        self._context = context
        self._unsent_request: TargetRequest | None = target_request
        self._open = None
        self._content = 0.0
        self._recorded: AttemptRecord | None = None
        self._lane_at_end = target_request.target.lane

    @property
    def target_request(self) -> TargetRequest:
        """The attempt's request, without its text after ``release``."""
        if self._unsent_request is not None:
            return self._unsent_request
        assert self.attempt is not None, "it has the request then"
        return self.attempt.target_request

    @property
    def requests(self) -> int:
        """The number of requests that the attempt has sent."""
        return 0 if self.attempt is None else self.attempt.requests

    @property
    def reported_usage(self) -> Usage | None:
        """The usage that the provider reported for a response that did not go to the client."""
        return None if self._recorded is None else self._recorded.usage

    # Before it is sent

    def begin(self, *, added: bool) -> bool:
        """Report an attempt that is about to be sent, perhaps after a wait; ``added`` if the retry budget pays for it.

        Return false if another request is already testing the target, or about to."""
        service = self._context.service
        self._open = service.health.begin(
            self.target, self._context.forwarded_credential(self.target), added=added,
            client=self._context.client_request.client, reports=self.target_request.request.reports_target_health,
        )  # fmt: skip
        service.balancer.loads.begin_request(self.target)
        return not self._open.is_overtaken

    def mark_unsent(self) -> None:
        """Report that the attempt was not sent, after ``begin``."""
        self._end()
        self.release_grant()

    def release_grant(self) -> None:
        """Release the allowances reserved for an attempt that is not made."""
        if isinstance(self.grant, Grant):
            self.grant.end(None)

    def unavailable_error(self, seconds: float) -> ErrorInfo:
        """Return the failure of an attempt whose target is unavailable for longer than it may wait."""
        return attrs.evolve(all_unavailable_error([(self.target, Outage("overloaded", seconds))], 0.0), reason=None)

    def attach(self, attempt: Attempt, make: Callable[[Attempt], A]) -> A:
        """Attach the ``attempt`` that is about to be sent, and return the reader of its response."""
        self.attempt, self._unsent_request = attempt, None
        self.answer = answer = make(attempt)
        return answer

    # Afterwards

    def commit(self) -> None:
        """Report that the response goes to the client."""
        attempt = self.attempt
        assert attempt is not None, "it has an answer"
        self._content, self.committed = time.perf_counter(), True
        attempt.watch.lift_content_limit()
        self._report_time_to_content(attempt)
        if self._open is not None:
            self._open.mark_started()
        if self.cause == "hedge":  # other attempts reported it before they were sent
            attempt.target_request.report(self._context.record)
        self._record_response_facts(attempt)
        self._record_end("ok")

    def fail(self, error: ErrorInfo, recorded_reason: FailureReason | None = None) -> None:
        """Report that the attempt failed, before or after its commit.

        ``recorded_reason`` is the reason to record if ``error`` has none because the target is not at fault."""
        if not self.committed and self.attempt is not None:
            self._record_response_facts(self.attempt)
            if error.reason == "timeout":
                self._report_time_to_content(self.attempt, at_least=True)
        if self._open is not None:
            self._open.mark_failed(error, fingerprint(self.target_request.request.incoming.body))
        self._record_end(error.reason or recorded_reason or self._context.own_reason(error))

    def mark_lost(self) -> None:
        """Report that the attempt lost against a concurrent one."""
        self._record_end("hedge_lost")
        if self.attempt is not None:
            self._report_time_to_content(self.attempt, at_least=True)

    def end_part(self, usage: Usage) -> None:
        """Report that the response, which has ended, is only a part of the client's. It has its own bill, with
        ``usage``."""
        assert self._recorded is not None, "it was committed"
        self.committed = False
        self._record_attempt(attrs.evolve(self._recorded, committed=False, usage=usage))
        self.close()

    def close(self) -> None:
        """Report the end of the attempt and release everything."""
        self._end()
        if self._recorded is None:
            self._record_end("client_left")
        if isinstance(self.grant, Grant) and not self.committed:
            self.grant.end(None if self._recorded is None else self._context.bill.charge(self._recorded))
        if on_usage := self.target_request.prepared.on_usage:
            usage = self._context.bill.usage if self.committed else self.reported_usage
            if usage is not None:
                for note in on_usage:
                    note(usage)
        self._lane_at_end, self.answer = self._lane, None  # breaks a reference cycle through the walk

    def outcome(self, error: ErrorInfo) -> Outcome:
        """Return the outcome for the plan's policy if the attempt, or the wait for it, failed with ``error``."""
        stage = Stage.WAITING if self.attempt is None else self.attempt.stage
        return Outcome(self.target, error, stage, self.step.omissions, requests=self.requests)

    def _end(self) -> None:
        if self._open is not None:
            self._open.close()
            self._context.service.balancer.loads.end_response(self.target)

    @property
    def _lane(self) -> LaneName:
        return self._lane_at_end if self.answer is None else self.answer.lane_name

    def _record_response_facts(self, attempt: Attempt) -> None:
        """Record the lane and the provider's id of the response."""
        record = self._context.record
        record.lane = self._lane
        record.upstream_id = attempt.upstream_id

    def _record_end(self, reason: AttemptOutcome) -> None:
        """Record how the attempt ended, unless its wait ended first: then nothing was sent."""
        if self.attempt is not None:
            usage = None if self.answer is None else self.answer.usage
            self._record_attempt(
                self.attempt.to_record(reason, self._lane, content=self._content, committed=self.committed, usage=usage)
            )

    def _record_attempt(self, attempt: AttemptRecord) -> None:
        """Record ``attempt``, and replace the earlier record if it failed after its commit."""
        self._context.attempt_log.add(attempt, self._recorded)
        self._recorded = attempt
        if self.attempt is not None:
            for observer in self.attempt.observers:
                observer.note_record(attempt)

    def _report_time_to_content(self, attempt: Attempt, *, at_least: bool = False) -> None:
        """Report the seconds to a stream's first content, by which balancing compares targets."""
        request = attempt.target_request.request
        is_compared = request.plan.route is not None and request.reports_target_health and request.incoming.stream
        if is_compared and not self.step.after:
            service = self._context.service
            now = service.health.clock()
            service.balancer.loads.record_start(self.target, attempt.watch.seconds, now, at_least=at_least)
