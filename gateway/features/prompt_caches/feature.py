"""The row of explanations of misses of providers' prompt caches."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "prompt_caches",
    "after all features that change what is sent: it compares what providers get",
)
