"""The row of recordings of exchanges."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "recording",
    "gateway.features.recording.opening:open_recorder",
    option="record",
    check_option="gateway.features.recording.opening:open_target",
)
