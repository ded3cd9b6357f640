"""The row of the live view."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "live_view",
    "among the observers, whose order does not matter",
    "gateway.features.live_view.pages.routes:open_live_view",
)
