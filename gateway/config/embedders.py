"""Routes of embedding models: vectors of two models, or of two widths, are worth nothing beside one another."""

from collections.abc import Iterable

from configfile.document import Path
from configfile.wording import describe
from gateway.config.findings import Findings
from gateway.config.names import Found
from providers.endpoints.model_types import bare_name


def check_vectors(targets: Iterable[tuple[Path, Found]], findings: Findings) -> None:
    """Report a route, by its ``targets``, that would answer with vectors of several models
    (tashfeenahmed/freellmapi#195)."""
    found = list(targets)
    embedders = [one for _, one in found if one.entry.type_of(one.model) == "embedding"]
    if not embedders:
        return
    first = embedders[0]
    for place, other in found:
        if bare_name(other.model) != bare_name(first.model):
            two = f"{describe(other.model)} beside {describe(first.model)}"
            advice = "vectors of two models do not fit together: give each a route of its own"
            findings.wrong(place, f"another embedding model: {two}", advice)
        elif (wide := _width(other)) != (usual := _width(first)):
            two = f"{wide or 'its own length'} beside {usual or 'its own length'}"
            findings.wrong(place, f"other dimensions of the same model: {two}", "say the same on both entries")


def _width(found: Found) -> int | None:
    return found.entry.embeddings_of(found.model).dimensions
