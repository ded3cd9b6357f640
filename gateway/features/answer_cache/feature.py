"""The row of the cache of answers."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "answer_cache",
    "after the features that change a request: equal requests must be equal for the provider, too",
)
