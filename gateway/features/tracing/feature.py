"""The row of traces."""

from typing import Final

from gateway.config.settings import Config
from gateway.features.tracing.settings import TracingKeys
from gateway.seams.feature import Feature, Keys

__all__ = ["FEATURE", "TracingKeys"]

_SETTINGS: Final = "gateway.features.tracing.settings"

FEATURE: Final = Feature(
    "tracing",
    keys=(Keys(Config, TracingKeys),),
    build=f"{_SETTINGS}:build_tracing",
    advice=f"{_SETTINGS}:ADVICE",
)
