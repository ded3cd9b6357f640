"""A provider's rerank answer, read, and written as the client's shape has it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from providers.endpoints.rerank.request import RerankWanted
from providers.endpoints.rerank.shapes import RerankShape
from providers.neutral.billing import MOST_TOKENS, told_nanos
from streams.errors import GatewayError
from streams.structure import ELEMENTS, UNFOLDS, holds_more
from streams.surrogates import NOT_JSON, any_json

_MOST_SEARCHES: Final = 10**6  # in one answer; what says more is no count


@attrs.frozen
class RerankCosts:
    """What an answer says that it took: ``searches`` billed, ``tokens`` read, ``nanos`` the provider's own statement of
    the cost in nano-dollars; None where it does not say."""

    searches: int | None = None
    tokens: int | None = None
    nanos: int | None = None


@attrs.frozen
class _Ranked:
    index: int
    score: msgspec.Raw  # the provider's own digits: thresholds belong to a model, and nothing is rescaled
    value: float


def read_costs(answer: object) -> RerankCosts:
    """Read what a decoded answer says that it took; nothing of what is no answer."""
    said = _object(answer)
    usage, meta, status = (_object(said.get(name)) for name in ("usage", "meta", "inference_status"))
    units, counted = _object(meta.get("billed_units")), _object(meta.get("tokens"))
    tokens = (usage.get("total_tokens"), usage.get("prompt_tokens"), units.get("input_tokens"),
              counted.get("input_tokens"), said.get("input_tokens"))  # fmt: skip
    nanos = told_nanos(usage)
    if nanos is None and "cost" in status:
        nanos = told_nanos({"cost": status["cost"]})  # DeepInfra
    return RerankCosts(
        searches=_first((units.get("search_units"), usage.get("search_units")), _MOST_SEARCHES),
        tokens=_first(tokens, MOST_TOKENS),
        nanos=nanos,
    )


def _first(counts: Sequence[Any], most: int) -> int | None:
    """The first that is a count. Cohere's are written as fractions (``1.0``)."""
    whole = (one for one in counts if isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one <= most)
    return next((int(one) for one in whole), None)


def translate_answer(
    body: bytes, source: RerankShape, wanted: RerankWanted, model: str, id: str
) -> tuple[bytes, RerankCosts]:
    """Write the answer of a provider of the shape ``source`` for the client: the best first, as many as are
    ``wanted``, each index one of the client's own list; and what it says that it took. ``model`` is the provider's
    name, ``id`` the request's. Raises ``GatewayError`` (502) for what is no such answer."""
    if holds_more(body, ELEMENTS):
        raise GatewayError("upstream", f"the provider sent an answer {UNFOLDS}", reason=None)
    ranked = sorted(_read(body, source, wanted.number), key=lambda one: -one.value)
    results = [_result(one, wanted) for one in ranked[: wanted.most]]
    costs = _costs(body)
    return msgspec.json.encode(_written(results, wanted.shape, costs, model, id)), costs


def _costs(body: bytes) -> RerankCosts:
    try:
        return read_costs(any_json(body))
    except NOT_JSON:  # what is no text stands where nothing was read
        return RerankCosts()


def _written(results: Any, shape: RerankShape, costs: RerankCosts, model: str, id: str) -> Any:
    if shape.form == "list":
        return results
    if shape.form == "data":
        usage = {"total_tokens": costs.tokens or 0}  # which its client reads unasked
        return {"object": "list", "data": results, "model": model, "usage": usage}
    out: dict[str, Any] = {"id": id, "model": model, "results": results}
    if costs.searches is not None:
        out["meta"] = {"billed_units": {"search_units": costs.searches}}
    if costs.tokens is not None:
        out["usage"] = {"total_tokens": costs.tokens}
    return out


def _read(body: bytes, source: RerankShape, documents: int) -> Sequence[_Ranked]:
    """The results, each of a document of its own. Raises ``GatewayError``."""
    try:
        if source.form == "scores":
            ranked = [_ranked(index, score) for index, score in enumerate(_listed(body, "scores"))]
        else:
            ranked = [_object_ranked(raw, source.score) for raw in _listed(body, source.form)]
    except (*NOT_JSON, TypeError, KeyError):
        raise _bad(f"is no list of results as {source.name} servers give it") from None
    places = [one.index for one in ranked]
    if len(set(places)) < len(places) or any(not 0 <= place < documents for place in places):
        raise _bad(f"does not rank the {documents} documents: its indices are {str(places[:20]).strip('[]')}")
    if source.form == "scores" and len(places) < documents:
        raise _bad(f"has {len(places)} scores for {documents} documents")
    return ranked


def _listed(body: bytes, member: str) -> list[msgspec.Raw]:
    """The list in ``member``, or the one that the answer is."""
    if body.lstrip()[:1] == b"[":
        return msgspec.json.decode(body, type=list[msgspec.Raw])
    raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])["results" if member == "list" else member]
    return msgspec.json.decode(raw, type=list[msgspec.Raw])


def _object_ranked(raw: msgspec.Raw, score: str) -> _Ranked:
    item = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    found = item[score] if score in item else item["score" if score == "relevance_score" else "relevance_score"]
    return _ranked(msgspec.json.decode(item["index"], type=int), found)


def _ranked(index: int, score: msgspec.Raw) -> _Ranked:
    return _Ranked(index, score, msgspec.json.decode(score, type=float))


def _result(one: _Ranked, wanted: RerankWanted) -> Mapping[str, Any]:
    shape, result = wanted.shape, {"index": one.index, wanted.shape.score: one.score}
    if wanted.echoed is None:
        return result
    document = wanted.echoed[one.index]
    if shape.form == "results":
        return {**result, "document": document if isinstance(document, dict) else {"text": document}}
    return {**result, "text" if shape.form == "list" else "document": document}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _bad(what: str) -> GatewayError:
    return GatewayError("upstream", f"the provider's answer {what}", reason="bad_answer")
