"""The row of changes of requests for providers' prompt caches."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "cache_acts",
    "after the features that change texts: its marks count what is sent",
)
