"""The row of realtime sessions."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "realtime",
    "among the routes, whose order does not matter",
    "gateway.features.realtime.routes:open_realtime",
)
