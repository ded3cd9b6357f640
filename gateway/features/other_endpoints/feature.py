"""The row of endpoints other than conversations."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "other_endpoints",
    "gateway.features.other_endpoints.routes:open_other_endpoints",
    first_steps=("v2",),
)
