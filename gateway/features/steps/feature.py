"""The row of steps that check, mask, refuse or record texts."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "steps",
    "before all features that read or send texts: they get what the steps leave",
)
