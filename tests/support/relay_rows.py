"""The rows of all relayed endpoints."""

from typing import Final

from gateway.features.files.routes import ROUTES as FILES
from gateway.features.other_endpoints.routes import PLAIN_JSON_ENDPOINTS
from gateway.features.other_endpoints.routes import ROUTES as OTHERS
from gateway.features.realtime.routes import ROUTES as REALTIME
from gateway.relay.routes import RelayRoute

ROUTES: Final[tuple[RelayRoute, ...]] = (*OTHERS, *REALTIME, *FILES)

__all__ = ["PLAIN_JSON_ENDPOINTS", "ROUTES", "RelayRoute"]
