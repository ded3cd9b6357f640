"""The row of people, their sign-in and their pages."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "people",
    "first of those that identify clients",
)
