"""The row of endpoints other than conversations."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "other_endpoints",
    "among the routes, whose order does not matter",
    "gateway.features.other_endpoints.routes:open_other_endpoints",
)
