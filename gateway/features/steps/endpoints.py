"""The endpoints other than conversations: the parts of text that they carry, and whether steps check them."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from gateway.features.steps.loaded import ClientFacts, LoadedStep, StepSet
from providers.endpoints.endpoint import ENDPOINTS, EndpointName
from trigate.steps import PARTS, Part

_ALL: Final[frozenset[Part]] = frozenset(PARTS)
_INPUT: Final[frozenset[Part]] = frozenset(("input", "media", "other"))

PARTS_BY_ENDPOINT: Final[Mapping[EndpointName, frozenset[Part]]] = MappingProxyType({
    **dict.fromkeys(ENDPOINTS, _INPUT),
    **dict.fromkeys(
        ("realtime", "realtime_translations", "live", "passthrough", "mcp", "batches", "message_batches"), _ALL
    ),
})  # fmt: skip
"""The parts of text that requests to each endpoint, and its responses, may have."""

CHECKED_ENDPOINTS: Final[frozenset[EndpointName]] = frozenset((
    "completions", "fim", "embeddings", "rerank", "moderations", "chat_moderations", "score", "pooling", "classify",
    "predict", "similarity", "classifications", "chat_classifications", "ocr", "speech", "image_generations",
    "image_edits", "image_variations", "batches", "message_batches",
))  # fmt: skip
"""The endpoints whose texts steps check. Clients of a step cannot use the others."""

CHECKED_ROUTES: Final = (("POST", "/v1/files"), ("GET", "/v1/files/{id}/content"))
"""The paths of files for batches, whose lines steps check. Other files are refused there."""

RECORDING_ENDPOINTS: Final[frozenset[EndpointName]] = frozenset(("transcriptions", "translations"))
"""The endpoints for recordings, which no step can read. Steps check the transcripts."""

FORM_ENDPOINTS: Final = frozenset(("image_edits", "image_variations", *RECORDING_ENDPOINTS))
"""The endpoints whose requests are multipart forms, with texts as fields."""


def closes_endpoint(step: LoadedStep, endpoint: str) -> bool:
    """Return whether clients of ``step`` cannot use ``endpoint``, because it carries text that the step must see.

    A step that only reports, or passes unchecked content, closes nothing; nor does one for other endpoints."""
    if not endpoint or endpoint in CHECKED_ENDPOINTS or not step.refuses_unchecked:
        return False
    carried = PARTS_BY_ENDPOINT.get(endpoint, _ALL)  # type: ignore[call-overload]
    if step.only_finished or not step.parts & carried:
        return False
    if endpoint in RECORDING_ENDPOINTS and not step.at("request") and not step.at("during"):
        return False
    return step.covers_endpoint(endpoint)


def closed_endpoints(step: LoadedStep) -> Iterator[str]:
    """Yield the endpoints that ``step`` closes."""
    return (name for name in PARTS_BY_ENDPOINT if closes_endpoint(step, name))


def closing_step(steps: StepSet, facts: ClientFacts) -> LoadedStep | None:
    """Return a step that closes the endpoint of a request with ``facts``, ``None`` if it is open."""
    return next((step for step in steps.steps_for(facts) if closes_endpoint(step, facts.endpoint)), None)
