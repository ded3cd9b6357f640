"""Requests for embeddings that a provider cannot be given, in words for the person at the client."""

from typing import Final

from providers.endpoints.embeddings.purposes import Purpose, Words
from providers.endpoints.embeddings.request import EmbeddingRequest
from providers.endpoints.embeddings.traits import EmbeddingTraits
from streams.errors import GatewayError, invalid

_LONGEST: Final = 200  # characters of a model's name

_SEND_TEXT: Final = "send text (in LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))"


def unknown_token_ids(model: str, at: str = "input") -> GatewayError:
    """Return the 400 for ids of tokens of which nobody knows whether they are the model's own: a server that takes
    OpenAI's ids for those of another model embeds other words (danny-avila/rag_api#104, veniceai/api-docs#423)."""
    return invalid(
        f"{at} holds token ids, and the name of the model {model[:_LONGEST]} does not say that its vocabulary is "
        f"OpenAI's: a model with another one would read other words in them. Either {_SEND_TEXT}, or set "
        "`embeddings: {token_arrays: true}` on its entry if the ids are of its own vocabulary",
        at,
    )


def no_token_ids(at: str = "input") -> GatewayError:
    """Return the 400 for ids of tokens where the provider's API has no place for them."""
    return invalid(f"{at} holds token ids, and the API of this model's provider takes none: {_SEND_TEXT}", at)


def no_images() -> GatewayError:
    """The 400 for pictures."""
    return invalid("input holds pictures, and this model's provider takes text alone: ask another model", "input")


def no_type(request: EmbeddingRequest) -> GatewayError:
    """The 400 for a type of numbers that the provider lacks: floats in their place would be other vectors."""
    at, types = request.place("types"), ", ".join(request.types)
    return invalid(f"{at} asks for {types}, which this model's provider does not have: ask for float or base64", at)


def purpose_to_say(words: Words, traits: EmbeddingTraits) -> Purpose | None:
    """The purpose that is said for a client which says none, to a provider that requires one."""
    return traits.purpose if traits.takes_purpose == "required" and traits.purpose in words else None
