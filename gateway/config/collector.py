"""The receiver of traces, by the configuration: Plano's keys, whose collector is asked in gRPC, and ours."""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from gateway.config.schema import RawTracing
from gateway.config.settings import TracingSettings

GRPC_PORT: Final = 4317
HTTP_PORT: Final = 4318


def collector(raw: RawTracing | None, warn: Callable[[str], object]) -> TracingSettings | None:
    """The settings that hold for traces; ``warn`` gets a sentence where that is not what the file says."""
    if raw is None:
        return None
    share = None if raw.random_sampling is None else raw.random_sampling / 100
    endpoint: str | None = raw.endpoint
    if endpoint is None and raw.opentracing_grpc_endpoint is not None:
        given = urlsplit(raw.opentracing_grpc_endpoint)
        port = HTTP_PORT if given.port in (None, GRPC_PORT) else given.port
        endpoint = f"{given.scheme}://{given.netloc.rpartition(':')[0] if given.port else given.netloc}:{port}"
        warn(
            f"tracing.opentracing_grpc_endpoint: traces go over HTTP, not gRPC, to port {port} there; endpoint chooses"
        )
    return TracingSettings(share, endpoint)
