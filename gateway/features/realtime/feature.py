"""The row of realtime sessions."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "realtime",
    "gateway.features.realtime.routes:open_realtime",
)
