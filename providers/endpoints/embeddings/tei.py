"""Writer of requests and reader of answers in Text Embeddings Inference's own format (``/embed``): texts in, vectors
out."""

from typing import Any

from msgspec import Raw

from providers.endpoints.embeddings.answer import Embeddings, check_count, elements
from providers.endpoints.embeddings.request import EmbeddingRequest, TokenIds, Written, check_floats, required_text
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.neutral.draft import Edit


def write_request(request: EmbeddingRequest, model: str, traits: EmbeddingTraits) -> Written:
    """Return ``request`` for a server, which has only one model, with the edits made. Raises ``GatewayError`` (400)."""
    check_floats(request)
    edits = list(request.losses)
    inputs = [one.ids if isinstance(one, TokenIds) else required_text(one) for one in request.inputs]
    body: dict[str, Any] = {"inputs": inputs, **request.size_member("dimensions", traits)}
    if request.truncate is not None:
        body["truncate"] = request.truncate != "NONE"
    if request.purpose is not None:
        edits.append(Edit(request.place("purpose")))
    return body, tuple(edits)


def read_answer(data: bytes, count: int | None) -> Embeddings:
    """Return a server's answer, which has no usage. Raises ``GatewayError`` (502)."""
    vectors = tuple(elements(Raw(data)))
    check_count(vectors, count)
    return Embeddings({"float": vectors})
