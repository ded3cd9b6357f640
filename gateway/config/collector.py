"""Metrics and traces: the access to ``/metrics``, and the collector of traces."""

from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import attrs

from configfile.keys import Kind, ignored, setting
from configfile.kinds import Percent, Url
from configfile.wording import Wrong, describe
from gateway.config.findings import Findings
from gateway.config.kinds import OUTSIDE, later

GRPC_PORT: Final = 4317
HTTP_PORT: Final = 4318

Scraping: TypeAlias = Literal["off", "keyed", "open"]
"""The readers of ``/metrics``: none, clients with a key for everything, or all."""


@attrs.frozen(repr=False)
class MetricsSettings:
    """The mapping form of the key ``metrics``, which selects who may read ``/metrics``."""

    open: bool = setting("Let everyone who can connect read `/metrics`, even with `client_keys`.", False)


def _pick_metrics_type(value: Any) -> Any:
    if isinstance(value, bool | dict):
        return MetricsSettings if isinstance(value, dict) else bool
    raise Wrong(describe(value), "expected true, false or a mapping with the key open")


def _read_scraping(value: bool | MetricsSettings) -> Scraping:
    if isinstance(value, bool):
        return "keyed" if value else "off"
    return "open" if value.open else "keyed"


MetricsAccess: TypeAlias = Annotated[
    Scraping, Kind("true, false or mapping", _read_scraping, pick=_pick_metrics_type, parts=(bool, MetricsSettings))
]

Sampling: TypeAlias = Annotated[
    float,
    Kind(
        "0 to 100",
        lambda percent: percent / 100,
        pick=lambda _: Percent,
        parts=(Percent,),
        spell=lambda share: f"{share * 100:g}",
    ),
]
"""A ratio from 0 to 1, written in percent."""


@attrs.frozen(repr=False)
class TracingSettings:
    """Tracing: the ratio (0 to 1) of exchanges whose clients do not decide, and the ``endpoint`` of an OTLP/HTTP
    collector.

    ``None`` means as in OpenTelemetry's environment variables."""

    sampling: Sampling | None = setting(
        "The percentage of exchanges to trace, if the client's `traceparent` does not decide it.",
        None,
        shown="`OTEL_TRACES_SAMPLER`, else all",
        name="random_sampling",
    )
    endpoint: Url | None = setting(
        "The collector's address for OTLP over HTTP.",
        None,
        shown="`OTEL_EXPORTER_OTLP_ENDPOINT`, else `http://localhost:4318`",
    )
    content: tuple[str, ...] = setting(
        'The groups of clients whose prompts and answers are in spans, after all masks, with `*` and `!`. `["*"]` '
        "includes clients without a group.",
        (),
    )
    opentracing_grpc_endpoint: Url | None = setting(
        "Plano's name for a collector. Instead of port 4317, 4318 is used.",
        None,
        compared=False,
    )
    trace_arch_internal: Any = ignored(OUTSIDE)
    span_attributes: Any = ignored(later("no header becomes an attribute"))
    exporters: Any = ignored(later("traces go to `endpoint` alone"))

    def __str__(self) -> str:
        return self.endpoint or "on"


def collector(tracing: TracingSettings | None, findings: Findings) -> TracingSettings | None:
    """Return the settings, with the ``endpoint`` derived from Plano's key for a gRPC collector."""
    if tracing is None or tracing.endpoint is not None or tracing.opentracing_grpc_endpoint is None:
        return tracing
    given = urlsplit(tracing.opentracing_grpc_endpoint)
    port = HTTP_PORT if given.port in (None, GRPC_PORT) else given.port
    endpoint = f"{given.scheme}://{given.netloc.rpartition(':')[0] if given.port else given.netloc}:{port}"
    findings.warn(
        f"tracing.opentracing_grpc_endpoint: traces use HTTP, not gRPC, and go to port {port} there; to change "
        "that, set endpoint"
    )
    return attrs.evolve(tracing, endpoint=endpoint)
