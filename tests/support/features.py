"""The features that the gateway has: each can be deleted, and tests outside its folder still pass."""

import re
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeVar

import pytest

from gateway.features.known import features
from gateway.features.order import EFFECTIVE, ORDER
from tests.support.repository import ROOT

T = TypeVar("T")


def has_feature(name: str) -> bool:
    """Return whether the gateway has the feature ``name`` and those that it needs."""
    return all(find_spec(f"gateway.features.{one}") is not None for one in needed_features(name))


@cache
def needed_features(name: str) -> frozenset[str]:
    """Return the features without which the one in the folder ``name`` has no effect, itself included."""
    found = {name, *(line.extends for line in ORDER if line.extends and line.name == name)}
    for line, feature in zip(EFFECTIVE, features(), strict=True):
        if line.name.partition(".")[0] == name:
            found |= {*feature.needs}
    return frozenset(found.union(*(needed_features(one) for one in found - {name})))


def _missing_features() -> list[str]:
    """Return the names of the features in the table of ``ARCHITECTURE.md`` that the gateway does not have."""
    page = (ROOT / "ARCHITECTURE.md").read_text().partition("\n## The features\n")[2]
    names: list[str] = re.findall(r"^\| `(\w+)` \|", page, re.M)
    return [name for name in names if not has_feature(name)]


describes_all_features = pytest.mark.skipif(
    bool(_missing_features()), reason=f"pages describe features that the gateway does not have: {_missing_features()}"
)
"""The mark of a test of a page about all features."""


def is_of_deleted_feature(path: str) -> bool:
    """Return whether a path from the repository's root is in the folder of a feature that the gateway does not have."""
    found = re.match(r"(?:tests/)?gateway/features/([a-z_]+)(?:/|$)", path)
    return found is not None and not has_feature(found[1])


def is_without_needed(module: str) -> bool:
    """Return whether a module belongs to a feature whose needed ones the gateway does not have: it uses their code."""
    found = re.match(r"gateway\.features\.(\w+)\.", module)
    return found is not None and not has_feature(found[1])


def rows_of(feature: str, *rows: T) -> tuple[T, ...]:
    """Return the ``rows`` of a table about ``feature``, none if the gateway does not have it."""
    return rows if has_feature(feature) else ()


def members_of(feature: str, **members: Any) -> dict[str, Any]:
    """Return the ``members`` of a configuration for ``feature``, none if the gateway does not have it."""
    return members if has_feature(feature) else {}


def needs_feature(name: str) -> pytest.MarkDecorator:
    """Return the mark of a test that combines the feature ``name`` with another."""
    return pytest.mark.skipif(not has_feature(name), reason=f"the gateway has no feature {name}")
