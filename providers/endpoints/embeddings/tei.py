"""Text Embeddings Inference's own shape (``/embed``), towards servers: a list of texts, and a list of vectors."""

from typing import Any

from msgspec import Raw

from providers.endpoints.embeddings.answer import Embeddings, bad_answer, elements
from providers.endpoints.embeddings.request import EmbeddingInput, EmbeddingRequest, TokenIds, no_images, no_type
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.neutral.edits import Edit


def write_request(request: EmbeddingRequest, traits: EmbeddingTraits) -> tuple[dict[str, Any], tuple[Edit, ...]]:
    """Write ``request`` for a server, which has one model, with what is not as the client said it. Raises
    ``GatewayError`` (400)."""
    if not {"float", "base64"}.issuperset(request.types):
        raise no_type(request)
    edits = list(request.untold)
    body: dict[str, Any] = {"inputs": [_text(one) for one in request.inputs]}
    dimensions = traits.dimensions if request.dimensions is None else request.dimensions
    if dimensions is not None:
        body["dimensions"] = dimensions
    if request.truncate is not None:
        body["truncate"] = request.truncate != "NONE"
    if request.purpose is not None:
        edits.append(Edit(request.place("purpose")))
    return body, tuple(edits)


def _text(one: EmbeddingInput) -> str | Raw:
    if isinstance(one, TokenIds):
        return one.ids
    if (text := one.text) is None:
        raise no_images()
    return text


def read_answer(data: bytes, count: int | None) -> Embeddings:
    """Read a server's answer, which counts nothing. Raises ``GatewayError`` (502)."""
    vectors = tuple(elements(Raw(data)))
    if count is not None and len(vectors) != count:
        raise bad_answer(f"has {len(vectors)} vectors for {count} inputs")
    return Embeddings({"float": vectors})
