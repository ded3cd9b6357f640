"""One request to one target: its signature, its transmission, and its response or failure."""

import time
from importlib import import_module
from typing import TYPE_CHECKING

import attrs

from gateway.allowances.reservation import CountedAs
from gateway.exchange.context import AttemptLog, attempt_record
from gateway.exchange.sending import send_signed
from gateway.exchange.target_request import AnswerSource, TargetRequest
from gateway.http.headers import Headers, upstream_id
from gateway.ledger.bill import CHARACTERS_PER_TOKEN, AttemptOutcome, AttemptRecord, Cause
from gateway.routing.plan import Stage
from gateway.routing.target import LaneName
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS
from providers.errors.limits import predict_outage
from streams.events import ErrorInfo, Usage
from streams.pipe import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.seams.observe import AttemptObserver


class Resends:
    """A counter of the resends that a request has left after a dead connection."""

    def __init__(self, count: int) -> None:
        self._left = count

    def take(self) -> bool:
        """Use one resend, and return whether any was left."""
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def withdraw(self) -> None:
        """Forbid all remaining resends."""
        self._left = 0


class Attempt(AnswerSource):
    """One request to one target, and its response or failure.

    ``send`` sends it once, a second time if a pooled connection was dead, and another time if its credential had
    expired. It knows neither other attempts nor the plan nor the use of its response. Only the attempt changes its
    attributes: ``upstream_id`` and ``headers`` belong to its response.
    ``on_send``, which its maker may set, is called when a request is about to be sent. ``observers`` learn what it
    sends."""

    def __init__(
        self,
        target_request: TargetRequest,
        watch: Watch,
        log: AttemptLog,
        cause: Cause,
        resends: Resends,
    ) -> None:
        super().__init__(target_request, watch)
        self.context, self.target = target_request.context, target_request.target
        self.on_send: Callable[[], object] | None = None
        self.observers: list[AttemptObserver] = []
        self.disclosure = target_request.disclosure
        self.cause = cause
        self.upstream_id: str | None = None
        self.headers: Headers = ()
        self._resends = resends
        self._log = log
        self._began = time.perf_counter()
        self._head = 0.0
        self._status: int | None = None
        self._delivered = False  # the provider may have the whole request
        self._is_billed_refusal = False  # the provider bills the prompt that it rejected
        self._sent_bodies = 0  # of ``_all_bodies``
        self._all_bodies = target_request.prepared.requests
        self._size = target_request.prepared.size

    async def send(self) -> UpstreamResponse:
        target_request = self.target_request
        self._sent_bodies += 1
        self._began = time.perf_counter()
        response = await send_signed(self, self.context.observers.outgoing(await target_request.upstream_request()))
        for observer in self.observers:
            await observer.note_head()
        self.stage = Stage.ANSWERING
        request = target_request.request
        if request.replace_ids is not None:
            request.replace_ids(self.target, response)
        if len(request.plan.candidates) > 1 and not self.target.entry.passthrough_auth:
            outage = predict_outage(response.headers)
            self.context.service.health.reported_limits.record(self.target.identity.place, outage)
        return response

    async def send_another(self, body: bytes) -> UpstreamResponse:
        """Return the response to another request like the last one, with ``body``. Raises as ``send`` does."""
        outgoing = attrs.evolve(self.target_request.prepared.outgoing, body=body)
        self.target_request = attrs.evolve(
            self.target_request, prepared=attrs.evolve(self.target_request.prepared, outgoing=outgoing)
        )
        self.stage = Stage.SENDING
        self._delivered, self._status = False, None
        self._resends = Resends(1)
        self.watch.restart_first_byte_limit()
        return await self.send()

    def to_record(
        self,
        reason: AttemptOutcome,
        lane: LaneName,
        *,
        content: float = 0.0,
        committed: bool = False,
        usage: Usage | None = None,
        resent: bool = False,
    ) -> AttemptRecord:
        """Return the record of the attempt with its outcome ``reason``, or of a request that is ``resent``.

        ``content`` is the time of its first content, ``usage`` what the provider reported for a response that no client
        receives."""
        began, target = self._began, self.target
        has_no_estimate = reason == "ok" or committed or resent
        return attempt_record(
            target, reason, lane, self.cause,
            status=self._status,
            head=self._head - began if self._head else None,
            content=content - began if content else None,
            seconds=None if reason == "ok" else time.perf_counter() - began,
            usage=usage if not committed and self._is_covered_by(usage) else None,
            unknown_usage=self._sent_usage() if not has_no_estimate and self._may_be_billed() else None,
            committed=committed,
            requests=max(1, self._sent_bodies),
            upstream_id=self.upstream_id,
        )  # fmt: skip

    def _is_covered_by(self, usage: Usage | None) -> bool:
        """Return whether ``usage``, by the answers so far, is that of all bodies that the provider may bill."""
        if self._all_bodies == 1:
            return self._is_answered
        return usage is not None and not usage.estimated and self._received_bodies < self._sent_bodies

    def _sent_usage(self) -> Usage:
        """Return the estimated usage of the bodies that the provider received, also after ``release``."""
        if self.target_request.size is None and self.target_request.prepared.size < self._size:
            usage = Usage(input=max(1, self._size // CHARACTERS_PER_TOKEN))
        else:
            usage = self.target_request.sent_usage()
        if self._is_billed_refusal:  # without the images or seconds that were not made
            usage = Usage(input=usage.input)
        return attrs.evolve(usage, input=-(-usage.input * self._received_bodies // self._all_bodies))

    def _may_be_billed(self) -> bool:
        """Return whether the provider may bill an attempt whose response no client received.

        It may if it started to respond, has the whole request and its response was not read (bircex/llmr#48), or
        rejected the prompt with a filter that it bills."""
        return self.target_request.request.counted_as is CountedAs.ANSWER and self._received_bodies > 0

    @property
    def _received_bodies(self) -> int:
        """The number of sent bodies that the provider may bill."""
        is_received = self._delivered if self._status is None else self._is_answered or self._is_billed_refusal
        return self._sent_bodies - (not is_received)

    @property
    def _is_answered(self) -> bool:
        """Whether the provider started a successful response."""
        return self._status is not None and 200 <= self._status < 300

    # Sending

    def ready(self, request: UpstreamRequest, proof: Headers) -> UpstreamRequest:
        planned = self.target_request.request
        most = None if planned.incoming.stream else self.context.service.settings.limits.answer
        upload = planned.upload
        if upload is not None:
            watched_upload = import_module("gateway.exchange.watched_upload")  # few endpoints have uploads
            upload = watched_upload.watch_upload(upload, self.watch, self._on_last_bytes)
        after_end = self._note_written if self.observers else None
        return request.ready(proof, most, self._on_send, self._claim_resend, self._on_last_bytes, upload, after_end)

    def note_head(self, response: UpstreamResponse) -> None:
        self._head, self._status = time.perf_counter(), response.status
        self.headers = response.headers
        self.upstream_id = self.disclosure.text(upstream_id(response.headers))

    def is_success(self, response: UpstreamResponse) -> bool:
        return 200 <= response.status < 300 or response.status in self.target_request.request.success_statuses

    def read_error(self, response: UpstreamResponse, body: bytes) -> ErrorInfo:
        self.context.observers.note_body(
            response.identity, response.status, body, is_public=self.context.checks is None
        )
        read = CODECS[self.target.api].read_error(response.status, body, response.headers)
        self._is_billed_refusal = read.reason == "content_filter" and self.target.row.bills_filtered_prompts
        return read

    def claim_repetition(self, error: ErrorInfo) -> bool:
        if self.target_request.request.upload is not None:  # a streamed upload cannot be sent again
            return False
        self._note_resend(error.reason or "credential")
        return True

    def _on_send(self, request: UpstreamRequest, waited: bool) -> None:
        """Count and report a request that is about to be sent, after any wait for a slot at the target."""
        target, disclosure = self.target, self.disclosure  # an observer may hold the lambda; ``self`` holds the request
        if self.on_send is not None:
            self.on_send()
        self._count_request()
        self.context.observers.note_sent(
            request, waited, target.api, target.entry.provider.id, lambda: disclosure.secrets
        )

    def _note_written(self) -> None:
        for observer in self.observers:
            observer.note_written()

    def _claim_resend(self) -> bool:
        """Claim and record a resend after a dead connection. Return false if none is left."""
        if not self._resends.take():
            return False
        self._note_resend("connection")
        self._count_request()
        return True

    def _count_request(self) -> None:
        self.requests += 1
        self._log.count_request()

    def _note_resend(self, reason: AttemptOutcome) -> None:
        """Note that a request of the attempt failed for ``reason`` and is sent again."""
        self._delivered = False
        self._log.add(self.to_record(reason, self.target.lane, resent=True))
        self.cause = "retry"
        self._status, self._head = None, 0.0

    def _on_last_bytes(self) -> None:
        """Note that the last bytes of the request are about to be written: the provider may bill it from now on."""
        self._delivered = True
        if (before_end := self.target_request.request.before_end) is not None:
            before_end()
