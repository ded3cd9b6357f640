"""Features of providers of embeddings, and each API's names for the purpose of a text.

Models that know the purpose make different vectors of the same text for a query and for a passage, so it is more than a
hint.
"""

import fnmatch
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind, setting
from configfile.kinds import Natural
from providers.endpoints.model_types import bare_name

Purpose: TypeAlias = Literal[
    "query", "document", "classification", "clustering", "similarity", "code_query", "code_document", "question",
    "fact", "image",
]  # fmt: skip

Words: TypeAlias = Mapping[Purpose, str]

COHERE: Final[Words] = MappingProxyType(
    {"document": "search_document", "query": "search_query", "classification": "classification",
     "clustering": "clustering", "image": "image"}
)  # fmt: skip
GEMINI: Final[Words] = MappingProxyType(
    {
        "document": "RETRIEVAL_DOCUMENT", "query": "RETRIEVAL_QUERY", "classification": "CLASSIFICATION",
        "clustering": "CLUSTERING", "similarity": "SEMANTIC_SIMILARITY", "code_query": "CODE_RETRIEVAL_QUERY",
        "question": "QUESTION_ANSWERING", "fact": "FACT_VERIFICATION",
    }
)  # fmt: skip
JINA: Final[Words] = MappingProxyType(
    {
        "document": "retrieval.passage", "query": "retrieval.query", "classification": "classification",
        "clustering": "separation", "similarity": "text-matching", "code_query": "code.query",
        "code_document": "code.passage",
    }
)  # fmt: skip
VOYAGE: Final[Words] = MappingProxyType({"document": "document", "query": "query"})
NIM: Final[Words] = MappingProxyType({"document": "passage", "query": "query"})

_MEANINGS: Final[Mapping[str, Purpose]] = MappingProxyType(
    {word: purpose for words in (COHERE, GEMINI, JINA, VOYAGE, NIM) for purpose, word in words.items()}
)


def purpose_of(word: str) -> Purpose | None:
    """Return the purpose that ``word`` means in any API, or ``None``."""
    return _MEANINGS.get(word)


TakesPurpose: TypeAlias = Literal["unknown", "never", "optional", "required"]
"""The rule of a provider for a purpose; if it is unknown, the client's word is forwarded."""


_Configured: TypeAlias = Literal["query", "document", "classification", "clustering", "similarity"]
_ConfiguredPurpose: TypeAlias = Annotated[
    Purpose,
    Kind(
        "`query`, `document`, `classification`, `clustering` or `similarity`",
        pick=lambda _: _Configured,
        parts=(_Configured,),
    ),
]
"""The purposes that a configuration may set."""


@attrs.frozen(repr=False)
class EmbeddingTraits:
    """The embedding features of a provider.

    ``inputs`` and ``tokens`` are the limits of one request, if known; a longer list is split if ``splits``.
    ``token_arrays``: it accepts token ids, which are OpenAI's; ``base64``: the gateway may request base64. ``purpose``
    is the default for providers that require one, ``dimensions`` for any.
    """

    inputs: Natural | None = setting(
        "The most texts in one request.",
        None,
        shown="no limit",
    )
    tokens: Natural | None = setting(
        "The most estimated tokens in one request.",
        None,
        shown="no limit",
    )
    splits: bool = setting("`false` never splits a list.", True, name="split")
    token_arrays: bool = setting(
        "The model accepts token ids of OpenAI's vocabulary, as LangChain sends them.",
        False,
        shown=(
            "`true` for models named `text-embedding-3-…` or `text-embedding-ada-…` and at the addresses of OpenAI "
            "and Azure; else `false`"
        ),
    )
    base64: bool = setting(
        "`false` never requests base64; clients still get it. The gateway also learns this from a refusal.",
        True,
    )
    takes_purpose: TakesPurpose = "unknown"
    purpose: _ConfiguredPurpose = setting(
        "The purpose of the texts, if the client does not state it.",
        "document",
        shown="`document` if the provider requires one",
        name="input_type",
    )
    dimensions: Natural | None = setting(
        "The length of the vectors, if the client does not state it.", None, shown="the model's own length"
    )


_OPENAI_MODELS: Final = ("text-embedding-3-*", "text-embedding-ada-*")
"""Names of models with OpenAI's vocabulary. Google and Alibaba have others that start with ``text-embedding-``."""


def has_openai_vocabulary(model: str) -> bool:
    """Return whether ``model`` understands OpenAI's token ids, according to its name, at any host."""
    name = bare_name(model)
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _OPENAI_MODELS)


OPENAIS: Final = EmbeddingTraits(inputs=2048, tokens=300_000, token_arrays=True, takes_purpose="never")
"""The features of OpenAI's own service (openai-python 3.52, ``embedding_create_params``), which rejects unknown
members."""
