"""An OTLP/HTTP receiver of spans."""

import contextlib
import gzip
import threading
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import attrs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.harness import eventually
from tests.support.http_servers import QuietHandler, http_server


@attrs.frozen
class Span:
    name: str
    trace: str
    id: str
    parent: str
    kind: int
    start: int
    end: int
    attributes: Mapping[str, Any]
    events: Mapping[str, int]
    status: int
    resource: Mapping[str, Any]


def values(pairs: Any) -> dict[str, Any]:
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return found


class Collector:
    """An OTLP/HTTP receiver. While ``silent`` is not set, it takes requests and does not answer."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.headers: list[Mapping[str, str]] = []
        self.refuse = False
        self.answering = threading.Event()
        self.answering.set()
        self.asked = threading.Event()
        collector = self

        class Receiver(QuietHandler):
            def do_POST(self) -> None:
                body = self.read_body()
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.asked.set()
                collector.answering.wait(60)
                good = self.path == "/v1/traces" and not collector.refuse
                if good:
                    collector.take(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
                self.respond(200 if good else 400)

        self.handler, self.url = Receiver, ""

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in group.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Span(
                            span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.kind,
                            span.start_time_unix_nano, span.end_time_unix_nano, values(span.attributes),
                            {event.name: event.time_unix_nano for event in span.events}, span.status.code,
                            values(group.resource.attributes),
                        )
                    )  # fmt: skip

    def children(self, parent: Span, name: str) -> list[Span]:
        return [span for span in self.spans if (span.name, span.parent) == (name, parent.id)]

    def of(self, request_id: str) -> dict[str, Span]:
        """Return the spans of an exchange by name, once all have arrived: the server's is sent last."""

        def root() -> Span | None:
            return next((span for span in self.spans if span.attributes.get("trigate.request_id") == request_id), None)

        found = eventually(root, what=f"the spans of {request_id}")
        return {span.name: span for span in self.spans if span.trace == found.trace}


Kind = TypeVar("Kind", bound=Collector)


@contextlib.contextmanager
def serve_collector(kind: type[Kind] = Collector) -> Iterator[Kind]:
    """Serve a collector until the end of the block."""
    found = kind()
    with http_server(found.handler) as host:
        found.url = f"http://{host}"
        yield found
        found.answering.set()
