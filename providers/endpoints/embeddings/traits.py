"""What is known of how a provider takes embeddings, and what a text is embedded for in the words of each API.

Models that know the purpose make another vector of the same text for a question than for a passage. It is no hint.
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
    """Return the meaning of ``word`` in whichever API it is one; ``None`` for a word of nobody."""
    return _MEANINGS.get(word)


TakesPurpose: TypeAlias = Literal["unknown", "never", "optional", "required"]
"""Whether a provider takes a word for what a text is embedded for. Where that is unknown the client's word passes."""


_Configured: TypeAlias = Literal["query", "document", "classification", "clustering", "similarity"]
_ConfiguredPurpose: TypeAlias = Annotated[
    Purpose,
    Kind(
        "`query`, `document`, `classification`, `clustering` or `similarity`",
        pick=lambda _: _Configured,
        parts=(_Configured,),
    ),
]
"""The purposes that a configuration may name."""


@attrs.frozen
class EmbeddingTraits:
    """``inputs`` and ``tokens`` bound one request, as far as a bound is known: a longer list is cut where it
    ``splits``. ``token_arrays``: whether it takes ids of tokens, which are OpenAI's; ``base64``: whether it is asked
    for that where the gateway is. ``purpose`` is said to one that requires it, and ``dimensions`` to any, where the
    client says nothing."""

    inputs: Natural | None = setting(
        "The largest number of texts in one request. The gateway splits a longer list and joins the results.",
        None,
        shown="no limit",
    )
    tokens: Natural | None = setting(
        "The largest number of tokens in one request, for all texts together. The gateway estimates them.",
        None,
        shown="no limit",
    )
    splits: bool = setting(
        "`false` never splits a list. The provider then decides whether it is too long.", True, name="split"
    )
    token_arrays: bool = setting(
        "`true` if the model accepts token ids of its own vocabulary as input. LangChain and other clients send "
        "ids of OpenAI's vocabulary, which mean other words to other models.",
        False,
        shown=(
            "`true` for models named `text-embedding-3-…` or `text-embedding-ada-…` and at the addresses of OpenAI "
            "and Azure; else `false`"
        ),
    )
    base64: bool = setting(
        "`false` never requests base64. Clients that want it still get it: the gateway converts the numbers. The "
        "gateway also learns this from a refusal.",
        True,
    )
    takes_purpose: TakesPurpose = "unknown"
    purpose: _ConfiguredPurpose = setting(
        "The purpose of the texts, if the client does not state it and the provider supports one.",
        "document",
        shown="`document` if the provider requires one",
        name="input_type",
    )
    dimensions: Natural | None = setting(
        "The length of the vectors, if the client does not state it.", None, shown="the model's own length"
    )


_OPENAIS_WORDS: Final = ("text-embedding-3-*", "text-embedding-ada-*")
"""Names of models with OpenAI's vocabulary. Google and Alibaba have others that begin with ``text-embedding-``."""


def has_openais_vocabulary(model: str) -> bool:
    """Return whether the name of ``model`` says that it reads OpenAI's token ids, whoever serves it."""
    name = bare_name(model)
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _OPENAIS_WORDS)


OPENAIS: Final = EmbeddingTraits(inputs=2048, tokens=300_000, token_arrays=True, takes_purpose="never")
"""Those of OpenAI's own service (openai-python 3.52, ``embedding_create_params``), which refuses members that it does
not know."""
