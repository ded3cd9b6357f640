"""What a text is embedded for: one meaning in the words of each API, a row each.

Models that know it make another vector of the same text for a question than for a passage. It is no hint.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

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
    """The meaning of ``word`` in whichever API it is one; ``None`` for a word of nobody."""
    return _MEANINGS.get(word)
