"""The type of a model by its name, so that a client's model picker does not offer an embedding model for conversations
(Vigil-SOC/vigil#433, anomalyco/models.dev#572).

A row is a shell pattern for the model's id in lower case without a vendor's prefix; the first match applies, and other
models are for conversations. The configuration's ``type`` takes precedence. Sources: the makers' lists of models
(https://developers.openai.com/api/docs/models, https://docs.mistral.ai/getting-started/models,
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

_MAX_NAME: Final = 200  # characters of a model's id; a client may send megabytes

ROWS: Final[tuple[tuple[str, ModelType], ...]] = (
    *((pattern, "rerank") for pattern in ("rerank-*", "*-rerank", "*-rerank-*", "*reranker*", "*.rerank-*")),
    *((pattern, "embedding") for pattern in (
        "*-embed", "*-embed-*", "embed-*", "*.embed-*", "*embedding*", "*embeddings*", "voyage-*", "jina-clip-*",
        "bge-*", "gte-*", "e5-*", "multilingual-e5-*", "all-minilm*", "snowflake-arctic-embed*",
    )),
    ("gemini-*", "chat"),  # including those with speech and images, which they make in conversations
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
        "realtime": ("realtime", "realtime_translations", "live"),
    }
)
"""The endpoints that serve models of a type, if their provider has them; ``chat`` also has conversations."""


def model_type(model: str) -> ModelType:
    """Return the type of ``model``, a provider's id, according to its name."""
    return _type_of(bare_name(model))


@lru_cache(maxsize=1024)
def _type_of(name: str) -> ModelType:
    return next((kind for pattern, kind in ROWS if fits(name, pattern)), "chat")


def bare_name(model: str) -> str:
    """Return ``model`` in lower case without a vendor's prefix."""
    return model[:_MAX_NAME].lower().rpartition("/")[2]


_OLDER: Final = ("alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")

VOICES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("tts-*", _OLDER),
    ("gpt-*-tts*", (*_OLDER, "ballad", "cedar", "marin", "verse")),
    ("orpheus-v1-english", ("autumn", "diana", "hannah", "austin", "daniel", "troy")),
    ("orpheus-arabic-saudi", ("abdullah", "aisha", "fahad", "lulwa", "noura", "sultan")),
)
"""The voices of speech models, by shell pattern; those of other models are unknown.

Sources: https://developers.openai.com/api/docs/guides/text-to-speech (Voice options),
https://console.groq.com/docs/text-to-speech/orpheus; November 2026.
"""


def voices_of(model: str) -> tuple[str, ...]:
    """Return the known voices of ``model``, a provider's id."""
    name = bare_name(model)
    return next((voices for pattern, voices in VOICES if fits(name, pattern)), ())
