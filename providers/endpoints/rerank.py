"""Conversion of rerank requests and answers between the formats of clients and providers.

Formats are rows. ``write_rerank`` writes a client's request for a provider, ``translate_answer`` a provider's answer
for the client. Sources: the cohere, voyageai and openai packages; https://docs.cohere.com/reference/rerank,
https://api.jina.ai/redoc, https://docs.voyageai.com/reference/reranker-api,
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html (Re-rank API),
https://huggingface.github.io/text-embeddings-inference, BerriAI/litellm#13820 for DeepInfra; November 2026.
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from providers.neutral.draft import Draft, Edit
from providers.neutral.token_usage import MOST_TOKENS, is_token_count, reported_nanos, token_count
from providers.neutral.values import as_object, load
from streams.errors import GatewayError, invalid
from streams.structure import MAX_ELEMENTS, TOO_MANY_ELEMENTS, has_more_elements
from streams.surrogates import NOT_JSON

AnswerForm: TypeAlias = Literal["results", "data", "list", "scores"]
"""The form of results: objects in ``results`` or ``data``, objects in a plain list, or numbers in document order."""


@attrs.frozen
class RerankShape:
    """One format of rerank requests and answers.

    ``documents``, ``most`` and ``echo`` are the members for the documents, the number of wanted results, and whether
    results include their text; None if missing. ``objects``: a document may be an object. ``own`` are additional
    members, ``refused`` members that similar formats have but this one rejects. ``query`` is the member of the query;
    one named ``queries`` repeats it for each document. ``adds`` are members of every request. If the path has the
    model, ``names_model`` is false and ``refused`` has the member.
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
    adds: Mapping[str, Any] = MappingProxyType({})


COHERE: Final = RerankShape(
    "cohere", "results", echo=None, own=frozenset(("max_tokens_per_doc", "priority", "relevant_spans")),
    refused=frozenset(("max_chunks_per_doc", "rank_fields", "return_documents")),
)  # fmt: skip
"""Cohere's second version: texts only, and answers without them."""

COHERE_V1: Final = RerankShape(
    "cohere_v1", "results", objects=True, own=frozenset(("max_chunks_per_doc", "rank_fields"))
)
JINA: Final = RerankShape("jina", "results", objects=True, own=frozenset(("truncation", "truncate_prompt_tokens")))
"""Jina's format, also of vLLM, Together and most compatible servers."""

VOYAGE: Final = RerankShape("voyage", "data", most="top_k", own=frozenset(("truncation",)))
TEI: Final = RerankShape(
    "tei", "list", documents="texts", most=None, echo="return_text", score="score", names_model=False,
    own=frozenset(("raw_scores", "truncate", "truncation_direction")),
)  # fmt: skip
DEEPINFRA: Final = RerankShape(
    "deepinfra", "scores", query="queries", most=None, echo=None, names_model=False, own=frozenset(("instruction",))
)

AMAZON: Final = RerankShape(
    "amazon", "results", echo=None, names_model=False,
    refused=frozenset(("max_chunks_per_doc", "max_tokens_per_doc", "model", "rank_fields", "return_documents")),
)  # fmt: skip
"""Bedrock's InvokeModel (https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-use.html)."""

COHERE_INVOKE: Final = RerankShape(
    "cohere_invoke", "results", echo=None, names_model=False, own=frozenset(("max_tokens_per_doc",)),
    refused=frozenset(("max_chunks_per_doc", "model", "rank_fields", "return_documents")),
    adds=MappingProxyType({"api_version": 2}),
)  # fmt: skip

SHAPES: Final[Mapping[str, RerankShape]] = MappingProxyType(
    {shape.name: shape for shape in (COHERE, COHERE_V1, JINA, VOYAGE, TEI, DEEPINFRA, AMAZON, COHERE_INVOKE)}
    | {"openai": JINA}
)
"""The formats by the name in a provider's row. A server without a row counts as Jina's format, like vLLM."""


def shape_of_client(path: str, members: Collection[str]) -> RerankShape:
    """Return the format of a client's request with ``members`` to ``path``.

    Cohere's client has a path for each version; the others differ in member names.
    """
    if "texts" in members and "documents" not in members:
        return TEI
    if "top_k" in members and "top_n" not in members:
        return VOYAGE
    return COHERE if path.endswith("/v2/rerank") else JINA


WrittenRequest: TypeAlias = tuple[bytes, tuple[Edit, ...]]

_ECHO: Final = ("return_documents", "return_text")


@attrs.frozen
class WantedRanking:
    """The answer that a client wants: ``number`` ranked documents, at most ``most`` of them returned.

    ``echoed`` are the documents that the answer must include, which may be megabytes.
    """

    shape: RerankShape
    number: int
    most: int | None
    echoed: Sequence[Any] | None


def read_wanted_ranking(draft: Draft, shape: RerankShape) -> WantedRanking:
    """Return the wanted answer of a client's request.

    Raises ``GatewayError`` (400) if the documents are not a list or the number of results is invalid.
    """
    documents = draft.value(shape.documents)
    if not isinstance(documents, list):
        raise invalid(f"{shape.documents} must be a list of documents", shape.documents)
    most = draft.value(shape.most) if shape.most is not None else None
    if most is not None and (type(most) is not int or most < 0):
        raise invalid(f"{shape.most} must be a whole number", shape.most)
    echoed = documents if any(draft.value(name) is True for name in _ECHO) else None
    return WantedRanking(shape, len(documents), most, echoed)


def translates_answer(wanted: WantedRanking, source: RerankShape) -> bool:
    """Return whether an answer of the format ``source`` must be rewritten for the client."""
    return wanted.shape.form != source.form or (wanted.echoed is not None and source.echo is None)


def write_rerank(draft: Draft, wanted: WantedRanking, target: RerankShape, model: str) -> WrittenRequest:
    """Return the request as body and edits for a provider of the format ``target``, with its name ``model``.

    Raises ``GatewayError`` (400) for a query that it cannot express.
    """
    if wanted.shape.form == target.form:
        return _edit_own(draft, wanted, target, model)
    return _translate(draft, wanted, target, model)


def _edit_own(draft: Draft, wanted: WantedRanking, target: RerankShape, model: str) -> WrittenRequest:
    """Return the client's own bytes without members that the provider is known to reject."""
    named = "model" in draft and "model" not in target.refused
    if (named or target.names_model) and draft.value("model") != model:
        draft.put("model", model)
    documents: Sequence[Any] = () if target.objects else draft.value(target.documents)
    if any(isinstance(one, dict) for one in documents):
        draft.put(target.documents, _document_texts(documents, _rank_fields(draft)))
        draft.note(_AS_TEXTS)
    for name in sorted(target.refused):
        if name not in draft:
            continue
        draft.put(name, None)
        if name != "model":
            draft.note(Edit(name, lost=name not in _APPLIED_HERE))
    for name, value in target.adds.items():
        draft.put(name, value)
    return draft.encode(), draft.edits


_APPLIED_HERE: Final = frozenset(
    ("return_documents", "rank_fields")
)  # the gateway applies the first to the answer, the second to the documents
_AS_TEXTS: Final = Edit("documents[]", lost=False, form="=text")


def _translate(draft: Draft, wanted: WantedRanking, target: RerankShape, model: str) -> WrittenRequest:
    own, edits = wanted.shape, list[Edit]()
    documents: Sequence[Any] = draft.value(own.documents)
    if not target.objects and any(isinstance(one, dict) for one in documents):
        documents = _document_texts(documents, _rank_fields(draft))
        edits.append(_AS_TEXTS)
    query = draft.value(own.query)
    if target.query != own.query and not isinstance(query, str):
        raise invalid(f"{own.query} must be a text", own.query)
    body: dict[str, Any] = {"model": model} if target.names_model else {}
    body |= target.adds
    body[target.query] = query if target.query == "query" else [query] * len(documents)
    body[target.documents] = documents
    if wanted.most is not None and target.most is not None:
        body[target.most] = wanted.most
    done = {"model", own.query, own.documents, own.most, *_APPLIED_HERE, *_ECHO}
    for name, value in draft.values().items():
        if name in done or value is None:
            continue
        if name in target.own:
            body[name] = value
        else:
            edits.append(Edit(name, why="translation"))
    return msgspec.json.encode(body), tuple(edits)


# Documents that are objects, as texts


def _rank_fields(draft: Draft) -> Sequence[str]:
    names = draft.value("rank_fields")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else ()


def _document_texts(documents: Sequence[Any], fields: Sequence[str]) -> list[Any]:
    return [document_text(one, fields) if isinstance(one, dict) else one for one in documents]


def document_text(document: Mapping[str, Any], fields: Sequence[str] = ()) -> str:
    """Return the text of a document that is an object.

    It is the member ``text`` if only that is meant, else all members or ``fields`` as YAML
    (https://docs.cohere.com/docs/rerank-overview, Semi-structured data).
    """
    text = document.get("text")
    if isinstance(text, str) and (not fields or list(fields) == ["text"]):
        return text
    chosen = {name: document[name] for name in fields if name in document} if fields else document
    return "\n".join(_yaml_line(name, value) for name, value in chosen.items())


def _yaml_line(name: str, value: Any) -> str:
    """Return one line of YAML, which includes JSON; only a single-line text stays unquoted."""
    bare = isinstance(value, str) and value and not _BREAKS.intersection(value)
    return f"{name}: {value if bare else msgspec.json.encode(value).decode()}"


_BREAKS: Final = frozenset("\n\r\x85\u2028\u2029")


_MOST_SEARCHES: Final = 10**6  # in one answer; larger numbers are invalid


@attrs.frozen
class RerankCosts:
    """The usage that an answer reports: billed ``searches``, ``tokens`` read, the cost in ``nanos`` (nano-dollars);
    None if missing."""

    searches: int | None = None
    tokens: int | None = None
    nanos: int | None = None


@attrs.frozen
class _Ranked:
    index: int
    score: msgspec.Raw  # the provider's own digits; thresholds depend on the model, so scores are not rescaled
    value: float


def read_costs(answer: object) -> RerankCosts:
    """Return the usage in a decoded answer; empty for anything else."""
    value = as_object(answer)
    usage, meta, status = (as_object(value.get(name)) for name in ("usage", "meta", "inference_status"))
    units, counted = as_object(meta.get("billed_units")), as_object(meta.get("tokens"))
    tokens = (usage.get("total_tokens"), usage.get("prompt_tokens"), units.get("input_tokens"),
              counted.get("input_tokens"), value.get("input_tokens"))  # fmt: skip
    nanos = reported_nanos(usage)
    if nanos is None and "cost" in status:
        nanos = reported_nanos({"cost": status["cost"]})  # DeepInfra
    return RerankCosts(
        searches=_first_count((units.get("search_units"), usage.get("search_units")), _MOST_SEARCHES),
        tokens=_first_count(tokens, MOST_TOKENS),
        nanos=nanos,
    )


def _first_count(counts: Sequence[Any], most: int) -> int | None:
    """Return the first valid count as an integer; Cohere's are floats (``1.0``)."""
    return next((min(token_count(one), most) for one in counts if is_token_count(one)), None)


def translate_answer(
    body: bytes, source: RerankShape, wanted: WantedRanking, model: str, id: str
) -> tuple[bytes, RerankCosts]:
    """Return an answer of the format ``source`` for the client, the best results first, and its usage.

    It has at most the ``wanted`` results, with indices into the client's list. ``model`` is the provider's name, ``id``
    the request's id. Raises ``GatewayError`` (502) for an invalid answer.
    """
    if has_more_elements(body, MAX_ELEMENTS):
        raise GatewayError("upstream", f"the provider sent a response {TOO_MANY_ELEMENTS}", reason=None)
    ranked = sorted(_read_results(body, source, wanted.number), key=lambda one: -one.value)
    results = [_write_result(one, wanted) for one in ranked[: wanted.most]]
    costs = read_costs(load(body))  # invalid text in members that are not used is ignored
    return msgspec.json.encode(_write_body(results, wanted.shape, costs, model, id)), costs


def _write_body(results: Any, shape: RerankShape, costs: RerankCosts, model: str, id: str) -> Any:
    if shape.form == "list":
        return results
    if shape.form == "data":
        usage = {"total_tokens": costs.tokens or 0}  # its client always reads this
        return {"object": "list", "data": results, "model": model, "usage": usage}
    out: dict[str, Any] = {"id": id, "model": model, "results": results}
    if costs.searches is not None:
        out["meta"] = {"billed_units": {"search_units": costs.searches}}
    if costs.tokens is not None:
        out["usage"] = {"total_tokens": costs.tokens}
    return out


def _read_results(body: bytes, source: RerankShape, documents: int) -> Sequence[_Ranked]:
    """Return the results, each for a different document. Raises ``GatewayError``."""
    try:
        if source.form == "scores":
            ranked = [_make_ranked(index, score) for index, score in enumerate(_find_list(body, "scores"))]
        else:
            ranked = [_parse_ranked(raw, source.score) for raw in _find_list(body, source.form)]
    except (*NOT_JSON, TypeError, KeyError):
        raise _bad_answer_error(f"is not a list of results in the form of {source.name} servers") from None
    places = [one.index for one in ranked]
    if len(set(places)) < len(places) or any(not 0 <= place < documents for place in places):
        raise _bad_answer_error(
            f"does not rank each of the {documents} documents once: its indices are {str(places[:20]).strip('[]')}"
        )
    if source.form == "scores" and len(places) < documents:
        raise _bad_answer_error(f"has {len(places)} scores for {documents} documents")
    return ranked


def _find_list(body: bytes, member: str) -> list[msgspec.Raw]:
    """Return the list in ``member``, or the answer itself if it is a list."""
    if body.lstrip()[:1] == b"[":
        return msgspec.json.decode(body, type=list[msgspec.Raw])
    raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])["results" if member == "list" else member]
    return msgspec.json.decode(raw, type=list[msgspec.Raw])


def _parse_ranked(raw: msgspec.Raw, score: str) -> _Ranked:
    item = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    found = item[score] if score in item else item["score" if score == "relevance_score" else "relevance_score"]
    return _make_ranked(msgspec.json.decode(item["index"], type=int), found)


def _make_ranked(index: int, score: msgspec.Raw) -> _Ranked:
    return _Ranked(index, score, msgspec.json.decode(score, type=float))


def _write_result(one: _Ranked, wanted: WantedRanking) -> Mapping[str, Any]:
    shape, result = wanted.shape, {"index": one.index, wanted.shape.score: one.score}
    if wanted.echoed is None:
        return result
    document = wanted.echoed[one.index]
    if shape.form == "results":
        return {**result, "document": document if isinstance(document, dict) else {"text": document}}
    return {**result, "text" if shape.form == "list" else "document": document}


def _bad_answer_error(what: str) -> GatewayError:
    return GatewayError("upstream", f"the provider's response {what}", reason="bad_answer")
