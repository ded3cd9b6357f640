"""The row of the live view."""

from typing import Final

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.live_view.settings import LiveViewKeys
from gateway.seams.feature import Feature, Keys

__all__ = ["FEATURE", "LiveViewKeys"]


def _is_on(config: Config) -> bool:
    return bool(part_of(config, LiveViewKeys).ui)


FEATURE: Final = Feature(
    "live_view",
    "gateway.features.live_view.opening:open_live_view",
    _is_on,
    keys=(Keys(Config, LiveViewKeys),),
    advice="gateway.features.live_view.settings:ADVICE",
)
