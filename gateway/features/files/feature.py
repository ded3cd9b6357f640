"""The row of files, batches and other objects that providers store."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "files",
    "gateway.features.files.opening:open_files",
)
