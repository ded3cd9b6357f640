"""The row of metrics."""

from typing import Final

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.metrics.settings import MetricsKeys
from gateway.seams.feature import Feature, Keys

__all__ = ["FEATURE", "MetricsKeys"]


def _are_on(config: Config) -> bool:
    return part_of(config, MetricsKeys).metrics != "off"


FEATURE: Final = Feature(
    "metrics",
    "gateway.features.metrics.opening:open_running_metrics",
    _are_on,
    supervised="gateway.features.metrics.shared_metrics:shared_metrics",
    keys=(Keys(Config, MetricsKeys),),
    advice="gateway.features.metrics.settings:ADVICE",
)
