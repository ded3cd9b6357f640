"""The rows of all relayed endpoints, of the features that the gateway has."""

from importlib import import_module
from typing import Any, Final

from gateway.relay.routes import RelayRoute
from tests.support.features import rows_of


def _names_of(feature: str, name: str) -> tuple[Any, ...]:
    """Return ``name`` in the routes of ``feature``, empty without it."""
    modules = rows_of(feature, f"gateway.features.{feature}.routes")
    return tuple(value for module in modules for value in getattr(import_module(module), name))


ROUTES: Final[tuple[RelayRoute, ...]] = tuple(
    row for feature in ("other_endpoints", "realtime", "files") for row in _names_of(feature, "ROUTES")
)
PLAIN_JSON_ENDPOINTS: Final = _names_of("other_endpoints", "PLAIN_JSON_ENDPOINTS")

__all__ = ["PLAIN_JSON_ENDPOINTS", "ROUTES", "RelayRoute"]
