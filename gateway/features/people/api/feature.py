"""The row of the calls about people in the HTTP API."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "people_calls",
    "gateway.features.people.api.opening:open_calls",
    needs=("admin",),
)
