"""The list of strings that no step sees in requests and responses, which ``trigate steps exempt`` prints."""

from collections.abc import Iterable, Iterator
from typing import Final

from gateway.steps.shapes import Shape
from gateway.steps.tables import APIS, answer_table_for, table_for

_NO_TEXT: Final = ("exempt", "held", "foreign", "data", "summary")


def exemptions() -> Iterable[tuple[str, str]]:
    """Yield the API or endpoint and the path of each string that is no text: ids, words of a set, seals, base64.

    Responses follow as ``chat response`` and so on. A path that ends with ``.*`` covers everything below it. An
    endpoint without a table of its own has the rows of ``endpoints``."""
    for api in (*APIS, "conversations", "message_batches", "batches"):
        yield from ((api, path) for path in exempt_paths(api))
    yield from (("endpoints", path) for path in exempt_paths("embeddings"))
    for api in APIS:
        yield from ((f"{api} response", path) for path in exempt_answer_paths(api))
    yield from (("endpoints response", path) for path in exempt_answer_paths("embeddings"))


def exempt_paths(api: str) -> tuple[str, ...]:
    """Return the paths of the strings in a request of ``api`` or an endpoint that are no text, in order."""
    return tuple(sorted({*_paths(table_for(api).shape, "")}))


def exempt_answer_paths(api: str) -> tuple[str, ...]:
    """Return the paths of the strings in responses and events of ``api`` or an endpoint that are no text, in order.

    A path that ends with ``.*`` covers everything below it."""
    return tuple(sorted({*_paths(answer_table_for(api).shape, "")}))


def _paths(shape: Shape, path: str) -> Iterator[str]:
    if path and shape.leaf.kind in _NO_TEXT:
        yield path
    if shape.leaf.kind == "echo":
        yield path + ".*"
    prefix = path + "." if path else ""
    for name, inner in (shape.members or {}).items():
        yield from _paths(inner, prefix + name)
    if shape.items is not None:
        yield from _paths(shape.items, path + "[]" if path else "")
    if shape.cases is not None:
        for inner in (*shape.cases.shapes.values(), shape.cases.default):
            yield from _paths(inner, path)
