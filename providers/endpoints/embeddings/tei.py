"""Writer of requests and reader of answers in Text Embeddings Inference's own format (``/embed``): texts in, vectors
out."""

from typing import Any

from msgspec import Raw

from providers.endpoints.embeddings.answer import Embeddings, bad_answer_error, elements
from providers.endpoints.embeddings.request import (
    EmbeddingInput,
    EmbeddingRequest,
    TokenIds,
    images_error,
    number_type_error,
)
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.neutral.edits import Edit


def write_request(request: EmbeddingRequest, traits: EmbeddingTraits) -> tuple[dict[str, Any], tuple[Edit, ...]]:
    """Return ``request`` for a server, which has only one model, with the edits made. Raises ``GatewayError`` (400)."""
    if not {"float", "base64"}.issuperset(request.types):
        raise number_type_error(request)
    edits = list(request.losses)
    body: dict[str, Any] = {"inputs": [_input_text(one) for one in request.inputs]}
    dimensions = traits.dimensions if request.dimensions is None else request.dimensions
    if dimensions is not None:
        body["dimensions"] = dimensions
    if request.truncate is not None:
        body["truncate"] = request.truncate != "NONE"
    if request.purpose is not None:
        edits.append(Edit(request.place("purpose")))
    return body, tuple(edits)


def _input_text(one: EmbeddingInput) -> str | Raw:
    if isinstance(one, TokenIds):
        return one.ids
    if (text := one.text) is None:
        raise images_error()
    return text


def read_answer(data: bytes, count: int | None) -> Embeddings:
    """Return a server's answer, which has no usage. Raises ``GatewayError`` (502)."""
    vectors = tuple(elements(Raw(data)))
    if count is not None and len(vectors) != count:
        raise bad_answer_error(f"has {len(vectors)} vectors for {count} inputs")
    return Embeddings({"float": vectors})
