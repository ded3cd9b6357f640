"""Traces: spans of each exchange, sent to a collector by OpenTelemetry's official SDK.

A running exchange only notes times; its spans are made after its end, except the two whose ids others need. A thread
sends them from a bounded queue; spans that do not fit or are not accepted are dropped and counted. No exchange waits
for this, and spans contain no content of an exchange."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import trio
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers

import gateway
from gateway.config.patterns import matches
from gateway.features.tracing.feature import TracingSettings as Settings
from gateway.features.tracing.messages import message_attributes
from gateway.features.tracing.reading import TextReader
from gateway.features.tracing.spans import (
    LONGEST_NAME,
    AttemptTimes,
    Attributes,
    attempt_attributes,
    call_attributes,
    exchange_attributes,
    operation_of,
    request_attributes,
)
from gateway.http.headers import Headers
from gateway.http.redaction import Secrets
from gateway.ledger.bill import AttemptRecord
from gateway.ledger.record import ArrivedRequest, Record, Work
from gateway.logs.masking import Mask
from gateway.named_imports import import_named
from gateway.seams.observed_texts import EACH, ObservedTexts, TextRoom
from gateway.upstream.request import UpstreamRequest
from streams.events import Api

log = logging.getLogger("trigate.tracing")

QUEUED: Final = 4096
"""Spans that wait to be sent."""
BATCH: Final = 512
LAST: Final = 3.0
"""Seconds for the remaining spans at the end of the process."""

_START_ORDER: Final = {"first": 0, "hedge": 1}
"""The order in which attempts start, by their cause, if it differs from the order in which they end."""
_CONTEXT: Final = ("traceparent", "tracestate")
_EXPORTER: Final = "OTEL_EXPORTER_OTLP_"


class Trace(ObservedTexts):
    """The trace of one exchange. Its methods run within the exchange and do little more than read the clock."""

    def __init__(self, tracing: "Tracing", span: Span, record: Record) -> None:
        super().__init__(record, tracing.room, tracing.wants_texts)
        self._tracing = tracing
        self._span = span
        self._call: Span | None = None
        self._attempts: list[AttemptTimes] = []
        self._request_attributes: Attributes = {}  # of the last request that was sent

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        """Return ``request`` with the headers that make the provider's spans children of this call."""
        if self._call is None:
            name = self._tracing.mask(f"{operation_of(self._record)} {self._record.model}")[:LONGEST_NAME]
            self._call = self._tracing.child(self._span, name, client=True)
        if self._span.is_recording():
            self._request_attributes = request_attributes(request.body)
        attempt = AttemptTimes(request.url)
        self._attempts.append(attempt)
        headers = tuple(pair for pair in request.headers if pair[0].lower() not in _CONTEXT)
        return attrs.evolve(
            request, headers=(*headers, *_context_headers(self._call)), on_connect=attempt.mark_connected
        )

    def note_sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        """Note that the request has its slot, for which it may have waited."""
        self._times(request).mark_sent(waited)

    def note_head(self, request: UpstreamRequest, status: int, headers: Headers) -> None:
        """Note the head of the provider's response."""
        self._times(request).mark_answered(status)

    def _times(self, request: UpstreamRequest) -> AttemptTimes:
        """Return the times of the attempt of ``request``. Two may run at the same time."""
        return next(one for one in reversed(self._attempts) if one.mark_connected == request.on_connect)

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        """Create the spans of the ended exchange, with its log ``line``."""
        ended = time.perf_counter()
        self.settle()
        if self._span.is_recording():
            self._write_spans(line, ended)
            if self._call is not None and self.is_wanted:
                self._tracing.end_with_texts(self, record.client, ended)
                return
        self.end_spans(ended)

    def end_spans(self, ended: float, more: Attributes | None = None) -> None:
        """End the spans, with ``more`` attributes of the call."""
        if self._call is not None:
            self._call.set_attributes(self._mask_attributes(more or {}))
            self._call.end(_to_nanoseconds(ended))
        self._span.end(_to_nanoseconds(ended))

    def _write_spans(self, line: Mapping[str, Any], ended: float) -> None:
        record = self._record
        self._span.set_attributes(self._mask_attributes(exchange_attributes(record, line)))
        _set_span_status(self._span, record, line["ended"])
        begun = self._attempts[0].began if self._attempts else ended
        self._phase(self._span, "prepare", record.began, begun)
        for note in record.notes.values():
            self._write_work_spans(note.work())
        if self._call is None:
            return
        self._call.set_attributes(
            {**self._request_attributes, **self._mask_attributes(call_attributes(record, self._attempts))}
        )
        _set_span_status(self._call, record, line["ended"])
        if record.first_write is not None:
            self._call.add_event("first token", timestamp=_to_nanoseconds(record.began + record.first_write))
        several = len(self._attempts) > 1
        if several:
            self._call.update_name(self._tracing.mask(f"{operation_of(record)} {record.model}")[:LONGEST_NAME])
        for attempt, end, attempt_record in zip(
            self._attempts, self._ends(ended), self._records_by_start(), strict=True
        ):
            parent = self._attempt(self._call, attempt, attempt_record, end) if several else self._call
            for name, since, until in attempt.phases(end):
                self._phase(parent, name, since, until)

    def _write_work_spans(self, works: Sequence[Work]) -> None:
        for work in works:
            span = self._tracing.child(self._span, work.name, work.began)
            span.set_attributes(work.attributes)
            if work.failure is not None:
                _fail(span, work.failure)
            span.end(_to_nanoseconds(work.ended))

    def _records_by_start(self) -> Sequence[AttemptRecord | None]:
        """Return the record of each attempt in the order in which they started."""
        tried = sorted(
            self._record.bill.attempt_records, key=lambda one: _START_ORDER.get(one.cause, len(_START_ORDER))
        )
        return tried if len(tried) == len(self._attempts) else [None] * len(self._attempts)

    def _ends(self, ended: float) -> Iterator[float]:
        """Yield the end of each attempt; for one without a record, the start of the next one."""
        nexts = [*(one.began for one in self._attempts[1:]), ended]
        for one, attempt_record, next_ in zip(self._attempts, self._records_by_start(), nexts, strict=True):
            if attempt_record is None:
                yield next_
            elif attempt_record.seconds is None or len(nexts) == 1:
                yield ended
            else:
                yield min(ended, one.began + attempt_record.seconds)

    def _attempt(self, call: Span, times: AttemptTimes, attempt_record: AttemptRecord | None, end: float) -> Span:
        """Return the span of one of several attempts."""
        span = self._tracing.child(call, "attempt", times.began)
        span.set_attributes(self._mask_attributes(attempt_attributes(times, attempt_record)))
        if attempt_record is not None and attempt_record.reason != "ok":
            _fail(span, attempt_record.reason)
        span.end(_to_nanoseconds(end))
        return span

    def _mask_attributes(self, attributes: Attributes) -> Attributes:
        """Return ``attributes`` without keys, which clients sometimes send as names."""
        mask = self._tracing.mask
        return {
            name: mask(value)
            if isinstance(value, str)
            else tuple(map(mask, value))
            if isinstance(value, tuple)
            else value
            for name, value in attributes.items()
        }

    def _phase(self, parent: Span, name: str, since: float, until: float) -> None:
        self._tracing.child(parent, name, since).end(_to_nanoseconds(until))


class Tracing:
    """The traces of one process. ``mask`` removes keys from spans."""

    def __init__(self, settings: Settings, dropped: Callable[[int], object], mask: Mask) -> None:
        self.mask = mask
        provider = _provider(settings)
        self._processors = [bounded_processor(*exporter, dropped) for exporter in _exporters(settings)]
        for processor in self._processors:
            provider.add_span_processor(processor)
        self._tracer = provider.get_tracer("trigate", gateway.__version__)
        self.room = TextRoom()
        self._reader = TextReader(EACH)
        self._shown = settings.content
        self.group_of: Callable[[str | None], str | None] = lambda client: None
        """Returns the group of a client, by the present configuration."""

    def wants_texts(self, client: str | None) -> bool:
        """Return whether the texts of ``client`` are in spans."""
        return bool(self._shown) and matches(self._shown, (self.group_of(client),))

    def end_with_texts(self, trace: Trace, client: str | None, ended: float) -> None:
        """Read the texts of an ended exchange in a thread, then end its spans. Beyond a limit they have no texts."""
        if trace.is_lost:
            trace.end_spans(ended)
        else:
            end = partial(trace.end_spans, ended)
            self._reader.submit(client, trace.size, lambda: {**message_attributes(trace)}, end)

    def observe(self, record: Record, arrival: ArrivedRequest | None) -> Trace | None:
        """Start a trace of the exchange of ``record``, as a child of the trace in the client's headers."""
        if arrival is None:
            return None

        carried = {name: value for name, value in arrival.headers if name in _CONTEXT}
        parent = TraceContextTextMapPropagator().extract(carried)
        path = arrival.path
        asked = {"http.request.method": "POST", "url.path": path, "http.route": path}
        span = self._tracer.start_span(
            f"POST {path}", parent, SpanKind.SERVER, asked, start_time=_to_nanoseconds(record.began)
        )  # fmt: skip
        return Trace(self, span, record)

    def child(self, parent: Span, name: str, since: float | None = None, *, client: bool = False) -> Span:
        """Return a span within ``parent`` that started at ``since`` (``time.perf_counter``) or starts now."""

        kind = SpanKind.CLIENT if client else SpanKind.INTERNAL
        start = None if since is None else _to_nanoseconds(since)
        return self._tracer.start_span(name, set_span_in_context(parent), kind, start_time=start)

    async def aclose(self) -> None:
        """Send the remaining spans if that does not take long."""
        with trio.move_on_after(LAST):
            await self._reader.aclose()
            async with trio.open_nursery() as nursery:
                for one in self._processors:  # together, so that an unavailable collector costs only its own spans
                    nursery.start_soon(partial(trio.to_thread.run_sync, one.shutdown, abandon_on_cancel=True))


def _provider(settings: Settings) -> TracerProvider:
    """Return the SDK's provider of tracers."""

    named = Resource({"service.name": "trigate", "service.version": gateway.__version__})
    share = settings.sampling
    sampler = None if share is None else ParentBased(TraceIdRatioBased(share))  # otherwise the environment's
    for noisy in ("opentelemetry.exporter", "opentelemetry.sdk"):  # they log each failed batch
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    return TracerProvider(sampler, named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)


def _exporters(settings: Settings) -> Iterator[tuple[SpanExporter, str]]:
    """Yield an exporter for each destination, and its host if there are several."""
    if settings.endpoint is not None:
        yield OTLPSpanExporter(_traces_url(settings.endpoint)), urlsplit(settings.endpoint).hostname or ""
    elif not settings.destinations:
        yield OTLPSpanExporter(), ""
    for one in settings.destinations:
        exporter = OTLPSpanExporter(_traces_url(one.endpoint), headers=one.headers, session=_own_session(one.headers))
        yield exporter, urlsplit(one.endpoint).hostname or ""


def _traces_url(endpoint: str) -> str:
    return f"{endpoint.rstrip('/')}/v1/traces"


def _own_session(headers: Mapping[str, str]) -> Any:
    """Return a session of the SDK's HTTP client without the environment's headers, which the SDK adds to every
    exporter. They may be another collector's key."""
    texts = (os.environ.get(f"OTEL_EXPORTER_OTLP_{name}HEADERS", "") for name in ("", "TRACES_"))
    foreign = {name for text in texts for name in parse_env_headers(text, liberal=True)} - set(map(str.lower, headers))

    def remove(request: Any) -> Any:
        for name in foreign:
            request.headers.pop(name, None)
        return request

    session = import_named("requests:Session")()
    session.auth = remove
    return session


def bounded_processor(exporter: SpanExporter, host: str, dropped: Callable[[int], object]) -> Any:
    """Return a processor that passes spans to ``exporter``, at ``host``, in its own thread.

    It calls ``dropped``, in either thread, with the number of spans that were not sent."""

    class Counted(SpanExporter):
        """Called by the queue's thread only."""

        exported = 0
        away = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            Counted.exported += len(spans)
            result = exporter.export(spans)
            lost = result is not SpanExportResult.SUCCESS
            if lost:
                dropped(len(spans))
            if lost != self.away:
                self.away = lost
                where = f" by {host}" if host else ""
                log.warning("traces are %s%s", "lost: they are not accepted" if lost else "accepted again", where)
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

    class Queue(BatchSpanProcessor):
        """The SDK's own queue drops the oldest spans without a count, and logs a line for each."""

        queued = 0

        def on_end(self, span: ReadableSpan) -> None:
            if self.queued - Counted.exported >= QUEUED:
                dropped(1)
            elif span.context is not None and span.context.trace_flags.sampled:
                self.queued += 1
                super().on_end(span)

    return Queue(Counted(), max_queue_size=QUEUED + BATCH, max_export_batch_size=BATCH)


def _set_span_status(span: Span, record: Record, ended: str) -> None:
    if record.error is not None and ended != "complete":
        _fail(span, record.error.kind)


def _fail(span: Span, kind: str) -> None:

    span.set_status(StatusCode.ERROR, kind)
    span.set_attribute("error.type", kind)


def _context_headers(span: Span) -> Headers:
    """Return the headers that announce ``span`` to the other side."""

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(span))
    return tuple(carrier.items())


_EPOCH: Final = time.time_ns() - time.perf_counter_ns()


def _to_nanoseconds(seconds: float) -> int:
    """Convert a time of ``time.perf_counter`` to nanoseconds since 1970, the unit of spans."""
    return _EPOCH + int(seconds * 1e9)
