"""The row of the HTTP API of keys, groups and people, and keys in the state storage."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "admin",
    "before people, who use its way to serve calls",
)
