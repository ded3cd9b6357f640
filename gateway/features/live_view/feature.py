"""The row of the live view."""

from typing import Final

from gateway.config.settings import Config
from gateway.features.live_view.settings import LiveViewKeys
from gateway.seams.feature import Feature, Keys

__all__ = ["FEATURE", "LiveViewKeys"]

FEATURE: Final = Feature(
    "live_view",
    "gateway.features.live_view.pages.routes:open_live_view",
    keys=(Keys(Config, LiveViewKeys),),
)
