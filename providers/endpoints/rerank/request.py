"""A client's rerank request as a provider gets it: its own bytes where both have one shape, else written anew."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from providers.endpoints.rerank.shapes import RerankShape
from providers.neutral.draft import Draft
from providers.neutral.edits import Edit
from streams.errors import invalid

Written: TypeAlias = tuple[bytes, tuple[Edit, ...]]

_ECHO: Final = ("return_documents", "return_text")


@attrs.frozen
class RerankWanted:
    """What a client's request says of its answer: ``number`` documents are ranked, of which it wants ``most`` at most.
    ``echoed`` are the documents as it sent them, where the answer is to have them: they may be megabytes."""

    shape: RerankShape
    number: int
    most: int | None
    echoed: Sequence[Any] | None


def read_wanted(draft: Draft, shape: RerankShape) -> RerankWanted:
    """Read what an answer needs of a client's request. Raises ``GatewayError`` (400) for documents that are no list
    and for a number of results that is none."""
    documents = draft.value(shape.documents)
    if not isinstance(documents, list):
        raise invalid(f"{shape.documents} must be a list of documents", shape.documents)
    most = draft.value(shape.most) if shape.most is not None else None
    if most is not None and (type(most) is not int or most < 0):
        raise invalid(f"{shape.most} must be a whole number", shape.most)
    echoed = documents if any(draft.value(name) is True for name in _ECHO) else None
    return RerankWanted(shape, len(documents), most, echoed)


def translates_answer(wanted: RerankWanted, source: RerankShape) -> bool:
    """Whether the answer of a provider of the shape ``source`` has to be written anew for the client."""
    return wanted.shape.form != source.form or (wanted.echoed is not None and source.echo is None)


def write_rerank(draft: Draft, wanted: RerankWanted, target: RerankShape, model: str) -> Written:
    """Write the request for a provider of the shape ``target``, which knows the model as ``model``: its body, and what
    in it is not as the client said it. Raises ``GatewayError`` (400) for a query that cannot be told it."""
    if wanted.shape.form == target.form:
        return _edited(draft, wanted, target, model)
    return _translated(draft, wanted, target, model)


def _edited(draft: Draft, wanted: RerankWanted, target: RerankShape, model: str) -> Written:
    """The client's own bytes, less what the provider is known not to take."""
    if ("model" in draft or target.names_model) and draft.value("model") != model:
        draft.put("model", model)
    documents: Sequence[Any] = () if target.objects else draft.value(target.documents)
    if any(isinstance(one, dict) for one in documents):
        draft.put(target.documents, _texts(documents, _fields(draft)))
        draft.note(_AS_TEXTS)
    for name in sorted(target.refused):
        if name not in draft:
            continue
        draft.put(name, None)
        draft.note(Edit(name, lost=name not in _DONE_HERE))
    return draft.encode(), draft.edits


_DONE_HERE: Final = frozenset(("return_documents", "rank_fields"))  # the first to the answer, the other to documents
_AS_TEXTS: Final = Edit("documents[]", lost=False, form="=text")


def _translated(draft: Draft, wanted: RerankWanted, target: RerankShape, model: str) -> Written:
    own, edits = wanted.shape, list[Edit]()
    documents: Sequence[Any] = draft.value(own.documents)
    if not target.objects and any(isinstance(one, dict) for one in documents):
        documents = _texts(documents, _fields(draft))
        edits.append(_AS_TEXTS)
    query = draft.value(own.query)
    if target.query != own.query and not isinstance(query, str):
        raise invalid(f"{own.query} must be a text", own.query)
    body: dict[str, Any] = {"model": model} if target.names_model else {}
    body[target.query] = query if target.query == "query" else [query] * len(documents)
    body[target.documents] = documents
    if wanted.most is not None and target.most is not None:
        body[target.most] = wanted.most
    done = {"model", own.query, own.documents, own.most, *_DONE_HERE, *_ECHO}
    for name, value in draft.values().items():
        if name in done or value is None:
            continue
        if name in target.own:
            body[name] = value
        else:
            edits.append(Edit(name, why="translation"))
    return msgspec.json.encode(body), tuple(edits)


# Documents that are objects, where texts are taken


def _fields(draft: Draft) -> Sequence[str]:
    names = draft.value("rank_fields")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else ()


def _texts(documents: Sequence[Any], fields: Sequence[str]) -> list[Any]:
    return [text_of(one, fields) if isinstance(one, dict) else one for one in documents]


def text_of(document: Mapping[str, Any], fields: Sequence[str] = ()) -> str:
    """The text of a document that is an object: its ``text``, where nothing else of it is meant, else its members as
    YAML, in the order of ``fields`` if there are such (https://docs.cohere.com/docs/rerank-overview, Semi-structured
    data)."""
    text = document.get("text")
    if isinstance(text, str) and (not fields or list(fields) == ["text"]):
        return text
    chosen = {name: document[name] for name in fields if name in document} if fields else document
    return "\n".join(_yaml(name, value) for name, value in chosen.items())


def _yaml(name: str, value: Any) -> str:
    """One line of YAML, of which JSON is a part: only a text of one line stands bare."""
    bare = isinstance(value, str) and value and not _BREAKS.intersection(value)
    return f"{name}: {value if bare else msgspec.json.encode(value).decode()}"


_BREAKS: Final = frozenset("\n\r\x85\u2028\u2029")
