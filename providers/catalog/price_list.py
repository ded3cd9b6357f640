"""The price list in the package, with data of the maintained package ``genai-prices`` and its date.

``python -m tests.pages.prices`` writes it. Lookups follow that package: the first row with a clause that matches the
lower-case name, then the rows of providers whose models this provider also offers, then both again with a compact date
written as ``2025-12-11``.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from providers.catalog.providers import find

FILE: Final = Path(__file__).with_name("price_list.json")

Clause: TypeAlias = str | list[Any] | Mapping[str, Any]
"""The names that a row matches: one name, a list of alternative clauses, or tests by name."""

VERTEX: Final = dict.fromkeys(("vertex", "vertex_ai", "google_vertex", "google-vertex"), "google")
"""Provider names for Vertex AI that have Google's prices, and models such as ``google/gemini-4-argon``."""

_Index: TypeAlias = tuple[Mapping[str, int], tuple[tuple[int, Clause], ...], tuple[Mapping[str, Any] | None, ...]]

MAX_NAME: Final = 300  # characters of a model's name; a client may send megabytes

TESTS: Final[Mapping[str, Callable[[str, Any], bool]]] = {
    "starts_with": lambda name, text: name.startswith(text.lower()),
    "ends_with": lambda name, text: name.endswith(text.lower()),
    "contains": lambda name, text: text.lower() in name,
    "regex": lambda name, text: bool(re.search(text, name)),
    "and": lambda name, clauses: all(matches(clause, name) for clause in clauses),
}


def price_row(provider: str, model: str) -> Mapping[str, Any] | None:
    """Return the price row of a provider's model, in dollars, or ``None``."""
    if len(model) > MAX_NAME:
        return None
    row = find(provider)
    own = VERTEX.get(provider, provider) if row is None else row.price_list
    name = model.lower() if provider not in VERTEX else model.lower().rpartition("/")[2]
    return next((found for each in (name, expand_date(name)) if (found := _find_row(own, each)) is not None), None)


def source() -> str:
    """Return the list's source and date, such as ``genai-prices 0.2.3, 2026-11-21``."""
    return f"{_load_list()['source']}, {_load_list()['as_of']}"


def matches(clause: Clause, name: str) -> bool:
    """Return whether ``clause`` matches ``name``, which is in lower case."""
    if isinstance(clause, str):
        return clause.lower() == name
    if isinstance(clause, list):
        return any(matches(one, name) for one in clause)
    return all(TESTS[test](name, argument) for test, argument in clause.items())


def expand_date(name: str) -> str:
    """Return ``name`` with dashes in its compact dates (``-20251211``)."""
    return re.sub(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)", r"-\1-\2-\3", name)


def _find_row(provider: str, name: str) -> Mapping[str, Any] | None:
    for each in (provider, *_load_list()["offers"].get(provider, ())):
        exact, tests, rows = _build_index(each if each in _load_list()["providers"] else None)
        exact_row = exact.get(name, len(rows))
        first = next((at for at, clause in tests if at < exact_row and matches(clause, name)), exact_row)
        if first < len(rows):
            return rows[first]
    return None


@cache  # one entry for each provider in the list, and one for all others
def _build_index(provider: str | None) -> _Index:
    rows = () if provider is None else _load_list()["providers"][provider]
    exact: dict[str, int] = {}
    tests: list[tuple[int, Clause]] = []
    for at, (clause, _) in enumerate(rows):
        for one in clause if isinstance(clause, list) else (clause,):
            if isinstance(one, str):
                exact.setdefault(one.lower(), at)
            else:
                tests.append((at, one))
    return exact, tuple(tests), tuple(prices for _, prices in rows)


@lru_cache(maxsize=1)
def _load_list() -> Mapping[str, Any]:
    found: Mapping[str, Any] = msgspec.json.Decoder(float_hook=Decimal).decode(FILE.read_bytes())
    return found
