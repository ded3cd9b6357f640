"""What a model is for, by its name: lists of models say it, so that a picker does not offer an embedding model for a
conversation (Vigil-SOC/vigil#433, anomalyco/models.dev#572).

A row is a shell pattern, matched against the model's id in lower case without a vendor's prefix; the first that matches
holds, and a model that none matches is one for conversations. The configuration's ``type`` outranks it. Sources: the
makers' lists of models (https://developers.openai.com/api/docs/models, https://docs.mistral.ai/getting-started/models,
https://docs.cohere.com/docs/models, https://docs.voyageai.com/docs/embeddings, https://jina.ai/models,
https://ai.google.dev/gemini-api/docs/models), November 2026.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from providers.endpoints.endpoint import EndpointName
from providers.neutral.patterns import fits

ModelType: TypeAlias = Literal[
    "chat", "embedding", "rerank", "image", "speech", "transcription", "moderation", "completion", "realtime"
]
MODEL_TYPES: Final[tuple[ModelType, ...]] = get_args(ModelType)

_LONGEST: Final = 200  # characters of a model's id; what a client asks for may be megabytes

ROWS: Final[tuple[tuple[str, ModelType], ...]] = (
    *((pattern, "rerank") for pattern in ("rerank-*", "*-rerank", "*-rerank-*", "*reranker*")),
    *((pattern, "embedding") for pattern in (
        "*-embed", "*-embed-*", "embed-*", "*embedding*", "*embeddings*", "voyage-*", "jina-clip-*", "bge-*", "gte-*",
        "e5-*", "multilingual-e5-*", "all-minilm*", "snowflake-arctic-embed*",
    )),
    ("gemini-*", "chat"),  # also those that speak and draw: they do in conversations
    *((pattern, "image") for pattern in (
        "dall-e-*", "gpt-image-*", "chatgpt-image-*", "imagen-*", "flux*", "stable-diffusion*", "sd3*", "sdxl*",
        "grok-*-image*", "grok-imagine-image*", "qwen-image*", "recraft*",
    )),
    *((pattern, "speech") for pattern in ("tts-*", "*-tts", "*-tts-*", "kokoro*", "orpheus*", "sonic-*")),
    *((pattern, "transcription") for pattern in (
        "whisper*", "distil-whisper*", "*-transcribe*", "parakeet-*", "canary-*", "cohere-transcribe*",
    )),
    *((pattern, "moderation") for pattern in ("*-moderation", "*-moderation-*")),
    *((pattern, "completion") for pattern in ("gpt-3.5-turbo-instruct*", "davinci-002", "babbage-002")),
    *((pattern, "realtime") for pattern in ("gpt-realtime*", "gpt-*-realtime*", "gpt-live*")),
)  # fmt: skip

ENDPOINTS_OF: Final[Mapping[ModelType, tuple[EndpointName, ...]]] = MappingProxyType(
    {
        "chat": ("completions", "fim"),
        "embedding": ("embeddings", "pooling"),
        "rerank": ("rerank", "score"),
        "image": ("image_generations", "image_edits", "image_variations"),
        "speech": ("speech",),
        "transcription": ("transcriptions", "translations"),
        "moderation": ("moderations",),
        "completion": ("completions", "fim"),
        "realtime": ("realtime",),
    }
)
"""The endpoints at which models of a type are asked, where their provider has them; conversations beside for
``chat``."""


@lru_cache(maxsize=1024)
def model_type(model: str) -> ModelType:
    """Return the type of ``model``, a provider's id, as far as its name says it."""
    name = bare_name(model)
    return next((kind for pattern, kind in ROWS if fits(name, pattern)), "chat")


def bare_name(model: str) -> str:
    """Return ``model`` without a vendor's prefix, in lower case: as one model is called at several places."""
    return model[:_LONGEST].lower().rpartition("/")[2]
