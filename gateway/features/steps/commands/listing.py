"""``trigate steps``: lists the kinds of steps, and tries a configuration's steps on a captured request."""

from collections.abc import Collection, Iterable, Iterator, Mapping

import click

from gateway.commands.tables import TableColumn, print_table
from gateway.commands.terminal import wrap_sentences
from gateway.features.steps.kinds import KINDS
from gateway.features.steps.loading import installed_steps
from gateway.features.steps.shapes import NO_TEXT, Shape
from gateway.features.steps.tables import APIS, answer_table_for, table_for


def exemptions() -> Iterable[tuple[str, str]]:
    """Yield the API or endpoint and the path of each string that is no text: ids, words of a set, seals, base64.

    Responses follow as ``chat response`` and so on. A path that ends with ``.*`` covers everything below it, and
    ``PATH (as OTHER)`` has the same strings as another path or API. An endpoint without a table of its own has the rows
    of ``endpoints``."""
    shared = {id(table_for(api).shape): api for api in APIS}
    for api in APIS:
        yield from ((api, path) for path in exempt_paths(api))
    endpoints = table_for("embeddings").shape
    for api in ("conversations", "message_batches", "batches"):
        known = shared | {id(endpoints): "endpoints"}
        yield from ((api, path) for path in sorted({*_paths(table_for(api).shape, "", known)}))
    yield from (("endpoints", path) for path in sorted({*_paths(endpoints, "", dict(shared), shares=True)}))
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


def _paths(shape: Shape, path: str, known: Mapping[int, str] | None = None, *, shares: bool = False) -> Iterator[str]:
    """Yield the paths of the exempt strings in ``shape``, which is at ``path``.

    ``known`` are the names of shapes that are listed elsewhere. ``shares``: members with the same shape refer to the
    first of them."""
    if path and known and id(shape) in known:
        yield f"{path} (as {known[id(shape)]})"
        return
    if path and shape.leaf.kind in NO_TEXT:
        yield path
    if shape.leaf.kind == "echo":
        yield path + ".*"
    prefix = path + "." if path else ""
    for name, inner in (shape.members or {}).items():
        yield from _paths(inner, prefix + name, known)
        if shares and known is not None and inner.cases is not None:
            known = {id(inner): prefix + name, **known}
    if shape.items is not None:
        yield from _paths(shape.items, path + "[]" if path else "", known)
    if shape.cases is not None:
        for inner in (*shape.cases.shapes.values(), shape.cases.default):
            yield from _paths(inner, path, known)


def list_kinds() -> int:
    """Print the built-in kinds and the installed entry points, and return the exit status."""
    kinds = [(row.name, ", ".join(row.at), row.action or "the service's", row.meaning) for row in KINDS.values()]
    print_table(
        (TableColumn("KIND", "name"), TableColumn("AT"), TableColumn("ACTION", "word"), TableColumn("FINDS")), kinds
    )
    found = installed_steps()
    click.echo()
    if not found:
        nothing = "No installed package has a step (an entry point of the group trigate.steps)."
        click.echo("\n".join(wrap_sentences([nothing])))
        return 0
    rows = [
        (name, one.value, "" if one.dist is None else f"{one.dist.name} {one.dist.version}")
        for name, points in sorted(found.items())
        for one in points
    ]
    print_table((TableColumn("ENTRY POINT", "name"), TableColumn("CODE", "name"), TableColumn("PACKAGE")), rows)
    return 0


def list_exempt(apis: Collection[str]) -> int:
    """Print the strings of requests that no step sees, of all APIs or of ``apis``, and return the exit status."""
    for api, path in exemptions():
        if not apis or api in apis:
            click.echo(f"{api:10} {path}")
    return 0
