"""The row of traces."""

import os
from typing import Final

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.tracing.settings import TracingKeys
from gateway.seams.feature import Feature, Keys

__all__ = ["FEATURE", "TracingKeys"]

_SETTINGS: Final = "gateway.features.tracing.settings"


def _has_collector(config: Config) -> bool:
    """Return whether the configuration or the environment names a collector, and some exchanges are traced."""
    settings = part_of(config, TracingKeys).tracing
    if settings is None:
        return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}ENDPOINT") for name in ("", "TRACES_"))
    return settings.sampling != 0


FEATURE: Final = Feature(
    "tracing",
    "gateway.features.tracing.opening:open_tracing",
    _has_collector,
    keys=(Keys(Config, TracingKeys),),
    build=f"{_SETTINGS}:build_tracing",
    advice=f"{_SETTINGS}:ADVICE",
)
