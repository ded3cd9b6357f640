"""The endpoints whose content no step can read, and the parts of text that they would carry."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from gateway.steps.loaded import LoadedStep
from providers.endpoints.endpoint import EndpointName
from trigate.steps import PARTS, Part

_FILES: Final[frozenset[Part]] = frozenset(("input", "media", "other"))

UNREADABLE: Final[Mapping[EndpointName, frozenset[Part]]] = MappingProxyType({
    "files": _FILES, "uploads": _FILES, "vector_stores": _FILES, "containers": _FILES, "voices": _FILES,
    "videos": _FILES, "transcriptions": _FILES, "translations": _FILES, "ocr": _FILES,
    "realtime": frozenset(PARTS), "passthrough": frozenset(PARTS),
})  # fmt: skip
"""Batches are not among them: their files are checked line by line."""


def closes(step: LoadedStep, endpoint: str) -> bool:
    """Return whether clients of ``step`` cannot use ``endpoint``, because it carries text that the step must see.

    A step that only reports, or passes unchecked content, closes nothing; nor does one for other endpoints."""
    carried = UNREADABLE.get(endpoint)  # type: ignore[call-overload]
    if carried is None or step.only_reports or step.unchecked == "pass":
        return False
    if set(step.moments) <= {"finished"} or not step.parts & carried:
        return False
    return step.covers_endpoint(endpoint)


def closed_endpoints(step: LoadedStep) -> Iterator[str]:
    """Yield the endpoints that ``step`` closes."""
    return (name for name in UNREADABLE if closes(step, name))
