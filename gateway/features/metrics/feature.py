"""The row of metrics."""

from typing import Final

from gateway.config.settings import Config
from gateway.features.metrics.settings import MetricsKeys
from gateway.seams.feature import Feature, Keys

__all__ = ["FEATURE", "MetricsKeys"]

FEATURE: Final = Feature(
    "metrics",
    "among the observers, whose order does not matter",
    keys=(Keys(Config, MetricsKeys),),
    advice="gateway.features.metrics.settings:ADVICE",
)
