"""The row of the lists of models."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "model_lists",
    "gateway.features.model_lists.opening:open_model_lists",
)
