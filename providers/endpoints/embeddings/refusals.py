"""Requests for embeddings that a provider cannot be given, in words for the person at the client."""

from providers.endpoints.embeddings.purposes import Purpose, Words
from providers.endpoints.embeddings.request import EmbeddingRequest
from providers.endpoints.embeddings.traits import EmbeddingTraits
from streams.errors import GatewayError, invalid


def no_token_arrays(at: str) -> GatewayError:
    """The 400 for ids of tokens: they are of OpenAI's tokenizer, and a server that takes them for those of its own
    model embeds other words (danny-avila/rag_api#104, veniceai/api-docs#423)."""
    return invalid(
        f"{at} holds token ids, and this model has another tokenizer than OpenAI's: send text. In LangChain that is "
        "OpenAIEmbeddings(check_embedding_ctx_length=False); in LiteLLM and others the switch is named alike. If the "
        "ids are the model's own, set embeddings: {token_arrays: true} on its entry",
        at,
    )


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
