"""Writes the tables of ``docs/endpoints.md`` from the rows of the endpoints and of the catalogue.

``python -m tests.pages.endpoints`` writes them; ``tests/docs/test_endpoints.py`` checks them.
"""

from collections.abc import Collection, Iterator

from providers.catalog.provider import Provider
from providers.catalog.providers import CATALOG
from providers.endpoints.endpoint import ENDPOINTS, STANDARD_PLACES, Endpoint, EndpointName
from tests.pages.tables import table, with_headed_tables
from tests.support.repository import ROOT

PAGE = ROOT / "docs/endpoints.md"
FACTS = ("endpoint", "paths for clients", "fallback", "first byte", "largest body")
FALLBACK = {"same_model": "same model", "any": "route", "never": "none"}

UNLISTED: Collection[EndpointName] = ("voices", "passthrough", "mcp")
"""Endpoints of no provider: the gateway lists voices itself, and pass-through belongs to an entry."""

HEAD = ("provider", "endpoints", "endpoints without fallback")


def facts() -> str:
    """Return the table of facts about each endpoint."""
    return table(FACTS, (_facts(row) for row in ENDPOINTS.values()))


def providers() -> str:
    """Return the table of providers and their endpoints."""
    same: dict[tuple[str, str], list[str]] = {}
    for row in CATALOG.values():
        if any(map(row.place_of, ENDPOINTS)):
            cells = (", ".join(_places(row, kept=False)), ", ".join(_places(row, kept=True)))
            same.setdefault(cells, []).append(row.display_name)
    return table(HEAD, ((", ".join(names), *cells) for cells, names in same.items()))


def _facts(row: Endpoint) -> tuple[str, ...]:
    tops = tuple(path for path in row.paths if not any(path.startswith(f"{other}/") for other in row.paths))
    paths = ", ".join(f"`{top}`{_below(row, top)}" for top in tops)
    size = "" if row.most is None else f"{row.most // 2**20} MiB"
    return row.name, paths, FALLBACK[row.fallback], "" if row.first_byte is None else f"{row.first_byte:g} s", size


def _below(row: Endpoint, top: str) -> str:
    return " and below" if any(path.startswith(f"{top}/") for path in row.paths) else ""


def _places(row: Provider, *, kept: bool) -> Iterator[str]:
    """Yield the endpoints of a provider that ``kept`` selects, each with a path and a format that are not OpenAI's."""
    for name, endpoint in ENDPOINTS.items():
        place = None if name in UNLISTED else row.place_of(name)
        if place is None or (endpoint.fallback == "never") != kept:
            continue
        path = "" if place == STANDARD_PLACES.get(name) else f" `{place.prefix or ''}{place.path.partition('?')[0]}`"
        yield f"{name}{path}" + ("" if place.shape == "openai" or not path else f" ({place.shape})")


def page(text: str) -> str:
    """Return ``text`` with the present tables. Raises ``LookupError`` if one is missing."""
    return with_headed_tables(text, facts(), providers())


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
