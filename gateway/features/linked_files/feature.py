"""The row of linked files."""

from gateway.seams.feature import Feature

FEATURE = Feature(
    "linked_files",
    "gateway.features.linked_files.opening:open_linked_files",
    lambda config: any(entry.images.inline for entry in config.entries),
)
