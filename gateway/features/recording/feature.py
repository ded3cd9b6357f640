"""The row of recordings of exchanges."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "recording",
    "first of the observers: it writes down what the others only count",
    "gateway.features.recording.opening:open_recorder",
    option="record",
)
