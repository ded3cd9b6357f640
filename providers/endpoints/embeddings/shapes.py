"""The formats of embeddings of clients and providers, by family, and the functions that read and write them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from providers.endpoints.embeddings import cohere, gemini, invoked, openai, tei
from providers.endpoints.embeddings.answer import Embeddings
from providers.endpoints.embeddings.openai import MEMBER_NAMES, MemberNames
from providers.endpoints.embeddings.request import EmbeddingRequest, Written
from providers.endpoints.embeddings.traits import EmbeddingTraits

ClientShape: TypeAlias = Literal["openai", "cohere_v1", "cohere_v2", "gemini_one", "gemini_batch"]
"""The format of a client, by its path: ``/v1/embeddings``, ``/v1/embed``, ``/v2/embed``, and Gemini's two methods."""

Family: TypeAlias = str
"""``openai``, or one of ``_FORMATS``."""

FAMILY: Final[Mapping[ClientShape, Family]] = MappingProxyType(
    {"openai": "openai", "cohere_v1": "cohere", "cohere_v2": "cohere", "gemini_one": "gemini", "gemini_batch": "gemini"}
)


_FORMATS: Final[
    Mapping[
        str,
        tuple[Callable[[EmbeddingRequest, str, EmbeddingTraits], Written], Callable[[bytes, int | None], Embeddings]],
    ]
] = {
    "cohere": (cohere.write_request, cohere.read_answer),
    "gemini": (gemini.write_request, gemini.read_answer),
    "tei": (tei.write_request, tei.read_answer),
    "amazon": (invoked.write_titan, invoked.read_titan),
    "cohere_invoke": (invoked.write_cohere, cohere.read_answer),
    "vertex": (invoked.write_vertex, invoked.read_vertex),
}
"""The writers of requests and readers of answers of each provider's format outside OpenAI's family."""


def family_of(shape: str) -> Family:
    """Return the family of a provider's format; unknown formats count as OpenAI's."""
    return shape if shape in _FORMATS else "openai"


def is_own_shape(client: ClientShape, shape: str) -> bool:
    """Return whether the provider's format is the client's own. Cohere's older path is translated to the newer one."""
    return FAMILY[client] == family_of(shape) and client != "cohere_v1"


def names_of(shape: str) -> MemberNames:
    """Return the member names of a provider in OpenAI's family."""
    return MEMBER_NAMES.get(shape, MEMBER_NAMES["openai"])


def read_request(client: ClientShape, body: Mapping[str, Any]) -> EmbeddingRequest:
    """Return a client's request. Raises ``GatewayError`` (400)."""
    match client:
        case "openai":
            return openai.read_request(body)
        case "cohere_v1" | "cohere_v2":
            return cohere.read_request(body)
        case "gemini_one" | "gemini_batch":
            return gemini.read_request(body, batch=client == "gemini_batch")


def write_request(shape: str, request: EmbeddingRequest, model: str, traits: EmbeddingTraits) -> Written:
    """Return ``request`` for a provider, with the edits made. Raises ``GatewayError`` (400)."""
    if shape in _FORMATS:
        return _FORMATS[shape][0](request, model, traits)
    return openai.write_request(request, model, names_of(shape), traits)


def read_answer(shape: str, data: bytes, request: EmbeddingRequest, count: int | None) -> Embeddings:
    """Return a provider's answer to ``request``, or to ``count`` inputs of it. Raises ``GatewayError`` (502)."""
    if shape in _FORMATS:
        return _FORMATS[shape][1](data, count)
    return openai.read_answer(data, request.types[0], count)


def write_answer(client: ClientShape, answer: Embeddings, request: EmbeddingRequest, model: str) -> bytes:
    """Return ``answer`` for the client that sent ``request``. Raises ``GatewayError`` (502)."""
    match client:
        case "openai":
            return openai.write_answer(answer, request, model)
        case "cohere_v1":
            return cohere.write_answer(answer, request, "1", by_type="types" in request.places)
        case "cohere_v2":
            return cohere.write_answer(answer, request, "2", by_type=True)
        case "gemini_one" | "gemini_batch":
            return gemini.write_answer(answer, batch=client == "gemini_batch")
