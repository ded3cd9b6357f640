"""The shapes of rerank as rows: how a request names its members, and how an answer lies.

Sources: the cohere, voyageai and openai packages; https://docs.cohere.com/reference/rerank, https://api.jina.ai/redoc,
https://docs.voyageai.com/reference/reranker-api, https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
(Re-rank API), https://huggingface.github.io/text-embeddings-inference, BerriAI/litellm#13820 for DeepInfra; November
2026.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import attrs

AnswerForm: TypeAlias = Literal["results", "data", "list", "scores"]
"""How results lie in an answer: objects in ``results`` or ``data``, objects in a bare list, numbers in the documents'
order."""


@attrs.frozen
class RerankShape:
    """One shape, as clients ask in it or as a provider takes it.

    ``documents``, ``most`` and ``echo`` are the names of the members for the documents, for how many results are wanted
    and for whether they come with their text; None where it has no such member. ``objects``: a document may be an
    object. ``own`` are further members that it knows, ``refused`` those that shapes with the same answer have and this
    one does not. ``query`` is the query's member, ``queries`` one that has it once for each document.
    """

    name: str
    form: AnswerForm
    documents: str = "documents"
    query: str = "query"
    most: str | None = "top_n"
    echo: str | None = "return_documents"
    score: str = "relevance_score"
    objects: bool = False
    names_model: bool = True
    own: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()


COHERE: Final = RerankShape(
    "cohere", "results", echo=None, own=frozenset(("max_tokens_per_doc", "priority", "relevant_spans")),
    refused=frozenset(("max_chunks_per_doc", "rank_fields", "return_documents")),
)  # fmt: skip
"""Cohere's second version: texts alone, and answers without them."""

COHERE_V1: Final = RerankShape(
    "cohere_v1", "results", objects=True, own=frozenset(("max_chunks_per_doc", "rank_fields"))
)
JINA: Final = RerankShape("jina", "results", objects=True, own=frozenset(("truncation", "truncate_prompt_tokens")))
"""Jina's, which vLLM, Together and most compatible servers have too."""

VOYAGE: Final = RerankShape("voyage", "data", most="top_k", own=frozenset(("truncation",)))
TEI: Final = RerankShape(
    "tei", "list", documents="texts", most=None, echo="return_text", score="score", names_model=False,
    own=frozenset(("raw_scores", "truncate", "truncation_direction")),
)  # fmt: skip
DEEPINFRA: Final = RerankShape(
    "deepinfra", "scores", query="queries", most=None, echo=None, names_model=False, own=frozenset(("instruction",))
)

SHAPES: Final[Mapping[str, RerankShape]] = MappingProxyType(
    {shape.name: shape for shape in (COHERE, COHERE_V1, JINA, VOYAGE, TEI, DEEPINFRA)} | {"openai": JINA}
)
"""By the name in a provider's row. A server that no row knows is taken for one of Jina's shape, as vLLM is."""


def shape_of_client(path: str, members: Collection[str]) -> RerankShape:
    """The shape in which a client asks that sent a request with ``members`` to ``path``: Cohere's client has paths of
    its own for each version, the others differ by what they call things."""
    if "texts" in members and "documents" not in members:
        return TEI
    if "top_k" in members and "top_n" not in members:
        return VOYAGE
    return COHERE if path.endswith("/v2/rerank") else JINA
