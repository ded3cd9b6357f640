"""What is known of how a provider takes embeddings, beside their shape."""

import fnmatch
from typing import Final, Literal, TypeAlias

import attrs

from providers.endpoints.embeddings.purposes import Purpose
from providers.endpoints.model_types import bare_name

TakesPurpose: TypeAlias = Literal["unknown", "never", "optional", "required"]
"""Whether a provider takes a word for what a text is embedded for. Where that is unknown the client's word passes."""


@attrs.frozen
class EmbeddingTraits:
    """``inputs`` and ``tokens`` bound one request, as far as a bound is known: a longer list is cut where it
    ``splits``. ``token_arrays``: whether it takes ids of tokens, which are OpenAI's; ``base64``: whether it is asked
    for that where the gateway is. ``purpose`` is said to one that requires it, and ``dimensions`` to any, where the
    client says nothing."""

    inputs: int | None = None
    tokens: int | None = None
    splits: bool = True
    token_arrays: bool = False
    base64: bool = True
    takes_purpose: TakesPurpose = "unknown"
    purpose: Purpose = "document"
    dimensions: int | None = None


_OPENAIS_WORDS: Final = ("text-embedding-3-*", "text-embedding-ada-*")
"""Names of models with OpenAI's vocabulary. Google and Alibaba have others that begin with ``text-embedding-``."""


def has_openais_vocabulary(model: str) -> bool:
    """Return whether the name of ``model`` says that it reads OpenAI's token ids, whoever serves it."""
    name = bare_name(model)
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _OPENAIS_WORDS)


OPENAIS: Final = EmbeddingTraits(inputs=2048, tokens=300_000, token_arrays=True, takes_purpose="never")
"""Those of OpenAI's own service (openai-python 3.52, ``embedding_create_params``), which refuses members that it does
not know."""
