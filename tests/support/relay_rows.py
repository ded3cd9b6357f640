"""The rows of all relayed endpoints, of the features that the gateway has."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from gateway.relay.routes import RelayRoute
from tests.support.features import rows_of


def _values_of(feature: str, name: str) -> tuple[Any, ...]:
    """Return the values of ``name`` in the routes of ``feature``, empty without it."""
    found: list[Any] = []
    for module in rows_of(feature, f"gateway.features.{feature}.routes"):
        value = getattr(import_module(module), name)
        found += value.values() if isinstance(value, Mapping) else value
    return tuple(found)


ROUTES: Final[tuple[RelayRoute, ...]] = tuple(
    row for feature in ("other_endpoints", "realtime", "files") for row in _values_of(feature, "ROUTES")
)
PLAIN_JSON_ENDPOINTS: Final = _values_of("other_endpoints", "PLAIN_JSON_ENDPOINTS")
SESSION_PATHS: Final[tuple[str, ...]] = tuple(path for paths in _values_of("realtime", "PATHS") for path in paths)
"""The paths of realtime sessions."""

__all__ = ["PLAIN_JSON_ENDPOINTS", "ROUTES", "SESSION_PATHS", "RelayRoute"]
