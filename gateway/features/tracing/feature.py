"""The row of traces, and the key ``tracing``: their collector."""

import os
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias
from urllib.parse import urlsplit

import attrs

from configfile.keys import Kind, ignored, part_of, setting, with_part
from configfile.kinds import HeaderName, Percent, Secret, Url
from gateway.config.kinds import OUTSIDE, later, list_of
from gateway.config.parts import Instead
from gateway.config.settings import Config
from gateway.config_files.packages import is_present
from gateway.seams.feature import Feature, Keys

if TYPE_CHECKING:
    from gateway.config_files.building import Building


GRPC_PORT: Final = 4317
HTTP_PORT: Final = 4318

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
class TraceDestination:
    """A collector of traces. Only its own headers are sent to it, none of the environment's."""

    holds_secrets = True

    endpoint: Url = setting("The address of a collector for OTLP over HTTP.")
    headers: dict[HeaderName, Secret] = setting("Headers for it, such as its key.", factory=dict, secret=True)


@attrs.frozen(repr=False)
class TracingSettings:
    """Tracing: the ratio (0 to 1) of exchanges whose clients do not decide, and the ``endpoint`` of an OTLP/HTTP
    collector, or several ``destinations``.

    ``None`` means as in OpenTelemetry's environment variables."""

    sampling: Sampling | None = setting(
        "The percentage of traced exchanges, unless the client's `traceparent` decides.",
        None,
        shown="`OTEL_TRACES_SAMPLER`, else all",
        name="random_sampling",
    )
    endpoint: Url | None = setting(
        "The collector's address for OTLP over HTTP.",
        None,
        shown="`OTEL_EXPORTER_OTLP_ENDPOINT`, else `http://localhost:4318`",
    )
    destinations: Annotated[tuple[TraceDestination, ...], list_of(TraceDestination)] = setting(
        "Other collectors. Each gets all spans, and a slow one delays no other.", (), items="destination"
    )
    content: tuple[str, ...] = setting(
        'The client groups whose prompts and answers are in spans, after all masks, with `*` and `!`. `["*"]` includes '
        "clients without a group.",
        (),
    )
    opentracing_grpc_endpoint: Url | None = setting(
        "Plano's name for a collector. Instead of port 4317, 4318 is used.",
        None,
        compared=False,
    )
    trace_arch_internal: Any = ignored(OUTSIDE)
    span_attributes: Any = ignored(later("no header becomes an attribute"))
    exporters: Any = ignored(later("write `destinations`"))

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.endpoint, *(one.endpoint for one in self.destinations)))) or "on"


@attrs.frozen(repr=False)
class TracingKeys:
    """The keys of the root."""

    tracing: TracingSettings | None = setting(
        "The destination of traces.", None, shown="from the environment", restart=True
    )


def build_tracing(config: Config, building: "Building") -> Config:
    """Derive the ``endpoint`` from Plano's key for a gRPC collector. Warn if the SDK is missing."""
    tracing = part_of(config, TracingKeys).tracing
    if _has_collector(config) and not is_present(_EXPORTER):
        building.findings.warn("traces are not sent, because the SDK is missing: pip install 'trigate[otel]'")
    if tracing is None or tracing.endpoint is not None or tracing.opentracing_grpc_endpoint is None:
        return config
    given = urlsplit(tracing.opentracing_grpc_endpoint)
    port = HTTP_PORT if given.port in (None, GRPC_PORT) else given.port
    endpoint = f"{given.scheme}://{given.netloc.rpartition(':')[0] if given.port else given.netloc}:{port}"
    building.findings.warn(
        f"tracing.opentracing_grpc_endpoint: traces use HTTP, not gRPC, and go to port {port} there; to change "
        "that, set endpoint"
    )
    return with_part(config, TracingKeys(attrs.evolve(tracing, endpoint=endpoint)))


_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http"
_ROW: Final = "gateway.features.tracing.feature"


def _has_collector(config: Config) -> bool:
    """Return whether the configuration or the environment names a collector, and some exchanges are traced."""
    settings = part_of(config, TracingKeys).tracing
    if settings is None:
        return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}ENDPOINT") for name in ("", "TRACES_"))
    return settings.sampling != 0


ADVICE: Final = (
    Instead("write `tracing: {endpoint: http://HOST:4318}`", "otel opentelemetry telemetry traces", (Config,)),
)

FEATURE: Final = Feature(
    "tracing",
    "gateway.features.tracing.opening:open_tracing",
    _has_collector,
    keys=(Keys(Config, TracingKeys),),
    build=f"{_ROW}:build_tracing",
    advice="gateway.features.tracing.feature:ADVICE",
)
